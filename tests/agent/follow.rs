//! `logs_fetch` with `"follow": true`, and `logs_cancel`: what a follow is asked, sends and answers. Docker
//! prints what a test tells it, when the test tells it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Agent, LogLine, Session, Setup, texts};

const INVALID_PARAMS: i64 = -32602;
/// The promise is 250 ms. The rest is for a machine that is busy with other tests: alone, each line
/// takes about 55 ms.
const SOON: Duration = Duration::from_millis(750);

/// A docker that prints what comes by two pipes of its container, and ends with the first.
pub const BY_PIPES: &str = r#"
    for container; do :; done
    pipe=${0%/*}/$container
    cat "$pipe.err" >&2 &
    exec cat "$pipe.out"
"#;

/// A container of [`BY_PIPES`].
pub struct Printer {
    out: File,
    err: File,
    printed: u32,
}

impl Printer {
    #[track_caller]
    pub fn new(setup: &Setup, container: &str) -> Printer {
        let pipe = |end: &str| {
            let path = setup.file(&format!("bin/{container}.draft"), "");
            let path = path.replace(".draft", end);
            let made = Command::new("mkfifo").arg(&path).status();
            assert!(made.is_ok_and(|status| status.success()));
            // To read too: so the opening does not wait for docker.
            OpenOptions::new().read(true).write(true).open(path).expect("just made")
        };
        Printer { out: pipe(".out"), err: pipe(".err"), printed: 0 }
    }

    pub fn print(&mut self, text: &str) {
        let line = self.stamped(text) + "\n";
        self.out.write_all(line.as_bytes()).expect("docker reads");
    }

    pub fn complain(&mut self, text: &str) {
        let line = self.stamped(text) + "\n";
        self.err.write_all(line.as_bytes()).expect("docker reads");
    }

    /// Prints a piece of a line, as docker does: with the time, without a newline.
    pub fn print_piece(&mut self, text: &str) {
        let piece = self.stamped(text);
        self.out.write_all(piece.as_bytes()).expect("docker reads");
    }

    fn stamped(&mut self, text: &str) -> String {
        self.printed += 1;
        format!("2026-01-01T00:00:00.{:09}Z {text}", self.printed)
    }
}

/// A follow as it comes in.
pub struct Tail {
    id: Value,
    pub lines: Vec<LogLine>,
    pub chunks: usize,
    pub dropped: u64,
    /// Once it has ended.
    pub result: Option<Value>,
}

impl Tail {
    /// Asks for it.
    #[track_caller]
    pub fn ask(session: &mut Session, id: impl Into<Value>, params: Value) -> Tail {
        let id = id.into();
        let mut params = params;
        params["follow"] = json!(true);
        session.send_request(id.clone(), "logs_fetch", params);
        Tail::of(id)
    }

    pub fn of(id: impl Into<Value>) -> Tail {
        Tail { id: id.into(), lines: Vec::new(), chunks: 0, dropped: 0, result: None }
    }

    /// Takes a message if it is of this follow.
    #[track_caller]
    pub fn take(&mut self, message: &Value) -> bool {
        if message["method"] == "logs_chunk" && message["params"]["id"] == self.id {
            assert_eq!(self.result, None, "a chunk after the result");
            let chunk = &message["params"];
            assert_eq!(chunk["seq"], self.chunks, "seq has no gap");
            let mut lines = LogLine::all_of(chunk);
            let length = message.to_string().len();
            assert!(length <= 64 * 1024 || lines.len() == 1, "{length} bytes");
            assert!(!lines.is_empty(), "a chunk without lines");
            self.lines.append(&mut lines);
            self.dropped += chunk["dropped"].as_u64().unwrap_or(0);
            self.chunks += 1;
            return true;
        }
        let is_result = message.get("method").is_none() && message["id"] == self.id;
        if is_result {
            let result = &message["result"];
            assert_eq!(result["lines"], json!([]), "{message:.300}");
            assert_eq!(result["streamed"], self.lines.len(), "{message:.300}");
            self.result = Some(result.clone());
        }
        is_result
    }

    /// Reads until there are so many lines.
    #[track_caller]
    pub fn wait_for_lines(&mut self, session: &mut Session, count: usize) {
        while self.lines.len() < count {
            let message = session.next_message();
            assert!(self.take(&message), "not of this follow: {message:.300}");
        }
    }

    /// Reads until there is a line that begins like this.
    #[track_caller]
    pub fn wait_for_text(&mut self, session: &mut Session, text: &str) {
        while !self.lines.iter().any(|line| line.text.starts_with(text)) {
            self.wait_for_lines(session, self.lines.len() + 1);
        }
    }

    /// Reads until it has ended; what ended it.
    #[track_caller]
    pub fn wait_for_end(&mut self, session: &mut Session) -> String {
        while self.result.is_none() {
            let message = session.next_message();
            assert!(self.take(&message), "not of this follow: {message:.300}");
        }
        let ended = self.result.as_ref().and_then(|result| result["ended"].as_str());
        ended.expect("a result of a follow").to_owned()
    }
}

#[track_caller]
pub fn cancel(session: &mut Session, id: impl Into<Value>, of: impl Into<Value>) -> bool {
    let response = session.request(id, "logs_cancel", json!({"id": of.into()}));
    let result = response.result();
    assert_eq!(result.as_object().map(serde_json::Map::len), Some(1), "{result}");
    result["cancelled"].as_bool().expect("a boolean")
}

#[test]
fn the_tail_comes_at_once_and_each_new_line_soon() {
    let setup = Setup::new();
    let mut web = Printer::new(&setup, "web");
    let docker = setup.docker(BY_PIPES);
    let (_peer, agent, mut session) = Agent::registered(setup);
    for number in 0..3 {
        web.print(&format!("old {number}"));
    }
    let mut tail = Tail::ask(&mut session, 7, json!({"container": "web", "lines": 3}));
    let call = docker.wait_for_calls("logs", 1).remove(0);
    assert_eq!(call.arguments, "logs --timestamps --tail 3 --follow web");
    tail.wait_for_lines(&mut session, 3);
    let mut took: Vec<Duration> = (0..20)
        .map(|number| {
            let printed = Instant::now();
            web.print(&format!("new {number}"));
            tail.wait_for_lines(&mut session, 4 + number);
            printed.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[10] < Duration::from_millis(250), "{took:?}");
    assert!(took[19] < SOON, "{took:?}");
    assert_eq!(tail.lines[3].text, "new 0");
    assert_eq!(tail.lines[3].ts, "2026-01-01T00:00:00.000000004Z");
    assert_eq!(tail.dropped, 0);

    assert!(cancel(&mut session, 8, 7));
    assert_eq!(tail.wait_for_end(&mut session), "cancelled");
    agent.wait_for_log(&["logs_fetch: web: 23 lines streamed, ended: cancelled, in"]);
    session.assert_quiet();
}

/// What docker prints as errors comes by a pipe of its own: of lines that are printed together the
/// older is first, and no line waits long for another.
#[test]
fn both_outputs_are_in_order_and_neither_waits_for_the_other() {
    let setup = Setup::new();
    let mut web = Printer::new(&setup, "web");
    setup.docker(BY_PIPES);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let mut tail = Tail::ask(&mut session, "both", json!({"container": "web"}));
    for round in 0..10 {
        for number in 0..20 {
            match number % 3 {
                0 => web.complain(&format!("err {round} {number}")),
                _ => web.print(&format!("out {round} {number}")),
            }
        }
        tail.wait_for_lines(&mut session, 20 * (round + 1));
    }
    assert!(tail.lines.is_sorted_by(|one, next| one.ts < next.ts), "{:?}", tail.lines);
    let of_stderr = tail.lines.iter().filter(|line| line.from.is_some());
    assert!(of_stderr.clone().all(|line| line.from.as_deref() == Some("stderr")));
    assert!(of_stderr.clone().all(|line| line.text.starts_with("err")));
    assert_eq!(of_stderr.count(), 70);

    let printed = Instant::now();
    web.complain("alone");
    tail.wait_for_lines(&mut session, 201);
    assert!(printed.elapsed() < SOON, "{:?}", printed.elapsed());
}

/// A fast gateway gets all of a large tail: what the agent has no room for waits in docker's pipes.
#[test]
fn a_large_tail_is_whole_and_in_order() {
    let setup = Setup::new();
    let lines = |odd: usize| -> String {
        let line = |n: usize| format!("2026-01-01T00:00:00.{n:09}Z {} {n}\n", "x".repeat(500));
        (0..4000).map(|n| line(2 * n + odd)).collect()
    };
    setup.file("bin/docker.stdout", lines(0));
    setup.file("bin/docker.stderr", lines(1));
    setup.docker(
        r#"paste -d '\n' "$0.stdout" "$0.stderr" | while read -r out && read -r err; do
        echo "$out"; echo "$err" >&2; done"#,
    );
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let params = json!({"container": "web", "lines": 5000, "stream": true});
    let mut tail = Tail::ask(&mut session, 1, params);
    assert_eq!(tail.wait_for_end(&mut session), "container");
    assert_eq!((tail.lines.len(), tail.dropped), (8000, 0));
    let disorder = tail.lines.windows(2).position(|pair| pair[0].ts >= pair[1].ts);
    assert_eq!(disorder, None);
}

#[test]
fn since_and_lines_reach_docker() {
    let setup = Setup::new();
    let docker = setup.docker("exit 0");
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let since = "2026-01-01T01:00:00+01:00";
    for (params, expected) in [
        (json!({"container": "a"}), "--tail 100 --follow a"),
        (json!({"container": "b", "lines": 6000}), "--tail 5000 --follow b"),
        (
            json!({"container": "c", "lines": 1, "since": since}),
            "--tail 1 --since=2026-01-01T00:00:00.000000000Z --follow c",
        ),
    ] {
        let mut tail = Tail::ask(&mut session, 1, params);
        assert_eq!(tail.wait_for_end(&mut session), "container");
        let call = docker.calls().pop().expect("it was called");
        assert_eq!(call.arguments, format!("logs --timestamps {expected}"));
    }
}

/// Docker prints a line of more than 16 KiB in pieces, with the time before each, and some log drivers
/// forget the newline behind it.
#[test]
fn long_lines_are_joined_and_shown_before_their_newline() {
    let piece = |letter: char| letter.to_string().repeat(16 * 1024);
    let setup = Setup::new();
    let mut web = Printer::new(&setup, "web");
    setup.docker(BY_PIPES);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let mut tail = Tail::ask(&mut session, 1, json!({"container": "web"}));

    // In one go, it is one line.
    let stamp = "2026-01-01T00:00:00.000000000Z ";
    let whole = format!("{stamp}{}{stamp}{}{stamp}end\n", piece('a'), piece('b'));
    web.out.write_all(whole.as_bytes()).expect("docker reads");
    tail.wait_for_lines(&mut session, 1);
    assert!(tail.lines[0].text == format!("{}{}end", piece('a'), piece('b')));

    // A piece that nothing follows is shown; what follows late is a line of its own.
    let printed = Instant::now();
    web.print_piece(&piece('c'));
    tail.wait_for_lines(&mut session, 2);
    assert!(printed.elapsed() < SOON, "{:?}", printed.elapsed());
    assert!(tail.lines[1].text == piece('c'));
    web.print("the rest");
    tail.wait_for_lines(&mut session, 3);
    assert_eq!(tail.lines[2].text, "the rest");

    // Also where the other pipe is busy.
    web.print_piece(&piece('d'));
    while tail.lines.iter().all(|line| line.text != piece('d')) {
        web.complain("busy");
        let count = tail.lines.len();
        tail.wait_for_lines(&mut session, count + 1);
        assert!(count < 100, "the piece is never shown");
    }
    // Half a line is not.
    web.print_piece("half");
    std::thread::sleep(Duration::from_millis(300)); // twice as long as a piece waits
    web.complain("a sign");
    tail.wait_for_text(&mut session, "a sign");
    assert!(!tail.lines.iter().any(|line| line.text.starts_with("half")));
    web.print_piece("\n");
    tail.wait_for_text(&mut session, "half");
}

#[test]
fn a_line_over_64_kib_is_cut_and_the_result_says_so() {
    let setup = Setup::new();
    let piece = format!("2026-01-01T00:00:00Z {}", "x".repeat(16 * 1024));
    setup.file("bin/docker.stdout", piece.repeat(20) + "\n2026-01-01T00:00:01Z after\n");
    setup.docker(r#"cat "$0.stdout""#);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let mut tail = Tail::ask(&mut session, 1, json!({"container": "web"}));
    assert_eq!(tail.wait_for_end(&mut session), "container");
    assert!(texts(&tail.lines) == ["x".repeat(64 * 1024).as_str(), "after"]);
    assert_eq!(tail.result.expect("it has ended")["truncated"], true);
}

#[test]
fn a_follow_that_cannot_be_answered_is_not_started() {
    let setup = Setup::new();
    let docker = setup.docker("exit 0");
    let (_peer, agent, mut session) = Agent::registered(setup);
    session.notify("logs_fetch", json!({"container": "web", "follow": true}));
    agent.wait_for_log(&["logs_fetch", "follow needs an id", "-32602"]);
    session.assert_quiet();
    for follow in [json!(1), json!("true"), Value::Null] {
        let params = json!({"container": "web", "follow": follow});
        assert_eq!(session.broken_request(1, "logs_fetch", params).code(), INVALID_PARAMS);
    }
    assert_eq!(docker.calls().len(), 0, "{:?}", docker.calls());
    // `false` is as if it were absent.
    let response = session.request(2, "logs_fetch", json!({"container": "web", "follow": false}));
    assert_eq!(*response.result(), json!({"lines": []}));
    assert_eq!(docker.calls()[0].arguments, "logs --timestamps --tail 100 web");
}
