//! Through Debian's tinyproxy: a dial and an upgrade's download fail in the same words.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::support::{Agent, PATIENCE, Peer, Release, Setup, poll_until};
use crate::upgrade::params;

const DOWNLOAD_FAILED: i64 = -32010;

struct Tinyproxy {
    child: Child,
    port: u16,
}

impl Tinyproxy {
    /// With these lines in its configuration. It ends with the test's thread.
    fn start(setup: &Setup, lines: &str) -> Tinyproxy {
        let port = Peer::plain().port();
        let configuration = format!("Listen 127.0.0.1\nPort {port}\nTimeout 20\n{lines}\n");
        let configuration = setup.file("tinyproxy.conf", configuration);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "tinyproxy", "-d", "-c", &configuration]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("util-linux is there");
        let mut proxy = Tinyproxy { child, port };
        poll_until("a proxy that listens", PATIENCE, || {
            let ended = proxy.child.try_wait().expect("our child");
            assert!(ended.is_none(), "is tinyproxy (Debian: tinyproxy-bin) there? {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        proxy
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the log says of the proxy with these lines: after a dial to this host and port, and after a
/// download from there, of which the gateway is told too if `told`.
#[track_caller]
fn says(lines: &str, target: &str, words: &str, told: bool) {
    let setup = Setup::url(format!("wss://{target}/api/daemon"));
    let proxy = Tinyproxy::start(&setup, lines);
    let url = format!("http://user:vmkit-test-hush@127.0.0.1:{}", proxy.port);
    let said = format!("127.0.0.1:{}: the proxy {words}", proxy.port);
    let dialing = setup.env("HTTPS_PROXY", &*url).start();
    let line = dialing.wait_for_log(&["can't connect: proxy: "]);
    assert!(line.contains(&said), "{line}");

    let setup = Setup::new().installed().env("HTTPS_PROXY", &*url);
    let (_peer, agent, mut session) = Agent::registered(setup);
    let params = params(&format!("https://{target}/agent"), &Release::next());
    let response = session.request(1, "agent_upgrade", params);
    assert_eq!(response.code(), DOWNLOAD_FAILED, "{response:?}");
    assert_eq!(response.message().contains(&said), told, "{response:?}");
    let line = agent.wait_for_log(&["given up"]);
    assert!(line.contains(&said), "{line}");
    for agent in [&dialing, &agent] {
        let log = agent.log().join("\n");
        assert!(!log.contains("vmkit-test-hush"), "{log}");
    }
}

#[test]
fn a_proxy_that_forbids_this_machine() {
    const TARGET: &str = "vmkit-test.example:8443";
    let words = format!(
        "forbids the connection to {TARGET} (403); its access list must allow {TARGET} and this machine"
    );
    says("Allow 127.0.0.9", TARGET, &words, true);
    // Another of its refusals is that of a port.
    says("ConnectPort 443", TARGET, &words, true);
}

#[test]
fn a_proxy_that_wants_another_password() {
    let words =
        "requires a user name and password, or rejects those given (401); check HTTPS_PROXY";
    says("BasicAuth user vmkit-test-other", "vmkit-test.example:8443", words, true);
}

/// What listens on the machine is not the gateway's to know.
#[test]
fn a_proxy_that_cannot_connect() {
    let words = "could not connect to 127.0.0.1:1 (500); check that address, and the proxy's log";
    says("", "127.0.0.1:1", words, false);
}
