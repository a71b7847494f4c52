//! Mounts captured from real machines, and some made up to hang.

use super::*;
use proptest::prelude::*;

/// `tests/fixtures/README.md` says where each is from.
macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/proc/", $name))
    };
}

#[track_caller]
fn mounts(text: &str) -> Vec<Mount> {
    parse(&mut text.as_bytes()).unwrap()
}

#[track_caller]
fn disks_of(text: &str) -> Vec<String> {
    disks(&mounts(text)).into_iter().map(|point| point.display().to_string()).collect()
}

/// A file of these mounts: id, parent, device, mount point, type.
fn file(lines: &[(u32, u32, &str, &str, &str)]) -> String {
    let line = |(id, parent, device, point, kind): &(u32, u32, &str, &str, &str)| {
        format!("{id} {parent} {device} / {point} rw,relatime shared:1 - {kind} source rw\n")
    };
    lines.iter().map(line).collect()
}

#[test]
fn captured_machines() {
    // Its docker has a bind mount of the root's disk.
    assert_eq!(disks_of(captured!("mountinfo.vm")), ["/"]);
    // The root of this container is FUSE, and all else lies in it.
    assert_eq!(disks_of(captured!("mountinfo.container")), [] as [&str; 0]);
    // Two subvolumes of one btrfs, an image, and ext4 under, over and beside FUSE file systems.
    assert_eq!(disks_of(captured!("mountinfo.stacked")), ["/", "/mnt/odd name", "/mnt/pool"]);
}

#[test]
fn each_disk_once() {
    let root = "20 1 8:1 /@ / rw - btrfs /dev/sda1 rw\n";
    let home = "21 20 8:1 /@home /home rw - btrfs /dev/sda1 rw\n";
    let whole = "22 20 8:1 / /mnt/whole rw - btrfs /dev/sda1 rw\n";
    assert_eq!(disks_of(&format!("{home}{whole}{root}")), ["/"]);
    let root = "20 1 0:2 / / rw - overlay overlay rw\n";
    assert_eq!(disks_of(&format!("{root}{home}{whole}")), ["/mnt/whole"]);
    assert_eq!(disks_of(&format!("{root}{home}{home}")), ["/home"]);
    // A bind mount of a folder has a shorter name than the disk.
    let folder = "23 20 8:2 /web /srv rw - ext4 /dev/sda2 rw\n";
    let data = "24 20 8:2 / /mnt/data rw - ext4 /dev/sda2 rw\n";
    assert_eq!(disks_of(&format!("{root}{folder}{data}")), ["/mnt/data"]);
    // The whole disk can't be reached, a folder of it can.
    let over = "25 20 0:9 / /mnt rw - nfs4 server:/ rw\n";
    assert_eq!(disks_of(&format!("{root}{folder}{data}{over}")), ["/srv"]);
}

#[test]
fn what_is_no_disk_of_this_machine() {
    for kind in [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "9p",
        "virtiofs",
        "fuse",
        "fuseblk",
        "fuse.sshfs",
        "fuse.lxcfs",
        "autofs",
        "squashfs",
        "iso9660",
        "erofs",
        "tmpfs",
        "proc",
        "overlay",
        "ocfs2",
        "gfs2",
        "zfs",
        "afs",
        "lustre",
        "new",
    ] {
        let root = (20, 1, "8:1", "/", "ext4");
        let text = file(&[root, (21, 20, "8:2", "/x", kind), (22, 20, "8:3", "/y", "xfs")]);
        assert_eq!(disks_of(&text), ["/", "/y"], "{kind}");
    }
}

#[test]
fn a_way_through_what_may_hang_is_not_taken() {
    let root = (20, 1, "8:1", "/", "ext4");
    let disk = |id, parent, point| (id, parent, "8:2", point, "ext4");
    for kind in ["nfs4", "fuse.sshfs", "fuseblk", "autofs", "cifs", "new"] {
        let hanging = |id, parent, point| (id, parent, "0:50", point, kind);
        for (what, lines) in [
            ("below", vec![hanging(21, 20, "/net"), disk(22, 21, "/net/disk")]),
            (
                "far below",
                vec![
                    hanging(21, 20, "/net"),
                    (22, 21, "0:51", "/net/a", "tmpfs"),
                    disk(23, 22, "/net/a/disk"),
                ],
            ),
            ("upon", vec![hanging(21, 20, "/disk"), disk(22, 21, "/disk")]),
            ("under", vec![disk(21, 20, "/disk"), hanging(22, 21, "/disk")]),
            ("under, in the same mount", vec![disk(21, 20, "/disk"), hanging(22, 20, "/disk")]),
            ("hidden", vec![disk(21, 20, "/a/disk"), hanging(22, 20, "/a")]),
            ("hidden, listed later", vec![hanging(22, 20, "/a"), disk(21, 20, "/a/disk")]),
            (
                "in a hidden mount",
                vec![
                    (21, 20, "0:51", "/a/b", "tmpfs"),
                    disk(22, 21, "/a/b/disk"),
                    hanging(23, 20, "/a"),
                ],
            ),
            (
                "hidden by what lies over its parent",
                vec![
                    (21, 20, "0:51", "/a", "tmpfs"),
                    disk(22, 21, "/a/disk"),
                    hanging(23, 21, "/a"),
                ],
            ),
            ("all of it hidden", vec![disk(21, 20, "/disk"), hanging(22, 20, "/")]),
        ] {
            let all = [vec![root], lines].concat();
            let found = disks_of(&file(&all));
            assert!(!found.iter().any(|point| point.contains("disk")), "{kind} {what}: {found:?}");
        }
        // Beside it, and with a name that only begins alike.
        let all = [root, hanging(21, 20, "/a"), disk(22, 20, "/ab"), hanging(23, 20, "/abc")];
        assert_eq!(disks_of(&file(&all)), ["/", "/ab"]);
    }
}

#[test]
fn parents_that_are_not_listed() {
    // The root of a chroot is no mount point.
    let all = [(30, 20, "8:2", "/disk", "ext4"), (31, 20, "0:50", "/net", "nfs")];
    assert_eq!(disks_of(&file(&all)), ["/disk"]);
    let all = [(30, 20, "8:2", "/net/disk", "ext4"), (31, 20, "0:50", "/net", "nfs")];
    assert_eq!(disks_of(&file(&all)), [] as [&str; 0]);
    // The first root of a machine is its own parent, and covered by the next.
    let all =
        [(1, 1, "0:2", "/", "rootfs"), (20, 1, "8:1", "/", "ext4"), (21, 20, "8:2", "/b", "xfs")];
    assert_eq!(disks_of(&file(&all)), ["/", "/b"]);
    // No machine has this.
    let all = [(20, 21, "8:1", "/a", "ext4"), (21, 20, "8:2", "/b", "ext4")];
    assert_eq!(disks_of(&file(&all)), [] as [&str; 0]);
}

#[test]
fn escaped_names() {
    let unescaped = |text: &str| String::from_utf8(unescape(text.as_bytes())).unwrap();
    assert_eq!(unescaped(r"/a\040b\011c\012d\134e\043f"), "/a b\tc\nd\\e#f");
    assert_eq!(unescaped(r"/a\"), r"/a\");
    assert_eq!(unescaped(r"/a\04"), r"/a\04");
    assert_eq!(unescaped(r"/a\999\0400"), r"/a\999 0");
    assert_eq!(unescape(br"\377\400"), b"\xff\\400");
}

#[test]
fn files_that_can_not_be_used() {
    let error = |text: &str| parse(&mut text.as_bytes()).err().unwrap().to_string();
    let line = file(&[(1, 2, "8:1", "/", "ext4")]);
    let no_mount = "/proc/self/mountinfo: a line that is no mount";
    for text in
        ["\n", "x", "1 2 8:1 / / rw - \n", "1 2 8 / / rw - ext4 x rw\n", "1 2 8:1 / / rw ext4\n"]
    {
        assert_eq!(error(&format!("{line}{text}")), no_mount, "{text:?}");
    }
    assert_eq!(error(&line.replace("source", &"x".repeat(70_000))), no_mount);
    assert_eq!(mounts(&line.repeat(4096)).len(), 4096);
    assert_eq!(error(&line.repeat(4097)), "/proc/self/mountinfo: more than 4096 mounts");
    assert_eq!(mounts(line.trim_end()).len(), 1);
}

#[test]
fn this_machine() {
    let mounts = read().unwrap();
    assert!(disks(&mounts).iter().all(|point| point.is_absolute()));
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, ids: [(u32, u32); 6]) {
        let _ = parse(&mut bytes.as_slice());
        // Parents at random, in a circle too.
        let points = ["/", "/a", "/a/b", "/a/b", "/c", "/"];
        let lines: Vec<_> = ids.iter().zip(points)
            .map(|((id, parent), point)| (id % 6, parent % 6, "8:1", point, "ext4"))
            .collect();
        prop_assert!(disks_of(&file(&lines)).len() <= 1);
    }
}
