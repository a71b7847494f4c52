//! Upgrades that go well, from the gateway's request to the confirmed new version.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Download, INSTALLED, PATIENCE, PREVIOUS, Release, Scene, Server, TOKEN, UNIT, poll_until,
};

/// How long the agent may be away.
const OFFLINE: Duration = Duration::from_secs(5);

#[test]
fn replaces_the_agent_and_is_confirmed() {
    let (old, new) = (Release::current(), Release::next());
    let scene = Scene::installed_with(Server::tls(), "");
    let Scene { vm, gateway, .. } = &scene;
    let access = |path: &str| vm.sh(&format!("stat --format '%a %u:%g' {path}"));
    vm.sh(&format!("chown 0:staff {INSTALLED}; chmod 750 {INSTALLED}"));
    let access_before = access(INSTALLED);

    let mark = gateway.mark();
    assert_eq!(scene.upgrade(&new).expect("a good upgrade"), json!({"status": "upgrading"}));
    let gone = gateway.wait_for(mark, "disconnected", PATIENCE, |_| true);
    assert!(gone.value["reason"].as_str().unwrap_or_default().contains("1001"), "{gone:?}");
    let back = gateway.wait_for_register(mark, &new.version, PATIENCE);
    let offline = back.at - gone.at;
    assert!(offline < OFFLINE, "it was offline for {offline:?}");
    vm.wait_for_journal(UNIT, 0, &["confirmed"], PATIENCE);

    assert_eq!(vm.sha256(INSTALLED), new.sha256);
    assert_eq!(vm.sha256(PREVIOUS), old.sha256);
    assert_eq!(access(INSTALLED), access_before);
    assert_eq!(scene.files(), [INSTALLED, PREVIOUS]);
    scene.wait_for_no_guard();
    assert_eq!(gateway.events(mark, "registered").len(), 1);
    assert_eq!(gateway.events(mark, "violation").len(), 0);

    // It is the installed version now, and not on probation.
    let (mark, said) = (gateway.mark(), vm.journal(UNIT).len());
    vm.reboot();
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    let again = &vm.journal(UNIT)[said..];
    assert!(!again.iter().any(|line| line.holds(&["trial of version"])), "{again:#?}");
}

#[test]
fn the_journal_tells_the_story() {
    let new = Release::next();
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    let mark = gateway.mark();
    // Long enough to be heard of on the way.
    let number = scene.ask_for_upgrade(&new, Download::Slow(Duration::from_secs(7)));
    let progress = gateway.wait_for_notification(mark, "upgrade_progress", PATIENCE);
    assert_eq!(progress["stage"], "download", "{progress}");
    assert_eq!(progress["total"], new.bytes().len(), "{progress}");
    assert!(progress["bytes"].as_u64() > Some(0), "{progress}");
    gateway.answer(number, PATIENCE).expect("a good upgrade");
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    vm.wait_for_journal(UNIT, 0, &["confirmed"], PATIENCE);

    let size = new.bytes().len().to_string();
    let story: [&[&str]; 7] = [
        &["requested", &new.version, "localhost"],
        &["downloaded", &size, "bytes", " s"],
        &["verified"],
        &["tested", &new.version],
        &["swapped"],
        &["restarting"],
        &["confirmed", &new.version],
    ];
    let journal = vm.journal(UNIT);
    let own: Vec<_> = journal.iter().filter(|line| line.identifier == "vmkit-agent").collect();
    let mut rest = own.iter();
    for words in story {
        let told = rest.any(|line| line.holds(words) && line.priority == 6);
        assert!(told, "no {words:?} at its place in {own:#?}");
    }
    // A good upgrade is nothing to worry anybody, and the token is nobody's.
    assert!(own.iter().all(|line| line.priority > 4), "{own:#?}");
    assert!(journal.iter().all(|line| !line.message.contains(TOKEN)));
}

#[test]
fn ten_in_a_row_leave_nothing() {
    let (old, new) = (Release::current(), Release::next());
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    // What is on the disk, but for the two binaries, whose turns it is; and what systemd knows of.
    let left = || {
        vm.sh("find /usr/local /var/lib/vmkit-agent /tmp /etc/systemd 2>/dev/null | sort; \
             systemctl list-units --all --plain --no-legend 'vmkit*' | sort")
    };
    let mut settled = String::new();
    for round in 1..=10 {
        let (from, to) = if round % 2 == 1 { (&old, &new) } else { (&new, &old) };
        let mark = gateway.mark();
        if let Err(refusal) = scene.upgrade(to) {
            panic!("upgrade {round}: {refusal:?}");
        }
        let gone = gateway.wait_for(mark, "disconnected", PATIENCE, |_| true);
        let back = gateway.wait_for_register(mark, &to.version, PATIENCE);
        assert!(back.at - gone.at < OFFLINE, "upgrade {round}: {:?}", back.at - gone.at);
        scene.wait_for_no_guard();
        assert_eq!(
            (vm.sha256(INSTALLED), vm.sha256(PREVIOUS)),
            (to.sha256.clone(), from.sha256.clone())
        );
        match round {
            1 => {
                settled = poll_until("a machine at rest", PATIENCE, || {
                    Some(left()).filter(|left| !left.contains("rollback"))
                })
            }
            _ => assert_eq!(left(), settled, "after upgrade {round}"),
        }
    }
    assert_eq!(scene.files(), [INSTALLED, PREVIOUS]);
    assert_eq!(gateway.events(0, "violation").len(), 0);
}

/// systemd starts a service no more than five times in ten seconds, unless it is told to forget.
#[test]
fn counts_for_nothing_in_the_limit_of_starts() {
    let new = Release::next();
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    for _ in 0..4 {
        let mark = gateway.mark();
        vm.sh("systemctl restart vmkit-agent");
        gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    }
    let mark = gateway.mark();
    scene.upgrade(&new).expect("a good upgrade");
    let gone = gateway.wait_for(mark, "disconnected", PATIENCE, |_| true);
    let back = gateway.wait_for_register(mark, &new.version, PATIENCE);
    assert!(back.at - gone.at < OFFLINE, "it was offline for {:?}", back.at - gone.at);
}

/// The troubleshooting list's "force-upgrade manually".
#[test]
fn can_be_done_by_hand() {
    let new = Release::next();
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    let mark = gateway.mark();
    let url = scene.server.offer("vmkit-agent", new.bytes(), Download::Whole);
    let Release { version, sha256, .. } = &new;
    vm.sh(&format!("vmkit-agent upgrade --version {version} --sha256 {sha256} --url {url}"));
    gateway.wait_for_register(mark, version, PATIENCE);
    assert_eq!(vm.sha256(INSTALLED), new.sha256);
    scene.wait_for_no_guard();
}
