//! The agent as it installs itself under systemd: the project's own unit, what comes with it, and an
//! end that leaves nothing.

use std::thread;
use std::time::Duration;

use crate::support::{BROUGHT, PATIENCE, Release, Scene, UNIT, Vm, poll_until};

#[test]
fn installs_itself_once_and_leaves_nothing() {
    let scene = Scene::installed_by_itself(Vm::boot());
    let Scene { vm, gateway, .. } = &scene;
    assert_eq!(vm.property(UNIT, "Type"), "notify");
    assert!(vm.property(UNIT, "StatusText").starts_with("registered as vm"));
    assert_eq!(vm.sh("stat --format '%a %u' /etc/vmkit/agent.env"), "600 0");
    assert_eq!(vm.sh("systemctl is-enabled vmkit-agent"), "enabled");

    let pid = vm.main_pid(UNIT);
    scene.install();
    assert_eq!(vm.main_pid(UNIT), pid, "nothing has changed, nothing restarts");

    let mark = gateway.mark();
    vm.reboot();
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);

    vm.sh(&format!("{BROUGHT} uninstall --purge"));
    let left = "find / -xdev -path /proc -prune -o -name '*vmkit*' -print";
    assert_eq!(vm.sh(left), BROUGHT);
}

#[test]
fn upgrades_and_rolls_back_under_its_own_unit() {
    Scene::installed_by_itself(Vm::boot()).upgrade_and_roll_back();
}

/// The one that somebody has put there as the reference document says.
#[test]
fn takes_the_place_of_the_reference_unit() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    vm.install(&Release::current().program, BROUGHT);
    let (pid, mark) = (vm.main_pid(UNIT), gateway.mark());
    scene.install();
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    assert_eq!(vm.property(UNIT, "Type"), "notify");
    assert_eq!(vm.property(UNIT, "NeedDaemonReload"), "no");
    assert_ne!(vm.main_pid(UNIT), pid);
    assert_eq!(gateway.events(mark, "registered").len(), 1, "one restart is all it takes");
}

/// An installation was cut short between a file and the restart.
#[test]
fn takes_up_what_an_installation_has_left_undone() {
    let scene = Scene::installed_by_itself(Vm::boot());
    let Scene { vm, gateway, .. } = &scene;
    // The kernel's times of a start are inexact, so `install` takes a file for newer than the agent
    // only where it is newer by more than two seconds.
    let age = format!("ps -o etimes= -p {}", vm.main_pid(UNIT));
    poll_until("an agent that is older than that", PATIENCE, || {
        (vm.sh(&age).trim().parse::<u32>().expect("seconds") > 3).then_some(())
    });
    vm.sh(&format!("VMKIT_LOG_LEVEL=debug {BROUGHT} install --no-start"));
    let (pid, mark) = (vm.main_pid(UNIT), gateway.mark());
    scene.install();
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    assert_ne!(vm.main_pid(UNIT), pid);
    let doctor = vm.try_sh("vmkit-agent doctor").stdout;
    assert!(doctor.contains("PASS  service        enabled, running as process"), "{doctor}");
    assert!(!doctor.contains("running  "), "nothing differs: {doctor}");
}

/// The gateway was wrong and is right now, and nobody has restarted the agent.
#[test]
fn is_examined_as_it_runs() {
    let scene = Scene::installed_by_itself(Vm::boot());
    let Scene { vm, gateway, .. } = &scene;
    let file = "/etc/vmkit/agent.env";
    vm.sh(&format!(
        "sed -i 's,^VMKIT_GATEWAY_URL=.*,VMKIT_GATEWAY_URL=wss://localhost:1/,' {file}"
    ));
    vm.sh("systemctl restart vmkit-agent");
    vm.sh(&format!("sed -i 's,^VMKIT_GATEWAY_URL=.*,VMKIT_GATEWAY_URL={},' {file}", gateway.url));
    let doctor = vm.try_sh("vmkit-agent doctor");
    assert!(!doctor.ok);
    let first = |verdict| doctor.stdout.lines().find(|line| line.starts_with(verdict));
    assert!(first("WARN").is_some_and(|line| line.contains("VMKIT_GATEWAY_URL")), "{doctor:?}");
    let failed = doctor.stdout.lines().find(|line| line.starts_with("FAIL  service"));
    let words = ["not registered", "systemctl restart vmkit-agent"];
    assert!(failed.is_some_and(|line| words.iter().all(|word| line.contains(word))), "{doctor:?}");
}

#[test]
fn is_started_anew_when_it_hangs() {
    const WATCHDOG: Duration = Duration::from_secs(2);
    let scene = Scene::installed_by_itself(Vm::boot());
    let Scene { vm, gateway, .. } = &scene;
    // A minute is long for a test.
    let shorter = format!("[Service]\nWatchdogSec={}\n", WATCHDOG.as_secs());
    vm.write("/etc/systemd/system/vmkit-agent.service.d/test.conf", shorter.as_bytes());
    let mark = gateway.mark();
    vm.sh("systemctl daemon-reload; systemctl restart vmkit-agent");
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);

    // An idle agent feeds its watchdog. The time is the subject of the test.
    thread::sleep(WATCHDOG * 3);
    assert_eq!(vm.property(UNIT, "NRestarts"), "0");

    let mark = gateway.mark();
    vm.sh("systemctl kill --signal STOP --kill-who main vmkit-agent");
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    assert_eq!(vm.property(UNIT, "NRestarts"), "1");
    vm.wait_for_journal(UNIT, 0, &["watchdog timeout"], PATIENCE);
}
