//! The agent as a service, with a systemctl that says what each test wants to hear.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    panic::{self, AssertUnwindSafe},
    process::{self, Command},
};

use crate::{gateway::Gateway, machine::Machine, support::PrivateRoot, upgrades::trial};

fn systemd(gateway: &Gateway, says: &str) -> Machine {
    let body = format!("printf '{says}\\nMainPID=0\\nStatusText=\\n'");
    Machine::dialing(&gateway.url)
        .program("systemctl", &body)
        .spoil(|root| root.write("run/systemd/system/vmkit-test", ""))
}

fn install(root: &PrivateRoot, place: &str) {
    root.write(place, "#!/bin/sh\necho vmkit-agent 9.9.9\n");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.path.join(place), executable).expect("the test's own");
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
    let words = ["not running", "sudo systemctl start vmkit-agent; sudo journalctl"];
    findings.assert_first_fail("service", &words);
}

#[test]
fn service_that_is_masked() {
    let gateway = Gateway::good("now");
    let machine = systemd(&gateway, "ActiveState=inactive\\nUnitFileState=masked");
    machine
        .examine()
        .assert_first_fail("service", &["masked", "sudo systemctl unmask vmkit-agent && sudo"]);
}

/// The configuration was corrected, and nobody has restarted the agent.
#[test]
fn service_that_is_not_registered() {
    let gateway = Gateway::good("now");
    let says = "ActiveState=active\\nUnitFileState=enabled";
    let status = "StatusText=tcp: connection refused";
    let body = format!("printf '{says}\\nMainPID=1\\n{status}\\n'");
    let findings = systemd(&gateway, says).program("systemctl", &body).examine();
    let words = ["not registered", "connection refused", "sudo systemctl restart vmkit-agent"];
    findings.assert_first_fail("service", &words);
}

#[test]
fn service_that_ends_again_and_again() {
    let gateway = Gateway::good("now");
    let says = "ActiveState=activating\\nUnitFileState=enabled\\nExecMainStatus=78";
    let words = ["restarting (last exit status 78: invalid configuration)", "sudo journalctl"];
    systemd(&gateway, says).examine().assert_first_fail("service", &words);
}

/// Both agents are in the same root, and so is doctor.
#[test]
fn second_agent_on_the_machine() {
    let gateway = Gateway::good("now");
    let start = r#"
        start() {
            VMKIT_AGENT_TOKEN=none VMKIT_GATEWAY_URL=ws://127.0.0.1:1/ \
                chroot "$root" /vmkit-test/vmkit-agent "$@" >/dev/null 2>&1 &
            until readlink "/proc/$!/exe" | grep -q '/vmkit-agent$'; do :; done
        }
        start"#;
    let one = Machine::dialing(&gateway.url).spoil(move |root| root.before_start(start));
    let findings = one.examine();
    findings.of("service").assert("PASS", &["runs as process"]);
    assert!(findings.checks.iter().all(|finding| finding.check != "agents"));

    let two = format!("{start}\nstart run");
    let two = Machine::dialing(&gateway.url).spoil(move |root| root.before_start(&two));
    let findings = two.examine();
    findings.assert_sound();
    let agents = findings.of("agents");
    agents.assert("WARN", &["more than one agent", "sudo kill "]);
    let first = findings.of("service").seen.rsplit(' ').next().expect("a pid").to_owned();
    let next = agents.next.clone().expect("there is one");
    let second = next.rsplit(' ').next().expect("a pid");
    agents.assert_says(&[&format!("process {first} and process {second};")]);
}

/// A version that does not run is installed, and the one before it is asked.
#[test]
fn doctor_of_the_previous_version() {
    let gateway = Gateway::good("now");
    let script = r#"
        folder=$root/vmkit-test
        : >"$folder/vmkit-agent.prev"
        mount --bind "$program" "$folder/vmkit-agent.prev"
        umount "$folder/vmkit-agent"
        printf '#!/bin/sh\nexit 1\n' >"$folder/vmkit-agent"
        chmod 755 "$folder/vmkit-agent"
        exec chroot "$root" /vmkit-test/vmkit-agent.prev "$@""#;
    let machine = Machine::dialing(&gateway.url).spoil(move |root| {
        root.before_start(script);
        root.write("var/lib/vmkit-agent/upgrade.json", &trial(30));
    });
    let findings = machine.examine();
    let words = [
        "/vmkit-test/vmkit-agent: --version failed",
        "this doctor is the version before it",
        "sudo /vmkit-test/vmkit-agent.prev install",
    ];
    findings.assert_first_fail("version", &words);
    let state = findings.of("upgrade-state");
    state.assert("WARN", &["version 9.9.9", "started 2 times", " s left of 120 s"]);
    let left = state.seen.split(" s left").next().and_then(|words| words.rsplit(' ').next());
    let left: u64 = left.and_then(|left| left.parse().ok()).expect("a number of seconds");
    assert!((60..=90).contains(&left), "{left}");
}

/// rc-service knows the supervisor only.
#[test]
fn supervisor_without_an_agent() {
    let gateway = Gateway::good("now");
    let machine = Machine::dialing(&gateway.url)
        .program("rc-service", "exit 0")
        .spoil(|root| root.write("sbin/openrc-run", ""));
    machine.examine().assert_first_fail("service", &["the supervisor runs, but no agent"]);
}

/// The unit's ExecStart names it, whatever else there is to examine with.
#[test]
fn program_that_is_gone() {
    let gateway = Gateway::good("now");
    let machine = systemd(&gateway, "ActiveState=failed\\nUnitFileState=enabled")
        .spoil(|root| root.write("etc/systemd/system/vmkit-agent.service", ""));
    let words =
        ["/usr/local/bin/vmkit-agent", "no such file", "sudo /vmkit-test/vmkit-agent install"];
    machine.examine().assert_first_fail("version", &words);
}

#[test]
fn service_that_will_not_be_started_at_boot() {
    let gateway = Gateway::good("now");
    let findings = systemd(&gateway, "ActiveState=active\\nUnitFileState=disabled").examine();
    findings.assert_sound();
    findings.of("service").assert("WARN", &["not enabled", "sudo systemctl enable vmkit-agent"]);
}

#[test]
fn systemd_that_can_not_be_asked() {
    let gateway = Gateway::good("now");
    let machine = systemd(&gateway, "").program("systemctl", "echo 'no bus' >&2; exit 1");
    machine.examine().assert_first_fail("service", &["systemctl", "no bus"]);
}

/// The running program was started from a file that another version has replaced since.
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
        "printf 'ActiveState=active\\nUnitFileState=enabled\\nMainPID={}\\nStatusText=registered as vm\\n'",
        agent.id()
    );
    let place = program.strip_prefix("/").expect("it is absolute").to_owned();
    let machine = systemd(&gateway, "").program("systemctl", &says).spoil(move |root| {
        install(root, place.to_str().expect("made of ASCII"));
    });
    let findings = panic::catch_unwind(AssertUnwindSafe(|| machine.examine()));
    let _ = agent.kill();
    let _ = agent.wait();
    let _ = fs::remove_dir_all(&folder);
    let findings = findings.unwrap_or_else(|panic| panic::resume_unwind(panic));
    findings.of("service").assert("PASS", &["as process", "registered as vm"]);
    let words = ["vmkit-agent (9.9.9) is not the file that", "sudo systemctl restart vmkit-agent"];
    findings.of("version").assert("WARN", &words);
}
