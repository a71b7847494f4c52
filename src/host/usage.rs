//! How busy this machine is: processor time, memory and the disk.
//!
//! Parsers take text, so that they can read fixtures from any machine; the `read_*` functions read
//! `/proc` and `statvfs`. Nothing else is touched, and no process is started. Only the totals are
//! read, not the line that `/proc/stat` has for each processor. Percentages are always from 0 to
//! 100, whatever the counters do.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

const STAT: &str = "/proc/stat";
const MEMINFO: &str = "/proc/meminfo";

/// In bytes. The first line of `/proc/stat`, ten numbers of at most twenty digits, fits. The rest is
/// not needed; its interrupt line has many kilobytes on a big machine.
const STAT_LIMIT: u64 = 512;
/// In bytes. `/proc/meminfo` has about 1.5 KiB, and the lines needed come first.
const MEMINFO_LIMIT: u64 = 16 * 1024;

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
    let kibibytes = |name: &str| -> Option<u64> {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse().ok()
    };
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

/// The share in use of the file system that holds `path`, 0 to 100: the Used and Size columns of
/// `df`. Blocks that are reserved for root count as free, so this is not `df`'s Use%.
pub fn disk_percent(path: &str) -> Result<f64, Error> {
    let disk = rustix::fs::statvfs(path)
        .map_err(|error| Error::Disk { path: path.into(), source: error.into() })?;
    if disk.f_blocks == 0 {
        return Err(Error::NoBlocks { path: path.into() });
    }
    Ok(percent(disk.f_blocks.saturating_sub(disk.f_bfree).into(), disk.f_blocks.into()))
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `tests/fixtures/README.md` says where each is from.
    macro_rules! captured {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/proc/", $name))
        };
    }

    fn times(cpu_line: &str) -> CpuTimes {
        CpuTimes::parse(cpu_line).unwrap()
    }

    #[test]
    fn busy_share() {
        let earlier = times("cpu  100 10 50 1000 100 5 5 10 80 10\n");
        let busy = |line| times(line).busy_percent_since(&earlier);
        assert_eq!(busy("cpu  100 10 50 1000 100 5 5 10 80 10"), 0.0);
        assert_eq!(busy("cpu  100 10 50 1100 100 5 5 10 80 10"), 0.0);
        assert_eq!(busy("cpu  200 10 50 1000 100 5 5 10 80 10"), 100.0);
        assert_eq!(busy("cpu  110 10 60 1060 120 5 5 10 80 10"), 20.0); // iowait is idle
        assert_eq!(busy("cpu  100 10 50 1060 100 15 15 30 80 10"), 40.0); // irq, softirq and steal are busy
        assert_eq!(busy("cpu  150 10 50 1050 100 5 5 10 130 10"), 50.0); // guest time is in user already
    }

    #[test]
    fn counters_that_run_backwards() {
        let earlier = times("cpu  100 10 50 1000 100 5 5 10 0 0");
        let busy = |line| times(line).busy_percent_since(&earlier);
        assert_eq!(busy("cpu  150 10 50 1100 50 5 5 10 0 0"), 50.0); // iowait became idle
        assert_eq!(busy("cpu  150 10 50 1050 100 5 5 2 0 0"), 50.0); // stolen time, migrated
        assert_eq!(busy("cpu  150 10 50 999 100 5 5 10 0 0"), 100.0); // all busy, idle off by a tick
        assert_eq!(busy("cpu  150 10 50 500 100 5 5 10 0 0"), 0.0); // unplugged
        assert_eq!(busy("cpu  0 0 0 0 0 0 0 0 0 0"), 0.0);
        // Idle after a suspended night, in hundredths:
        // https://github.com/giampaolo/psutil/issues/2172
        let before = times("cpu  1466797 6445 708626 6221847 7998 0 8095 0 0 0");
        let after = times("cpu  1466867 6445 708691 5873386 7624 0 8095 0 0 0");
        assert_eq!(after.busy_percent_since(&before), 0.0);
    }

    #[test]
    fn lines_of_old_and_new_kernels() {
        assert_eq!(times("cpu 1 2 3 4"), CpuTimes { busy: [1, 2, 3, 0, 0, 0], idle: 4 }); // 2.4
        assert_eq!(times("cpu  1 2 3 4 5 6 7"), CpuTimes { busy: [1, 2, 3, 6, 7, 0], idle: 9 }); // 2.6
        assert_eq!(
            times("cpu  1 2 3 4 5 6 7 8 9 10 11 what"),
            CpuTimes { busy: [1, 2, 3, 6, 7, 8], idle: 9 }
        );
        assert_eq!(
            times("cpu0 9 9 9 9\ncpu  1 2 3 4\n"),
            CpuTimes { busy: [1, 2, 3, 0, 0, 0], idle: 4 }
        );
        let error = |text| CpuTimes::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "/proc/stat: no line starts with \"cpu\"");
        assert_eq!(error("cpu0 1 2 3 4"), "/proc/stat: no line starts with \"cpu\"");
        assert_eq!(error("cpu  1 2 3"), "/proc/stat: the \"cpu\" line has fewer than four fields");
        assert_eq!(
            error("cpu  1 2 -3 4"),
            "/proc/stat: the \"cpu\" line has a field that is not a number"
        );
    }

    #[test]
    fn captured_machines() {
        let whole = times(captured!("stat.vm"));
        assert_eq!(whole, times(captured!("stat.vm").get(..STAT_LIMIT as usize).unwrap()));
        times(captured!("stat.container"));
        let busy = |now, earlier| one_decimal(times(now).busy_percent_since(&times(earlier)));
        // user 1, system 6, idle 27781
        assert_eq!(busy(captured!("stat.128-later"), captured!("stat.128")), 0.0);
        assert_eq!(busy(captured!("stat.128"), "cpu  0 0 0 0"), 2.8);
        // Three processors came back: 11 ticks busy, and 33 of idle time taken back.
        assert_eq!(busy(captured!("stat.replugged"), captured!("stat.unplugged")), 0.0);
        // 1 + 4 + 1 of 814
        assert_eq!(busy(captured!("stat.replugged-later"), captured!("stat.replugged")), 0.7);
        for meminfo in
            [captured!("meminfo.vm"), captured!("meminfo.container"), captured!("meminfo.128")]
        {
            assert!((1.0..=99.0).contains(&memory_percent(meminfo).unwrap()));
        }
        // No MemAvailable: (15666184 - 440324 - 1020128 - 12007640 - 1738124) / 15666184
        assert_eq!(one_decimal(memory_percent(captured!("meminfo.no-available")).unwrap()), 2.9);
    }

    #[test]
    fn memory() {
        let percent = |text| memory_percent(text).unwrap();
        assert_eq!(percent("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n"), 75.0);
        assert_eq!(percent("MemTotal: 1000 kB\nMemAvailable: 2000 kB\n"), 0.0);
        assert_eq!(percent("MemTotal: 1000 kB\nMemFree: 100 kB\n"), 90.0);
        assert_eq!(
            percent(
                "MemTotal: 9 kB\nMemFree: 18446744073709551615 kB\nCached: 18446744073709551615 kB\n"
            ),
            0.0
        );
        let error = |text| memory_percent(text).unwrap_err().to_string();
        for text in
            ["", "MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: x kB\n", "MemTotalX: 5 kB\n"]
        {
            assert_eq!(error(text), "/proc/meminfo: no MemTotal above zero");
        }
        assert_eq!(
            error("MemTotal: 5 kB\nCached: 5 kB\n"),
            "/proc/meminfo: neither MemAvailable nor MemFree"
        );
    }

    #[test]
    fn this_machine() {
        let earlier = CpuTimes::read().unwrap();
        assert!((0.0..=100.0).contains(&CpuTimes::read().unwrap().busy_percent_since(&earlier)));
        assert!((1.0..=100.0).contains(&read_memory_percent().unwrap()));
        assert!((0.0..=100.0).contains(&disk_percent("/").unwrap()));
        let error = |path| disk_percent(path).unwrap_err().to_string();
        assert_eq!(error("/proc"), "statvfs /proc: no blocks, so no used share");
        assert_eq!(error("/no/such"), "statvfs /no/such: No such file or directory (os error 2)");
    }

    #[test]
    fn rounding() {
        assert_eq!([12.34, 12.35, 0.04, 99.96].map(one_decimal), [12.3, 12.4, 0.0, 100.0]);
    }

    proptest! {
        #[test]
        fn never_outside_the_scale(then: [u64; 10], now: [u64; 10]) {
            let line = |ticks: [u64; 10]| ticks.iter().fold("cpu ".to_string(), |line, tick| format!("{line} {tick}"));
            let busy = times(&line(now)).busy_percent_since(&times(&line(then)));
            prop_assert!((0.0..=100.0).contains(&busy), "{}", busy);
        }

        #[test]
        fn never_panics(text: String, total: u64, available: u64) {
            let _ = CpuTimes::parse(&text);
            let _ = CpuTimes::parse(&format!("cpu {text}"));
            let _ = memory_percent(&text);
            let _ = memory_percent(&format!("MemTotal: {text}"));
            if let Ok(used) = memory_percent(&format!("MemTotal: {total} kB\nMemAvailable: {available} kB\n")) {
                prop_assert!((0.0..=100.0).contains(&used), "{}", used);
            }
        }
    }
}
