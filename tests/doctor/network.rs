//! A way to the gateway that ends early: in the resolver, at the port, at the proxy, in TLS.

use crate::{
    gateway::Gateway,
    machine::{Machine, SECRET},
    support::{Authority, Identity, Peer},
};

#[test]
fn name_server_that_is_dead() {
    let machine = Machine::dialing("wss://gateway.vmkit-test.example/api/daemon");
    // Nothing listens there, and the kernel says so at once.
    let machine = machine.spoil(|root| root.write("etc/resolv.conf", "nameserver 127.99.99.9\n"));
    let findings = machine.examine();
    let words = ["gateway.vmkit-test.example", "127.99.99.9", "getent"];
    findings.assert_first_fail("dns", &words);
    for check in ["tcp", "proxy", "tls", "http", "clock"] {
        findings.of(check).assert("SKIP", &[]);
    }
}

#[test]
fn port_that_is_closed() {
    let port = Peer::plain().port();
    let findings = Machine::dialing(&format!("ws://127.0.0.1:{port}/")).examine();
    let words = ["refused", &port.to_string(), "outbound", "nc -vz 127.0.0.1"];
    findings.assert_first_fail("tcp", &words);
    findings.of("dns").assert("PASS", &[]);
    findings.of("http").assert("SKIP", &["an earlier check failed"]);
}

#[test]
fn proxy_that_refuses() {
    let proxy = Gateway::refusing("407 Proxy Authentication Required");
    let findings = Machine::dialing("wss://gateway.vmkit-test.example/")
        .line(&format!("HTTPS_PROXY=http://user:{SECRET}@127.0.0.1:{}", proxy.port))
        .examine();
    findings.assert_first_fail("proxy", &["407", "HTTPS_PROXY"]);
    findings.of("tcp").assert("PASS", &[]);
    findings.of("tls").assert("SKIP", &[]);
}

#[test]
fn proxy_that_is_not_there() {
    let port = Peer::plain().port();
    let findings = Machine::dialing("wss://gateway.vmkit-test.example/")
        .line(&format!("HTTPS_PROXY=http://user:{SECRET}@127.0.0.1:{port}"))
        .examine();
    findings.assert_first_fail("tcp", &["HTTPS_PROXY", "vi /etc/vmkit/agent.env"]);
}

#[test]
fn gateway_over_tls() {
    let authority = Authority::new();
    let gateway = Gateway::tls(&authority.good());
    let findings = Machine::dialing(&gateway.url).trusting(authority.pem()).examine();
    findings.assert_sound();
    findings.of("tls").assert("PASS", &["TLS 1.3"]);
    // This gateway sends no Date.
    findings.of("clock").assert("SKIP", &[]);
    assert_eq!(gateway.ends(), ["1000", "1000"]);
}

#[track_caller]
fn distrusted(
    authority: &Authority,
    identity: &Identity,
    words: &[&str],
) -> crate::machine::Findings {
    let gateway = Gateway::tls(identity);
    let findings = Machine::dialing(&gateway.url).trusting(authority.pem()).examine();
    findings.assert_first_fail("tls", words);
    findings.of("tcp").assert("PASS", &[]);
    findings.of("http").assert("SKIP", &[]);
    assert!(gateway.ends().is_empty());
    findings
}

#[test]
fn certificate_of_an_unknown_authority() {
    let identity = Authority::new().good();
    let words = ["not trusted", "VMKIT_CA_FILE", "openssl"];
    distrusted(&Authority::new(), &identity, &words).of("clock").assert("SKIP", &[]);
}

#[test]
fn certificate_for_another_name() {
    let authority = Authority::new();
    let identity = authority.for_names(&["elsewhere.vmkit-test.example"]);
    distrusted(&authority, &identity, &["for elsewhere.vmkit-test.example, not for 127.0.0.1"]);
}

#[test]
fn certificate_or_clock_out_of_date() {
    let authority = Authority::new();
    let expired = authority.issue(&["127.0.0.1"], 2015, 2020);
    let findings = distrusted(&authority, &expired, &["expired", "2020-01-01", "timedatectl"]);
    findings.of("clock").assert("FAIL", &["outside the certificate's validity"]);
    let early = authority.issue(&["127.0.0.1"], 2090, 2099);
    let findings = distrusted(&authority, &early, &["not yet valid", "check the clock"]);
    findings.of("clock").assert("FAIL", &["timedatectl"]);
}
