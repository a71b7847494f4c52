//! The token: in the upgrade request, and nowhere else.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Agent, Authority, Frame, Peer, Setup, TOKEN, opcode};

#[test]
fn the_token_is_in_no_log_argument_or_message() {
    for level in ["debug", "trace"] {
        let authority = Authority::new();
        let peer = Peer::tls(&authority.good());
        let setup = Agent::dialing(&peer).trusting(&authority).env("VMKIT_LOG_LEVEL", level);
        let docker = setup.docker("exit 1");
        let mut agent = setup.start();
        peer.accept().refuse("401 Unauthorized");
        peer.accept().refuse(&format!("302 Found\nLocation: /?token={TOKEN}"));
        let mut session = peer.accept_registered();
        session.request(1, "logs_fetch", json!({"container": "web"}));
        session.request(2, "metrics_collect", json!({}));
        session.next_notification("health_snapshot");
        session.send(&Frame::new(opcode::BINARY, "x"));
        session.expect_close();
        drop(session);
        let mut session = peer.accept_upgraded();
        session.read_register();
        session.answer_register(r#""error":{"code":-32000,"message":"no"}"#);
        session.expect_close();
        drop(session);
        let arguments = fs::read(format!("/proc/{}/cmdline", agent.pid())).expect("it runs");
        assert!(!String::from_utf8_lossy(&arguments).contains(TOKEN));
        agent.assert_exits_on(Signal::TERM);

        for line in agent.whole_log() {
            assert!(!line.contains(TOKEN), "{level}: {line}");
            assert!(!line.to_lowercase().contains("authorization: bearer"), "{level}: {line}");
        }
        let calls = docker.calls();
        assert!(!calls.is_empty() && calls.iter().all(|call| !call.arguments.contains(TOKEN)));
    }
}

/// docker has no use for it, and what it starts could print it.
#[test]
fn the_token_is_not_in_the_environment_of_docker() {
    let setup = Setup::new().env("DOCKER_HOST", "unix:///vmkit-test.sock");
    let environment = setup.file("bin/docker.env", "");
    setup.docker("env > \"$0.env\"");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    session.request(1, "logs_fetch", json!({"container": "web"}));
    let environment = fs::read_to_string(environment).expect("the script wrote it");
    assert!(environment.contains("DOCKER_HOST=unix:///vmkit-test.sock"), "{environment}");
    assert!(!environment.contains(TOKEN), "{environment}");
}

/// The way stays the same, without the user and the password, which podman hands on to containers.
#[test]
fn a_proxys_password_is_not_in_the_environment_of_docker() {
    const PROXY: &str = "http://vmkit-test-user:vmkit-test-p@ss/w@proxy.test:3128/";
    let peer = Peer::plain();
    let rest = format!("VMKIT_AGENT_TOKEN={TOKEN}\nALL_PROXY={PROXY}\n");
    let text = format!("VMKIT_GATEWAY_URL={}\n{rest}", peer.url());
    let mut setup = Setup::url("").without("VMKIT_GATEWAY_URL").without("VMKIT_AGENT_TOKEN");
    for name in ["HTTP_PROXY", "http_proxy", "all_proxy"] {
        setup = setup.env(name, PROXY);
    }
    setup = setup.env("ftp_proxy", "vmkit-test-user:vmkit-test-pass@proxy.test");
    let environment = setup.file("bin/docker.env", "");
    setup.docker("env > \"$0.env\"");
    let _agent = setup.in_private_root(|root| root.write("etc/vmkit/agent.env", &text)).start();
    let mut session = peer.accept_registered();
    session.request(1, "logs_fetch", json!({"container": "web"}));
    let environment = fs::read_to_string(environment).expect("the script wrote it");
    for name in ["HTTP_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"] {
        let line = format!("{name}=http://proxy.test:3128/\n");
        assert!(environment.contains(&line), "{line}: {environment}");
    }
    assert!(environment.contains("ftp_proxy=proxy.test\n"), "{environment}");
    for part in ["vmkit-test-user", "vmkit-test-p", TOKEN] {
        assert!(!environment.contains(part), "{environment}");
    }
}

/// A crash does not write the token to the disk.
#[test]
fn no_core_is_dumped() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    peer.accept_registered().assert_quiet();
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.expect("the kernel has one").split_whitespace().collect();
    assert_eq!(core[4..], ["0", "0", "bytes"], "soft and hard");
}

/// Its words go into the log, into the status and back to it; the token in them does not.
#[test]
fn a_gateway_that_repeats_the_token_is_not_repeated() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    peer.accept().refuse(&format!("302 Found\nLocation: /{}/{TOKEN}/login", "a".repeat(150)));
    let mut session = peer.accept_registered();
    session.request(1, &format!("method-{TOKEN}"), json!({}));
    session.send_raw(&Frame::new(opcode::CLOSE, [b"\x03\xe8", TOKEN.as_bytes()].concat()).encode());
    drop(session);
    let mut session = peer.accept_upgraded();
    session.read_register();
    let error = json!({"code": -32000, "message": TOKEN});
    session.answer_register(&format!("\"error\":{error}"));
    session.expect_close();
    drop(session);
    peer.accept_registered().assert_quiet();
    let log = agent.log();
    assert!(log.iter().filter(|line| line.contains("***")).count() >= 3, "{log:#?}");
    assert!(log.iter().all(|line| !line.contains(TOKEN)), "{log:#?}");
}

/// A gateway can't write lines of its own into the log.
#[test]
fn a_gateway_cannot_write_lines_of_its_own_into_the_log() {
    let (peer, agent, mut session) = Agent::registered(Setup::new());
    session.request(1, "a\nforged\u{1b}[2J", json!({}));
    session.broken_request(2, "logs_fetch", json!({"container": "a\nforged"}));
    session.send_raw(&Frame::new(opcode::CLOSE, b"\x03\xe8bye\nforged\x1b[2J").encode());
    drop(session);
    let mut session = peer.accept_upgraded();
    session.read_register();
    session.answer_register(r#""error":{"code":-32000,"message":"no\nforged\u001b[2J"}"#);
    session.expect_close();
    drop(session);
    peer.accept_registered().assert_quiet();
    for line in agent.log() {
        assert!(line.starts_with('<') && !line.contains('\x1b'), "{line:?}");
    }
}
