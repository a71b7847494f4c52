//! `logs_fetch` of real containers: what comes is what `docker logs` itself prints, put in order.

use serde_json::{Value, json};

use crate::support::{
    Agent, Container, LogLine, PATIENCE, Session, Setup, assert_same_lines, poll_until, texts,
};

const NO_SUCH_CONTAINER: i64 = -32001;
const DOCKER_UNUSABLE: i64 = -32002;

#[track_caller]
fn fetch(session: &mut Session, params: Value) -> Value {
    session.request(1, "logs_fetch", params).result().clone()
}

/// `1 2 3 ...` up to `last`
fn numbers(last: u32, separator: &str) -> String {
    (1..=last).map(|number| number.to_string()).collect::<Vec<_>>().join(separator)
}

#[test]
fn both_outputs_are_merged_by_time() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let script = "for n in 1 2 3 4 5 6; do echo out $n; sleep 0.05; echo err $n >&2; sleep 0.05; \
                  done; seq 300; seq 300 >&2";
    let container = Container::ended(&[], script);
    let result = fetch(&mut session, json!({"container": container.name, "lines": 1000}));
    let lines = LogLine::all_of(&result);
    assert_same_lines(&lines, &container.logs(1000));
    assert_eq!(lines.len(), 612);
    assert_eq!(result.get("truncated"), None);
}

#[test]
fn a_terminal_a_plain_container_and_another_driver_give_the_same_texts() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let script = r#"
        echo first; echo; echo; printf 'crlf\r\n'
        printf 'progress 1\rprogress 2\r\r\n'
        printf 'not UTF-8: \377\376 \303\n'
        printf 'tab\t"quote" \\ \033[31mred\033[0m é € 😀\n'
        echo ' spaces '; printf 'no newline'
    "#;
    let expected = [
        "first",
        "",
        "",
        "crlf",
        "progress 1\rprogress 2",
        "not UTF-8: \u{fffd}\u{fffd} \u{fffd}",
        "tab\t\"quote\" \\ \u{1b}[31mred\u{1b}[0m é € 😀",
        " spaces ",
        "no newline",
    ];
    for options in [&[][..], &["--tty"], &["--log-driver", "local"]] {
        let container = Container::ended(options, script);
        let lines = LogLine::all_of(&fetch(&mut session, json!({"container": container.name})));
        assert_eq!(texts(&lines), expected, "{options:?}");
        assert_same_lines(&lines, &container.logs(100));
    }
}

#[test]
fn long_lines_are_rejoined_and_the_longest_cut() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let written = [
        "é".repeat(10_000),
        numbers(8000, " "),
        "x".repeat(16 * 1024),
        "y".repeat(16 * 1024 + 1),
        "z".repeat(64 * 1024),
        "between".to_owned(),
    ];
    let container = Container::printed(&[], written.join("\n"));
    let result = fetch(&mut session, json!({"container": container.name}));
    assert!(texts(&LogLine::all_of(&result)) == written, "{:.500}", result.to_string());
    assert_eq!(result.get("truncated"), None);

    let long = numbers(52_000, " ");
    assert!(long.len() > 300_000);
    let container = Container::printed(&[], format!("before\n{long}\nafter\n"));
    let result = fetch(&mut session, json!({"container": container.name}));
    let expected = ["before", &long[..64 * 1024], "after"];
    assert!(texts(&LogLine::all_of(&result)) == expected, "{:.500}", result.to_string());
    assert_eq!(result["truncated"], true);
}

/// The default driver, `json-file`, has lost such characters before anyone can ask for them; of
/// `local`, engine 20.10 forgets the newline after a long line, so each is alone here.
#[test]
fn characters_across_dockers_pieces_are_whole_again() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let mut check = |options: &[&str], written: &str, expected: &str| {
        let container = Container::printed(options, written);
        let result = fetch(&mut session, json!({"container": container.name}));
        let lines = LogLine::all_of(&result);
        assert_eq!(lines.len(), 1, "{options:?}");
        assert!(lines[0].text == expected, "{options:?}: {:.500}", lines[0].text);
        assert_eq!(result.get("truncated").is_some(), written.len() > 64 * 1024);
    };
    let local = ["--log-driver", "local"];
    let across = |count| format!("{}{}", "a".repeat(16_383), "é€😀".repeat(count));
    check(&local, &across(400), &across(400)); // 20 KB
    check(&local, &across(2_600), &across(2_600)); // 40 KB
    let odd = format!("a{}", "é".repeat(40_000));
    check(&local, &odd, &odd[..64 * 1024 - 1]);
    let halves = format!("{}\u{fffd}\u{fffd}|é", "a".repeat(16_383));
    check(&[], &format!("{}é|é", "a".repeat(16_383)), &halves);
}

#[test]
fn as_many_lines_as_asked_for() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let container = Container::ended(&[], "seq 6500");
    for (lines, count) in [(None, 100), (Some(1), 1), (Some(5000), 5000), (Some(6000), 5000)] {
        let mut params = json!({"container": container.name});
        if let Some(lines) = lines {
            params["lines"] = json!(lines);
        }
        let lines = LogLine::all_of(&fetch(&mut session, params.clone()));
        assert_same_lines(&lines, &container.logs(count));
        assert_eq!((lines.len(), &*lines[0].text), (count as usize, &*(6501 - count).to_string()));
    }

    let silent = Container::ended(&[], "true");
    assert_eq!(fetch(&mut session, json!({"container": silent.name})), json!({"lines": []}));
}

#[test]
fn of_more_than_a_mebibyte_the_newest_lines_are_kept() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let filler = "x\t".repeat(200);
    let written: String = (0..5000).map(|number| format!("{number} {filler}\n")).collect();
    let container = Container::printed(&[], written);
    session.send_request(1, "logs_fetch", json!({"container": container.name, "lines": 5000}));
    // That it is at most 1 MiB is checked of every message.
    let text = session.next_text();
    let message: Value = serde_json::from_str(&text).expect("checked when it was read");
    let result = &message["result"];
    assert_eq!(result["truncated"], true);
    let lines = LogLine::all_of(result);
    let all = container.logs(5000);
    assert_same_lines(&lines, &all[all.len() - lines.len()..]);
    let one_more = serde_json::to_string(&all[all.len() - lines.len() - 1].text);
    let room = (1 << 20) - text.len();
    assert!(one_more.expect("a string").len() + 60 > room, "{room} bytes are left");
}

#[test]
fn a_container_that_never_stops_printing() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    // Rotated, so that the disk does not fill; a part of one processor is as endless as all of it.
    let options = ["--log-opt", "max-size=10m", "--log-opt", "max-file=2", "--cpus", "0.5"];
    let script = "while :; do echo 'there is always something to say'; done";
    let container = Container::running(&options, script);
    poll_until("5000 lines", PATIENCE, || (container.logs(5000).len() == 5000).then_some(()));
    for stream in [false, true] {
        let params = json!({"container": container.name, "lines": 5000, "stream": stream});
        session.send_request(1, "logs_fetch", params);
        let mut lines = Vec::new();
        loop {
            let message = session.next_message();
            let part = if message["id"] == 1 { &message["result"] } else { &message["params"] };
            lines.append(&mut LogLine::all_of(part));
            if message["id"] == 1 {
                break;
            }
        }
        assert!(lines.len() >= 4000, "{} lines", lines.len());
        assert!(lines.is_sorted_by(|one, next| one.ts <= next.ts));
        let last = lines.pop().expect("there are many");
        assert!(lines.iter().all(|line| line.text == last.text), "{lines:?}");
    }
}

#[test]
fn by_name_by_id_and_by_the_beginning_of_an_id() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let container = Container::running(&[], "echo started; exec sleep 300");
    poll_until("its line", PATIENCE, || (container.logs(1).len() == 1).then_some(()));
    let expected = container.logs(1);
    let id = container.id();
    for name in [&container.name, &id, &id[..12], &id[..10]] {
        let lines = LogLine::all_of(&fetch(&mut session, json!({"container": name})));
        assert_same_lines(&lines, &expected);
    }
    // Ended, its log is still there.
    crate::support::docker(&["kill", &container.name]);
    let lines = LogLine::all_of(&fetch(&mut session, json!({"container": container.name})));
    assert_same_lines(&lines, &expected);
}

#[test]
fn what_docker_refuses_is_said_in_one_line() {
    let (_peer, agent, mut session) = Agent::registered(Setup::new());
    let missing = "vmkit-test-no-such-container";
    let response = session.request(1, "logs_fetch", json!({"container": missing}));
    assert_eq!(response.code(), NO_SUCH_CONTAINER, "{response:?}");
    assert!(response.message().contains(missing), "{response:?}");
    assert!(!response.message().contains('\n'), "{response:?}");
    agent.wait_for_log(&["logs_fetch", "-32001", missing, " ms"]);

    let container = Container::ended(&["--log-driver", "none"], "echo unheard");
    let response = session.request(2, "logs_fetch", json!({"container": container.name}));
    assert_eq!(response.code(), DOCKER_UNUSABLE, "{response:?}");
    assert!(response.message().contains("logging driver"), "{response:?}");
    session.assert_quiet();
}

#[test]
fn two_agents_and_many_requests_at_once() {
    let (_peer, _one, mut one) = Agent::registered(Setup::new());
    let (_peer, _other, mut other) = Agent::registered(Setup::new());
    let containers = [
        Container::ended(&[], "seq 3000"),
        Container::printed(&[], numbers(5000, " ")),
        Container::ended(&["--tty"], "seq 100"),
    ];
    let expected = containers.each_ref().map(|container| container.logs(5000));
    for session in [&mut one, &mut other] {
        for id in 0..9 {
            let container = &containers[id % 3].name;
            session.send_request(id, "logs_fetch", json!({"container": container, "lines": 5000}));
        }
    }
    for session in [&mut one, &mut other] {
        for id in 0..9 {
            let response = session.response_to(id, PATIENCE);
            assert_same_lines(&LogLine::all_of(response.result()), &expected[id % 3]);
        }
    }
}
