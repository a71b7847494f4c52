//! The log: what is in it at INFO, and how it looks under journald, syslog, a terminal, or none of them.

use std::{
    fs::File,
    io::{PipeWriter, Read, Seek, Write},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use rustix::{
    fs::{MemfdFlags, Mode, OFlags, memfd_create},
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::json;

use crate::support::{Agent, Frame, PATIENCE, Peer, Session, Setup, poll_until};

#[test]
fn info_tells_the_story_of_a_session() {
    let setup = Setup::new();
    setup.docker("echo 'Error response from daemon: No such container: web' >&2; exit 1");
    let (peer, mut agent, mut session) = Agent::registered(setup);
    let start =
        agent.wait_for_log(&[env!("CARGO_PKG_VERSION"), "127.0.0.1", "vmkit-test-instance"]);
    assert!(start.starts_with("<6>"), "{start}");
    agent.wait_for_log(&["connected"]);
    agent.wait_for_log(&["registered"]);
    session.request(1, "metrics_collect", json!({}));
    let metrics = agent.wait_for_log(&["metrics_collect"]);
    assert!(metrics.contains(" ms"), "its duration: {metrics}");
    session.request(2, "logs_fetch", json!({"container": "web"}));
    agent.wait_for_log(&["logs_fetch", "-32001"]);
    session.request(3, "vmkit_test_nothing", json!({}));
    agent.wait_for_log(&["vmkit_test_nothing"]);
    drop(session);
    agent.wait_for_log(&["lost"]);
    let next = agent.wait_for_log(&["next", " s"]);
    assert!(next.starts_with(['<']), "{next}");
    peer.accept_registered().assert_quiet();
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn under_journald_lines_have_a_priority_and_no_time() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).start();
    peer.accept().refuse("401 Unauthorized");
    peer.accept_registered().assert_quiet();
    agent.wait_for_log(&["registered"]);
    let log = agent.log();
    for line in &log {
        let (priority, text) = line.split_at(line.find('>').expect("a priority") + 1);
        assert!(matches!(priority, "<3>" | "<4>" | "<5>" | "<6>"), "{line}");
        assert!(!text.starts_with(|first: char| first.is_ascii_digit()), "no time: {line}");
    }
    let refused = log.iter().find(|line| line.contains("(401)")).expect("it is logged");
    assert!(refused.starts_with("<3>") || refused.starts_with("<4>"), "{refused}");
}

#[test]
fn debug_says_more() {
    let lines = |level: &str| {
        let (_peer, mut agent, mut session) =
            Agent::registered(Setup::new().env("VMKIT_LOG_LEVEL", level));
        session.assert_quiet();
        agent.wait_for_log(&[]);
        agent.assert_exits_on(Signal::TERM);
        agent.whole_log()
    };
    let debug = lines("debug");
    assert!(debug.iter().any(|line| line.starts_with("<7>")), "{debug:?}");
    assert!(!lines("info").iter().any(|line| line.starts_with("<7>")));
}

#[test]
fn error_level_says_nothing_of_good_sessions() {
    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).env("VMKIT_LOG_LEVEL", "error").start();
    peer.accept_registered().assert_quiet();
    agent.assert_exits_on(Signal::TERM);
    assert_eq!(agent.whole_log(), Vec::<String>::new());
}

/// Whether a line has a time of day in it: `12:34:56`.
fn has_time(line: &str) -> bool {
    line.as_bytes().windows(8).any(|part| {
        part.iter().enumerate().all(|(at, byte)| match at {
            2 | 5 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
    })
}

/// A daemon started by journald whose stderr goes elsewhere has the variable, but not the stream.
#[test]
fn inherited_journal_stream_is_not_believed() {
    let peer = Peer::plain();
    let setup = Agent::dialing(&peer).not_under_journald().env("JOURNAL_STREAM", "9:12345");
    let agent = setup.in_private_root(|_| {}).start();
    peer.accept_registered().assert_quiet();
    agent.wait_for_log(&["registered"]);
    assert!(agent.log().iter().all(|line| !line.starts_with('<')), "{:?}", agent.log());
}

#[test]
fn with_nobody_else_to_tell_it_is_stderr() {
    let peer = Peer::plain();
    let agent = Agent::dialing(&peer).not_under_journald().in_private_root(|_| {}).start();
    peer.accept_registered().assert_quiet();
    let line = agent.wait_for_log(&["registered"]);
    assert!(line.to_lowercase().contains("info"), "{line}");
}

#[test]
fn on_a_terminal_lines_have_a_time_and_a_level() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&terminal).expect("ours");
    unlockpt(&terminal).expect("ours");
    let name = ptsname(&terminal, Vec::new()).expect("it has one");
    let stderr =
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("unlocked");

    let peer = Peer::plain();
    let mut agent = Agent::dialing(&peer).not_under_journald().stderr(stderr).start();
    peer.accept_registered().assert_quiet();
    agent.assert_exits_on(Signal::TERM);
    let mut screen = Vec::new();
    // A terminal that nobody holds open any more ends with EIO.
    let _ = File::from(terminal).read_to_end(&mut screen);
    let screen = String::from_utf8(screen).expect("UTF-8");
    let line = screen.lines().find(|line| line.contains("registered")).expect("it is shown");
    assert!(has_time(line) && line.to_lowercase().contains("info"), "{line:?}");
}

/// The next datagram that holds `word`.
#[track_caller]
fn next_syslog(daemon: &UnixDatagram, word: &str) -> String {
    daemon.set_nonblocking(true).expect("a socket");
    let mut datagram = [0; 4096];
    poll_until(&format!("{word:?} in syslog"), PATIENCE, || {
        let length = daemon.recv(&mut datagram).ok()?;
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        text.contains(word).then_some(text)
    })
}

/// An agent on a machine with a syslog daemon. Its stderr is a regular file, as OpenRC's is.
fn under_syslog() -> (Setup, UnixDatagram, File) {
    let mut daemon = None;
    let setup = Setup::new().not_under_journald();
    let setup = setup.in_private_root(|root| daemon = Some(root.bind_dev_log()));
    let stderr = memfd_create("vmkit-test-stderr", MemfdFlags::CLOEXEC).expect("memory is there");
    let stderr = File::from(stderr);
    let setup = setup.stderr(stderr.try_clone().expect("a file"));
    (setup, daemon.expect("prepared"), stderr)
}

/// Makes the agent log something: a session lost and won.
fn make_noise(peer: &Peer, session: Session) -> Session {
    drop(session);
    peer.accept_registered()
}

#[test]
fn syslog_gets_the_log_where_there_is_one() {
    let (setup, daemon, mut stderr) = under_syslog();
    let (_peer, agent, mut session) = Agent::registered(setup);
    session.assert_quiet();
    let line = next_syslog(&daemon, "registered");
    // Facility daemon, priority info; then its name and process id.
    assert!(line.starts_with("<30>"), "{line:?}");
    assert!(line.contains("vmkit-agent") && line.contains(&agent.pid().to_string()), "{line:?}");
    assert!(!line.contains('\n'), "{line:?}");
    let mut said = String::new();
    stderr.rewind().expect("a file");
    stderr.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(said, "", "nothing is said twice");
}

/// `vmkit-agent 2>&1 | tee log`.
#[test]
fn a_pipe_wins_over_syslog() {
    let peer = Peer::plain();
    let mut daemon = None;
    let setup = Agent::dialing(&peer).not_under_journald();
    let agent = setup.in_private_root(|root| daemon = Some(root.bind_dev_log())).start();
    peer.accept_registered().assert_quiet();
    let line = agent.wait_for_log(&["registered"]);
    assert!(has_time(&line) && line.to_lowercase().contains("info"), "{line}");
    let daemon = daemon.expect("prepared");
    daemon.set_nonblocking(true).expect("a socket");
    assert!(daemon.recv(&mut [0; 4096]).is_err(), "nothing is said twice");
}

#[test]
fn syslog_that_restarts_is_found_again() {
    let (setup, daemon, _) = under_syslog();
    let (peer, agent, session) = Agent::registered(setup);
    next_syslog(&daemon, "registered");
    drop(daemon);
    let daemon = agent.root().bind_dev_log();
    make_noise(&peer, session).assert_quiet();
    next_syslog(&daemon, "registered");
}

#[test]
fn syslog_that_hangs_holds_up_nothing() {
    let (setup, daemon, _) = under_syslog();
    let (peer, mut agent, mut session) = Agent::registered(setup);
    next_syslog(&daemon, "registered");
    // Other programs have filled the socket, from which nobody reads.
    let others = UnixDatagram::unbound().expect("sockets can be made");
    others.connect(agent.root().path.join("dev/log")).expect("it is bound");
    others.set_nonblocking(true).expect("a socket");
    while others.send(b"<30>vmkit-test: noise").is_ok() {}
    // Each is a line, as long as the agent writes any.
    for id in 0..30 {
        session.send_request(id, "vmkit_test_nothing", json!({}));
    }
    session.response_to(29, PATIENCE);
    let mut pongs: Vec<Duration> = (0..11).map(|_| session.ping(b"alive?")).collect();
    pongs.sort();
    assert!(pongs[5] < Duration::from_millis(40), "{pongs:?}");
    session.send(&Frame::close(1000));
    drop(session);
    peer.accept_registered().assert_quiet();
    agent.assert_exits_on(Signal::TERM);
}

/// Has the agent log what it may on this stderr, and holds it to serving and ending as ever.
fn survives(stderr: PipeWriter) {
    let setup = Setup::new().not_under_journald();
    let (_peer, mut agent, mut session) =
        Agent::registered(setup.in_private_root(|_| {}).stderr(stderr));
    for id in 0..30 {
        session.send_request(id, "vmkit_test_nothing", json!({}));
    }
    session.response_to(29, PATIENCE);
    agent.assert_exits_on(Signal::TERM);
}

#[test]
fn stderr_that_is_closed_is_survived() {
    let (reader, writer) = std::io::pipe().expect("pipes can be made");
    drop(reader);
    survives(writer);
}

#[test]
fn stderr_that_nobody_reads_holds_up_nothing() {
    let (_reader, mut writer) = std::io::pipe().expect("pipes can be made");
    // Full from the start.
    rustix::io::ioctl_fionbio(&writer, true).expect("a pipe");
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("a pipe");
    survives(writer);
}
