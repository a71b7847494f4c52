//! The agent as it installs itself: under the project's own unit, upgraded and rolled back there,
//! and taken away again.

use std::fs;

use crate::support::{
    Gateway, INSTALLED, PATIENCE, PREVIOUS, Release, SHORT_PROBATION, Scene, Server, TOKEN, UNIT,
    Vm,
};

/// Where a person has put the program before it installs itself.
const BROUGHT: &str = "/root/vmkit-agent";

/// A machine on which `vmkit-agent install` was run, once, by hand.
#[track_caller]
fn installed_by_itself() -> Scene {
    let scene = Scene { vm: Vm::boot(), gateway: Gateway::start(), server: Server::plain() };
    let roots = fs::read(&scene.gateway.ca).expect("the gateway has written it");
    scene.vm.write("/root/ca.pem", &roots);
    scene.vm.install(&Release::current().program, BROUGHT);
    let mark = scene.gateway.mark();
    install(&scene);
    scene.gateway.wait_for_register(mark, &Release::current().version, PATIENCE);
    scene
}

#[track_caller]
fn install(scene: &Scene) -> String {
    let url = &scene.gateway.url;
    let probation = SHORT_PROBATION.as_secs();
    scene.vm.sh(&format!(
        "printf %s '{TOKEN}' | env VMKIT_INSTANCE_ID=vm VMKIT_UPGRADE_PROBATION_SECS={probation} \
         {BROUGHT} install --token-stdin --gateway-url {url} --ca-file /root/ca.pem 2>&1"
    ))
}

#[test]
fn installs_itself_once_and_leaves_nothing() {
    let scene = installed_by_itself();
    let Scene { vm, gateway, .. } = &scene;
    assert_eq!(vm.property(UNIT, "Type"), "notify");
    assert!(vm.property(UNIT, "StatusText").starts_with("registered as vm"));
    assert_eq!(vm.sh("stat --format '%a %u' /etc/vmkit/agent.env"), "600 0");
    assert_eq!(vm.sh("systemctl is-enabled vmkit-agent"), "enabled");

    let pid = vm.main_pid(UNIT);
    install(&scene);
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
    let (old, new) = (Release::current(), Release::next());
    let scene = installed_by_itself();
    let Scene { vm, gateway, .. } = &scene;

    let mark = gateway.mark();
    scene.upgrade(&new).expect("a good upgrade");
    gateway.wait_for_register(mark, &new.version, PATIENCE);
    vm.wait_for_journal(UNIT, 0, &["confirmed"], PATIENCE);
    scene.wait_for_no_guard();
    assert_eq!(vm.sha256(PREVIOUS), old.sha256);

    let broken = Release::script("9.9.9", "exit 1");
    let mark = gateway.mark();
    scene.upgrade(&broken).expect("it passes every test there is before it runs");
    gateway.wait_for_register(mark, &new.version, SHORT_PROBATION + PATIENCE);
    gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
    scene.wait_for_no_guard();
    assert_eq!(vm.sha256(INSTALLED), new.sha256);
}
