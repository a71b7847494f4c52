//! Standard output: one JSON object a line, whole lines only, whoever writes.

use std::io::Write;

use serde_json::{Value, json};

use crate::clock::Moment;

/// Something happened. `fields` is a JSON object.
pub fn event(name: &str, mut fields: Value) {
    fields["event"] = json!(name);
    fields["at"] = json!(Moment::now());
    line(&fields);
}

/// The one answer to line `command` of standard input.
pub fn answer(command: u64, outcome: Result<Value, Value>) {
    line(&match outcome {
        Ok(answer) => json!({"command": command, "answer": answer}),
        Err(error) => json!({"command": command, "error": error}),
    });
}

fn line(value: &Value) {
    // Nobody reads any more: then the end of standard input or a signal is on its way.
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}
