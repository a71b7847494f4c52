//! The machine's part of a snapshot: uptime, load, swap and the disks. All of it is read at once;
//! nothing of it can hang.

use serde::Serialize;

use super::parts::{Errors, Object};
use crate::host::mounts;
use crate::host::usage;

/// So many disks are reported.
const DISKS: usize = 64;
const TOO_MANY: &str = "only 64 are listed; see df";

/// The member `host`. What could not be read is `None`, with its reason among the errors.
#[derive(Serialize)]
pub struct Host {
    uptime_s: Option<u64>,
    /// Of the last 1, 5 and 15 minutes.
    load: Option<[f64; 3]>,
    /// `None` also where there is no swap.
    swap_pct: Option<f64>,
    /// By mount point.
    disks: Option<Object<String, Disk>>,
}

#[derive(Serialize)]
struct Disk {
    used_pct: Option<f64>,
    /// `None` also where the file system counts no inodes.
    inodes_pct: Option<f64>,
}

impl Host {
    pub fn read(errors: &mut Errors) -> Host {
        let swap = errors.note("host.swap_pct", usage::read_swap_percent());
        Host {
            uptime_s: errors.note("host.uptime_s", usage::read_uptime()),
            load: errors.note("host.load", usage::read_load()),
            swap_pct: swap.flatten().map(usage::one_decimal),
            disks: disks(errors),
        }
    }
}

fn disks(errors: &mut Errors) -> Option<Object<String, Disk>> {
    const PART: &str = "host.disks";
    let mounts = errors.note(PART, mounts::read())?;
    let mut points = mounts::disks(&mounts);
    if points.len() > DISKS {
        points.truncate(DISKS);
        errors.add(PART, TOO_MANY);
    }
    let disks = points.into_iter().map(|point| {
        let space = errors.note(PART, usage::read_space(point));
        let disk = Disk {
            used_pct: space.as_ref().map(|space| usage::one_decimal(space.used_percent)),
            inodes_pct: space.and_then(|space| space.inodes_percent).map(usage::one_decimal),
        };
        (point.to_string_lossy().into_owned(), disk)
    });
    Some(Object(disks.collect()))
}
