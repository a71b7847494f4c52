//! Configuration and arguments: what is wrong stops the start, in one line, with its own exit status.

use std::process::{Command, Output};

use crate::support::{Agent, Authority, Peer, Setup, TOKEN, agent_program};

const EX_CONFIG: i32 = 78;
const SECRET: &str = "vmkit-test-secret-77";

/// Starts a wrongly configured agent and returns its one line.
#[track_caller]
fn rejected(variable: &str, setup: Setup) -> String {
    let mut agent = setup.start();
    let status = agent.wait_for_exit(crate::support::PATIENCE);
    let log = agent.whole_log();
    assert_eq!(status.code(), Some(EX_CONFIG), "{variable}: {log:?}");
    assert_eq!(log.len(), 1, "{variable}: one line: {log:#?}");
    assert!(log[0].to_uppercase().contains(variable), "{variable} is not named: {log:?}");
    assert!(log[0].starts_with("<3>vmkit-agent: "), "`journalctl -p err` shows it: {log:?}");
    assert!(!log[0].contains(SECRET) && !log[0].contains(TOKEN), "{log:?}");
    log[0].clone()
}

fn setup() -> Setup {
    Setup::url("ws://127.0.0.1:9/")
}

#[test]
fn missing_token() {
    let setup = || setup().without("VMKIT_AGENT_TOKEN").in_private_root(|_| {});
    rejected("VMKIT_AGENT_TOKEN", setup());
    rejected("VMKIT_AGENT_TOKEN", setup().env("VMKIT_AGENT_TOKEN", ""));
}

#[test]
fn a_terminal_shows_no_priority() {
    let setup = setup().without("VMKIT_AGENT_TOKEN").in_private_root(|_| {});
    let mut agent = setup.not_under_journald().start();
    agent.wait_for_exit(crate::support::PATIENCE);
    let log = agent.whole_log();
    assert!(log[0].starts_with("vmkit-agent: "), "{log:?}");
}

#[test]
fn token_that_is_not_printable_ascii() {
    for token in ["tab\tin", "line\nfeed", "é", "\u{1}x", "bell\u{7}x", "re\rturn", "del\u{7f}x"] {
        let token = format!("{SECRET}{token}");
        let line = rejected("VMKIT_AGENT_TOKEN", setup().env("VMKIT_AGENT_TOKEN", &token));
        assert!(!line.contains(&token), "{line:?}");
    }
}

#[test]
fn wrong_gateway_urls() {
    let urls = [
        "not a url",
        "gateway.vmkit.dev",
        "/api/daemon",
        "http://127.0.0.1/",
        "https://gateway.vmkit.dev/api/daemon",
        "ftp://127.0.0.1/",
        "wss:",
        "wss://",
        "wss:///api/daemon",
        "wss://:443/",
        "wss://gateway.vmkit.dev:99999/",
        "wss://gateway.vmkit.dev:abc/",
        "wss://gateway.vmkit.dev:0/",
        "wss://gate way.vmkit.dev/",
        "wss://gateway.vmkit.dev/a b",
        "wss://gateway.vmkit.dev/\r\nX-Injected: 1",
        "wss://[::1/",
    ];
    for url in urls {
        rejected("VMKIT_GATEWAY_URL", setup().env("VMKIT_GATEWAY_URL", url));
    }
}

#[test]
fn plain_ws_is_for_loopback_only() {
    let urls = [
        "ws://gateway.vmkit.dev/api/daemon",
        "ws://192.0.2.1/",
        "ws://127.0.0.1.vmkit-test.example/",
        "ws://localhost.vmkit-test.example/",
        "ws://[2001:db8::1]/",
        "ws://0.0.0.0/",
        "ws://10.0.0.1/",
    ];
    for url in urls {
        let line = rejected("VMKIT_GATEWAY_URL", setup().env("VMKIT_GATEWAY_URL", url));
        assert!(line.contains("wss"), "it says what to use: {line}");
    }
    for host in ["127.0.0.1", "localhost"] {
        let peer = Peer::plain();
        let _agent = Agent::dialing(&peer).env("VMKIT_GATEWAY_URL", peer.url_for(host)).start();
        peer.accept_registered().assert_quiet();
    }
}

#[test]
fn no_url_is_shown_with_its_user_or_query() {
    let user = format!("ftp://user:{SECRET}@gateway.vmkit.dev/");
    rejected("VMKIT_GATEWAY_URL", setup().env("VMKIT_GATEWAY_URL", user));
    let query = format!("ws://gateway.vmkit.dev/?key={SECRET}");
    rejected("VMKIT_GATEWAY_URL", setup().env("VMKIT_GATEWAY_URL", query));
}

#[test]
fn wrong_log_levels() {
    for level in ["loud", "7", "off-ish", "info,debug"] {
        rejected("VMKIT_LOG_LEVEL", setup().env("VMKIT_LOG_LEVEL", level));
    }
}

#[test]
fn wrong_ca_files() {
    let with = |path: String| rejected("VMKIT_CA_FILE", setup().env("VMKIT_CA_FILE", path));
    let missing = with("/nonexistent/vmkit-test.pem".to_owned());
    assert!(missing.contains("/nonexistent/vmkit-test.pem"), "{missing}");
    with("/".to_owned());

    let authority = Authority::new();
    let pem = authority.pem().to_owned();
    let broken = pem.replace("\n-----END", "AAAA%%\n-----END");
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
    for text in
        ["".to_owned(), "hello\n".to_owned(), pem[..pem.len() / 2].to_owned(), broken, no_der, key]
    {
        let setup = setup();
        let path = setup.file("ca.pem", text);
        rejected("VMKIT_CA_FILE", setup.env("VMKIT_CA_FILE", path));
    }
}

#[test]
fn wrong_proxies() {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        for proxy in ["http://", "://", "socks5://127.0.0.1:1080", "http://127.0.0.1:99999"] {
            rejected("HTTPS_PROXY", setup().env(name, proxy));
        }
        let https = format!("https://user:{SECRET}@127.0.0.1:3128");
        rejected("HTTPS_PROXY", setup().env(name, https));
    }
}

#[test]
fn without_journald_the_line_is_the_same_but_for_the_prefix() {
    let output = run(&[], &[("VMKIT_AGENT_TOKEN", TOKEN), ("VMKIT_LOG_LEVEL", "loud")]);
    assert_eq!(output.status.code(), Some(EX_CONFIG));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
    assert!(stderr.contains("VMKIT_LOG_LEVEL") && stderr.contains("loud"), "{stderr:?}");
    assert!(output.stdout.is_empty());
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(agent_program());
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command.output().expect("the agent was built")
}

#[test]
fn version_and_help_need_no_configuration() {
    let version = run(&["--version"], &[]);
    assert_eq!(version.status.code(), Some(0));
    let text = String::from_utf8(version.stdout).expect("UTF-8");
    let expected = format!("vmkit-agent {}", env!("CARGO_PKG_VERSION"));
    let rest = text.strip_prefix(&expected).unwrap_or_else(|| panic!("{text:?}"));
    assert!(rest == "\n" || (rest.starts_with(" (") && rest.ends_with(")\n")), "{text:?}");
    assert!(version.stderr.is_empty());

    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(text.to_lowercase().contains("usage") && text.contains("VMKIT_AGENT_TOKEN"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}

#[test]
fn unknown_arguments_are_refused_with_a_way_to_the_usage() {
    for arguments in
        [&["--nope"][..], &["dance"], &["-x"], &["run", "more"], &["--version=1"], &[""]]
    {
        let output = run(arguments, &[("VMKIT_AGENT_TOKEN", TOKEN)]);
        let code = output.status.code();
        assert!(matches!(code, Some(2 | 64)), "{arguments:?}: {code:?}");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        let helps = stderr.to_lowercase().contains("usage") || stderr.contains("--help");
        assert!(helps, "{arguments:?}: {stderr:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn run_is_the_same_as_nothing() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new().argument("run"));
    session.assert_quiet();
}
