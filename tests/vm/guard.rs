//! The guard under systemd: killed when it has put the previous version back, asked to stop, beside a
//! service that an operator has stopped, and of an agent whose unit has another name.

use std::time::Instant;

use crate::support::{
    INSTALLED, PATIENCE, Release, SHORT_PROBATION, Scene, Server, UNIT, Vm, poll_until,
    short_probation,
};

const GUARD: &str = "vmkit-agent-rollback.service";

/// systemd starts it again, from the previous version's own name, and it goes on with the restart.
#[test]
fn that_is_killed_when_the_previous_version_is_back_goes_on() {
    let scene = Scene::with_short_probation();
    let Scene { vm, gateway, .. } = &scene;
    // The first `systemctl kill`, right after the put-back, kills the guard instead.
    let systemctl = "#!/bin/sh\ncase \"$*\" in *kill*)\n\
        if mkdir /run/vmkit-test-once 2>/dev/null; then kill -KILL $PPID; exit; fi ;; esac\n\
        exec /usr/bin/systemctl \"$@\"\n";
    vm.write("/usr/local/sbin/systemctl", systemctl.as_bytes());
    vm.sh("chmod 755 /usr/local/sbin/systemctl");
    let new = Release::next();
    let mark = gateway.mark();
    gateway.command("refuse-register on").expect("a command of the gateway's");
    scene.upgrade(&new).expect("it passes every test there is before it runs");
    poll_until("the kill", SHORT_PROBATION + PATIENCE, || {
        vm.try_sh("test -d /run/vmkit-test-once").ok.then_some(())
    });
    gateway.command("refuse-register off").expect("a command of the gateway's");
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    assert_eq!(vm.sha256(INSTALLED), Release::current().sha256);
    scene.wait_for_no_guard();
}

/// A machine that goes down during a probation does not wait for it.
#[test]
fn ends_at_once_when_it_is_stopped() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    gateway.command("refuse-register on").expect("a command of the gateway's");
    let new = Release::next();
    scene.upgrade(&new).expect("it passes every test there is before it runs");
    vm.wait_for_journal(UNIT, 0, &["trial of version"], PATIENCE);
    let began = Instant::now();
    vm.sh(&format!("systemctl stop {GUARD}"));
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
    assert_eq!(vm.sha256(INSTALLED), new.sha256, "nothing is rolled back for that");
}

#[test]
fn does_not_start_a_service_that_was_stopped() {
    let scene = Scene::with_short_probation();
    let Scene { vm, gateway, .. } = &scene;
    gateway.command("refuse-register on").expect("a command of the gateway's");
    scene.upgrade(&Release::next()).expect("it passes every test there is before it runs");
    vm.wait_for_journal(UNIT, 0, &["trial of version"], PATIENCE);
    vm.sh("systemctl stop vmkit-agent");
    scene.wait_for_installed(&Release::current(), SHORT_PROBATION + PATIENCE);
    scene.wait_for_no_guard();
    assert_eq!(vm.try_sh("systemctl is-active vmkit-agent").stdout.trim(), "inactive");
}

/// The version before is restarted as the unit that it was.
#[test]
fn of_an_agent_in_a_unit_of_another_name_restarts_that_unit() {
    let unit = format!(
        "[Service]\nEnvironmentFile=/etc/vmkit/agent.env\nExecStart={INSTALLED}\nRestart=always\n\
         RestartSec=1\n[Install]\nWantedBy=multi-user.target\n"
    );
    let machine = (Vm::boot(), Server::plain());
    let name = "vmkit-test-agent.service";
    let scene = Scene::installed_as(name, unit.as_bytes(), machine, &short_probation());
    let Scene { vm, gateway, .. } = &scene;
    let mark = gateway.mark();
    let broken = Release::script("9.9.9", "exit 1");
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    gateway.wait_for_register(mark, &Release::current().version, SHORT_PROBATION + PATIENCE);
    let told = gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    assert_eq!(told["cause"], "never_started", "{told}");
    assert_eq!(vm.sh("systemctl is-active vmkit-test-agent").trim(), "active");
    scene.wait_for_no_guard();
}
