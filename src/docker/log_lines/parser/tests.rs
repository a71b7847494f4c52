//! Captured logs come back as they were written, wherever the pipe was cut.

use super::*;
use proptest::prelude::*;

/// What docker printed for `tests/fixtures/logs/say.sh` and `long.sh`; `tests/fixtures/README.md`
/// says how each was taken.
macro_rules! captured {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/fixtures/logs/", $name)).as_slice()
    };
}

/// A line without its borrows: time stamp, text, cut.
type Owned = (String, String, bool);

fn owned(line: Line<'_>) -> Owned {
    assert_eq!(Timestamp::parse_prefix(line.ts.as_bytes()), Some((line.time, line.ts.len())));
    (line.ts.into(), line.text.into(), line.cut)
}

/// The lines of `input`, pushed in pieces of the lengths `splits`, and what was left as complaint.
fn parse_split(mut input: &[u8], splits: impl IntoIterator<Item = usize>) -> (Vec<Owned>, String) {
    let mut lines = Vec::new();
    let mut parser = LaneParser::default();
    for length in splits {
        let (now, later) = input.split_at(length.min(input.len()));
        parser.push(now, &mut |line| lines.push(owned(line)));
        assert!(parser.held() <= KEPT + 8 * 1024, "{}", parser.held());
        input = later;
    }
    parser.push(input, &mut |line| lines.push(owned(line)));
    parser.finish(&mut |line| lines.push(owned(line)));
    (lines, parser.complaint().to_string())
}

fn parse(input: &[u8]) -> (Vec<Owned>, String) {
    parse_split(input, [])
}

/// The texts of `input`, none of them cut.
fn texts(input: &[u8]) -> Vec<String> {
    let (lines, complaint) = parse(input);
    assert_eq!(complaint, "");
    lines
        .into_iter()
        .map(|(_, text, cut)| {
            assert!(!cut);
            text
        })
        .collect()
}

/// `seq -s ' ' LAST`
fn seq(last: u32) -> String {
    (1..=last).map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

const TS: &str = "2026-11-23T18:00:45.446518715Z";
const LATER: &str = "2026-11-23T18:00:46.000000001Z";

/// `text` as the `json-file` driver has it printed: in pieces of 16 KiB, each behind the stamp,
/// what is not UTF-8 replaced byte by byte.
fn printed(text: &[u8]) -> Vec<u8> {
    let mut printed = Vec::new();
    let mut pieces: Vec<&[u8]> = text.chunks(PIECE).collect();
    if text.len().is_multiple_of(PIECE) {
        pieces.push(b""); // where the end is seen only after a whole piece
    }
    for piece in pieces {
        printed.extend_from_slice(TS.as_bytes());
        printed.push(b' ');
        for chunk in piece.utf8_chunks() {
            printed.extend_from_slice(chunk.valid().as_bytes());
            chunk.invalid().iter().for_each(|_| printed.extend_from_slice(REPLACEMENT));
        }
    }
    printed.push(b'\n');
    printed
}

#[test]
fn ordinary_lines() {
    assert_eq!(
        texts(captured!("plain.stdout")),
        [
            "out 1",
            "",
            "crlf",
            "progress 1\rprogress 2",
            "bad \u{fffd}\u{fffd} utf-8 \u{fffd}",
            "tab\t\"quote\" \\ \u{1b}[31mred\u{1b}[0m é €",
            "no newline",
        ]
    );
    assert_eq!(texts(captured!("plain.stderr")), ["err 1", "err 2"]);
    let (lines, _) = parse(captured!("plain.stderr"));
    assert_eq!(lines[0].0, "2026-11-23T18:00:45.497841823Z");
}

#[test]
fn a_terminal_has_it_all_on_standard_output() {
    assert_eq!(
        texts(captured!("tty.stdout")),
        [
            "out 1",
            "err 1",
            "",
            "err 2",
            "crlf",
            "progress 1\rprogress 2",
            "bad \u{fffd}\u{fffd} utf-8 \u{fffd}",
            "tab\t\"quote\" \\ \u{1b}[31mred\u{1b}[0m é €",
            "no newline",
        ]
    );
    assert_eq!(captured!("tty.stderr"), b"");
}

#[test]
fn pieces_are_rejoined() {
    let invalid = format!("{}{}{}", "b".repeat(10_000), "\u{fffd}".repeat(6000), seq(3000));
    let expected = [
        seq(8000),
        "y".repeat(16_384),
        "z".repeat(16_385),
        // json-file replaced both halves of the character: what was written is lost before it is
        // printed.
        format!("{}\u{fffd}\u{fffd}|é", "a".repeat(16_383)),
        invalid,
        "after".to_string(),
    ];
    assert_eq!(texts(captured!("long.stdout")), expected);
    // `--tail 3` counts pieces, so the oldest line begins where a piece did.
    let tail = texts(captured!("long-tail.stdout"));
    assert_eq!(tail.len(), 2);
    assert!(expected[4].ends_with(&tail[0]), "{}", tail[0]);
}

#[test]
fn the_local_driver_keeps_bytes_but_loses_newlines() {
    let (lines, _) = parse(captured!("long-local.stdout"));
    // Engine 20.10 ends no line that was in pieces, so all of them are one here, and the later
    // stamps are not taken for inner ones.
    assert_eq!(lines.len(), 1);
    let (_, text, cut) = &lines[0];
    assert!(*cut);
    let glued = format!("{}2026-11-23T18:00:48.307540093Z yyy", seq(8000));
    assert!(text.starts_with(&glued));
}

#[test]
fn a_huge_line_is_cut() {
    let (lines, _) = parse(captured!("huge.stdout"));
    let whole = seq(52_000);
    assert!(whole.len() > 300_000 - 7_000);
    assert_eq!(lines, [(lines[0].0.clone(), whole[..TEXT_LIMIT].to_string(), true)]);
}

#[test]
fn the_limit_is_on_a_character_boundary() {
    for (text, expected, cut) in [
        ("x".repeat(TEXT_LIMIT), TEXT_LIMIT, false),
        ("x".repeat(TEXT_LIMIT) + "\r\r\r\r\r\r", TEXT_LIMIT, false),
        ("x".repeat(TEXT_LIMIT + 1), TEXT_LIMIT, true),
        ("x".repeat(TEXT_LIMIT - 1) + "\ry", TEXT_LIMIT - 1, true),
        ("x".repeat(TEXT_LIMIT - 1) + "é", TEXT_LIMIT - 1, true),
        ("x".repeat(TEXT_LIMIT - 2) + "é", TEXT_LIMIT, false),
        ("x".repeat(TEXT_LIMIT - 3) + "😀", TEXT_LIMIT - 3, true),
        ("é".repeat(TEXT_LIMIT), TEXT_LIMIT, true),
    ] {
        let line = [TS.as_bytes(), b" ", text.as_bytes(), b"\n"].concat();
        let (lines, _) = parse(&line);
        assert_eq!(lines, [(TS.to_string(), text[..expected].to_string(), cut)]);
    }
    // Three bytes for one: the limit is on what will be sent.
    let line = [TS.as_bytes(), b" ", &[0xff; TEXT_LIMIT]].concat();
    let (lines, _) = parse(&line);
    assert_eq!(lines, [(TS.to_string(), "\u{fffd}".repeat(TEXT_LIMIT / 3), true)]);
}

#[test]
fn a_line_without_end_costs_no_memory() {
    let mut parser = LaneParser::default();
    parser.push(TS.as_bytes(), &mut |_| panic!());
    parser.push(b" ", &mut |_| panic!());
    let chunk = [b'x'; 64 * 1024];
    for _ in 0..1000 {
        parser.push(&chunk, &mut |_| panic!());
        assert!(parser.held() <= KEPT + 1024, "{}", parser.held());
    }
    let mut seen = 0;
    parser.push(b"\n2026-11-23T18:00:45Z next\n", &mut |line| {
        seen += 1;
        assert_eq!(
            (line.cut, line.text.len()),
            if seen == 1 { (true, TEXT_LIMIT) } else { (false, 4) }
        );
    });
    assert_eq!(seen, 2);
    assert!(parser.held() <= 8 * 1024, "{}", parser.held());
}

#[test]
fn times_in_the_text_stay() {
    let text = format!("{TS} {LATER} {}{LATER} x", "y".repeat(PIECE));
    assert_eq!(texts(format!("{TS} {text}\n").as_bytes()), [text]);
    // A stamp where the piece ends, but earlier than the line's own.
    let text = format!("{}2026-11-22T00:00:00Z x", "y".repeat(PIECE));
    assert_eq!(texts(format!("{TS} {text}\n").as_bytes()), [text]);
    // journald stamps pieces anew.
    let pieces = format!("{TS} {}{LATER} x\n", "y".repeat(PIECE));
    assert_eq!(texts(pieces.as_bytes()), ["y".repeat(PIECE) + "x"]);
}

#[test]
fn what_docker_says_itself_is_kept_apart() {
    let input =
        format!("WARNING: config\n{TS} one\n\u{1b}Error grabbing logs: EOF\n{LATER} two\nlast");
    let (lines, complaint) = parse(input.as_bytes());
    assert_eq!(complaint, "WARNING: config\n\u{1b}Error grabbing logs: EOF\nlast\n");
    let lines: Vec<_> = lines.iter().map(|(ts, text, _)| (ts.as_str(), text.as_str())).collect();
    assert_eq!(
        lines,
        [(TS, "one"), (TS, "\u{1b}Error grabbing logs: EOF"), (LATER, "two"), (LATER, "last")]
    );

    let (lines, complaint) =
        parse(include_bytes!("../../../../tests/fixtures/docker/permission-denied.stderr"));
    assert_eq!(lines, []);
    assert_eq!(
        complaint.as_bytes(),
        include_bytes!("../../../../tests/fixtures/docker/permission-denied.stderr")
    );

    let (_, complaint) = parse(format!("{}\n{}", "é".repeat(100_000), "last").as_bytes());
    assert!(
        complaint.len() <= COMPLAINT_LIMIT && complaint.len() > COMPLAINT_LIMIT - 8,
        "{}",
        complaint.len()
    );
    assert!(complaint.ends_with("é\nlast\n"));
}

#[test]
fn a_stamp_needs_its_space() {
    for input in
        ["2026-11-23T18:00:45Z\n", "2026-11-23T18:00:45Zx\n", "2026-11-23T18:00:45\n", "\n"]
    {
        let (lines, complaint) = parse(input.as_bytes());
        assert_eq!((lines, complaint.as_str()), (vec![], input));
    }
    assert_eq!(texts(b"2026-11-23T18:00:45Z \n"), [""]);
    assert_eq!(texts(b""), [""; 0]);
}

/// Lines as docker prints them, and as they were written.
fn written() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(b"x".to_vec()),
        1 => Just("é".into()),
        1 => Just("\u{fffd}".into()),
        1 => Just(vec![0xff]),
        1 => Just(vec![0xe2]),
        1 => Just(b"\r".to_vec()),
        1 => Just(format!("{TS} ").into_bytes()),
    ];
    (proptest::collection::vec((byte, 0..6000usize), 0..12)).prop_map(|runs| {
        runs.into_iter().flat_map(|(unit, count)| unit.repeat(count.div_ceil(unit.len()))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes(input: Vec<u8>, splits: Vec<u8>) {
        let whole = parse(&input);
        prop_assert_eq!(whole, parse_split(&input, splits.into_iter().map(usize::from)));
    }

    #[test]
    fn lines_come_back_wherever_the_pipe_was_cut(
        lines in proptest::collection::vec(written(), 1..4),
        splits in proptest::collection::vec(0..20_000usize, 0..30),
        drip in 1..50usize,
    ) {
        let input: Vec<u8> = lines.iter().flat_map(|text| printed(text)).collect();
        let (whole, complaint) = parse(&input);
        prop_assert_eq!(&complaint, "");
        prop_assert_eq!(&whole, &parse_split(&input, splits).0);
        prop_assert_eq!(&whole, &parse_split(&input, std::iter::repeat_n(drip, input.len() / drip)).0);
        prop_assert_eq!(whole.len(), lines.len());
        // Where no stamp was written into the text itself, each is what was written.
        for ((_, text, cut), line) in whole.iter().zip(&lines) {
            if !String::from_utf8_lossy(line).contains(TS) {
                let expected: String = line.chunks(PIECE).flat_map(|piece| piece.utf8_chunks().map(|chunk| {
                    chunk.valid().to_string() + &"\u{fffd}".repeat(chunk.invalid().len())
                }).collect::<Vec<_>>()).collect();
                let with_returns = expected.len();
                let expected = expected.trim_end_matches('\r');
                let end = expected.floor_char_boundary(TEXT_LIMIT);
                prop_assert_eq!(text, expected[..end].trim_end_matches('\r'));
                // Where only carriage returns are beyond the limit, docker's last stamp may be behind
                // them, which is not seen as a stamp there.
                prop_assert!(*cut || expected.len() <= TEXT_LIMIT);
                prop_assert!(!*cut || with_returns > TEXT_LIMIT);
            }
        }
    }
}
