//! What the unit keeps the agent from, and that all of its work goes on: under the unit that it installs,
//! and under the one of 0.1.0, which stays where the gateway has upgraded an agent.

use serde_json::json;

use crate::docker::{machine, start_container};
use crate::support::{Gateway, INSTALLED, Scene, Server, UNIT, short_probation};

/// `dist/vmkit-agent.service` as 0.1.0 had it.
const UNIT_OF_0_1_0: &[u8] = include_bytes!("units/0.1.0.service");

#[test]
fn all_of_the_work_goes_on_under_the_unit_it_installs() {
    let scene = Scene::installed_by_itself(machine());
    let Scene { vm, gateway, .. } = &scene;
    start_container(vm);
    let status = vm.sh(&format!("cat /proc/{}/status", vm.main_pid(UNIT)));
    // CHOWN, DAC_OVERRIDE and FOWNER, of 41.
    for line in ["CapBnd:\t000000000000000b", "CapEff:\t000000000000000b", "Seccomp:\t2"] {
        assert!(status.contains(line), "no {line:?} in {status}");
    }
    let limits = vm.sh(&format!("cat /proc/{}/limits", vm.main_pid(UNIT)));
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    assert!(core.is_some_and(|line| line.split_whitespace().nth(4) == Some("0")), "{limits}");
    assert_eq!(vm.sh("stat --format '%a %u' /var/lib/vmkit-agent"), "700 0");

    assert_serves(gateway);
    // Of another user, as a rootless docker's.
    vm.sh("chown 1000:1000 /run/docker.sock; chmod 600 /run/docker.sock");
    assert_serves(gateway);
    vm.sh(&format!("chown 1000:staff {INSTALLED}; chmod 750 {INSTALLED}"));
    scene.upgrade_and_roll_back();
    assert_eq!(vm.sh(&format!("stat --format '%a %U:%G' {INSTALLED}")), "750 UNKNOWN:staff");
    assert_serves(gateway);

    // The agent still does its work.
    let agent = format!("nsenter --target {} --mount", vm.main_pid(UNIT));
    for path in ["/usr/bin/vmkit-test", "/etc/vmkit-test", "/root/vmkit-test", "/boot/vmkit-test"] {
        let made = vm.try_sh(&format!("{agent} touch {path}"));
        assert!(made.stderr.contains("Read-only"), "{path}: {made:?}");
    }
    assert!(!vm.try_sh(&format!("{agent} ls /dev/mem /dev/kmsg")).ok);
}

#[test]
fn all_of_the_work_goes_on_under_the_unit_of_0_1_0() {
    let scene =
        Scene::installed_under(UNIT_OF_0_1_0, machine(), Server::plain(), &short_probation());
    let Scene { vm, gateway, .. } = &scene;
    start_container(vm);
    assert_serves(gateway);
    scene.upgrade_and_roll_back();
    assert_serves(gateway);
    let unit = vm.sh(&format!("cat /etc/systemd/system/{UNIT}"));
    assert_eq!(unit.trim(), String::from_utf8_lossy(UNIT_OF_0_1_0).trim());
}

/// Metrics and logs, with what docker knows.
#[track_caller]
fn assert_serves(gateway: &Gateway) {
    let metrics = gateway.command("metrics vm").expect("it is registered");
    assert_eq!(metrics["container_health"], json!({"web": "none"}), "{metrics}");
    assert!(metrics.get("errors").is_none(), "{metrics}");
    let logs = gateway.command("logs vm web").expect("it has logs");
    assert_eq!(logs["lines"][0]["text"], "hello", "{logs}");
}
