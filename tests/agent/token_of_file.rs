//! The token of `/etc/vmkit/agent.env` goes to the gateway that the same file names, and to no other.

use std::time::Duration;

use crate::support::{Agent, PATIENCE, Peer, PrivateRoot, Setup, TOKEN};

const CORRECTED: &str = "vmkit-test-corrected";
const ENV_FILE: &str = "etc/vmkit/agent.env";

/// The content of a file that has this token and this gateway.
fn file(token: &str, gateway: &str) -> String {
    format!("# written by cloud-init\nVMKIT_AGENT_TOKEN={token}\nVMKIT_GATEWAY_URL={gateway}\n")
}

/// An agent whose environment has what its file has, as systemd has it.
fn as_a_service(peer: &Peer) -> Setup {
    let text = file(TOKEN, &peer.url());
    Agent::dialing(peer).in_private_root(|root| root.write(ENV_FILE, &text))
}

/// An agent that has nothing of this in its environment.
fn by_hand(file: &str) -> Setup {
    let setup = Setup::url("").without("VMKIT_GATEWAY_URL").without("VMKIT_AGENT_TOKEN");
    setup.in_private_root(|root| root.write(ENV_FILE, file))
}

/// An agent that reads the same from its file by itself.
fn as_by_hand(peer: &Peer) -> Setup {
    by_hand(&file(TOKEN, &peer.url()))
}

/// Refuses the token of the next dial, which is this one, once the file was changed.
#[track_caller]
fn refuse(peer: &Peer, token: &str, status: &str, change: impl FnOnce()) {
    let mut dial = peer.accept();
    let upgrade = dial.read_upgrade();
    assert_eq!(upgrade.header("Authorization"), Some(&*format!("Bearer {token}")));
    change();
    dial.respond(&format!("{status}\nContent-Length: 0"));
}

#[track_caller]
fn assert_registers_with(peer: &Peer, token: &str) {
    let session = peer.accept_registered();
    assert_eq!(session.upgrade.header("Authorization"), Some(&*format!("Bearer {token}")));
}

#[test]
fn a_corrected_token_needs_no_restart() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        for setup in [as_a_service, as_by_hand] {
            let peer = Peer::plain();
            let agent = setup(&peer).start();
            refuse(&peer, TOKEN, status, || {
                agent.root().write(ENV_FILE, &file(CORRECTED, &peer.url()));
            });
            assert_registers_with(&peer, CORRECTED);
            agent.wait_for_log(&["token reloaded from /etc/vmkit/agent.env"]);
        }
    }
}

#[test]
fn started_by_hand_it_reads_the_environment_file() {
    let peer = Peer::plain();
    let _agent = by_hand(&file(TOKEN, &peer.url())).start();
    assert_registers_with(&peer, TOKEN);
}

#[test]
fn a_file_that_names_another_gateway_by_now_gives_nothing() {
    for setup in [as_a_service, as_by_hand] {
        let (peer, other) = (Peer::plain(), Peer::plain());
        let agent = setup(&peer).start();
        refuse(&peer, TOKEN, "401 Unauthorized", || {
            agent.root().write(ENV_FILE, &file(CORRECTED, &other.url()));
        });
        agent.wait_for_log(&["401", "now names another gateway", "restart the agent"]);
        assert_registers_with(&peer, TOKEN);
        assert!(other.accept_within(Duration::ZERO).is_none());
        // Said once, and no token with it.
        let log = agent.log();
        assert_eq!(log.iter().filter(|line| line.contains("another gateway")).count(), 1);
        assert!(log.iter().all(|line| !line.contains(CORRECTED)), "{log:#?}");
    }
}

/// A token and a gateway for a trial, beside the file of the service: each of these agents has one
/// of the two, or both, from elsewhere.
#[test]
fn what_did_not_come_from_the_file_is_not_read_from_there_again() {
    type Write = fn(&PrivateRoot, &Peer);
    let files: [(&str, &str, Write); 3] = [
        ("both", "401 Unauthorized", |root, _| {
            root.write(ENV_FILE, &file("vmkit-test-production", "wss://prod.test/"));
        }),
        ("the token", "403 Forbidden", |root, peer| {
            root.write(ENV_FILE, &file("vmkit-test-other", &peer.url()));
        }),
        ("the gateway", "401 Unauthorized", |root, _| {
            root.write(ENV_FILE, &format!("VMKIT_AGENT_TOKEN={TOKEN}\n"));
        }),
    ];
    for (elsewhere, status, write) in files {
        let peer = Peer::plain();
        let agent = Agent::dialing(&peer).in_private_root(|root| write(root, &peer)).start();
        refuse(&peer, TOKEN, status, || {
            let gateway = if elsewhere == "the token" { &peer.url() } else { "wss://prod.test/" };
            agent.root().write(ENV_FILE, &file(CORRECTED, gateway));
        });
        let words = [&status[..3], "token was not taken", "restart the agent"];
        agent.wait_for_log(&words);
        assert_registers_with(&peer, TOKEN);
    }
}

/// Such an agent does not start at all.
#[test]
fn the_gateway_of_the_environment_never_gets_the_token_of_the_file() {
    let only_token = format!("VMKIT_AGENT_TOKEN={TOKEN}\n");
    for (text, files) in [
        (file(TOKEN, "wss://prod.test/api?key=hush"), "wss://prod.test/api "),
        (only_token, "wss://gateway.vmkit.dev/api/daemon"),
    ] {
        let peer = Peer::plain();
        let mut agent = by_hand(&text).env("VMKIT_GATEWAY_URL", peer.url()).start();
        let status = agent.wait_for_exit(PATIENCE);
        let log = agent.whole_log();
        assert_eq!(status.code(), Some(78), "{log:?}");
        let [line] = &log[..] else { panic!("one line: {log:#?}") };
        for word in ["VMKIT_GATEWAY_URL", &peer.url(), files, "/etc/vmkit/agent.env", "unset"] {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(!line.contains(TOKEN) && !line.contains("hush"), "{line}");
        assert!(peer.accept_within(Duration::ZERO).is_none());
    }
}

/// The same gateway in another spelling is the same.
#[test]
fn the_gateway_of_the_environment_may_be_that_of_the_file() {
    let peer = Peer::plain();
    let setup = by_hand(&file(TOKEN, &peer.url()));
    let _agent = setup.env("VMKIT_GATEWAY_URL", peer.url().replace("ws:", "WS:")).start();
    assert_registers_with(&peer, TOKEN);
}
