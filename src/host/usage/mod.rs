//! How busy this machine is: processor time, load, memory, swap and the space of disks.
//!
//! Parsers take text, so that they can read fixtures from any machine; the `read_*` functions read
//! `/proc` and `statvfs`. Nothing else is touched, and no process is started. Only the totals are
//! read, not the line that `/proc/stat` has for each processor. Percentages are always from 0 to
//! 100, whatever the counters do.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const STAT: &str = "/proc/stat";
const MEMINFO: &str = "/proc/meminfo";

/// In bytes. The first line of `/proc/stat`, ten numbers of at most twenty digits, fits. The rest is
/// not needed; its interrupt line has many kilobytes on a big machine.
const STAT_LIMIT: u64 = 512;
/// In bytes. `/proc/meminfo` has about 1.5 KiB, and the lines needed come first.
const MEMINFO_LIMIT: u64 = 16 * 1024;
const UPTIME: &str = "/proc/uptime";
const LOADAVG: &str = "/proc/loadavg";
/// In bytes. Both have one line of a few numbers.
const LINE_LIMIT: u64 = 128;

/// Processor time since boot, summed over all processors, in ticks (1/100 s): the first line of
/// `/proc/stat`, whose fields are described in proc_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    /// user, nice, system, irq, softirq, steal. Guest time is part of user and nice already.
    busy: [u64; 6],
    /// idle and iowait together: the kernel corrects itself by moving time between the two, so that
    /// iowait alone can run backwards (proc_stat(5)).
    idle: u64,
}

impl CpuTimes {
    /// Reads `/proc/stat`.
    ///
    /// # Errors
    /// The file can't be read, or has another form than proc_stat(5) describes.
    pub fn read() -> Result<CpuTimes, Error> {
        CpuTimes::parse(&read_bounded(STAT, STAT_LIMIT)?)
    }

    /// Reads the `cpu` line out of the text of `/proc/stat`. Fields that an old kernel does not
    /// have (2.4 stops after idle) count as zero.
    pub fn parse(text: &str) -> Result<CpuTimes, Error> {
        let malformed = |what| Error::Malformed { path: STAT, what };
        let fields = text
            .lines()
            .find_map(|line| line.strip_prefix("cpu "))
            .ok_or(malformed("no line starts with \"cpu\""))?;
        let mut ticks = [0; 8];
        let mut count = 0;
        for (tick, field) in ticks.iter_mut().zip(fields.split_ascii_whitespace()) {
            *tick = field
                .parse()
                .map_err(|_| malformed("the \"cpu\" line has a field that is not a number"))?;
            count += 1;
        }
        if count < 4 {
            return Err(malformed("the \"cpu\" line has fewer than four fields"));
        }
        let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
        Ok(CpuTimes {
            busy: [user, nice, system, irq, softirq, steal],
            idle: idle.saturating_add(iowait),
        })
    }

    /// The share of the time since `earlier` that the processors were busy, 0 to 100; 0 where no
    /// time has passed.
    ///
    /// Counters may run backwards. A busy counter that does (stolen time, after a migration) counts
    /// as unchanged. Idle time runs backwards when processors are unplugged or the machine was
    /// suspended. The lost idle time is then subtracted from the elapsed time; if nothing is left,
    /// no time has passed and the share is 0, not 100.
    pub fn busy_percent_since(&self, earlier: &CpuTimes) -> f64 {
        let busy: u128 = self
            .busy
            .iter()
            .zip(earlier.busy)
            .map(|(now, then)| u128::from(now.saturating_sub(then)))
            .sum();
        let elapsed = (busy + u128::from(self.idle)).saturating_sub(u128::from(earlier.idle));
        if elapsed == 0 { 0.0 } else { percent(busy, elapsed) }
    }
}

/// Reads `/proc/meminfo`; see [`memory_percent`].
///
/// # Errors
/// The file can't be read, or lacks a line.
pub fn read_memory_percent() -> Result<f64, Error> {
    memory_percent(&read_bounded(MEMINFO, MEMINFO_LIMIT)?)
}

/// The share of memory in use, 0 to 100, from the text of `/proc/meminfo`:
/// (MemTotal - MemAvailable) / MemTotal. Kernels before 3.14 have no MemAvailable; there MemFree +
/// Buffers + Cached + SReclaimable stand in, as far as they are present.
pub fn memory_percent(text: &str) -> Result<f64, Error> {
    let malformed = |what| Error::Malformed { path: MEMINFO, what };
    let kibibytes = |name| kibibytes(text, name);
    let total = kibibytes("MemTotal")
        .filter(|&total| total > 0)
        .ok_or(malformed("no MemTotal above zero"))?;
    let available = match kibibytes("MemAvailable") {
        Some(available) => available,
        None => ["Buffers", "Cached", "SReclaimable"].into_iter().filter_map(kibibytes).fold(
            kibibytes("MemFree").ok_or(malformed("neither MemAvailable nor MemFree"))?,
            u64::saturating_add,
        ),
    };
    Ok(percent(total.saturating_sub(available).into(), total.into()))
}

/// MemTotal of `/proc/meminfo`, in bytes; none where it can't be read.
pub fn read_memory_total() -> Option<u64> {
    let meminfo = read_bounded(MEMINFO, MEMINFO_LIMIT).ok()?;
    kibibytes(&meminfo, "MemTotal")?.checked_mul(1024)
}

/// Reads `/proc/meminfo`; see [`swap_percent`].
///
/// # Errors
/// The file can't be read.
pub fn read_swap_percent() -> Result<Option<f64>, Error> {
    Ok(swap_percent(&read_bounded(MEMINFO, MEMINFO_LIMIT)?))
}

/// The share of swap space in use, 0 to 100, from the text of `/proc/meminfo`; none where there is no
/// swap space.
pub fn swap_percent(text: &str) -> Option<f64> {
    let total = kibibytes(text, "SwapTotal").filter(|&total| total > 0)?;
    let free = kibibytes(text, "SwapFree")?;
    Some(percent(total.saturating_sub(free).into(), total.into()))
}

/// Whole seconds since the boot, by `/proc/uptime`.
///
/// # Errors
/// The file can't be read, or does not begin with a number.
pub fn read_uptime() -> Result<u64, Error> {
    uptime(&read_bounded(UPTIME, LINE_LIMIT)?)
}

fn uptime(text: &str) -> Result<u64, Error> {
    let seconds = text.split('.').next().and_then(|seconds| seconds.parse().ok());
    seconds.ok_or(Error::Malformed { path: UPTIME, what: "it does not begin with a number" })
}

/// How many processes ran or waited for a disk, on average over the last 1, 5 and 15 minutes, by
/// `/proc/loadavg`.
///
/// # Errors
/// The file can't be read, or does not begin with three numbers.
pub fn read_load() -> Result<[f64; 3], Error> {
    load(&read_bounded(LOADAVG, LINE_LIMIT)?)
}

fn load(text: &str) -> Result<[f64; 3], Error> {
    let mut numbers = text.split_ascii_whitespace().map_while(hundredths);
    match [numbers.next(), numbers.next(), numbers.next()] {
        [Some(one), Some(five), Some(fifteen)] => Ok([one, five, fifteen]),
        _ => {
            let what = "it does not begin with three numbers";
            Err(Error::Malformed { path: LOADAVG, what })
        }
    }
}

/// A number with two decimals. The standard library's parser for all numbers would add 10 kB.
fn hundredths(text: &str) -> Option<f64> {
    let (whole, decimals) = text.split_once('.').filter(|(_, decimals)| decimals.len() == 2)?;
    let (whole, decimals): (u32, u32) = (whole.parse().ok()?, decimals.parse().ok()?);
    Some((f64::from(whole) * 100.0 + f64::from(decimals)) / 100.0)
}

/// How full a file system is.
pub struct Space {
    /// 0 to 100: the Used and Size columns of `df`. Blocks that are reserved for root count as free,
    /// so this is not `df`'s Use%.
    pub used_percent: f64,
    /// 0 to 100; none where the file system counts no inodes.
    pub inodes_percent: Option<f64>,
}

/// How full the file system is that holds `path`.
///
/// # Errors
/// The operating system's own, or that the file system has no size.
pub fn read_space(path: &Path) -> Result<Space, Error> {
    // A mount point may hold anything, and the error is one line.
    let shown = || path.to_string_lossy().escape_debug().to_string();
    let space = rustix::fs::statvfs(path)
        .map_err(|error| Error::Disk { path: shown(), source: error.into() })?;
    if space.f_blocks == 0 {
        return Err(Error::NoBlocks { path: shown() });
    }
    let used = |free: u64, all: u64| percent(all.saturating_sub(free).into(), all.into());
    Ok(Space {
        used_percent: used(space.f_bfree, space.f_blocks),
        inodes_percent: (space.f_files > 0).then(|| used(space.f_ffree, space.f_files)),
    })
}

/// Rounds to one decimal, as `metrics_collect` reports percentages.
pub fn one_decimal(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

/// Why a figure is missing. Shown as one line, with the path.
#[derive(Debug)]
pub enum Error {
    Read {
        path: &'static str,
        source: io::Error,
    },
    Malformed {
        path: &'static str,
        what: &'static str,
    },
    Disk {
        path: String,
        source: io::Error,
    },
    /// A pseudo file system such as `/proc`, which has no size.
    NoBlocks {
        path: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read { path, source } => write!(f, "{path}: {source}"),
            Error::Malformed { path, what } => write!(f, "{path}: {what}"),
            Error::Disk { path, source } => write!(f, "statvfs {path}: {source}"),
            Error::NoBlocks { path } => {
                write!(f, "statvfs {path}: no blocks, so no used share")
            }
        }
    }
}

impl std::error::Error for Error {}

/// The value of a line of `/proc/meminfo`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// `part` of `whole`, which is not zero.
fn percent(part: u128, whole: u128) -> f64 {
    (part as f64 * 100.0 / whole as f64).clamp(0.0, 100.0)
}

fn read_bounded(path: &'static str, limit: u64) -> Result<String, Error> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|source| Error::Read { path, source })?;
    Ok(text)
}

#[cfg(test)]
mod tests;
