//! Figures from captured and made-up texts of `/proc`, and those of this machine.

use super::*;
use proptest::prelude::*;

/// `tests/fixtures/README.md` says where each is from.
macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/proc/", $name))
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
fn swap() {
    // SwapTotal and SwapFree are the same, or both zero.
    assert_eq!(swap_percent(captured!("meminfo.vm")), None);
    assert_eq!(swap_percent("SwapTotal: 200 kB\nSwapFree: 150 kB\n"), Some(25.0));
    assert_eq!(swap_percent("SwapTotal: 200 kB\nSwapFree: 900 kB\n"), Some(0.0));
    assert_eq!(swap_percent("SwapTotal: 0 kB\nSwapFree: 0 kB\n"), None);
    assert_eq!(swap_percent("SwapTotal: 200 kB\n"), None);
    assert_eq!(swap_percent(""), None);
}

#[test]
fn uptime_and_load() {
    assert_eq!(uptime("350735.47 234388.90\n").unwrap(), 350_735);
    assert_eq!(uptime("0.00 0.00\n").unwrap(), 0);
    let error = |text| uptime(text).unwrap_err().to_string();
    assert_eq!(error(""), "/proc/uptime: it does not begin with a number");
    assert_eq!(error("-1.0"), "/proc/uptime: it does not begin with a number");

    assert_eq!(load("0.52 12.08 1234.59 1/467 12345\n").unwrap(), [0.52, 12.08, 1234.59]);
    for text in ["", "0.52 0.58", "0.52 0.58 1/467 12345", "0.5 0.58 0.59", "x.yz 0.58 0.59"] {
        let error = load(text).unwrap_err().to_string();
        assert_eq!(error, "/proc/loadavg: it does not begin with three numbers");
    }
}

#[test]
fn this_machine() {
    let earlier = CpuTimes::read().unwrap();
    assert!((0.0..=100.0).contains(&CpuTimes::read().unwrap().busy_percent_since(&earlier)));
    assert!((1.0..=100.0).contains(&read_memory_percent().unwrap()));
    let root = read_space(Path::new("/")).unwrap();
    assert!((0.0..=100.0).contains(&root.used_percent));
    assert!(root.inodes_percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
    assert!(read_uptime().unwrap() > 0);
    assert!(read_load().unwrap().iter().all(|load| *load >= 0.0));
    let swap = read_swap_percent().unwrap();
    assert!(swap.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
    let error = |path| read_space(Path::new(path)).err().unwrap().to_string();
    assert_eq!(error("/proc"), "statvfs /proc: no blocks, so no used share");
    assert_eq!(error("/no/such"), "statvfs /no/such: No such file or directory (os error 2)");
    assert_eq!(error("/no\nsuch"), "statvfs /no\\nsuch: No such file or directory (os error 2)");
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
        let _ = (uptime(&text), load(&text), swap_percent(&format!("SwapTotal: {text}")));
        if let Ok(used) = memory_percent(&format!("MemTotal: {total} kB\nMemAvailable: {available} kB\n")) {
            prop_assert!((0.0..=100.0).contains(&used), "{}", used);
        }
    }
}
