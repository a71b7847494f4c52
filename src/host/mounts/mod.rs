//! Where this machine's disks are mounted, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
//!
//! The mount points found here can be looked at without waiting for another machine or for a user's
//! process. A network file system, FUSE or autofs may hang for ever: on itself, and on every way that
//! leads through it. So only kinds of file system that are known to answer are looked at, and a disk
//! is left out where a mount of another kind lies over it or above it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::host::usage::Error;

const MOUNTINFO: &str = "/proc/self/mountinfo";
/// So many mounts are read. With more it can't be told which disk lies under which mount.
const MOUNTS: usize = 4096;
/// In bytes. Options take a page at most, and paths four bytes for each byte that is escaped.
const LINE: u64 = 64 * 1024;

/// File systems on a disk of this machine. A read-only image (squashfs, iso9660) is always full, and a
/// dataset of zfs shows the space of its pool, not of a disk.
const ON_DISKS: [&[u8]; 18] = [
    b"ext4",
    b"xfs",
    b"btrfs",
    b"vfat",
    b"ext3",
    b"ext2",
    b"f2fs",
    b"exfat",
    b"ntfs3",
    b"ntfs",
    b"msdos",
    b"jfs",
    b"reiserfs",
    b"nilfs2",
    b"hfsplus",
    b"hfs",
    b"minix",
    b"bcachefs",
];
/// Others that answer at once: a way may lead through them.
const ANSWERING: [&[u8]; 9] = [
    b"tmpfs",
    b"ramfs",
    b"rootfs",
    b"devtmpfs",
    b"overlay",
    b"squashfs",
    b"erofs",
    b"iso9660",
    b"zfs",
];

/// A line of the file.
pub struct Mount {
    /// A later mount lies over an earlier one at the same path.
    number: usize,
    id: u32,
    /// The mount in which this one's mount point lies.
    parent: u32,
    /// Major and minor number. All mounts of one file system share them, also the subvolumes of a
    /// btrfs.
    device: (u32, u32),
    /// The whole file system is mounted, not only a folder of it.
    is_whole: bool,
    point: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Disk,
    Answering,
    /// It may hang.
    Other,
}

/// Reads this process's mounts.
///
/// # Errors
/// The file can't be read, has another form than proc_pid_mountinfo(5) describes, or is too long.
pub fn read() -> Result<Vec<Mount>, Error> {
    let file = File::open(MOUNTINFO).map_err(|source| Error::Read { path: MOUNTINFO, source })?;
    parse(&mut BufReader::new(file))
}

fn parse(text: &mut dyn BufRead) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = text.take(LINE).read_until(b'\n', &mut line);
        match read.map_err(|source| Error::Read { path: MOUNTINFO, source })? {
            0 => return Ok(mounts),
            _ if mounts.len() == MOUNTS => {
                return Err(Error::Malformed { path: MOUNTINFO, what: "more than 4096 mounts" });
            }
            _ => mounts.push(
                Mount::parse(&line, mounts.len())
                    .ok_or(Error::Malformed { path: MOUNTINFO, what: "a line that is no mount" })?,
            ),
        }
    }
}

/// The mount points of the disks, one for each, in the order of their names.
pub fn disks(mounts: &[Mount]) -> Vec<&Path> {
    let mut on_disks: Vec<&Mount> =
        mounts.iter().filter(|mount| mount.kind == Kind::Disk).collect();
    // Of the mounts of one disk `/` is the best, then one of the whole disk, then the shortest path.
    on_disks.sort_by_key(|mount| {
        (mount.device, mount.point != b"/", !mount.is_whole, mount.point.len())
    });
    let mut found: Vec<&Mount> = Vec::new();
    for mount in on_disks {
        let is_new = found.last().is_none_or(|last| last.device != mount.device);
        if is_new && mount.is_safe(mounts) {
            found.push(mount);
        }
    }
    found.sort_by_key(|mount| &mount.point);
    found.into_iter().map(|mount| Path::new(OsStr::from_bytes(&mount.point))).collect()
}

impl Mount {
    /// Reads the line of this number.
    fn parse(line: &[u8], number: usize) -> Option<Mount> {
        let mut fields = line.trim_ascii_end().split(|&byte| byte == b' ');
        let id = decimal(fields.next()?)?;
        let parent = decimal(fields.next()?)?;
        let mut device = fields.next()?.splitn(2, |&byte| byte == b':');
        let device = (decimal(device.next()?)?, decimal(device.next()?)?);
        let is_whole = fields.next()? == b"/";
        let point = unescape(fields.next()?);
        // Optional fields come before the dash, of any number.
        fields.find(|field| *field == b"-")?;
        let name = fields.next()?;
        let kind = if ON_DISKS.contains(&name) {
            Kind::Disk
        } else if ANSWERING.contains(&name) {
            Kind::Answering
        } else {
            Kind::Other
        };
        Some(Mount { number, id, parent, device, is_whole, point, kind })
    }

    /// Whether the mount point's path leads to this mount, and on the way only through mounts that
    /// answer.
    fn is_safe(&self, mounts: &[Mount]) -> bool {
        let is_covered = |other: &Mount| other.parent == self.id && other.point == self.point;
        if mounts.iter().any(is_covered) {
            return false;
        }
        let mut at = self;
        // No way has more parts than there are mounts. The file may have changed while it was read.
        for _ in mounts {
            if mounts.iter().any(|other| other.hides(at)) {
                return false;
            }
            match mounts.iter().find(|parent| parent.id == at.parent && parent.id != at.id) {
                // What lies above this process's root is not listed.
                None => return true,
                Some(parent) if parent.kind == Kind::Other => return false,
                Some(parent) => at = parent,
            }
        }
        false
    }

    /// Whether this mount lies over the mount point of `other`, in the same mount.
    fn hides(&self, other: &Mount) -> bool {
        self.parent == other.parent
            && self.id != other.id
            && other.parent != other.id
            && match other.point.strip_prefix(self.point.as_slice()) {
                Some([]) => self.number > other.number,
                Some(below) => below.starts_with(b"/") || self.point == b"/",
                None => false,
            }
    }
}

fn decimal(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A path as it is: blanks, newlines and backslashes are written as a backslash and three octal
/// digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.split_first_chunk().filter(|_| first == b'\\');
        match escaped.and_then(|(digits, after)| Some((octal(digits)?, after))) {
            Some((byte, after)) => {
                path.push(byte);
                rest = after;
            }
            None => {
                path.push(first);
                rest = after;
            }
        }
    }
    path
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests;
