//! `logs_fetch` of a docker that does not end: held to its deadline, and in nobody's way until then.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Agent, Call, Container, LogLine, PATIENCE, Setup, group_members, poll_until, texts,
};

const TOOK_TOO_LONG: i64 = -32003;

/// Hangs, deaf to signals, with a child that holds its pipes; serves another container meanwhile.
const HANGS: &str = r#"
    for container; do :; done
    if [ "$1" != logs ] || [ "$container" = quick ]; then
        echo 2026-01-01T00:00:00Z quick; exit 0
    fi
    trap '' TERM INT HUP
    sleep 300 &
    sleep 300
"#;

#[track_caller]
fn assert_group_ended(call: &Call) {
    let left = poll_until("the end of the process group", PATIENCE, || {
        let left = group_members(call.pid);
        left.is_empty().then_some(left)
    });
    assert_eq!(left, Vec::<u32>::new());
}

/// Once the script has started what it wants to.
fn wait_for_group(call: &Call) {
    poll_until("docker's children", PATIENCE, || {
        (group_members(call.pid).len() == 3).then_some(())
    });
}

#[test]
fn a_hung_docker_delays_nothing_and_is_ended_with_its_group_after_30_s() {
    let setup = Setup::new();
    let docker = setup.docker(HANGS);
    let (_peer, agent, mut session) = Agent::registered(setup);
    let began = Instant::now();
    for (id, stream) in [("whole", false), ("stream", true)] {
        session.send_request(id, "logs_fetch", json!({"container": "web", "stream": stream}));
    }
    let hung = docker.wait_for_calls("logs --timestamps --tail 100 web", 2);
    hung.iter().for_each(wait_for_group);

    let mut pings = Vec::new();
    while began.elapsed() < Duration::from_secs(28) {
        pings.push(session.ping(b"alive?"));
        if pings.len() % 20 == 0 {
            let quick = session.request(1, "logs_fetch", json!({"container": "quick"}));
            assert_eq!(texts(&LogLine::all_of(quick.result())), ["quick"]);
        }
        thread::sleep(Duration::from_millis(50)); // the pace, nothing is waited for
    }
    assert!(session.request(2, "metrics_collect", Value::Null).result().is_object());
    session.next_notification("health_snapshot");

    for id in ["whole", "stream"] {
        let response = session.response_to(id, PATIENCE);
        assert_eq!(response.code(), TOOK_TOO_LONG, "{response:?}");
        assert!(response.message().contains("web") && response.message().contains("30 s"));
        assert!(!response.message().contains('\n'), "{response:?}");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_secs(29) && took < Duration::from_secs(36), "{took:?}");
    hung.iter().for_each(assert_group_ended);
    agent.wait_for_log(&["logs_fetch", "-32003", "web", " ms"]);
    session.assert_quiet();

    pings.sort();
    let (median, slowest) = (pings[pings.len() / 2], pings[pings.len() - 1]);
    assert!(median < Duration::from_millis(40), "{median:?} of {} pings", pings.len());
    // Two processors, and more tests than that: one may have to wait for its turn.
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

/// The output of a docker that hangs stays in memory until its deadline, and has to leave room for
/// other requests.
#[test]
fn a_hung_docker_that_has_said_much_delays_no_other() {
    let setup = Setup::new();
    let said = "x".repeat(1000);
    let said: String = (0..900).map(|_| format!("2026-01-01T00:00:00Z {said}\n")).collect();
    setup.file("bin/docker.said", said);
    let docker = setup.docker(&format!("[ \"$5\" = quick ] || cat \"$0.said\"\n{HANGS}"));
    let (_peer, _agent, mut session) = Agent::registered(setup);
    session.send_request(1, "logs_fetch", json!({"container": "web"}));
    // Its children start when all has been printed, and so been read.
    docker.wait_for_calls("logs", 1).iter().for_each(wait_for_group);
    let began = Instant::now();
    let quick = session.request(2, "logs_fetch", json!({"container": "quick"}));
    assert_eq!(texts(&LogLine::all_of(quick.result())), ["quick"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_session_that_is_dropped_takes_docker_with_it() {
    let setup = Setup::new();
    let docker = setup.docker(HANGS);
    let (peer, mut agent, mut session) = Agent::registered(setup);
    session.send_request(1, "logs_fetch", json!({"container": "web"}));
    session.send_request(2, "logs_fetch", json!({"container": "web", "stream": true}));
    let calls = docker.wait_for_calls("logs", 2);
    calls.iter().for_each(wait_for_group);
    drop(session);
    calls.iter().for_each(assert_group_ended);

    // An agent that is told to stop does the same.
    let mut session = peer.accept_registered();
    session.send_request(3, "logs_fetch", json!({"container": "web"}));
    let call = docker.wait_for_calls("logs", 3).pop().expect("the third");
    wait_for_group(&call);
    agent.assert_exits_on(Signal::TERM);
    assert_group_ended(&call);
}

#[test]
fn the_real_docker_is_ended_with_its_session_too() {
    let script = "while :; do echo 'there is always something to say'; done";
    let options = ["--log-opt", "max-size=10m", "--log-opt", "max-file=2", "--cpus", "0.2"];
    let container = Container::running(&options, script);
    let setup = Setup::new();
    // `--follow` keeps the client there for as long as the container lives.
    let docker = setup.docker("PATH=${PATH#*:}; shift; exec docker logs --follow \"$@\"");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    session.send_request(1, "logs_fetch", json!({"container": container.name, "stream": true}));
    let call = docker.wait_for_calls("logs", 1).pop().expect("the first");
    session.next_notification("logs_chunk");
    assert!(!group_members(call.pid).is_empty());
    drop(session);
    assert_group_ended(&call);
}

/// A pipe at its end is readable for ever: an agent that went on watching it would spin.
#[test]
fn docker_that_closes_its_output_and_lingers_costs_nothing() {
    let setup = Setup::new();
    setup.docker("echo 2026-01-01T00:00:00Z said; exec >&- 2>&-; sleep 2");
    let (_peer, agent, mut session) = Agent::registered(setup);
    let before = processor_ticks(&agent);
    let response = session.request(1, "logs_fetch", json!({"container": "web"}));
    assert_eq!(texts(&LogLine::all_of(response.result())), ["said"]);
    let spent = processor_ticks(&agent) - before;
    assert!(spent < 20, "{spent} ticks of 10 ms in 2 s");
}

/// The processor time of the agent itself: `utime` and `stime`, proc_pid_stat(5).
fn processor_ticks(agent: &Agent) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("its name is in brackets");
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}
