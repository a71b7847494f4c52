//! New binaries that are no good: each is rolled back, by itself, and not taken again.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Download, INSTALLED, PATIENCE, PREVIOUS, Release, SHORT_PROBATION, Scene, UNIT,
};

/// How long a roll-back may take after the end of the probation: 150 s less 120 s of probation.
const SLACK: Duration = Duration::from_secs(30);

/// A version that no release has.
const BROKEN: &str = "9.9.9";
const NEVER_STARTED: (&str, bool) = ("never_started", true);

#[test]
fn one_that_exits_at_once() {
    // Probation is 120 s, of which this one needs few: systemd counts its failed starts.
    let scene = Scene::installed();
    let broken = Release::script(BROKEN, "exit 1");
    let mark = scene.gateway.mark();
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    scene.wait_for_installed(&Release::current(), Duration::from_secs(60));
    assert_rolled_back(&scene, mark, &broken, NEVER_STARTED);
    assert_refused_until_another_is_confirmed(&scene, &broken);
}

#[test]
fn one_that_never_registers() {
    let scene = Scene::with_short_probation();
    let broken = Release::script(BROKEN, "exec sleep infinity");
    let mark = scene.gateway.mark();
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    assert_rolled_back(&scene, mark, &broken, NEVER_STARTED);
}

#[test]
fn one_that_hangs_and_does_not_stop_when_told_to() {
    let scene = Scene::with_short_probation();
    let broken = Release::script(BROKEN, "trap '' TERM INT HUP\nwhile :; do sleep 1; done");
    let mark = scene.gateway.mark();
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    assert_rolled_back(&scene, mark, &broken, NEVER_STARTED);
}

#[test]
fn one_whose_register_is_refused() {
    let scene = Scene::with_short_probation();
    let new = Release::next();
    let mark = scene.gateway.mark();
    scene.gateway.command("refuse-register on").expect("a command of the gateway's");
    scene.upgrade(&new).expect("it passes every test there is before it runs");
    scene.vm.wait_for_journal(UNIT, 0, &["did not accept", "refused by command"], PATIENCE);
    assert_eq!(scene.vm.sha256(INSTALLED), new.sha256);
    scene.wait_for_installed(&Release::current(), SHORT_PROBATION + SLACK);
    scene.gateway.command("refuse-register off").expect("a command of the gateway's");
    assert_rolled_back(&scene, mark, &new, ("refused", false));
}

/// The previous version might reach a gateway that the new version can't. An outage bans no version.
#[test]
fn one_that_finds_no_gateway() {
    let scene = Scene::with_short_probation();
    let new = Release::next();
    let mark = scene.gateway.mark();
    scene.gateway.command("refuse-upgrade 503").expect("a command of the gateway's");
    scene.upgrade(&new).expect("the session there is goes on");
    scene.vm.wait_for_journal(UNIT, 0, &["trial of version", &new.version], PATIENCE);
    scene.wait_for_installed(&Release::current(), SHORT_PROBATION + SLACK);
    scene.gateway.command("refuse-upgrade off").expect("a command of the gateway's");
    assert_rolled_back(&scene, mark, &new, ("unacknowledged", false));
}

/// Found by the new binary itself, long before the end of its probation.
#[test]
fn one_that_crashes_three_times() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    let new = Release::next();
    let mark = gateway.mark();
    gateway.command("refuse-register on").expect("a command of the gateway's");
    scene.upgrade(&new).expect("it passes every test there is before it runs");
    for start in 1..=3 {
        let told = format!("start {start}");
        vm.wait_for_journal(UNIT, 0, &["trial of version", &told], PATIENCE);
        vm.sh("systemctl kill --signal KILL --kill-who main vmkit-agent");
    }
    scene.wait_for_installed(&Release::current(), PATIENCE);
    gateway.command("refuse-register off").expect("a command of the gateway's");
    let reported = assert_rolled_back(&scene, mark, &new, ("crashed", true));
    assert!(reported["reason"].as_str().unwrap_or_default().contains("3 times"), "{reported}");
}

/// The old version is back and has told the gateway the cause, and whether the binary is banned;
/// the params of what it told.
#[track_caller]
fn assert_rolled_back(
    scene: &Scene,
    mark: usize,
    broken: &Release,
    (cause, banned): (&str, bool),
) -> Value {
    let old = Release::current();
    let Scene { vm, gateway, .. } = scene;
    gateway.wait_for_register(mark, &old.version, SHORT_PROBATION + SLACK);
    let reported = gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    assert_eq!(reported["version"], *broken.version, "{reported}");
    assert_eq!((&reported["cause"], &reported["banned"]), (&cause.into(), &banned.into()));
    assert_eq!(reported["checksum_sha256"], *broken.sha256, "{reported}");
    assert!(reported["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{reported}");
    assert_eq!(vm.sha256(INSTALLED), old.sha256);
    let files = scene.files();
    assert!(!files.iter().any(|file| file.ends_with(".new")), "{files:?}");
    assert!(!files.iter().any(|file| file.starts_with("/tmp/vmkit-agent")), "{files:?}");
    scene.wait_for_no_guard();
    // An operator looks for it under the agent's unit, whoever did it.
    vm.wait_for_journal(UNIT, 0, &["rolled back", &broken.version], PATIENCE);

    // Said once, whatever comes.
    let told = gateway.mark();
    vm.sh("systemctl restart vmkit-agent");
    gateway.wait_for_register(told, &old.version, PATIENCE);
    if banned {
        let refusal = scene.upgrade(broken).expect_err("it was given up");
        assert_eq!(refusal.code, Some(-32012), "{refusal:?}");
        assert!(refusal.message.contains("rolled back at"), "{refusal:?}");
    } else {
        // It is taken up again, and this time its download fails.
        let refusal = scene.upgrade_by(broken, Download::Truncated).expect_err("half a file");
        assert_eq!(refusal.code, Some(-32010), "{refusal:?}");
    }
    assert_eq!(gateway.events(told, "notification").len(), 0);
    assert_eq!(gateway.events(told, "disconnected").len(), 1, "by the restart alone");
    reported
}

#[track_caller]
fn assert_refused_until_another_is_confirmed(scene: &Scene, broken: &Release) {
    let new = Release::next();
    let mark = scene.gateway.mark();
    scene.upgrade(&new).expect("a good upgrade");
    scene.gateway.wait_for_register(mark, &new.version, PATIENCE);
    scene.wait_for_no_guard();
    assert_eq!(scene.vm.sha256(PREVIOUS), Release::current().sha256);
    // It is looked at again, and this time its download fails.
    let refusal = scene.upgrade_by(broken, Download::Truncated).expect_err("half a file");
    assert_eq!(refusal.code, Some(-32010), "{refusal:?}");
}
