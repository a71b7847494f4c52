//! What the upgrader says on its standard output: a line each, written by one process and parsed
//! by another of the same binary.

use std::fmt;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// About once a second while it downloads, and once at the end.
    Progress { bytes: u64, total: Option<u64> },
    /// A stage is over; the text tells the journal's readers how.
    Done { stage: Stage, text: String },
    /// Something that the journal's readers should know.
    Note { text: String },
    /// The upgrade is off, and everything is as it was. `told` is what the gateway may hear where
    /// the message is for this machine alone.
    Failed { code: i32, message: String, told: Option<String> },
}

/// The steps of an upgrade, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Download,
    Verify,
    Test,
    Guard,
    Swap,
}

const STAGES: [(Stage, &str); 5] = [
    (Stage::Download, "download"),
    (Stage::Verify, "verify"),
    (Stage::Test, "test"),
    (Stage::Guard, "guard"),
    (Stage::Swap, "swap"),
];

impl Line {
    /// None for what no upgrader writes.
    pub fn parse(line: &str) -> Option<Line> {
        let (kind, rest) = line.trim_end().split_once(' ')?;
        if kind == "note" {
            return Some(Line::Note { text: rest.to_owned() });
        }
        let (first, second) = rest.split_once(' ')?;
        match kind {
            "progress" => Some(Line::Progress {
                bytes: first.parse().ok()?,
                total: match second {
                    "-" => None,
                    total => Some(total.parse().ok()?),
                },
            }),
            "done" => {
                let (stage, _) = STAGES.iter().find(|(_, name)| *name == first)?;
                Some(Line::Done { stage: *stage, text: second.to_owned() })
            }
            "failed" => {
                let (message, told) = match second.split_once('\t') {
                    Some((message, told)) => (message, Some(told.to_owned())),
                    None => (second, None),
                };
                Some(Line::Failed { code: first.parse().ok()?, message: message.to_owned(), told })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // One line each, whatever a server or a program said.
        let one = |text: &str| text.replace(['\n', '\r', '\t'], " ");
        match self {
            Line::Progress { bytes, total: Some(total) } => write!(f, "progress {bytes} {total}"),
            Line::Progress { bytes, total: None } => write!(f, "progress {bytes} -"),
            Line::Done { stage, text } => write!(f, "done {stage} {}", one(text)),
            Line::Note { text } => write!(f, "note {}", one(text)),
            Line::Failed { code, message, told } => {
                write!(f, "failed {code} {}", one(message))?;
                told.as_ref().map_or(Ok(()), |told| write!(f, "\t{}", one(told)))
            }
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = STAGES.iter().find(|(stage, _)| stage == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_back_as_it_was() {
        let text = "downloaded 5 bytes in 0.1 s".to_owned();
        for line in [
            Line::Progress { bytes: 5, total: Some(10) },
            Line::Progress { bytes: 5, total: None },
            Line::Done { stage: Stage::Test, text },
            Line::Note { text: "word".to_owned() },
            Line::Failed { code: -32011, message: "checksum mismatch: a b".to_owned(), told: None },
            Line::Failed { code: -32010, message: "a".to_owned(), told: Some("b c".to_owned()) },
        ] {
            assert_eq!(Line::parse(&format!("{line}\n")), Some(line));
        }
    }

    #[test]
    fn what_is_said_stays_one_line() {
        let message = "a\nprogress 1 2\r\tb".to_owned();
        let line = Line::Failed { code: -1, message, told: None };
        assert_eq!(line.to_string(), "failed -1 a progress 1 2  b");
    }

    #[test]
    fn what_no_upgrader_writes_is_none() {
        for line in
            ["", "progress", "progress 1", "progress x -", "done lunch with", "panicked at x"]
        {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }
}
