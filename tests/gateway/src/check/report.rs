//! The results: as a table, as JSON and as JUnit XML.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::{Fault, Outcome};
use super::rules;
use super::sentences::{self, Sentence};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Warn,
    Fail,
    NotTested,
    Error,
}

/// Characters of a sentence in the table.
const SHOWN: usize = 88;

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
            Verdict::NotTested => "NOT TESTED",
            Verdict::Error => "ERROR",
        }
    }
}

pub struct Result {
    pub id: &'static str,
    pub verdict: Verdict,
    /// What was seen, or why nothing was.
    pub detail: String,
    /// What both sides have sent.
    pub frames: Vec<String>,
    pub took: Duration,
    sentence: Sentence,
}

impl Result {
    pub fn new(id: &'static str, outcome: Outcome, frames: Vec<String>, took: Duration) -> Result {
        let sentence = sentences::all().into_iter().find(|sentence| sentence.id == id);
        let is_known = sentence.is_some();
        let sentence = sentence.unwrap_or(Sentence { id, text: String::new(), must: true });
        let (verdict, detail) = match outcome {
            _ if !is_known => (Verdict::Error, "dist/protocol.md has no such rule".to_owned()),
            Ok(()) => (Verdict::Pass, String::new()),
            Err(Fault::Broken(what)) if sentence.must => (Verdict::Fail, what),
            Err(Fault::Broken(what)) => (Verdict::Warn, what),
            Err(Fault::Unreached(why)) => (Verdict::NotTested, why),
            Err(Fault::Kit(what)) => (Verdict::Error, what),
        };
        let frames = if verdict == Verdict::Pass { Vec::new() } else { frames };
        Result { id, verdict, detail, frames, took, sentence }
    }
}

/// Whatever was said: the agent's token is not for the logs of whoever checks it.
pub fn blot_out(results: &mut [Result], token: &str) {
    if token.is_empty() {
        return;
    }
    for result in results {
        let texts = result.frames.iter_mut().chain([&mut result.detail]);
        texts.for_each(|text| *text = text.replace(token, "<token>"));
    }
}

/// In the order of the page.
pub fn sort(results: &mut [Result]) {
    let order: Vec<&str> = sentences::all().iter().map(|sentence| sentence.id).collect();
    results.sort_by_key(|result| order.iter().position(|id| *id == result.id));
}

/// 0: all is well; 1: the agent is not; 2: the kit is not.
pub fn exit_code(results: &[Result]) -> u8 {
    let any = |verdict| results.iter().any(|result| result.verdict == verdict);
    match (any(Verdict::Error), any(Verdict::Fail) || any(Verdict::NotTested)) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    }
}

pub fn table(results: &[Result]) -> String {
    let mut text = String::new();
    for result in results {
        let level = if result.sentence.must { "MUST" } else { "SHOULD" };
        let sentence: String = result.sentence.text.chars().take(SHOWN).collect();
        let _ = writeln!(
            text,
            "{:<10}  {:<10} {level:<6} {sentence}",
            result.verdict.word(),
            result.id
        );
        if !result.detail.is_empty() {
            let _ = writeln!(text, "            {}", result.detail);
        }
        for frame in &result.frames {
            let _ = writeln!(text, "              {frame}");
        }
    }
    let _ = writeln!(text, "\n{}", summary(results));
    text
}

fn count(results: &[Result], verdict: Verdict) -> usize {
    results.iter().filter(|result| result.verdict == verdict).count()
}

fn summary(results: &[Result]) -> String {
    let words = [Verdict::Pass, Verdict::Warn, Verdict::Fail, Verdict::NotTested, Verdict::Error]
        .map(|verdict| format!("{} {}", count(results, verdict), verdict.word()));
    let not_checked = match rules::NOT_CHECKED.len() {
        0 => String::new(),
        count => format!(" Not checked: {count} rules for agents (gateway check --list says why)."),
    };
    format!("{} rules: {}.{not_checked}", results.len(), words.join(", "))
}

pub fn json(results: &[Result]) -> Value {
    let rows = results.iter().map(|result| {
        json!({"id": result.id, "level": if result.sentence.must { "MUST" } else { "SHOULD" },
               "sentence": result.sentence.text, "verdict": result.verdict.word(),
               "detail": result.detail, "frames": result.frames,
               "seconds": result.took.as_secs_f64()})
    });
    let not_checked: Vec<Value> =
        rules::NOT_CHECKED.iter().map(|(id, why)| json!({"id": id, "reason": why})).collect();
    json!({"results": rows.collect::<Vec<_>>(), "not_checked": not_checked})
}

pub fn junit(results: &[Result]) -> String {
    let failures = count(results, Verdict::Fail) + count(results, Verdict::NotTested);
    let errors = count(results, Verdict::Error);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"dist/protocol.md\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
        results.len()
    );
    for result in results {
        let (id, seconds) = (escaped(result.id), result.took.as_secs_f64());
        let name = escaped(&result.sentence.text);
        let _ =
            write!(text, "  <testcase classname=\"{id}\" name=\"{name}\" time=\"{seconds:.3}\">");
        let detail = escaped(&result.detail);
        let frames = escaped(&result.frames.join("\n"));
        let _ = match result.verdict {
            Verdict::Pass => Ok(()),
            Verdict::Warn => write!(text, "<system-out>WARN: {detail}\n{frames}</system-out>"),
            Verdict::Fail | Verdict::NotTested => write!(
                text,
                "<failure type=\"{}\" message=\"{detail}\">{frames}</failure>",
                result.verdict.word()
            ),
            Verdict::Error => write!(text, "<error message=\"{detail}\">{frames}</error>"),
        };
        text += "</testcase>\n";
    }
    text + "</testsuite>\n"
}

/// Also without what XML can't hold at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Every rule of the page and how it is checked.
pub fn list() -> String {
    let mut text = String::new();
    let checks = rules::all();
    for Sentence { id, text: sentence, must } in sentences::all() {
        let level = if must { "MUST" } else { "SHOULD" };
        let reason = rules::NOT_CHECKED.iter().find(|(listed, _)| *listed == id);
        let how = match (reason, id.starts_with("G-")) {
            (Some((_, why)), _) => format!("not checked: {why}"),
            (None, true) => "not checked: it binds the gateway".to_owned(),
            (None, false) if checks.iter().any(|check| check.id == id) => {
                let part = rules::NOT_REACHED.iter().find(|(listed, _)| *listed == id);
                let part = part.map(|(_, why)| format!(", but not {why}"));
                format!("checked{}", part.unwrap_or_default())
            }
            (None, false) => "without a check".to_owned(),
        };
        let _ = writeln!(text, "{id:<10} {level:<6} {how}\n           {sentence}");
    }
    text
}
