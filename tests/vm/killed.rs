//! Killed on the way: the agent, or the whole machine. It comes back with a whole agent.

use crate::support::{
    Download, INSTALLED, PATIENCE, PREVIOUS, Release, SHORT_PROBATION, Scene, UNIT, poll_until,
};

const KILL: &str = "systemctl kill --signal KILL --kill-who main vmkit-agent";

#[test]
fn the_agent_during_the_download() {
    let scene = Scene::installed();
    let mark = scene.gateway.mark();
    let number = stall(&scene);
    scene.vm.sh(KILL);
    assert!(scene.gateway.answer(number, PATIENCE).is_err());
    assert_as_before(&scene, mark);
    assert_upgrades(&scene);
}

#[test]
fn the_machine_during_the_download() {
    let scene = Scene::installed();
    let mark = scene.gateway.mark();
    stall(&scene);
    scene.vm.kill();
    scene.vm.start();
    assert_as_before(&scene, mark);
    assert_upgrades(&scene);
}

/// Once is no reason to give it up.
#[test]
fn the_new_version_during_its_probation() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    let new = put_on_probation(&scene);
    vm.sh(KILL);
    gateway.command("refuse-register off").expect("a command of the gateway's");
    let mark = gateway.mark();
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    vm.wait_for_journal(UNIT, 0, &["confirmed"], PATIENCE);
    scene.wait_for_no_guard();
    assert_eq!(vm.sha256(INSTALLED), new.sha256);
}

#[test]
fn the_machine_during_the_probation_of_a_good_version() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    let new = put_on_probation(&scene);
    vm.kill();
    gateway.command("refuse-register off").expect("a command of the gateway's");
    let mark = gateway.mark();
    vm.start();
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    vm.wait_for_journal(UNIT, 0, &["confirmed"], PATIENCE);
    scene.wait_for_no_guard();
    assert_eq!(vm.sha256(INSTALLED), new.sha256);
}

/// The timer that watches is gone with the machine; the watch is not.
#[test]
fn the_machine_during_the_probation_of_one_that_is_refused() {
    let scene = Scene::with_short_probation();
    let Scene { vm, gateway, .. } = &scene;
    put_on_probation(&scene);
    vm.kill();
    let mark = gateway.mark();
    vm.start();
    scene.wait_for_installed(&Release::current(), SHORT_PROBATION + PATIENCE);
    gateway.command("refuse-register off").expect("a command of the gateway's");
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
}

/// The watch does not depend on the new binary, which may not run at all.
#[test]
fn the_machine_during_the_probation_of_one_that_does_not_run() {
    let scene = Scene::with_short_probation();
    let Scene { vm, gateway, .. } = &scene;
    let broken = Release::script("9.9.9", "exit 1");
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    scene.wait_for_installed(&broken, PATIENCE);
    vm.kill();
    let mark = gateway.mark();
    vm.start();
    scene.wait_for_installed(&Release::current(), SHORT_PROBATION + PATIENCE);
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    scene.wait_for_no_guard();
}

/// systemd starts it again.
#[test]
fn the_guard_during_the_probation_of_one_that_is_refused() {
    let scene = Scene::with_short_probation();
    let Scene { vm, gateway, .. } = &scene;
    put_on_probation(&scene);
    vm.sh("systemctl kill --signal KILL vmkit-agent-rollback.service");
    scene.wait_for_installed(&Release::current(), SHORT_PROBATION + PATIENCE);
    let mark = gateway.mark();
    gateway.command("refuse-register off").expect("a command of the gateway's");
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    scene.wait_for_no_guard();
}

/// Begins an upgrade whose download does not end; the number of the request.
#[track_caller]
fn stall(scene: &Scene) -> u64 {
    let new = Release::next();
    let number = scene.ask_for_upgrade(&new, Download::Stalled);
    let half = new.bytes().len() as u64 / 2;
    poll_until("half a download", PATIENCE, || {
        let size = format!("stat --format %s /tmp/vmkit-agent-{}", new.version);
        (scene.vm.try_sh(&size).stdout.parse() == Ok(half)).then_some(())
    });
    number
}

/// Upgrades to a version that the gateway does not let register.
#[track_caller]
fn put_on_probation(scene: &Scene) -> Release {
    let new = Release::next();
    scene.gateway.command("refuse-register on").expect("a command of the gateway's");
    scene.upgrade(&new).expect("it passes every test there is before it runs");
    scene.vm.wait_for_journal(UNIT, 0, &["did not accept"], PATIENCE);
    assert_eq!(scene.vm.sha256(INSTALLED), new.sha256);
    new
}

/// The old version is registered, and nothing is left of what was begun.
#[track_caller]
fn assert_as_before(scene: &Scene, mark: usize) {
    let old = Release::current();
    scene.gateway.wait_for_register(mark, &old.version, PATIENCE);
    assert_eq!(scene.vm.sha256(INSTALLED), old.sha256);
    assert_eq!(scene.files(), [INSTALLED]);
    scene.wait_for_no_guard();
}

#[track_caller]
fn assert_upgrades(scene: &Scene) {
    let new = Release::next();
    let mark = scene.gateway.mark();
    scene.upgrade(&new).expect("what was killed is no reason to refuse");
    scene.gateway.wait_for_register(mark, &new.version, PATIENCE);
    assert_eq!(scene.files(), [INSTALLED, PREVIOUS]);
}
