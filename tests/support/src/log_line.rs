//! The lines that `logs_fetch` hands over, and the same read off `docker logs` the simple way.

use serde::Deserialize;
use serde_json::Value;

/// The longest text that is not cut, in bytes.
const TEXT_LIMIT: usize = 64 * 1024;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    pub ts: String,
    pub text: String,
    /// `stderr`, or absent.
    #[serde(default)]
    pub from: Option<String>,
}

impl LogLine {
    /// The `lines` of a result or of a chunk.
    #[track_caller]
    pub fn all_of(message: &Value) -> Vec<LogLine> {
        match Vec::deserialize(&message["lines"]) {
            Ok(lines) => lines,
            Err(error) => panic!("{error}: {:.200}", message.to_string()),
        }
    }

    /// The lines of `docker logs --timestamps` on its two pipes, in one order. Its stamps have
    /// nine digits after the point, always, so they sort as text.
    pub fn merge(stdout: &[u8], stderr: &[u8]) -> Vec<LogLine> {
        let mut lines = LogLine::all_printed(stdout, None);
        lines.extend(LogLine::all_printed(stderr, Some("stderr")));
        lines.sort_by(|one, other| one.ts.cmp(&other.ts));
        lines
    }

    fn all_printed(pipe: &[u8], from: Option<&str>) -> Vec<LogLine> {
        let printed = String::from_utf8_lossy(pipe);
        let lines = printed.split_terminator('\n').map(|line| {
            let (ts, text) = line.split_once(' ').expect("a time stamp and a space");
            // Docker breaks a long line into pieces, and the stamp is before each.
            let text = text.replace(&format!("{ts} "), "");
            let text = text.trim_end_matches('\r');
            let text = &text[..text.floor_char_boundary(TEXT_LIMIT)];
            LogLine { ts: ts.to_owned(), text: text.to_owned(), from: from.map(str::to_owned) }
        });
        lines.collect()
    }
}

/// Shows the first difference only: a log may be long.
#[track_caller]
pub fn assert_same_lines(lines: &[LogLine], expected: &[LogLine]) {
    let differs = lines.iter().zip(expected).position(|(line, expected)| line != expected);
    if let Some(at) = differs {
        let (line, expected) = (&lines[at], &expected[at]);
        panic!(
            "line {at}: {:.200}\nexpected: {:.200}",
            format!("{line:?}"),
            format!("{expected:?}")
        );
    }
    assert_eq!(lines.len(), expected.len(), "lines, the same as far as there are both");
}

/// The texts of lines whose times don't matter.
pub fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| &*line.text).collect()
}
