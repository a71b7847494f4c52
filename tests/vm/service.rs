//! The agent as a service under the reference unit: it comes up, comes back, and goes.

use crate::support::{PATIENCE, Release, Scene, UNIT, poll_until};

#[test]
fn comes_up_comes_back_and_goes() {
    let version = Release::current().version;
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;

    let mark = gateway.mark();
    let pid = vm.main_pid(UNIT);
    vm.sh("systemctl restart vmkit-agent");
    gateway.wait_for_register(mark, &version, PATIENCE);
    assert_ne!(vm.main_pid(UNIT), pid);

    // systemd's doing: Restart=always, RestartSec=5s.
    let mark = gateway.mark();
    vm.sh("systemctl kill --signal KILL --kill-who main vmkit-agent");
    gateway.wait_for_register(mark, &version, PATIENCE);

    let mark = gateway.mark();
    vm.reboot();
    gateway.wait_for_register(mark, &version, PATIENCE);

    // Nothing was shut down: the gateway may find the old session gone only when the new one comes.
    let mark = gateway.mark();
    vm.kill();
    vm.start();
    gateway.wait_for_register(mark, &version, PATIENCE);

    let mark = gateway.mark();
    vm.sh("systemctl stop vmkit-agent");
    assert_eq!(vm.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(vm.property(UNIT, "Result"), "success");
    let gone = gateway.wait_for(mark, "disconnected", PATIENCE, |_| true);
    assert!(gone.value["reason"].as_str().unwrap_or_default().contains("1001"), "{gone:?}");
}

/// `journalctl -u vmkit-agent -p warning` is to show what is wrong and only that.
#[test]
fn logs_to_the_journal_with_priorities() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    gateway.command("refuse-upgrade 503").expect("a command of the gateway's");
    gateway.command("drop vm").expect("it is registered");
    vm.wait_for_journal(UNIT, 0, &["503"], PATIENCE);
    gateway.command("refuse-upgrade off").expect("a command of the gateway's");

    let journal = vm.journal(UNIT);
    let own: Vec<_> = journal.iter().filter(|line| line.identifier == "vmkit-agent").collect();
    for (words, priority) in [("started", 6), ("connected to", 6), ("registered", 6), ("503", 4)] {
        let line = own.iter().find(|line| line.holds(&[words]));
        let line = line.unwrap_or_else(|| panic!("no {words:?} in {journal:#?}"));
        assert_eq!(line.priority, priority, "{line:?}");
        assert!(!line.message.starts_with('<'), "{line:?}");
    }
    // The agent leaves time and level to the journal.
    assert!(own.iter().all(|line| !line.message.contains("INFO")), "{own:#?}");
    poll_until("a second register", PATIENCE, || {
        (gateway.events(0, "registered").len() > 1).then_some(())
    });

    // Before there is a logger.
    vm.sh("echo VMKIT_GATEWAY_URL=nonsense >> /etc/vmkit/agent.env");
    vm.sh("systemctl --no-block restart vmkit-agent");
    let line = vm.wait_for_journal(UNIT, journal.len(), &["VMKIT_GATEWAY_URL"], PATIENCE);
    assert_eq!(line.priority, 3, "{line:?}");
}

/// As the reference document has it: a line in the file, and a restart.
#[test]
fn says_more_at_debug_after_a_restart() {
    let scene = Scene::installed();
    let Scene { vm, gateway, .. } = &scene;
    assert!(vm.journal(UNIT).iter().all(|line| line.priority < 7), "debug is not the default");

    vm.sh("echo VMKIT_LOG_LEVEL=debug >> /etc/vmkit/agent.env");
    let (from, mark) = (vm.journal(UNIT).len(), gateway.mark());
    vm.sh("systemctl restart vmkit-agent");
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    let journal = vm.journal(UNIT);
    let debug: Vec<_> = journal.iter().skip(from).filter(|line| line.priority == 7).collect();
    assert!(debug.iter().any(|line| line.identifier == "vmkit-agent"), "{journal:#?}");
    assert!(debug.iter().all(|line| !line.message.starts_with('<')), "{debug:#?}");
}
