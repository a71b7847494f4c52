//! Lines of the journal.

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Line {
    pub message: String,
    /// As syslog counts: 3 error, 4 warning, 6 info, 7 debug.
    pub priority: u8,
    /// `SYSLOG_IDENTIFIER`: who said it.
    pub identifier: String,
}

impl Line {
    pub fn holds(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().all(|word| message.contains(&word.to_lowercase()))
    }
}

/// What `journalctl --output json` prints.
pub fn parse(text: &str) -> Vec<Line> {
    let lines = text.lines().map(|line| {
        let entry: Value = serde_json::from_str(line).expect("journalctl prints JSON");
        let field = |name: &str| match &entry[name] {
            Value::String(text) => text.clone(),
            // A field that is not text comes as an array of bytes.
            Value::Array(bytes) => {
                let bytes: Vec<u8> =
                    bytes.iter().filter_map(|byte| byte.as_u64()?.try_into().ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => String::new(),
        };
        Line {
            message: field("MESSAGE"),
            priority: field("PRIORITY").parse().unwrap_or(u8::MAX),
            identifier: field("SYSLOG_IDENTIFIER"),
        }
    });
    lines.collect()
}
