//! `vmkit-agent install` on a machine that is in the middle of something: an installation that was
//! cut short, another one at the same time, a service that is forbidden or on its way.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;

use super::program::{ENV_FILE, PROGRAM, REGISTERED, UNIT, failed, succeeded};
use super::support::{Cell, TOKEN, said};

const GIVEN: (&str, &str) = ("VMKIT_AGENT_TOKEN", TOKEN);

fn installed() -> Cell {
    let cell = Cell::with_systemd(REGISTERED);
    succeeded(&cell.agent(&["install"], &[GIVEN]));
    cell.calls();
    cell
}

/// A unit that is masked is a link to `/dev/null`.
#[test]
fn a_masked_service_stays_so() {
    let cell = installed();
    fs::remove_file(cell.path(UNIT)).expect("it was installed");
    symlink("/dev/null", cell.path(UNIT)).expect("the test's own");
    cell.write("/vmkit-test/enabled", "UnitFileState=masked\n");
    let before = cell.tree();
    failed(&cell.agent(&["install"], &[]), 1, "systemctl unmask vmkit-agent");
    assert_eq!((cell.tree(), cell.calls()), (before, Vec::new()));
}

/// Nothing of ours goes where a link leads that leads to no file.
#[test]
fn a_link_to_a_device_is_replaced() {
    let cell = Cell::bare();
    fs::create_dir_all(cell.path("/etc/vmkit")).expect("the test's own");
    symlink("/dev/null", cell.path(ENV_FILE)).expect("the test's own");
    succeeded(&cell.agent(&["install"], &[GIVEN]));
    assert!(fs::symlink_metadata(cell.path(ENV_FILE)).is_ok_and(|file| file.is_file()));
    assert_eq!(cell.mode(ENV_FILE), "600");
}

#[test]
fn a_unit_that_systemd_has_not_read_is_read() {
    let cell = installed();
    cell.write("/vmkit-test/status", &format!("NeedDaemonReload=yes\nStatusText={REGISTERED}\n"));
    succeeded(&cell.agent(&["install"], &[]));
    assert_eq!(cell.calls(), ["daemon-reload", "restart vmkit-agent"]);
}

/// `start` would wait for what goes on already.
#[test]
fn a_service_that_hangs_on_its_way_up_is_restarted() {
    let cell = installed();
    cell.write("/vmkit-test/active", "ActiveState=activating\n");
    succeeded(&cell.agent(&["install"], &[]));
    assert_eq!(cell.calls(), ["restart vmkit-agent"]);
}

#[test]
fn a_credential_is_token_enough() {
    let cell = Cell::with_systemd(REGISTERED);
    let comment = "# LoadCredential=vmkit-agent-token:/path\n";
    cell.write("/vmkit-test/unit", comment);
    failed(&cell.agent(&["install"], &[]), 1, "no token");
    let unit = format!("{comment}[Service]\nLoadCredential=vmkit-agent-token:/etc/token\n");
    cell.write("/vmkit-test/unit", &unit);
    succeeded(&cell.agent(&["install"], &[]));
    assert!(!cell.read(ENV_FILE).contains("VMKIT_AGENT_TOKEN"));
}

/// One of several installations does all the work, and the others say so.
#[test]
fn several_at_once_do_not_meet() {
    let cell = Cell::bare();
    let outputs: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| cell.agent(&["install"], &[GIVEN]))).collect();
        runs.into_iter().map(|run| run.join().expect("no run panics")).collect()
    });
    assert!(outputs.iter().any(|output| output.status.success()));
    for output in outputs.iter().filter(|output| !output.status.success()) {
        failed(output, 1, "another installation is under way");
    }
    assert_eq!(cell.mode(PROGRAM), "755");
    succeeded(&cell.agent(&["uninstall", "--purge"], &[]));
    assert!(cell.tree().iter().all(|path| !path.contains("vmkit")), "{:?}", cell.tree());
}

/// The watch over an upgrade on probation is worth more than a look.
#[test]
fn a_dry_run_leaves_a_probation_alone() {
    let cell = installed();
    let units = [
        "/etc/systemd/system/vmkit-agent-rollback-boot.service",
        "/etc/systemd/system/vmkit-agent-rollback-boot.timer",
        "/etc/systemd/system/timers.target.wants/vmkit-agent-rollback-boot.timer",
    ];
    for unit in units {
        cell.write(unit, "");
    }
    cell.write("/var/lib/vmkit-agent/upgrade.json", "{");
    cell.write(&format!("{ENV_FILE}.new"), "half a token");
    let before = cell.tree();
    let output = cell.agent(&["uninstall", "--purge", "--dry-run"], &[]);
    succeeded(&output);
    assert_eq!((cell.tree(), cell.calls()), (before, Vec::new()));
    for unit in units {
        assert!(said(&output).contains(&format!("would remove {unit}\n")), "{}", said(&output));
    }
    succeeded(&cell.agent(&["uninstall", "--purge"], &[]));
    assert!(cell.tree().iter().all(|path| !path.contains("vmkit")), "{:?}", cell.tree());
}

#[test]
fn what_runs_without_a_unit_is_stopped() {
    let cell = installed();
    fs::remove_file(cell.path(UNIT)).expect("it was installed");
    succeeded(&cell.agent(&["uninstall"], &[]));
    assert!(cell.calls().contains(&"stop vmkit-agent".to_owned()));
}
