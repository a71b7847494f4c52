//! Docker: not there, not running, not for the agent's user.

use std::{
    fs,
    process::{Child, Command},
};

use crate::{gateway::Gateway, machine::Machine, support::poll_until};

#[test]
fn docker_that_is_not_installed() {
    let gateway = Gateway::good("now");
    let machine = Machine::dialing(&gateway.url).line("VMKIT_DOCKER_BIN=vmkit-test-no-docker");
    let findings = machine.examine();
    // The agent does its other work without docker.
    findings.assert_sound();
    let words = ["vmkit-test-no-docker", "not installed", "sudo "];
    findings.of("docker-cli").assert("WARN", &words);
    for check in ["docker-socket", "docker-ps"] {
        findings.of(check).assert("SKIP", &["no docker CLI"]);
    }
    findings.of("http").assert("PASS", &[]);
}

#[test]
fn daemon_that_does_not_run() {
    let gateway = Gateway::good("now");
    let cannot = "case $1 in ps) echo 'Cannot connect to the Docker daemon at \
                  unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1;; esac";
    let machine = || Machine::dialing(&gateway.url).program("docker", cannot);
    // Its socket stays behind when it is killed, and goes with it when it is stopped.
    let findings = machine().examine();
    findings.assert_first_fail("docker-ps", &["cannot connect", "systemctl"]);
    let stopped = machine().spoil(|root| {
        fs::remove_file(root.path.join("var/run/docker.sock")).expect("it is there");
    });
    let words = ["/var/run/docker.sock", "does not run", "systemctl start docker"];
    stopped.examine().assert_first_fail("docker-socket", &words);
}

/// It ends well and prints nothing.
#[test]
fn program_that_is_no_docker() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).program("docker", "exit 0").examine();
    findings.assert_first_fail("docker-ps", &["docker ps", "not docker", "VMKIT_DOCKER_BIN"]);
}

#[test]
fn permission_denied_by_docker() {
    let gateway = Gateway::good("now");
    let denied = "case $1 in ps) echo 'permission denied while trying to connect to the Docker \
                  daemon socket at unix:///var/run/docker.sock' >&2; exit 1;; esac";
    let findings = Machine::dialing(&gateway.url).program("docker", denied).examine();
    findings.assert_first_fail("docker-ps", &["permission denied", "docker group"]);
}

/// The rights that count are those of the service's process.
#[test]
fn service_whose_user_is_not_in_the_group() {
    let gateway = Gateway::good("now");
    let process = AsNobody::start();
    let machine = Machine::dialing(&gateway.url)
        .program(
            "systemctl",
            &format!(
                "printf 'ActiveState=active\\nUnitFileState=enabled\\nMainPID={}\\nStatusText=\\n'",
                process.0.id()
            ),
        )
        .spoil(|root| {
            root.write("run/systemd/system/vmkit-test", "");
            root.write("etc/group", "root:x:0:\nvmkit-docker:x:4242:\n");
            root.write("etc/passwd", "root:x:0:0::/:\nsomebody:x:65534:65534::/:\n");
            let socket = root.path.join("var/run/docker.sock");
            let chown = Command::new("chown").arg("root:4242").arg(&socket).status();
            let chmod = Command::new("chmod").arg("660").arg(&socket).status();
            assert!(chown.is_ok_and(|s| s.success()) && chmod.is_ok_and(|s| s.success()));
        });
    let words = ["permission denied", "root:vmkit-docker", "somebody", "usermod -aG vmkit-docker"];
    machine.examine().assert_first_fail("docker-socket", &words);
}

#[test]
fn docker_elsewhere_has_no_socket_here() {
    let gateway = Gateway::good("now");
    let machine = Machine::dialing(&gateway.url).line("DOCKER_HOST=tcp://127.0.0.1:1");
    let findings = machine.examine();
    findings.assert_sound();
    findings.of("docker-socket").assert("SKIP", &["DOCKER_HOST"]);
}

/// A process that stands for the service's.
struct AsNobody(Child);

impl AsNobody {
    fn start() -> AsNobody {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig", "KILL"]);
        let process = AsNobody(command.args(["sleep", "60"]).spawn().expect("it takes root"));
        poll_until("its user", crate::support::PATIENCE, || {
            let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).ok()?;
            status.contains("Uid:\t65534\t65534").then_some(())
        });
        process
    }
}

impl Drop for AsNobody {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
