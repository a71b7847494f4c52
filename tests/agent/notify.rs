//! The agent's messages to the service manager: it is ready, its state, and that its loop turns.

use std::{
    fs,
    os::{linux::net::SocketAddrExt, unix::net::SocketAddr, unix::net::UnixDatagram},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Agent, PATIENCE, Peer, Setup, TOKEN, poll_until};

/// The socket that systemd would have, under a name of the kernel's.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new(test: &str) -> Manager {
        let name = format!("vmkit-test-manager-{}-{test}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("short enough");
        let socket = UnixDatagram::bind_addr(&address).expect("nobody else's name");
        Manager { socket, name: format!("@{name}") }
    }

    fn tell(&self, setup: Setup, watchdog: Duration) -> Setup {
        setup
            .env("NOTIFY_SOCKET", &self.name)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
    }

    /// The next assignment; `None` where there is none by then.
    fn next(&self, within: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).expect("not zero");
        let count = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..count].to_vec()).expect("UTF-8"))
    }

    /// Reads on to the next assignment that begins like this.
    #[track_caller]
    fn wait_for(&self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Some(found) if found.starts_with(beginning) => return found,
                Some(_) => {}
                None => panic!("no {beginning} within {PATIENCE:?}"),
            }
        }
    }

    /// A watchdog of this kind does not bite for the next few of its turns.
    #[track_caller]
    fn assert_fed(&self, watchdog: Duration, what: &str) {
        for _ in 0..4 {
            let deadline = Instant::now() + watchdog;
            let left = || deadline.saturating_duration_since(Instant::now());
            let heard = || self.next(left()).unwrap_or_else(|| panic!("not fed {what}"));
            while heard() != "WATCHDOG=1" {}
        }
    }

    fn is_fed_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let left = || deadline.saturating_duration_since(Instant::now());
        std::iter::from_fn(|| self.next(left())).any(|assignment| assignment == "WATCHDOG=1")
    }
}

const FOR_EVER: Duration = Duration::from_secs(3600);

#[test]
fn ready_before_there_is_a_gateway_then_each_state_and_stopping() {
    let manager = Manager::new("story");
    let port = Peer::plain().port();
    let mut agent = manager.tell(Setup::url(format!("ws://127.0.0.1:{port}/")), FOR_EVER).start();
    assert_eq!(manager.next(PATIENCE).as_deref(), Some("READY=1"));
    manager.wait_for(&format!("STATUS=connecting to 127.0.0.1:{port}"));
    let failure = manager.wait_for("STATUS=can't connect");
    assert!(failure.contains("refused") && failure.contains("next try in"), "{failure}");
    agent.assert_exits_on(Signal::TERM);
    manager.wait_for("STOPPING=1");

    let (_peer, mut agent, session) = Agent::registered(manager.tell(Setup::new(), FOR_EVER));
    manager.wait_for("STATUS=registered as vmkit-test-instance");
    drop(session);
    manager.wait_for("STATUS=lost the session");
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn a_socket_with_a_path_is_as_good_and_one_that_is_gone_does_no_harm() {
    let peer = Peer::plain();
    let setup = Agent::dialing(&peer);
    let path = setup.file("notify", "");
    fs::remove_file(&path).expect("just written");
    let socket = UnixDatagram::bind(&path).expect("a path short enough for a socket");
    let manager = Manager { socket, name: path.clone() };
    let mut agent = manager.tell(setup, Duration::from_millis(300)).start();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    fs::remove_file(&path).expect("it is there");
    drop(manager);
    peer.accept_registered().assert_quiet();
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn the_watchdog_is_fed_in_a_session_in_a_backoff_and_in_a_dial_that_hangs() {
    let manager = Manager::new("fed");
    let watchdog = Duration::from_millis(1500);
    let (peer, agent, session) = Agent::registered(manager.tell(Setup::new(), watchdog));
    manager.assert_fed(watchdog, "in a session");
    drop(session);
    peer.accept().refuse("503 Service Unavailable\nRetry-After: 30");
    // It may take up to a second more.
    agent.wait_for_log(&["503", "next try in 3"]);
    manager.assert_fed(watchdog, "in a backoff");
    drop(agent);

    let silent = Setup::url(format!("wss://127.0.0.1:{}/", peer.port()));
    let _agent = manager.tell(silent, watchdog).start();
    let _dial = peer.accept_tcp();
    manager.assert_fed(watchdog, "in a dial");
}

#[test]
fn an_agent_that_hangs_feeds_nobody() {
    let manager = Manager::new("hung");
    let watchdog = Duration::from_millis(300);
    let (_peer, agent, _session) = Agent::registered(manager.tell(Setup::new(), watchdog));
    manager.wait_for("WATCHDOG=1");
    agent.signal(Signal::STOP);
    while manager.next(watchdog).is_some() {}
    assert!(!manager.is_fed_within(3 * watchdog));
    agent.signal(Signal::CONT);
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn a_watchdog_of_another_process_is_left_alone() {
    let manager = Manager::new("other");
    let setup = manager.tell(Setup::new(), Duration::from_millis(100));
    let (_peer, _agent, _session) = Agent::registered(setup.env("WATCHDOG_PID", "1"));
    manager.wait_for("STATUS=registered");
    assert!(!manager.is_fed_within(Duration::from_millis(500)));
}

/// The service manager would take a child's word for the agent's; and no child has use for the token.
#[test]
fn no_child_inherits_the_way_to_the_manager_nor_to_the_token() {
    let manager = Manager::new("children");
    let setup = manager.tell(Setup::new(), FOR_EVER).without("VMKIT_AGENT_TOKEN");
    let path = setup.file("vmkit-agent-token", format!("{TOKEN}\n"));
    let folder = path.rsplit_once('/').expect("a path").0.to_owned();
    let docker = setup.docker("exec sleep 30");
    let (_peer, _agent, mut session) =
        Agent::registered(setup.env("CREDENTIALS_DIRECTORY", folder));
    // The credential is where the token came from.
    let authorization = session.upgrade.header("Authorization").map(str::to_owned);
    assert_eq!(authorization, Some(format!("Bearer {TOKEN}")));
    session.send_request(1, "logs_fetch", json!({"container": "web"}));
    let call = docker.wait_for_calls("logs", 1).remove(0);
    // Empty for a moment, while the fake becomes `sleep`.
    let environment = poll_until("the child's environment", PATIENCE, || {
        let environment = fs::read(format!("/proc/{}/environ", call.pid)).expect("it runs");
        (!environment.is_empty()).then_some(environment)
    });
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("PATH="), "{environment}");
    for secret in [TOKEN, "VMKIT_AGENT_TOKEN", "CREDENTIALS_DIRECTORY", "NOTIFY_", "WATCHDOG_"] {
        assert!(!environment.contains(secret), "{secret}: {environment}");
    }
}

/// A credential goes before the environment, and is what is read again after a 401.
#[test]
fn a_credential_that_was_corrected_needs_no_restart() {
    let peer = Peer::plain();
    let setup = Agent::dialing(&peer).env("VMKIT_AGENT_TOKEN", "vmkit-test-wrong");
    let path = setup.file("vmkit-agent-token", "vmkit-test-old\n");
    let folder = path.rsplit_once('/').expect("a path").0.to_owned();
    let agent = setup.env("CREDENTIALS_DIRECTORY", folder).start();
    let mut dial = peer.accept();
    assert_eq!(dial.read_upgrade().header("Authorization"), Some("Bearer vmkit-test-old"));
    fs::write(&path, TOKEN).expect("the test's own");
    dial.respond("401 Unauthorized\nContent-Length: 0");
    drop(dial);
    let session = peer.accept_upgraded();
    assert_eq!(session.upgrade.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
    agent.wait_for_log(&["token reloaded", &path]);
}

/// A watchdog of a minute costs an agent at rest no wake-ups that the heartbeat doesn't.
#[test]
fn at_rest_the_watchdog_is_fed_along_with_the_heartbeat() {
    let manager = Manager::new("rest");
    let (_peer, agent, mut session) =
        Agent::registered(manager.tell(Setup::new(), Duration::from_secs(60)));
    agent.wait_for_log(&["registered"]);
    session.rest(Duration::from_secs(2));
    let before = agent.sleeps();
    session.rest(Duration::from_secs(31));
    let woken = agent.sleeps() - before;
    assert!(woken <= 4, "{woken} wake-ups");
    assert!(manager.is_fed_within(Duration::from_millis(50)), "and it was fed");
}
