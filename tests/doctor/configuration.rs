//! The environment file and what is in it.

use std::{fs, process::Command};

use crate::{
    gateway::Gateway,
    machine::{Machine, SECRET},
    support::{PrivateRoot, TOKEN},
};

#[test]
fn a_good_machine_is_sound_and_no_register_is_sent() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).examine();
    findings.assert_sound();
    for check in ["config", "token", "gateway-url", "settings", "dns", "tcp", "http", "clock"] {
        findings.of(check).assert("PASS", &[]);
    }
    for check in ["docker-cli", "docker-socket", "docker-ps", "version", "self-upgrade"] {
        findings.of(check).assert("PASS", &[]);
    }
    findings.of("proxy").assert("SKIP", &[]);
    findings.of("token").assert_says(&["/etc/vmkit/agent.env"]);
    assert_eq!(gateway.ends(), ["1000", "1000"]);
}

#[test]
fn no_environment_file() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).env_file(None).examine();
    findings.assert_first_fail("config", &["/etc/vmkit/agent.env", "no such file", "install"]);
    findings.of("token").assert("FAIL", &["VMKIT_AGENT_TOKEN"]);
}

#[test]
fn environment_file_that_everyone_can_read() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).env_file_mode(0o644).examine();
    findings.assert_first_fail("config", &["0644", "everyone", "chmod 600"]);
    findings.of("http").assert("PASS", &[]);
    let findings = Machine::dialing(&gateway.url).env_file_mode(0o640).examine();
    findings.of("config").assert("WARN", &["0640"]);
}

#[test]
fn environment_file_that_does_not_parse() {
    let gateway = Gateway::good("now");
    let machine = || Machine::dialing(&gateway.url);
    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let export = format!("export VMKIT_AGENT_TOKEN={TOKEN}");
    let findings = machine().env_file(Some(&["# by hand", &export, &url])).examine();
    findings.assert_first_fail("config", &["line 2", "not read"]);
    findings.of("token").assert("FAIL", &["not set"]);
    // All else is looked at nevertheless, and no other token is made up.
    findings.of("tcp").assert("PASS", &[]);
    findings.of("http").assert("SKIP", &["no token"]);
    assert!(gateway.ends().iter().all(|end| end != "1000"));

    let open = format!("VMKIT_AGENT_TOKEN=\"{TOKEN}");
    let findings = machine().env_file(Some(&[&url, &open])).examine();
    findings.assert_first_fail("config", &["quote"]);
    let findings = machine().line("a stray line").examine();
    findings.assert_sound();
    findings.of("config").assert("WARN", &["line 4"]);
}

#[test]
fn no_token() {
    let gateway = Gateway::good("now");
    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let findings = Machine::dialing(&gateway.url).env_file(Some(&[&url])).examine();
    findings.assert_first_fail("token", &["VMKIT_AGENT_TOKEN", "not set"]);
}

#[test]
fn whose_upgrades_are_taken_is_told() {
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let gateway = Gateway::good("now");
    let settings = |lines: &[&str]| {
        let machine = Machine::dialing(&gateway.url);
        let machine = lines.iter().fold(machine, |machine, line| machine.line(line));
        machine.examine().of("settings").seen.clone()
    };
    let key = format!("VMKIT_UPGRADE_PUBKEY={KEY}");
    let signed = format!("signed with the key of VMKIT_UPGRADE_PUBKEY ({KEY})");
    let none = "VMKIT_UPGRADE_PUBKEY=none";
    for (lines, upgrades) in [
        (&[none][..], "on, no signature needed".to_owned()),
        (&[&key], format!("on, {signed}")),
        (&[none, "VMKIT_UPGRADES=off"], "off, but for those by hand".to_owned()),
        (&[&key, "VMKIT_UPGRADES=off"], format!("off, but for those by hand {signed}")),
    ] {
        let seen = settings(lines);
        assert!(seen.ends_with(&format!("; upgrades {upgrades}")), "{seen}");
    }
}

#[test]
fn wrong_values_are_each_a_line_and_stop_nothing() {
    let gateway = Gateway::good("now");
    let proxy = format!("HTTPS_PROXY=socks5://u:{SECRET}@127.0.0.1:1");
    let machine = Machine::dialing(&gateway.url).line("VMKIT_LOG_LEVEL=loud").line(&proxy);
    let findings = machine.examine();
    let wrong = findings.checks.iter().filter(|finding| finding.check == "settings");
    let wrong: Vec<_> = wrong.map(|finding| &*finding.seen).collect();
    assert!(
        matches!(wrong[..], [a, b] if a.starts_with("HTTPS_PROXY") && b.starts_with("VMKIT_LOG"))
    );
    findings.assert_first_fail("settings", &["HTTPS_PROXY"]);
    findings.of("http").assert("PASS", &[]);

    let token = format!("VMKIT_AGENT_TOKEN={TOKEN}");
    let url = format!("VMKIT_GATEWAY_URL=ws://10.0.0.1/x?key={SECRET}");
    let findings = Machine::dialing("").env_file(Some(&[&token, &url])).examine();
    findings.assert_first_fail("gateway-url", &["VMKIT_GATEWAY_URL", "wss:"]);
}

#[test]
fn what_only_this_shell_has_is_said() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).env("VMKIT_LOG_LEVEL", "debug").examine();
    findings.assert_sound();
    findings.of("shell").assert("WARN", &["VMKIT_LOG_LEVEL", "service"]);
}

#[test]
fn a_credential_is_where_the_token_is_from() {
    let gateway = Gateway::good("now");
    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let machine = || Machine::dialing(&gateway.url).env_file(Some(&[&url]));
    let given = machine()
        .env("CREDENTIALS_DIRECTORY", "/run/vmkit-test")
        .spoil(|root| root.write("run/vmkit-test/vmkit-agent-token", TOKEN));
    given.examine().of("token").assert("PASS", &["/run/vmkit-test/vmkit-agent-token"]);
    // By hand, the service's own is found.
    let of_the_service = "run/credentials/vmkit-agent.service/vmkit-agent-token";
    let found = machine().spoil(|root| root.write(of_the_service, TOKEN));
    let findings = found.examine();
    findings.assert_sound();
    findings.of("token").assert("PASS", &[of_the_service]);
    assert_eq!(gateway.ends(), ["1000"; 4]);
}

/// A token in the shell, left from an installation, is no reason to forget the rest.
#[test]
fn token_of_the_shell_beside_the_file() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).env("VMKIT_AGENT_TOKEN", TOKEN).examine();
    findings.assert_sound();
    findings.of("gateway-url").assert("PASS", &[&gateway.url]);
}

/// The service has none of it.
#[test]
fn token_of_the_shell_alone() {
    let gateway = Gateway::good("now");
    let machine = Machine::dialing(&gateway.url)
        .env_file(None)
        .env("VMKIT_AGENT_TOKEN", TOKEN)
        .env("VMKIT_GATEWAY_URL", &gateway.url);
    machine.examine().of("config").assert("SKIP", &["elsewhere"]);
    let machine = machine
        .program("rc-service", "exit 1")
        .spoil(|root| root.write("sbin/openrc-run", ""))
        .spoil(|root| root.write("etc/init.d/vmkit-agent", ""));
    machine.examine().assert_first_fail("config", &["in this shell", "install --token-stdin"]);
}

#[test]
fn comment_in_another_encoding() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).spoil(|root| {
        let path = root.path.join("etc/vmkit/agent.env");
        let mut text = fs::read(&path).expect("the machine has one");
        text.extend(b"# f\xfcr\n");
        fs::write(path, text).expect("the test's own");
    });
    findings.examine().assert_sound();
}

/// Doctor does not wait for the other end of a pipe.
#[test]
fn pipes_in_the_place_of_files() {
    let gateway = Gateway::good("now");
    let pipe = |name: &'static str| {
        move |root: &PrivateRoot| {
            let path = root.path.join(name);
            let _ = fs::remove_file(&path);
            let made = Command::new("mkfifo").arg(&path).status();
            assert!(made.expect("coreutils are there").success());
        }
    };
    let findings = Machine::dialing(&gateway.url).spoil(pipe("etc/vmkit/agent.env")).examine();
    findings.assert_first_fail("config", &["not a regular file"]);
    let machine = Machine::dialing(&gateway.url).line("VMKIT_CA_FILE=/etc/vmkit/ca.pem");
    let findings = machine.spoil(pipe("etc/vmkit/ca.pem")).examine();
    findings.assert_first_fail("settings", &["VMKIT_CA_FILE", "not a regular file"]);
}
