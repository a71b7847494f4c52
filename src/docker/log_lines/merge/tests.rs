//! The merge against the simplest one, and against its promises of size.

use super::*;
use proptest::prelude::*;

fn line(seconds: i64, text: &str) -> (Timestamp, String, String) {
    let time = Timestamp::from_unix(seconds);
    (time, time.to_string(), text.to_string())
}

fn push(merge: &mut Merge, lane: Lane, (time, ts, text): &(Timestamp, String, String)) {
    merge.push(lane, Line { time: *time, ts, text, cut: false });
}

/// The texts of all waiting lines, in order; checks the encoding on the way.
fn drain(merge: &mut Merge) -> Vec<String> {
    let encoded_len = merge.encoded_len();
    let mut out = b"[".to_vec();
    merge.move_all(&mut out);
    assert_eq!(out.len(), 1 + encoded_len);
    assert_eq!((merge.len(), merge.encoded_len()), (0, 0));
    out.push(b']');
    let lines: Vec<std::collections::BTreeMap<String, String>> =
        serde_json::from_slice(&out).unwrap();
    lines.into_iter().map(|mut line| line.remove("text").unwrap()).collect()
}

#[test]
fn merges_by_time_and_standard_output_first() {
    let mut merge = Merge::new(usize::MAX);
    for (seconds, text) in [(1, "e1"), (3, "e3"), (2, "e2, its clock set back")] {
        push(&mut merge, Lane::Stderr, &line(seconds, text));
    }
    for (seconds, text) in [(0, "o0"), (1, "o1"), (3, "o3"), (4, "o4")] {
        push(&mut merge, Lane::Stdout, &line(seconds, text));
    }
    assert_eq!(drain(&mut merge), ["o0", "o1", "e1", "o3", "e3", "e2, its clock set back", "o4"]);
    assert!(!merge.is_truncated());
}

#[test]
fn encodes_as_the_wire_wants_it() {
    let mut merge = Merge::new(usize::MAX);
    assert_eq!((merge.encoded_len(), merge.oldest_len()), (0, None));
    push(&mut merge, Lane::Stdout, &line(1_767_225_600, "a \"b\"\\\u{1b}\t\u{0}é\u{fffd}"));
    let expected = r#"{"ts":"2026-01-01T00:00:00Z","text":"a \"b\"\\\u001b\t\u0000é�"}"#;
    assert_eq!(merge.oldest_len(), Some(expected.len()));
    push(&mut merge, Lane::Stderr, &line(1_767_225_600, ""));
    let mut out = Vec::new();
    merge.move_all(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(r#"{expected},{{"ts":"2026-01-01T00:00:00Z","text":"","from":"stderr"}}"#)
    );
    assert!(!merge.move_oldest(&mut Vec::new()));
}

#[test]
fn what_was_forgotten_stays_forgotten() {
    let mut merge = Merge::new(120);
    for seconds in [1, 5, 6] {
        push(&mut merge, Lane::Stderr, &line(seconds, "err"));
    }
    while merge.is_over_limit() {
        merge.forget_oldest();
    }
    assert_eq!(merge.len(), 2);
    assert!(merge.is_truncated());
    for (seconds, kept) in [(0, 2), (1, 2), (2, 3)] {
        push(&mut merge, Lane::Stdout, &line(seconds, "out")); // 1 is before standard error's 1
        assert_eq!(merge.len(), kept);
    }
    push(&mut merge, Lane::Stderr, &line(1, "a clock set back is no reason"));
    assert_eq!(merge.len(), 4);
}

#[test]
fn what_is_discarded_leaves_no_trace() {
    let mut merge = Merge::new(usize::MAX);
    push(&mut merge, Lane::Stderr, &line(5, "old"));
    push(&mut merge, Lane::Stdout, &line(6, "new"));
    assert!(merge.discard_oldest());
    push(&mut merge, Lane::Stdout, &line(4, "from before it"));
    assert!(!merge.is_truncated());
    assert_eq!(drain(&mut merge), ["new", "from before it"]);
    assert!(!merge.discard_oldest());
}

#[test]
fn a_cut_text_counts_as_truncated() {
    let mut merge = Merge::new(usize::MAX);
    merge.push(Lane::Stdout, Line { time: Timestamp::from_unix(0), ts: "t", text: "", cut: true });
    assert!(merge.is_truncated());
}

#[test]
fn memory_is_what_the_lines_take() {
    // The most lines a request can ask for: the shortest, short ones, and those that fill a
    // message.
    for text in ["", "twelve bytes", &"x".repeat(160)] {
        let mut merge = Merge::new(usize::MAX);
        for index in 0..5000 {
            push(&mut merge, Lane::Stdout, &line(index, text));
            let entries = merge.len().next_power_of_two() * size_of::<Entry>();
            assert!(merge.held() < merge.encoded_len() + entries + BLOCK + 1024);
        }
        // Blocks are freed as they are emptied.
        let (held, half) = (merge.held(), merge.encoded_len() / 2);
        let mut out = Vec::new();
        while out.len() < half {
            merge.move_oldest(&mut out);
        }
        assert!(merge.held() <= held - half + 2 * BLOCK);
    }
}

/// Lines of one lane: mostly in order of time, with many that are equal.
fn lane() -> impl Strategy<Value = Vec<(Timestamp, String, String)>> {
    proptest::collection::vec((0..20i64, ".{0,40}"), 0..40).prop_map(|mut lines| {
        if lines.len() % 3 != 0 {
            lines.sort();
        }
        lines.iter().map(|(seconds, text)| line(*seconds, text)).collect()
    })
}

/// The same merge, as simple as can be: the smaller head goes first.
fn reference(
    stdout: &[(Timestamp, String, String)],
    stderr: &[(Timestamp, String, String)],
) -> Vec<(Lane, String)> {
    let (mut out, mut err) = (stdout.iter().peekable(), stderr.iter().peekable());
    let mut merged = Vec::new();
    loop {
        let (lane, next) = match (out.peek(), err.peek()) {
            (Some(o), Some(e)) if e.0 < o.0 => (Lane::Stderr, err.next()),
            (Some(_), _) => (Lane::Stdout, out.next()),
            (None, _) => (Lane::Stderr, err.next()),
        };
        match next {
            Some((_, _, text)) => merged.push((lane, text.clone())),
            None => return merged,
        }
    }
}

proptest! {
    #[test]
    fn equals_the_reference(stdout in lane(), stderr in lane(), limit in 0..6000usize, order: Vec<bool>) {
        let mut whole = Merge::new(usize::MAX);
        let mut newest = Merge::new(limit);
        let (mut out, mut err) = (stdout.iter(), stderr.iter());
        let mut order = order.into_iter().chain(std::iter::repeat(true));
        loop {
            // The lanes come in as the pipes happen to be read.
            let (lane, next) = match order.next() {
                Some(true) => match out.next() {
                    Some(line) => (Lane::Stdout, Some(line)),
                    None => (Lane::Stderr, err.next()),
                },
                _ => match err.next() {
                    Some(line) => (Lane::Stderr, Some(line)),
                    None => (Lane::Stdout, out.next()),
                },
            };
            let Some(line) = next else { break };
            push(&mut whole, lane, line);
            push(&mut newest, lane, line);
            while newest.is_over_limit() {
                newest.forget_oldest();
            }
        }
        let expected = reference(&stdout, &stderr);
        let texts: Vec<String> = expected.iter().map(|(_, text)| text.clone()).collect();
        prop_assert_eq!(&drain(&mut whole), &texts);

        // The newest that fit, and not one fewer.
        prop_assert!(newest.encoded_len() <= limit);
        let kept = newest.len();
        prop_assert_eq!(newest.is_truncated(), kept < expected.len());
        prop_assert_eq!(&drain(&mut newest), &texts[expected.len() - kept..]);
        if kept < expected.len() {
            let encoded = |(lane, text): &(Lane, String)| {
                let from = if *lane == Lane::Stderr { r#","from":"stderr""#.len() } else { 0 };
                let rest = r#"{"ts":"1970-01-01T00:00:00Z","text":},"#.len();
                serde_json::to_string(text).unwrap().len() + rest + from
            };
            let one_more: usize = expected[expected.len() - kept - 1..].iter().map(encoded).sum();
            prop_assert!(one_more - 1 > limit);
        }
    }
}
