//! The agent as a service, with a systemctl that says what each test wants to hear.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    panic::{self, AssertUnwindSafe},
    process::{self, Command},
};

use crate::{gateway::Gateway, machine::Machine};

fn systemd(gateway: &Gateway, says: &str) -> Machine {
    let body = format!("printf '{says}\\nMainPID=0\\nStatusText=\\n'");
    Machine::dialing(&gateway.url)
        .program("systemctl", &body)
        .spoil(|root| root.write("run/systemd/system/vmkit-test", ""))
}

#[test]
fn service_that_is_not_installed() {
    let gateway = Gateway::good("now");
    let findings = systemd(&gateway, "ActiveState=inactive\\nUnitFileState=").examine();
    let words = ["/etc/systemd/system/vmkit-agent.service", "vmkit-agent install"];
    findings.assert_first_fail("service", &words);
    findings.of("init").assert("PASS", &["systemd"]);
}

#[test]
fn service_that_does_not_run() {
    let gateway = Gateway::good("now");
    let findings = systemd(&gateway, "ActiveState=failed\\nUnitFileState=enabled").examine();
    let words = ["not running", "systemctl start vmkit-agent", "journalctl"];
    findings.assert_first_fail("service", &words);
}

#[test]
fn service_that_will_not_be_started_at_boot() {
    let gateway = Gateway::good("now");
    let findings = systemd(&gateway, "ActiveState=active\\nUnitFileState=disabled").examine();
    findings.assert_sound();
    findings.of("service").assert("WARN", &["boot", "enable vmkit-agent"]);
}

#[test]
fn systemd_that_can_not_be_asked() {
    let gateway = Gateway::good("now");
    let machine = systemd(&gateway, "").program("systemctl", "echo 'no bus' >&2; exit 1");
    machine.examine().assert_first_fail("service", &["systemctl", "no bus"]);
}

/// What runs was started from a file that has made way for another version since.
#[test]
fn agent_that_was_replaced_and_not_restarted() {
    let gateway = Gateway::good("now");
    let folder = std::env::temp_dir().join(format!("vmkit-test-replaced-{}", process::id()));
    fs::create_dir_all(&folder).expect("a name of our own");
    let program = folder.join("vmkit-agent");
    let copied = Command::new("cp").args(["/bin/sleep".as_ref(), program.as_os_str()]).status();
    assert!(copied.expect("coreutils are there").success());
    let mut agent = Command::new(&program).arg("60").spawn().expect("it was just copied");
    fs::remove_file(&program).expect("it is there");
    let says = format!(
        "printf 'ActiveState=active\\nUnitFileState=enabled\\nMainPID={}\\nStatusText=ok\\n'",
        agent.id()
    );
    let place = program.strip_prefix("/").expect("it is absolute").to_owned();
    let machine = systemd(&gateway, "").program("systemctl", &says).spoil(move |root| {
        root.write(place.to_str().expect("made of ASCII"), "#!/bin/sh\necho vmkit-agent 9.9.9\n");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(root.path.join(&place), executable).expect("the test's own");
    });
    let findings = panic::catch_unwind(AssertUnwindSafe(|| machine.examine()));
    let _ = agent.kill();
    let _ = agent.wait();
    let _ = fs::remove_dir_all(&folder);
    let findings = findings.unwrap_or_else(|panic| panic::resume_unwind(panic));
    findings.of("service").assert("PASS", &["as process", "ok"]);
    let words = ["runs, and", "vmkit-agent is 9.9.9", "systemctl restart vmkit-agent"];
    findings.of("version").assert("WARN", &words);
}
