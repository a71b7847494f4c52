//! A program of another user's that shows the installed agent's path: doctor names the process of
//! the service, and root never runs the other program.

use vmkit_test_support::look_alike::{self, TRACES};

use crate::support::{INSTALLED, Kind, PATIENCE, Scene, UNIT, Vm, poll_until, scratch};

/// Where the machine has the program.
const EVIL: &str = "/tmp/evil";

/// Runs the program as nobody, under the path of the agent. Its process id.
fn run_look_alike(vm: &Vm) -> u32 {
    let program = scratch().join("evil");
    look_alike::build(&program);
    vm.install(&program, EVIL);
    // In a namespace of their own, any user can have any file under any name.
    let mount = format!("mount --bind {EVIL} {INSTALLED} && exec {INSTALLED}");
    vm.sh(&format!(
        "mkdir -m 777 {TRACES}; setpriv --reuid=65534 --regid=65534 --clear-groups \
         setsid unshare -Urm sh -c '{mount}' >/dev/null 2>&1 </dev/null &"
    ));
    poll_until("the look-alike", PATIENCE, || vm.sh(&format!("ls {TRACES}")).parse().ok())
}

#[track_caller]
fn assert_root_has_not_run_it(vm: &Vm, said: &str) {
    let by_root = vm.sh(&format!("find {TRACES} -type f -user root"));
    assert_eq!(by_root, "", "root has run what another user had mounted:\n{said}");
}

#[test]
fn doctor_names_the_process_of_the_service() {
    // A machine's root may look at every process; a container's is not given this by default.
    let vm = Vm::power_on(Kind::Systemd, &["--cap-add=SYS_PTRACE".to_owned()]);
    vm.wait_until_up();
    let scene = Scene::installed_by_itself(vm);
    let vm = &scene.vm;
    let evil = run_look_alike(vm);
    let shown = format!("readlink /proc/{evil}/exe");
    assert_eq!(vm.sh(&shown), INSTALLED, "it looks like the agent");

    let agent = vm.main_pid(UNIT);
    let said = vm.try_sh("vmkit-agent doctor").stdout;
    assert!(said.contains(&format!("running as process {agent}")), "{said}");
    assert!(!said.contains(&format!("process {evil}")), "{said}");
    assert_root_has_not_run_it(vm, &said);

    // Without a main process there is nothing to name.
    vm.sh("systemctl stop vmkit-agent");
    let said = vm.try_sh("vmkit-agent doctor").stdout;
    assert!(said.contains("not running") && !said.contains(&format!("process {evil}")), "{said}");
    assert_root_has_not_run_it(vm, &said);
    assert_eq!(vm.sh(&shown), INSTALLED, "nobody has ended it");
}
