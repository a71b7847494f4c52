//! What the upgrader says on its standard output, for the agent that started it: a line of JSON
//! for each event.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Error;

/// One line. Both processes run the same binary, so the format may change with each version.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Bytes so far, and of how many where the server has said so. About once a second during the
    /// download, and once at its end.
    Progress { bytes: u64, total: Option<u64> },
    /// A step has succeeded. `text` is for the log.
    Done { milestone: Milestone, text: String },
    /// A warning for the log.
    Note { text: String },
    /// The upgrade has failed, and everything is as it was.
    Failed(Error),
}

/// The steps of an upgrade, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    Download,
    Verify,
    Test,
    Guard,
    Swap,
}

impl Line {
    /// None for a line that no upgrader writes.
    pub fn parse(line: &str) -> Option<Line> {
        serde_json::from_str(line).ok()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::request::DownloadUrl;

    #[test]
    fn every_line_comes_back_as_it_was() {
        let text = "a\nb\tc \"d\"".to_owned();
        let url = DownloadUrl::check("https://h/f").unwrap();
        for line in [
            Line::Progress { bytes: 5, total: Some(10) },
            Line::Progress { bytes: 5, total: None },
            Line::Done { milestone: Milestone::Test, text: text.clone() },
            Line::Note { text },
            Line::Failed(Error::mismatch("checksum mismatch: a b")),
            Line::Failed(Error::download("a").sealed(&url)),
        ] {
            let written = line.to_string();
            assert!(!written.contains('\n'), "{written}");
            assert_eq!(Line::parse(&format!("{written}\n")), Some(line));
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "",
            "{}",
            "panicked at x",
            r#"{"progress":{"bytes":-1,"total":null}}"#,
            r#"{"done":{"milestone":"lunch","text":"with"}}"#,
        ] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }
}
