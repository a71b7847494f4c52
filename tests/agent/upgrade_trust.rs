//! Where the agent takes an upgrade from: over TLS, through a proxy, and signed by the real minisign.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;

use crate::support::{
    Agent, Download, OWN_VERSION, PATIENCE, PUBLIC_NAME, Peer, Release, Server, Session, Setup,
    TOKEN, architecture, poll_until,
};
use crate::upgrade::{assert_clean, params, register_of};

const DOWNLOAD_FAILED: i64 = -32010;
const CHECKSUM_MISMATCH: i64 = -32011;
const FORBIDDEN: i64 = -32014;

/// An agent that may replace itself.
fn replaceable() -> Setup {
    Setup::new().installed()
}

/// A registered agent that takes no release without a signature, and the signer.
fn demanding_signatures(setup: Setup) -> (Signer, Peer, Agent, Session) {
    let signer = Signer::new(&setup);
    let key = signer.key();
    let (peer, agent, session) = Agent::registered(setup.env("VMKIT_UPGRADE_PUBKEY", key));
    (signer, peer, agent, session)
}

/// An HTTP proxy that makes tunnels on this machine; the heads of the requests it gets.
fn proxy() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let port = listener.local_addr().expect("it is bound").port();
    let (heads, received) = channel();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let heads = heads.clone();
            thread::spawn(move || {
                let _ = tunnel(socket, |head| drop(heads.send(head)));
            });
        }
    });
    (port, received)
}

fn tunnel(socket: TcpStream, tell: impl FnOnce(String)) -> io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let port = head.split([' ', ':']).nth(2).and_then(|port| port.parse().ok());
    tell(head);
    let inside = TcpStream::connect((Ipv4Addr::LOCALHOST, port.ok_or(io::ErrorKind::Other)?))?;
    (&socket).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (inside.try_clone()?, socket.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Both)
    });
    io::copy(&mut reader, &mut &inside)?;
    inside.shutdown(Shutdown::Write)
}

#[test]
fn over_tls_through_the_proxy() {
    let (server, next) = (Server::tls(), Release::next());
    let (port, heads) = proxy();
    let setup = replaceable().env("HTTPS_PROXY", format!("http://user:p%40ss@127.0.0.1:{port}"));
    let ca = setup.file("downloads.pem", &server.ca);
    // The gateway is there, the downloads are at localhost.
    let (peer, agent, mut session) =
        Agent::registered(setup.env("NO_PROXY", "127.0.0.1").env("VMKIT_CA_FILE", ca));
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(*response.result(), json!({"status": "upgrading"}));
    assert_eq!(register_of(&peer).1["version"], *next.version);

    let (_, target) = url.split_once("https://").expect("it is TLS");
    let (host, _) = target.split_once('/').expect("it has a path");
    let head = heads.recv_timeout(PATIENCE).expect("it was asked");
    assert!(head.starts_with(&format!("CONNECT {host} HTTP/1.1\r\n")), "{head}");
    let credentials = data_encoding::BASE64.encode(b"user:p@ss");
    let head = head.to_lowercase();
    assert!(head.contains(&format!("basic {credentials}").to_lowercase()), "{head}");
    assert!(!head.contains(TOKEN), "{head}");
    let log = agent.log().join("\n");
    assert!(!log.contains("p@ss") && !log.contains("p%40ss"), "{log}");
}

/// The upgrader alone has to get through.
#[test]
fn what_an_upgrade_starts_does_not_get_the_proxys_password() {
    let (server, next) = (Server::plain(), Release::next());
    let setup = replaceable().env("HTTPS_PROXY", "http://user:vmkit-test-hush@127.0.0.1:1/");
    let restart = setup.file("restart.env", "");
    let setup =
        setup.env("VMKIT_RESTART_CMD", format!("env > {restart}.new; mv {restart}.new {restart}"));
    let (_peer, agent, mut session) = Agent::registered(setup.env("NO_PROXY", "*"));
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(*response.result(), json!({"status": "upgrading"}));
    session.expect_close();
    let has =
        |path: &Path| fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let command = poll_until("the restart command", PATIENCE, || {
        has(Path::new(&restart)).filter(|environment| !environment.is_empty())
    });
    let guard = agent.path("vmkit-agent.prev").display().to_string() + "\0rollback\0";
    let processes = fs::read_dir("/proc").expect("a Linux").flatten();
    let guards = processes.filter(|process| {
        has(&process.path().join("cmdline")).is_some_and(|arguments| arguments.starts_with(&guard))
    });
    let guards: Vec<_> = guards.filter_map(|guard| has(&guard.path().join("environ"))).collect();
    // systemd's timers have no environment of ours.
    assert!(!guards.is_empty() || Path::new("/run/systemd/system").exists());
    for environment in guards.iter().chain([&command]) {
        assert!(environment.contains("HTTPS_PROXY=http://127.0.0.1:1/"), "{environment}");
        assert!(!environment.contains("hush"), "{environment}");
        assert!(!environment.contains(TOKEN), "{environment}");
    }
}

/// A proxy would see all of it, and its localhost is another.
#[test]
fn not_through_the_proxy_where_there_is_no_tls() {
    let (server, next) = (Server::plain(), Release::next());
    let (port, heads) = proxy();
    let setup = replaceable().env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(*response.result(), json!({"status": "upgrading"}));
    assert!(heads.try_recv().is_err(), "the proxy was asked");
}

/// The name of a server that everybody can reach: the gateway hears what it answered, unless it
/// leads to an address inside.
#[test]
fn a_public_servers_answer_is_told_and_not_where_it_leads() {
    let (server, next) = (Server::tls(), Release::next());
    let (port, _heads) = proxy();
    let setup = replaceable().env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    let ca = setup.file("downloads.pem", &server.ca);
    let setup = setup.env("NO_PROXY", "127.0.0.1").env("VMKIT_CA_FILE", ca);
    let (_signer, _peer, agent, mut session) = demanding_signatures(setup);
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let public = |url: &str| url.replace("localhost", PUBLIC_NAME);
    let missing = public(&url).replace("agent", "elsewhere");
    let response = session.request(1, "agent_upgrade", params(&missing, &next));
    assert_eq!(response.code(), DOWNLOAD_FAILED);
    assert!(response.message().contains("answered 404"), "{}", response.message());
    let response = session.request(1, "agent_upgrade", params(&public(&url), &next));
    assert_eq!(response.code(), CHECKSUM_MISMATCH);
    assert!(response.message().contains("answered 404"), "{}", response.message());

    for inside in ["https://127.0.0.1:1/x", &url.replace("agent", "elsewhere")] {
        let away = public(&server.offer("away", inside.as_bytes(), Download::Moved));
        let response = session.request(1, "agent_upgrade", params(&away, &next));
        let told = format!("the download from {away} failed; the agent's log has the reason");
        assert_eq!((response.code(), response.message()), (DOWNLOAD_FAILED, &*told));
        agent.wait_for_log(&["given up", inside]);
        // The signature alone can lead there too.
        let signature = server.offer("agent.minisig", inside.as_bytes(), Download::Moved);
        server.offer_beside(&signature, "agent", next.bytes.clone());
        let signed = public(&signature).replace(".minisig", "");
        let response = session.request(1, "agent_upgrade", params(&signed, &next));
        assert_eq!(response.code(), CHECKSUM_MISMATCH);
        let message = response.message();
        assert!(message.ends_with("failed; the agent's log has the reason"), "{message}");
        assert!(!message.contains(inside), "{message}");
    }
}

#[test]
fn not_from_a_server_that_nobody_vouches_for() {
    let (server, next) = (Server::tls(), Release::next());
    let (_peer, agent, mut session) = Agent::registered(replaceable());
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let response = session.request(1, "agent_upgrade", params(&url, &next));
    assert_eq!(response.code(), DOWNLOAD_FAILED);
    assert!(response.message().contains("the agent's log has the reason"));
    agent.wait_for_log(&["given up", "localhost", "not trusted", "--ca-file"]);
    assert_clean(&agent, &next.version);
    session.assert_quiet();
}

/// A key pair of the real minisign's.
struct Signer {
    folder: String,
    public: String,
}

impl Signer {
    fn new(setup: &Setup) -> Signer {
        let public = setup.file("key.pub", "");
        let folder = Path::new(&public).parent().expect("a folder").display().to_string();
        let signer = Signer { folder, public };
        signer.minisign(&["-G", "-f", "-W", "-p", "key.pub", "-s", "key.sec"]);
        signer
    }

    fn key(&self) -> String {
        let text = fs::read_to_string(&self.public).expect("minisign has written it");
        text.lines().nth(1).expect("after a comment").to_owned()
    }

    fn signature_over(&self, content: &[u8], comment: &str) -> Vec<u8> {
        let path = Path::new(&self.folder).join("signed");
        fs::write(&path, content).expect("the folder is the test's own");
        self.minisign(&["-S", "-s", "key.sec", "-m", "signed", "-t", comment]);
        fs::read(path.with_extension("minisig")).expect("minisign has written it")
    }

    fn minisign(&self, arguments: &[&str]) {
        let run = Command::new("minisign").args(arguments).current_dir(&self.folder).output();
        let run = run.expect("minisign is installed");
        assert!(run.status.success(), "{run:?}");
    }
}

/// The trusted comment that a signature of `version` needs on this machine.
fn comment(version: &str) -> String {
    format!("vmkit-agent {version} linux/{}", architecture())
}

#[test]
fn with_a_signature_that_verifies() {
    let (server, next) = (Server::plain(), Release::next());
    let (signer, peer, agent, mut session) = demanding_signatures(replaceable());
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let good = signer.signature_over(&next.bytes, &comment(&next.version));
    let tampered = String::from_utf8(good.clone()).expect("it is text");
    let tampered = tampered.replace("trusted comment: vm", "trusted comment: Vm");
    for (signature, why) in [
        (signer.signature_over(b"another file", &comment(&next.version)), "not over this file"),
        (tampered.into_bytes(), "not over this file"),
        (vec![b'x'; 5000], "the agent's log has the reason"),
    ] {
        server.offer_beside(&url, "agent.minisig", signature);
        let response = session.request(1, "agent_upgrade", params(&url, &next));
        assert_eq!(response.code(), CHECKSUM_MISMATCH);
        assert!(response.message().contains(why), "{}", response.message());
        assert_clean(&agent, &next.version);
    }
    agent.wait_for_log(&["given up", "4 KiB"]);
    server.offer_beside(&url, "agent.minisig", good);
    let response = session.request(2, "agent_upgrade", params(&url, &next));
    assert_eq!(*response.result(), json!({"status": "upgrading"}));
    agent.wait_for_log(&["verified", "signature"]);
    assert_eq!(register_of(&peer).1["version"], *next.version);
}

/// Good signatures over the right file, that were made for something else.
#[test]
fn not_with_a_signature_that_is_for_something_else() {
    let (server, next) = (Server::plain(), Release::next());
    let (signer, _peer, agent, mut session) = demanding_signatures(replaceable());
    let url = server.offer("agent", next.bytes.clone(), Download::Whole);
    let needed = comment(&next.version);
    for other in [
        "timestamp:1\tfile:agent".to_owned(),
        needed.replace("linux/", "linux/x"),
        needed.replace("vmkit-agent", "other-agent"),
        comment("9.9.9"),
        format!("{needed} replaces"),
        format!("{needed} for tests"),
    ] {
        server.offer_beside(&url, "agent.minisig", signer.signature_over(&next.bytes, &other));
        let response = session.request(1, "agent_upgrade", params(&url, &next));
        assert_eq!(response.code(), CHECKSUM_MISMATCH, "{other}: {}", response.message());
        for words in [format!("{other:?}"), format!("{needed:?}")] {
            assert!(response.message().contains(&words), "{}", response.message());
        }
    }
    assert_clean(&agent, &next.version);
    assert!(fs::read(agent.path("vmkit-agent")).is_ok_and(|there| there != next.bytes));
}

/// An old release that was signed when it was new.
#[test]
fn no_lower_version_unless_its_signature_says_that_it_replaces_this_one() {
    let (server, lower) = (Server::plain(), Release::lower());
    let (signer, peer, agent, mut session) = demanding_signatures(replaceable());
    let url = server.offer("agent", lower.bytes.clone(), Download::Whole);
    let bound = comment(&lower.version);
    for comment in [bound.clone(), format!("{bound} replaces 9.9.9")] {
        server.offer_beside(&url, "agent.minisig", signer.signature_over(&lower.bytes, &comment));
        let response = session.request(1, "agent_upgrade", params(&url, &lower));
        assert_eq!(response.code(), FORBIDDEN, "{}", response.message());
        let advice = format!("{bound} replaces {}", *OWN_VERSION);
        for words in ["lower than the running", &lower.version, &advice] {
            assert!(response.message().contains(words), "{}", response.message());
        }
        assert_clean(&agent, &lower.version);
    }
    assert!(fs::read(agent.path("vmkit-agent")).is_ok_and(|there| there != lower.bytes));

    let back = format!("{bound} replaces {}", *OWN_VERSION);
    server.offer_beside(&url, "agent.minisig", signer.signature_over(&lower.bytes, &back));
    let response = session.request(2, "agent_upgrade", params(&url, &lower));
    assert_eq!(*response.result(), json!({"status": "upgrading"}));
    assert_eq!(register_of(&peer).1["version"], *lower.version);
}

/// On the machine itself its owner may do all of it, signed as a key asks for.
#[test]
fn by_hand_with_upgrades_off_to_a_lower_version() {
    let (server, lower) = (Server::plain(), Release::lower());
    let setup = replaceable().env("VMKIT_UPGRADES", "off");
    let (signer, _peer, agent, mut session) = demanding_signatures(setup);
    let key = signer.key();
    let url = server.offer("agent", lower.bytes.clone(), Download::Whole);
    let refused = session.request(1, "agent_upgrade", params(&url, &lower));
    assert_eq!(refused.code(), FORBIDDEN, "{}", refused.message());

    let upgrade = || {
        let mut command = Command::new(agent.path("vmkit-agent"));
        command.args(["upgrade", "--url", &url, "--version", &lower.version]);
        command.args(["--sha256", &lower.sha256()]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("VMKIT_AGENT_TOKEN", TOKEN);
        command.env("VMKIT_UPGRADES", "off").env("VMKIT_UPGRADE_PUBKEY", &key);
        command.env("STATE_DIRECTORY", agent.path("state"));
        command.env("VMKIT_UPGRADE_PROBATION_SECS", "5").env("VMKIT_RESTART_CMD", ":");
        command.output().expect("the agent was built")
    };
    server.offer_beside(&url, "agent.minisig", signer.signature_over(&lower.bytes, "another"));
    let output = upgrade();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("trusted comment"), "{output:?}");
    let signature = signer.signature_over(&lower.bytes, &comment(&lower.version));
    server.offer_beside(&url, "agent.minisig", signature);
    let output = upgrade();
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read(agent.path("vmkit-agent")).expect("it is installed") == lower.bytes);
}
