//! `logs_fetch` with `"stream": true`: chunks in order, everything in them, then the count.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{
    Agent, Container, LogLine, PATIENCE, Session, Setup, assert_same_lines, texts,
};

const CHUNK: usize = 256 * 1024;

/// A stream as it comes in.
#[derive(Default)]
struct Stream {
    lines: Vec<LogLine>,
    chunks: usize,
    truncated: bool,
}

impl Stream {
    /// Takes a message of this stream; the count, once it has ended.
    #[track_caller]
    fn take(&mut self, message: &Value, length: usize) -> Option<usize> {
        let Some(chunk) = message.get("params") else {
            let streamed = &message["result"]["streamed"];
            let mut expected = json!({"lines": [], "streamed": streamed});
            self.truncated = message["result"].get("truncated").is_some();
            if self.truncated {
                expected["truncated"] = json!(true);
            }
            assert_eq!(message["result"], expected);
            return Some(streamed.as_u64().expect("a count") as usize);
        };
        assert_eq!((&message["method"], message.get("id")), (&json!("logs_chunk"), None));
        assert_eq!(chunk.as_object().map(|object| object.len()), Some(3), "id, seq and lines");
        assert_eq!(chunk["seq"], self.chunks);
        let mut lines = LogLine::all_of(chunk);
        assert!(!lines.is_empty(), "a chunk without lines");
        assert!(length <= CHUNK || lines.len() == 1, "{} lines in {length} bytes", lines.len());
        self.lines.append(&mut lines);
        self.chunks += 1;
        None
    }
}

/// Asks for a stream and reads it to its end, nothing else expected in between.
#[track_caller]
fn stream(session: &mut Session, id: Value, container: &str) -> Stream {
    let params = json!({"container": container, "lines": 5000, "stream": true});
    session.send_request(id.clone(), "logs_fetch", params);
    let mut stream = Stream::default();
    loop {
        let text = session.next_text();
        let message: Value = serde_json::from_str(&text).expect("checked when it was read");
        let of = message.get("id").unwrap_or(&message["params"]["id"]);
        assert_eq!(*of, id);
        if let Some(count) = stream.take(&message, text.len()) {
            assert_eq!(count, stream.lines.len());
            return stream;
        }
    }
}

#[test]
fn nothing_is_left_out_for_size() {
    let (_peer, agent, mut session) = Agent::registered(Setup::new());
    let filler = "x\t".repeat(200);
    let written: String = (0..5000).map(|number| format!("{number} {filler}\n")).collect();
    let container = Container::printed(&[], written);
    for id in [json!(7), json!("an \"id\"\\\u{1f}")] {
        let stream = stream(&mut session, id, &container.name);
        assert_same_lines(&stream.lines, &container.logs(5000));
        assert!(stream.chunks > 10, "{} chunks", stream.chunks);
    }
    session.assert_quiet();
    agent.wait_for_log(&["logs_fetch", &container.name, "5000", " ms"]);
}

#[test]
fn both_outputs_in_order() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let script = "echo out; sleep 0.05; echo err >&2; sleep 0.05; for n in $(seq 100); do \
                  echo out $n; echo err $n >&2; done";
    let container = Container::ended(&[], script);
    let stream = stream(&mut session, json!(0), &container.name);
    assert_same_lines(&stream.lines, &container.logs(5000));
    assert_eq!(stream.lines.len(), 202);
    assert_eq!(stream.chunks, 1);
}

#[test]
fn a_silent_container_has_no_chunk() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let container = Container::ended(&[], "true");
    let stream = stream(&mut session, json!(1), &container.name);
    assert_eq!((stream.lines.len(), stream.chunks, stream.truncated), (0, 0, false));
}

/// A control character takes six bytes in JSON: 64 KiB of them are more than a chunk.
#[test]
fn a_line_larger_than_a_chunk_has_one_to_itself() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let controls = "\u{1}".repeat(100_000);
    let container = Container::printed(&[], format!("before\n{controls}\nafter\n"));
    let stream = stream(&mut session, json!(1), &container.name);
    let expected = ["before", &controls[..64 * 1024], "after"];
    assert!(texts(&stream.lines) == expected);
    assert_eq!((stream.chunks, stream.truncated), (3, true), "a line was cut");
}

#[test]
fn streams_do_not_mix() {
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let filler = "x".repeat(200);
    let written = |name: &str| -> String {
        (0..5000).map(|number| format!("{name} {number} {filler}\n")).collect()
    };
    let containers =
        [written("a"), written("b"), written("c")].map(|written| Container::printed(&[], written));
    for (id, container) in containers.iter().enumerate() {
        let params = json!({"container": container.name, "lines": 5000, "stream": true});
        session.send_request(id, "logs_fetch", params);
    }
    let mut streams = [Stream::default(), Stream::default(), Stream::default()];
    let mut counts = [None; 3];
    let deadline = Instant::now() + PATIENCE;
    while counts.contains(&None) {
        let text = session.try_next(deadline.saturating_duration_since(Instant::now()));
        let text = text.expect("the rest of three streams");
        let message: Value = serde_json::from_str(&text).expect("checked when it was read");
        let id = message.get("id").unwrap_or(&message["params"]["id"]);
        let id = id.as_u64().expect("one of ours") as usize;
        assert_eq!(counts[id], None, "a chunk after the result");
        counts[id] = streams[id].take(&message, text.len());
    }
    for (stream, container) in streams.iter().zip(&containers) {
        assert_same_lines(&stream.lines, &container.logs(5000));
    }
    assert_eq!(counts, [Some(5000); 3]);
}
