//! Room on the disk, and whether an upgrade can write to its folders. Both as the running agent sees
//! them: a service may have a root, or a `/tmp`, of its own.

use std::fs;
use std::path::Path;

use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};

use super::report::Report;
use super::service::Service;

const MB: u64 = 1_000_000;
/// With less free space, other programs of this machine are in trouble too.
const LITTLE: u64 = 64 * MB;
const TMP: &str = "/tmp";

pub fn check(service: &Service, report: &mut Report) {
    let folder = service.installed.parent().unwrap_or(Path::new("/"));
    // An upgrade downloads the binary to /tmp and copies it to the folder of the installed one.
    let binary = fs::metadata(&service.installed).map_or(MB, |file| file.len());
    room("room-root", Path::new("/"), MB, service, report);
    room("room-tmp", Path::new(TMP), binary, service, report);
    room("room-bin", folder, binary, service, report);
    self_upgrade(folder, service, report);
}

fn room(check: &'static str, path: &Path, need: u64, service: &Service, report: &mut Report) {
    let shown = path.display();
    let next = format!("df -h {shown}");
    let disk = match statvfs(service.reader().view(path)) {
        Ok(disk) => disk,
        Err(error) => {
            return report.fail(check, format!("{shown}: {error}"), format!("ls -ld {shown}"));
        }
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let seen = format!("{shown}: {} MB free", free / MB);
    if free < need {
        report.fail(check, format!("{seen}, {} MB needed", need.div_ceil(MB)), next);
    } else if disk.f_files > 0 && disk.f_favail == 0 {
        report.fail(check, format!("{seen}, but no free inode"), format!("df -i {shown}"));
    } else if free < LITTLE {
        report.warn(check, seen, next);
    } else {
        report.pass(check, seen);
    }
}

fn self_upgrade(folder: &Path, service: &Service, report: &mut Report) {
    let mut seen = format!("an upgrade can write to {} and {TMP}", folder.display());
    for path in [folder, Path::new(TMP)] {
        let view = service.reader().view(path);
        let (disk, file) = match (statvfs(&view), fs::metadata(&view)) {
            (Ok(disk), Ok(file)) => (disk, file),
            _ => return report.skip("self-upgrade", format!("no {}", path.display())),
        };
        let is = |flag| has(&disk, flag);
        let (shown, mount) = (path.display(), service.mount_command(path));
        if is(StatVfsMountFlags::RDONLY) {
            let seen = format!("{shown} is mounted read-only{}", service.as_the_agent_sees_it());
            return report.fail("self-upgrade", seen, mount);
        }
        if is(StatVfsMountFlags::NOEXEC) && path == folder {
            let seen = format!("{shown} is mounted noexec{}", service.as_the_agent_sees_it());
            return report.fail("self-upgrade", seen, mount);
        }
        if is(StatVfsMountFlags::NOEXEC) {
            // A download is not run from there, but from the folder of the installed binary.
            seen += " (noexec, which does no harm)";
        }
        if service.agents_rights_are_unknown() {
            let seen = "not checked: the agent does not run, so its user is unknown".to_owned();
            return report.skip("self-upgrade", seen);
        }
        if !service.reader().may_write(&file) {
            let user = service.reader().identity.user;
            let seen = format!("the agent's user ({user}) may not write to {shown}");
            return report.fail("self-upgrade", seen, format!("ls -ld {shown}"));
        }
    }
    report.pass("self-upgrade", seen);
}

fn has(disk: &StatVfs, flag: StatVfsMountFlags) -> bool {
    disk.f_flag.contains(flag)
}
