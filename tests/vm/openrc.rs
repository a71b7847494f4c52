//! The agent under OpenRC's supervise-daemon, on a machine that has a syslog daemon for a journal.

use crate::support::{
    BROUGHT, INSTALLED, Kind, PATIENCE, PREVIOUS, Release, SHORT_PROBATION, Scene, Vm, poll_until,
};

const LOG: &str = "/var/log/messages";

#[track_caller]
fn installed() -> Scene {
    let vm = Vm::power_on(Kind::OpenRc, &[]);
    vm.wait_until_up();
    Scene::installed_by_itself(vm)
}

/// The agent's process; the kernel shows its guard under another name.
#[track_caller]
fn pid(vm: &Vm) -> String {
    vm.sh("pidof vmkit-agent")
}

#[test]
fn installs_itself_comes_back_and_leaves_nothing() {
    let version = Release::current().version;
    let scene = installed();
    let Scene { vm, gateway, .. } = &scene;
    assert_eq!(vm.sh("stat -c '%a %u' /etc/vmkit/agent.env"), "600 0");
    assert!(vm.sh("rc-update show default").contains("vmkit-agent"));

    let before = pid(vm);
    let said = scene.install();
    assert_eq!(pid(vm), before, "nothing has changed, nothing restarts: {said}");

    // The supervisor's doing: respawn_delay=5, and no end to it.
    let mark = gateway.mark();
    vm.sh("kill -KILL $(pidof vmkit-agent)");
    gateway.wait_for_register(mark, &version, PATIENCE);
    assert_ne!(pid(vm), before);

    let mark = gateway.mark();
    vm.reboot();
    gateway.wait_for_register(mark, &version, PATIENCE);

    let mark = gateway.mark();
    vm.sh("rc-service vmkit-agent restart");
    gateway.wait_for_register(mark, &version, PATIENCE);

    vm.sh(&format!("{BROUGHT} uninstall --purge"));
    let left = "find / -xdev -path /proc -prune -o -name '*vmkit*' -print";
    assert_eq!(vm.sh(left), BROUGHT);
    assert_eq!(vm.try_sh("pidof vmkit-agent supervise-daemon").stdout, "");
    assert!(!vm.sh("rc-status --all").contains("vmkit-agent"));
}

#[test]
fn upgrades_and_rolls_back() {
    let (old, new) = (Release::current(), Release::next());
    let scene = installed();
    let Scene { vm, gateway, .. } = &scene;

    let mark = gateway.mark();
    scene.upgrade(&new).expect("a good upgrade");
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    assert_eq!(vm.sha256(INSTALLED), new.sha256);
    assert_eq!(vm.sha256(PREVIOUS), old.sha256);
    wait_for_no_guard(vm);
    assert!(vm.sh("rc-service vmkit-agent status").contains("started"));

    let broken = Release::script("9.9.9", "exit 1");
    let mark = gateway.mark();
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    gateway.wait_for_register(mark, &new.version, SHORT_PROBATION + PATIENCE);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    wait_for_no_guard(vm);
    assert_eq!(vm.sha256(INSTALLED), new.sha256);
    let again = scene.upgrade(&broken).expect_err("it was rolled back");
    assert_eq!(again.code, Some(-32012));
}

/// Its init script takes more than ten seconds to end what does not listen to SIGTERM.
#[test]
fn rolls_back_one_that_hangs_and_does_not_stop_when_told_to() {
    let old = Release::current();
    let scene = installed();
    let Scene { vm, gateway, .. } = &scene;
    let broken = Release::script("9.9.9", "trap '' TERM INT HUP\nwhile :; do sleep 1; done");
    let mark = gateway.mark();
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    gateway.wait_for_register(mark, &old.version, SHORT_PROBATION + PATIENCE * 2);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    wait_for_no_guard(vm);
    assert_eq!(vm.sha256(INSTALLED), old.sha256);
    wait_until_alone(vm);
}

/// Whatever state the service is in, a person who installs has the agent run that was installed.
#[test]
fn an_installation_puts_right_what_it_finds() {
    let new = Release::next();
    let scene = installed();
    let Scene { vm, gateway, .. } = &scene;

    // An installation that was cut short has left the old agent running.
    vm.install(&new.program, BROUGHT);
    vm.sh(&format!("{BROUGHT} install --no-start"));
    let mark = gateway.mark();
    scene.install();
    gateway.wait_for_register(mark, &new.version, PATIENCE);

    // The supervisor has died, and left the agent behind.
    vm.sh("kill -KILL $(cat /run/supervise-vmkit-agent.pid)");
    let (mark, orphan) = (gateway.mark(), pid(vm));
    wait_until_not_started(vm);
    scene.install();
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    wait_until_alone(vm);
    assert_ne!(pid(vm), orphan);
    assert!(vm.sh("rc-service vmkit-agent status").contains("started"));

    for end in [
        "kill -KILL $(cat /run/supervise-vmkit-agent.pid) $(pidof vmkit-agent)",
        "rc-service vmkit-agent stop",
    ] {
        let mark = gateway.mark();
        vm.sh(end);
        wait_until_not_started(vm);
        scene.install();
        gateway.wait_for_register(mark, &new.version, PATIENCE);
        assert!(vm.sh("rc-service vmkit-agent status").contains("started"));
    }
}

/// Until one agent is left. busybox init takes up to a second to reap an agent that has ended.
#[track_caller]
fn wait_until_alone(vm: &Vm) {
    poll_until("one agent alone", PATIENCE, || {
        (vm.sh("pidof vmkit-agent").split(' ').count() == 1).then_some(())
    });
}

/// busybox init takes up to a second to reap a supervisor, which counts until then.
#[track_caller]
fn wait_until_not_started(vm: &Vm) {
    poll_until("the supervisor's end", PATIENCE, || {
        (!vm.try_sh("rc-service vmkit-agent status").ok).then_some(())
    });
}

/// busybox's own, which most small systems have.
#[test]
fn logs_to_syslogd() {
    let scene = installed();
    let Scene { vm, gateway, .. } = &scene;
    gateway.command("refuse-upgrade 503").expect("a command of the gateway's");
    gateway.command("drop vm").expect("it is registered");
    for line in [
        "daemon.info vmkit-agent[PID]: vmkit-agent",
        "daemon.info vmkit-agent[PID]: registered as vm",
        "daemon.warn vmkit-agent[PID]: ",
    ] {
        let line = line.replace("PID", &pid(vm));
        poll_until(&line, PATIENCE, || {
            let log = vm.sh(&format!("cat {LOG}"));
            log.lines().any(|logged| logged.contains(&line)).then_some(())
        });
    }
    // Its own log is for where there is no daemon; what is in the one is not in the other.
    assert_eq!(vm.sh("cat /var/log/vmkit-agent.log"), "");

    // A daemon that comes back is found again.
    gateway.command("refuse-upgrade off").expect("a command of the gateway's");
    let mark = gateway.mark();
    // busybox's daemon has not ended when `stop` returns, and `start` would find it running.
    let ended = "for _ in $(seq 100); do pidof syslogd >/dev/null || break; sleep 0.1; done";
    vm.sh(&format!("rc-service syslogd stop; {ended}; : > {LOG}; rc-service syslogd start"));
    gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    gateway.command("drop vm").expect("it is registered");
    poll_until("the log after a restart of syslogd", PATIENCE, || {
        vm.sh(&format!("cat {LOG}")).contains("registered as vm").then_some(())
    });
}

/// The process that watches over a probation ends with it.
#[track_caller]
fn wait_for_no_guard(vm: &Vm) {
    poll_until("the end of the watch", PATIENCE, || {
        (!vm.sh("ps -o args").contains("vmkit-agent.prev")).then_some(())
    });
}
