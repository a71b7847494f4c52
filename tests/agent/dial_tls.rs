//! TLS that fails: what the log says of the other side, and what to do. Against openssl's server
//! with the certificates that administrators make, against rustls's, and against sockets that
//! speak something else.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::openssl::Certificates;
use crate::support::{Agent, Authority, Identity, PATIENCE, Peer, Setup, TOKEN};

const LOCALHOST: &str = "subjectAltName=DNS:localhost\n";

/// Dials openssl's server as `localhost`, trusting the CA of this name; the line about it.
#[track_caller]
fn refused(
    certificates: &Certificates,
    name: &str,
    arguments: &str,
    ca: Option<&str>,
    words: &[&str],
) -> String {
    let server = certificates.serve(name, arguments);
    let mut setup = Setup::url(format!("wss://localhost:{}/", server.port));
    if let Some(ca) = ca {
        setup = setup.env("VMKIT_CA_FILE", certificates.path(&format!("{ca}.pem")));
    }
    let mut agent = setup.start();
    let line = agent.wait_for_log(&["can't connect"]);
    agent.assert_exits_on(Signal::TERM);
    for word in words {
        assert!(line.contains(word), "{name} {arguments}: no {word:?} in {line}");
    }
    assert!(!line.contains(TOKEN), "{line}");
    line
}

/// What all words about an unknown issuer say.
const UNKNOWN: &[&str] = &[
    "which is not trusted (the system's certificate store is not used",
    "sudo vmkit-agent install --ca-file FILE",
];

#[test]
fn unknown_issuers_are_named() {
    let all = Certificates::new();
    all.ca("ca", "/O=Acme/CN=Acme CA");
    all.ca("other", "/CN=Other CA");
    all.leaf("leaf", "ca", LOCALHOST);
    let line = refused(&all, "leaf", "", None, UNKNOWN);
    assert!(line.contains("signed by \"CN=Acme CA, O=Acme\", which"), "{line}");
    assert!(!line.contains("VMKIT_CA_FILE"), "{line}");
    let line = refused(&all, "leaf", "", Some("other"), UNKNOWN);
    let not_there = format!("VMKIT_CA_FILE={} does not contain it", all.path("other.pem"));
    assert!(line.contains(&not_there), "{line}");
}

#[test]
fn missing_intermediate() {
    let all = Certificates::new();
    all.ca("root", "/CN=Acme Root");
    all.intermediate("middle", "/CN=Acme Issuing CA", "root");
    all.leaf("leaf", "middle", LOCALHOST);
    let chain = "have the server send its whole chain, it sent one certificate";
    let line = refused(&all, "leaf", "", Some("root"), UNKNOWN);
    assert!(line.contains("CN=Acme Issuing CA") && line.contains(chain), "{line}");
    // With a chain it is the root that is unknown.
    let line = refused(&all, "leaf", "-cert_chain middle.pem", None, UNKNOWN);
    assert!(line.contains("CN=Acme Root") && !line.contains(chain), "{line}");
}

#[test]
fn certificate_that_openssl_req_x509_makes() {
    let all = Certificates::new();
    let make = "req -x509 -nodes -newkey rsa:2048 -addext subjectAltName=DNS:localhost";
    all.openssl(&format!("{make} -keyout ca.key -out ca.pem"), "/CN=localhost");
    for ca in [None, Some("ca")] {
        refused(&all, "ca", "", ca, &["a CA's own", "basicConstraints=CA:FALSE"]);
    }
    // The remedy.
    let make = format!("{make} -addext basicConstraints=CA:FALSE");
    all.openssl(&format!("{make} -keyout own.key -out own.pem"), "/CN=localhost");
    refused(&all, "own", "", None, &["signed by itself, \"CN=localhost\"", UNKNOWN[1]]);
    refused(&all, "own", "-www", Some("own"), &["http: "]);
}

#[test]
fn ca_that_was_made_anew_under_its_old_name() {
    let all = Certificates::new();
    all.ca("old", "/CN=Acme CA");
    all.ca("new", "/CN=Acme CA");
    all.leaf("leaf", "new", LOCALHOST);
    let path = all.path("old.pem");
    let words =
        &[&*format!("not signed by the \"CN=Acme CA\" in VMKIT_CA_FILE={path}"), "older CA"];
    refused(&all, "leaf", "", Some("old"), words);
    refused(&all, "leaf", "-cert_chain new.pem", Some("old"), words);
}

#[test]
fn names_that_do_not_fit() {
    let all = Certificates::new();
    all.ca("ca", "/CN=Acme CA");
    let names = "DNS:a.example,DNS:*.b.example,IP:10.0.0.1,DNS:c.example,DNS:d.example";
    all.leaf("other", "ca", &format!("subjectAltName={names}\n"));
    all.leaf("nameless", "ca", "basicConstraints=CA:FALSE\n");
    all.leaf("version1", "ca", "");
    let words = "for a.example, *.b.example, 10.0.0.1, c.example and others, not for localhost; \
                 check VMKIT_GATEWAY_URL";
    refused(&all, "other", "", Some("ca"), &[words]);
    let words = ["names no host (a CN is not enough)", "with subjectAltName=DNS:localhost"];
    refused(&all, "nameless", "", Some("ca"), &words);
    let words = ["X.509 version 1, which names no host", "with subjectAltName=DNS:localhost"];
    refused(&all, "version1", "", Some("ca"), &words);
}

#[test]
fn certificates_that_are_not_for_this() {
    let all = Certificates::new();
    all.ca("ca", "/CN=Acme CA");
    all.leaf("client", "ca", &format!("{LOCALHOST}extendedKeyUsage=clientAuth\n"));
    all.rsa_leaf("weak", 1024, "ca", LOCALHOST);
    all.leaf("sha1", "ca", LOCALHOST);
    let sign = "x509 -req -sha1 -in sha1.csr -CA ca.pem -CAkey ca.key -set_serial 1";
    all.openssl(&format!("{sign} -extfile sha1.ext -out sha1.pem"), "");
    let any = "-cipher DEFAULT@SECLEVEL=0";
    refused(&all, "client", "", Some("ca"), &["extendedKeyUsage=serverAuth"]);
    refused(&all, "weak", any, Some("ca"), &["RSA key of fewer than 2048 bits"]);
    refused(&all, "sha1", any, Some("ca"), &["such as SHA-1"]);
}

#[test]
fn servers_that_refuse_say_why() {
    let all = Certificates::new();
    all.ca("ca", "/CN=Acme CA");
    all.leaf("leaf", "ca", LOCALHOST);
    let nothing_in_common =
        ["no TLS version, cipher or curve in common with the agent", "TLS 1.2 and 1.3", "P-384"];
    let no_version = ["tls: ", "neither TLS 1.2 nor TLS 1.3"];
    let client_certificate = ["wants a client certificate, which the agent does not have"];
    for (arguments, words) in [
        ("-tls1 -cipher DEFAULT@SECLEVEL=0", &no_version[..]),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", &no_version),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", &nothing_in_common),
        ("-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", &nothing_in_common),
        ("-tls1_2 -curves P-521", &nothing_in_common),
        ("-tls1_3 -curves P-521", &nothing_in_common),
        ("-tls1_2 -Verify 1", &client_certificate),
        // The alert comes when the handshake is over for the agent.
        ("-tls1_3 -Verify 1", &client_certificate),
        (
            "-servername other.example -servername_fatal -cert2 leaf.pem -key2 leaf.key",
            &["does not know the host name; check VMKIT_GATEWAY_URL"],
        ),
    ] {
        refused(&all, "leaf", arguments, Some("ca"), words);
    }
}

/// Both in one segment: the agent reads them at once.
#[test]
fn an_answer_is_not_lost_for_a_broken_record_behind_it() {
    let authority = Authority::new();
    let peer = Peer::tls(&authority.good());
    let agent = Agent::dialing(&peer).trusting(&authority).start();
    let mut dial = peer.accept();
    dial.read_upgrade();
    let socket = dial.stream.socket().try_clone().expect("a descriptor");
    let options = socket2::SockRef::from(&socket);
    options.set_tcp_cork(true).expect("a TCP socket");
    dial.respond("401 Unauthorized");
    let record = [&b"\x17\x03\x03\x00\x20"[..], &[0; 32]].concat();
    (&socket).write_all(&record).expect("the agent reads");
    options.set_tcp_cork(false).expect("a TCP socket");
    agent.wait_for_log(&["refuses the token", "401"]);
}

/// As nginx does with `ssl_verify_client on`.
#[test]
fn a_server_that_wants_a_client_certificate_only_after_the_handshake() {
    let authority = Authority::new();
    for (identity, words) in [
        (authority.wants_client_certificates(), "400: it wants a client certificate"),
        (authority.good(), "answered 400; check VMKIT_GATEWAY_URL"),
    ] {
        let peer = Peer::tls(&identity);
        let agent = Agent::dialing(&peer).trusting(&authority).start();
        let mut dial = peer.accept();
        dial.read_upgrade();
        dial.respond("400 Bad Request");
        agent.wait_for_log(&["can't connect", words]);
    }
}

/// Dials a peer that answers the ClientHello with these bytes and hangs up; the line about it.
fn answered(bytes: &[u8]) -> String {
    let peer = Peer::plain();
    let agent = Setup::url(format!("wss://127.0.0.1:{}/", peer.port())).start();
    let mut dial = peer.accept_tcp();
    dial.stream.fill(Instant::now() + PATIENCE).expect("a ClientHello");
    dial.stream.write(bytes).expect("the agent waits");
    drop(dial);
    agent.wait_for_log(&["can't connect: tls: "])
}

#[test]
fn what_is_no_tls_server() {
    let line = answered(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(line.contains("may be plain HTTP"), "{line}");
    assert!(line.contains("Check VMKIT_GATEWAY_URL"), "{line}");
    const CLOSE_NOTIFY: &[u8] = b"\x15\x03\x03\x00\x02\x01\x00";
    const INTERNAL_ERROR: &[u8] = b"\x15\x03\x03\x00\x02\x02\x50";
    const UNKNOWN_ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\xc8";
    for (bytes, words) in [
        (&b""[..], "ended during the handshake; is there a TLS server on that port?"),
        (CLOSE_NOTIFY, "ended during the handshake; is there a TLS server on that port?"),
        (INTERNAL_ERROR, "received fatal alert: InternalError; look at the server's log"),
        (UNKNOWN_ALERT, "the server ended TLS: received fatal alert: AlertDescription(0xc8)"),
    ] {
        let line = answered(bytes);
        assert!(line.contains(words), "{line}");
    }
}

/// A peer that closes without having read resets the connection.
#[test]
fn server_that_hangs_up() {
    let peer = Peer::plain();
    let agent = Setup::url(format!("wss://127.0.0.1:{}/", peer.port())).start();
    let mut dial = peer.accept_tcp();
    dial.stream.peek(1, Instant::now() + PATIENCE).expect("a ClientHello");
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(dial.stream.socket()).set_linger(linger).expect("a TCP socket");
    drop(dial);
    agent.wait_for_log(&["tls: ", "ended during the handshake"]);
}

/// A file as editors and `openssl x509 -trustout` leave it.
#[test]
fn ca_files_of_other_forms_are_trusted() {
    let authority = Authority::new();
    let all = Certificates::new();
    std::fs::write(all.path("ca.pem"), authority.pem()).expect("the test's own");
    all.openssl("x509 -in ca.pem -trustout -addtrust serverAuth -out trusted.pem", "");
    let trusted = std::fs::read_to_string(all.path("trusted.pem")).expect("openssl wrote it");
    assert!(trusted.contains("BEGIN TRUSTED CERTIFICATE"));
    let indented: String = trusted.lines().map(|line| format!("    {line}\r\n")).collect();
    let setup = Setup::new();
    let path = setup.file("ca.pem", format!("\u{feff}{indented}"));
    let peer = Peer::tls(&authority.good());
    let _agent = setup.env("VMKIT_CA_FILE", path).env("VMKIT_GATEWAY_URL", peer.url()).start();
    peer.accept_registered().assert_quiet();
}

/// Dials a gateway with this identity; the line about it, and that no token went out.
fn rejected(authority: &Authority, identity: &Identity) -> String {
    let peer = Peer::tls(identity);
    let mut agent = Agent::dialing(&peer).trusting(authority).start();
    if let Ok(mut dial) = peer.accept_tcp().start_tls(identity) {
        // In TLS 1.3 the server is done before the client has judged it: but no request comes.
        assert!(dial.stream.peek(1, Instant::now() + PATIENCE).is_err());
    }
    let line = agent.wait_for_log(&["tls"]);
    assert!(!line.contains(TOKEN), "{line}");
    agent.assert_exits_on(Signal::TERM);
    line.to_lowercase()
}

/// Today as this machine has it, `2026-01-31`, for the tests about dates.
fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    String::from_utf8(output.expect("coreutils are there").stdout)
        .expect("digits")
        .trim()
        .to_owned()
}

#[test]
fn certificate_that_has_expired_is_shown_beside_this_machines_clock() {
    let authority = Authority::new();
    let today = today();
    let line = rejected(&authority, &authority.issue(&["127.0.0.1"], 2015, 2020));
    assert!(line.contains("expired") && line.contains("clock"), "{line}");
    assert!(line.contains("2020-01-01") && line.contains(&today), "{line}");
}

#[test]
fn certificate_that_is_not_valid_yet_is_shown_beside_this_machines_clock() {
    let authority = Authority::new();
    let today = today();
    let line = rejected(&authority, &authority.issue(&["127.0.0.1"], 2090, 2099));
    assert!(line.contains("not yet valid") || line.contains("not valid yet"), "{line}");
    assert!(line.contains("clock"), "{line}");
    assert!(line.contains("2090-01-01") && line.contains(&today), "{line}");
}
