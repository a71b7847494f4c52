//! A Docker Engine that comes and goes under a running agent: a real one, in the machine.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Kind, PATIENCE, Scene, UNIT, Vm, poll_until};

/// The programs of the Engine, copied from the test machine.
const PROGRAMS: [&str; 5] = ["docker", "dockerd", "containerd", "containerd-shim-runc-v2", "runc"];

/// Apart from the network, which is the test machine's: the Engine would put its bridges in order.
const ENGINE: &str = "\
[Service]
Type=notify
ExecStart=/usr/bin/dockerd --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs
PrivateNetwork=yes
";

/// A machine with an Engine in it.
pub fn machine() -> Vm {
    let mount = |name| format!("--volume={}:/usr/bin/{name}:ro", path_of(name));
    let mut options: Vec<String> = PROGRAMS.into_iter().map(mount).collect();
    options.push("--cap-add=NET_ADMIN".to_owned());
    // Where programs can run, and on no layers of another's.
    options.push("--tmpfs=/var/lib/docker:exec".to_owned());
    let vm = Vm::power_on(Kind::Systemd, &options);
    vm.wait_until_up();
    vm.write("/etc/systemd/system/docker.service", ENGINE.as_bytes());
    vm.sh("systemctl daemon-reload; systemctl restart docker");
    vm
}

/// Where the test machine has this program.
fn path_of(name: &str) -> String {
    let script = r#"realpath "$(command -v "$0")""#;
    let found = Command::new("sh").args(["-c", script, name]).output().expect("a shell");
    assert!(found.status.success(), "{name} is not on this machine; install docker.io and busybox");
    String::from_utf8(found.stdout).expect("a path").trim_end().to_owned()
}

/// A container that has said hello.
pub fn start_container(vm: &Vm) {
    vm.install(path_of("busybox").as_ref(), "/root/busybox");
    vm.sh("tar -C /root -c busybox | docker import - vmkit-test");
    vm.sh("docker run --detach --name web --network none --restart always vmkit-test \
         /busybox sh -c 'echo hello; exec /busybox sleep 10000'");
}

#[test]
fn stops_and_starts() {
    let scene = Scene::installed_by_itself(machine());
    let Scene { vm, gateway, .. } = &scene;
    start_container(vm);
    let metrics = || gateway.command("metrics vm").expect("it is registered");
    let logs = || gateway.command("logs vm web");
    let (mark, pid) = (gateway.mark(), vm.main_pid(UNIT));
    assert_eq!(metrics()["container_health"], json!({"web": "none"}));
    assert_eq!(logs().expect("it has logs")["lines"][0]["text"], "hello");

    vm.sh("systemctl stop docker");
    let without = metrics();
    assert_eq!(without["container_count"], Value::Null, "{without}");
    let reason = without["errors"]["container_count"].as_str().unwrap_or_default();
    assert!(reason.contains("docker"), "{without}");
    assert!(without["mem_pct"].is_number(), "{without}");
    assert_eq!(logs().expect_err("nobody has them").code, Some(-32002));

    vm.sh("systemctl start docker");
    poll_until("the container", PATIENCE, || (metrics()["container_count"] == 1).then_some(()));
    assert_eq!(logs().expect("it has logs again")["lines"][0]["text"], "hello");
    // It is still the same agent, in the same session.
    assert_eq!(vm.main_pid(UNIT), pid);
    assert!(gateway.events(mark, "disconnected").is_empty());
}
