//! The environment file and what is in it.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

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
    for check in
        ["config", "token", "gateway-url", "instance-id", "settings", "dns", "tcp", "http", "clock"]
    {
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
    let words = ["/etc/vmkit/agent.env", "no such file", "install --token-stdin"];
    findings.assert_first_fail("config", &words);
    findings.of("token").assert("FAIL", &["VMKIT_AGENT_TOKEN"]);
}

#[test]
fn environment_file_that_everyone_can_read() {
    let gateway = Gateway::good("now");
    let findings = Machine::dialing(&gateway.url).env_file_mode(0o644).examine();
    findings.assert_first_fail("config", &["0644", "every user", "chmod 600"]);
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
    findings.of("http").assert("SKIP", &["skipped: no token"]);
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

/// Each is seen as soon as the example has been copied.
#[test]
fn placeholder_of_the_example() {
    let example = include_str!("../../dist/agent.env.example");
    let line = example.lines().find(|line| line.starts_with("VMKIT_AGENT_TOKEN="));
    let placeholder = line.expect("the example has one");
    assert!(placeholder.ends_with("=<your-agent-token>"), "{placeholder}");
    let gateway = Gateway::good("now");
    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let findings = Machine::dialing("").env_file(Some(&[placeholder, &url])).examine();
    findings.assert_first_fail("token", &["placeholder", "install --token-stdin"]);
}

#[test]
fn variable_that_the_agent_does_not_know() {
    let gateway = Gateway::good("now");
    let machine = Machine::dialing(&gateway.url).line("VMKIT_LOGLEVEL=debug").line("MINE=1");
    let findings = machine.examine();
    findings.assert_sound();
    let words = ["VMKIT_LOGLEVEL (did you mean VMKIT_LOG_LEVEL?)", "sudo vi /etc/vmkit/agent.env"];
    let variables = findings.of("variables");
    variables.assert("WARN", &words);
    assert!(!variables.seen.contains("MINE"), "{variables:?}");
}

/// The list is often the whole machine's, with entries for other programs.
#[test]
fn entries_of_no_proxy_that_mean_nothing() {
    let gateway = Gateway::good("now");
    // Plain loopback is dialed past the proxy.
    let machine = || Machine::dialing(&gateway.url).line("HTTPS_PROXY=http://127.0.0.1:9");
    let line = "NO_PROXY=localhost,10.0.0.0/33,http://u:hush@intranet/";
    let findings = machine().line(line).examine();
    findings.assert_sound();
    let settings = findings.of("settings");
    settings.assert("WARN", &["NO_PROXY", "sudo vi /etc/vmkit/agent.env"]);
    let words =
        "NO_PROXY: ignored \"10.0.0.0/33\", \"http://intranet/\"; an entry is a name, .suffix, ";
    assert!(settings.seen.starts_with(words), "{settings:?}");
    let all = machine().line("NO_PROXY=localhost,10.0.0.0/8,.corp").examine();
    all.of("settings").assert("PASS", &["log level"]);
}

/// Two VMs with one instance id close each other's session.
#[test]
fn instance_id_that_others_may_have() {
    let gateway = Gateway::good("now");
    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let lines = [format!("VMKIT_AGENT_TOKEN={TOKEN}"), url];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let found = |id: &'static str| {
        let machine = Machine::dialing("").env_file(Some(&lines));
        let findings = machine.spoil(move |root| root.write("etc/machine-id", id)).examine();
        findings.assert_sound();
        findings.of("instance-id").clone()
    };
    let good = "0f6e1d2c3b4a59687766554433221100";
    found(good).assert("PASS", &[good, "from /etc/machine-id", "cloned VMs share it"]);
    let zeros = "00000000000000000000000000000000";
    found(zeros).assert("WARN", &[zeros, "all zeros", "sudo VMKIT_INSTANCE_ID=$(cat "]);
    found("uninitialized").assert("WARN", &["from the host name", "may not be unique"]);
    let named = [&lines[..], &["VMKIT_INSTANCE_ID=localhost"]].concat();
    let findings = Machine::dialing("").env_file(Some(&named)).examine();
    findings.of("instance-id").assert("WARN", &["localhost, from VMKIT_INSTANCE_ID", "unique"]);
}

/// Who may not read the token sees what is left, and does not dial the default gateway.
#[test]
fn user_other_than_root() {
    let gateway = Gateway::good("now");
    let denied = "case $1 in ps) echo 'permission denied while trying to connect' >&2; exit 1;;
                  --version) echo Docker version 99;; esac";
    let as_nobody = r#"exec chroot --userspec=65534:65534 --groups= "$root" \
                       /vmkit-test/vmkit-agent "$@""#;
    let machine = || {
        let machine = Machine::dialing(&gateway.url).program("docker", denied);
        machine.spoil(move |root| {
            root.before_start(as_nobody);
            root.write("var/lib/vmkit-agent/upgrade.json", "{}");
            let closed = fs::Permissions::from_mode(0o700);
            let folder = root.path.join("var/lib/vmkit-agent");
            fs::set_permissions(folder, closed).expect("the test's own");
        })
    };
    let findings = machine().examine();
    findings.assert_sound();
    findings.of("user").assert("WARN", &["only root sees", "sudo /vmkit-test/vmkit-agent doctor"]);
    for check in ["config", "token", "dns", "upgrade-state"] {
        findings.of(check).assert("SKIP", &["only root can read"]);
    }
    findings.of("docker-cli").assert("PASS", &["version 99"]);
    for check in ["docker-socket", "docker-ps", "self-upgrade"] {
        findings.of(check).assert("SKIP", &["the agent"]);
    }
    assert!(findings.checks.iter().all(|finding| finding.check != "http"));
    assert!(gateway.ends().is_empty());

    // With a token of his own he is as good as anybody.
    let findings = machine().env("VMKIT_AGENT_TOKEN", TOKEN).env("VMKIT_GATEWAY_URL", &gateway.url);
    let findings = findings.examine();
    findings.of("config").assert("SKIP", &["only root can read"]);
    findings.of("http").assert("PASS", &[]);
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
        (&[none, "VMKIT_UPGRADES=off"], "off by the gateway, possible by hand".to_owned()),
        (&[&key, "VMKIT_UPGRADES=off"], format!("off by the gateway, possible by hand {signed}")),
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
    machine.examine().of("config").assert("SKIP", &["the token comes from the environment"]);
    let machine = machine
        .program("rc-service", "exit 1")
        .spoil(|root| root.write("sbin/openrc-run", ""))
        .spoil(|root| root.write("etc/init.d/vmkit-agent", ""));
    machine.examine().assert_first_fail("config", &["this shell", "install --token-stdin"]);
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
