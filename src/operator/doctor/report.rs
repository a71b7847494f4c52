//! What the checks have found: one line per check as it is found, or one JSON object at the end.
//! Reports are pasted into tickets, so every line is searched for secrets here.

use serde::Serialize;

use crate::config::{Config, Token};
use crate::host::version;
use crate::operator::output::{print, say};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// There was nothing to check, or a check that this one needs has failed.
    Skip,
    Pass,
    /// Works now, but not well or perhaps not for long.
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    verdict: Verdict,
    /// What was found, in one line.
    seen: String,
    /// The command to type next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub struct Report {
    json: bool,
    token: Option<Token>,
    proxy_password: Option<String>,
    checks: Vec<Check>,
}

impl Report {
    /// An empty report, which will show none of the secrets of `config`.
    pub fn new(json: bool, config: Option<&Config>) -> Report {
        let proxy = config.and_then(|config| config.upgrade.proxy.as_ref());
        Report {
            json,
            token: config.map(|config| config.token.clone()),
            proxy_password: proxy.and_then(|proxy| proxy.password()).map(str::to_owned),
            checks: Vec::new(),
        }
    }

    pub fn pass(&mut self, check: &'static str, seen: impl Into<String>) {
        self.add(check, Verdict::Pass, seen.into(), None);
    }

    pub fn skip(&mut self, check: &'static str, why: impl Into<String>) {
        self.add(check, Verdict::Skip, why.into(), None);
    }

    pub fn warn(&mut self, check: &'static str, seen: impl Into<String>, next: impl Into<String>) {
        self.add(check, Verdict::Warn, seen.into(), Some(next.into()));
    }

    pub fn fail(&mut self, check: &'static str, seen: impl Into<String>, next: impl Into<String>) {
        self.add(check, Verdict::Fail, seen.into(), Some(next.into()));
    }

    fn add(&mut self, check: &'static str, verdict: Verdict, seen: String, next: Option<String>) {
        let (seen, next) = (self.fit(seen), next.map(|next| self.fit(next)));
        if !self.json {
            let name = match verdict {
                Verdict::Skip => "SKIP",
                Verdict::Pass => "PASS",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            let next = next.as_ref().map_or(String::new(), |next| format!("; try: {next}"));
            say(&format!("{name}  {check:13}  {seen}{next}"));
        }
        self.checks.push(Check { check, verdict, seen, next });
    }

    /// The text as one line, without secrets.
    fn fit(&self, text: String) -> String {
        let line = text.replace(|character: char| character.is_control(), " ");
        let line = match &self.token {
            Some(token) => token.blot_out(line),
            None => line,
        };
        match &self.proxy_password {
            Some(password) if password.len() >= 4 => line.replace(password, "***"),
            _ => line,
        }
    }

    /// Prints the last line, or the JSON object. True where no check has failed.
    pub fn finish(self) -> bool {
        #[derive(Serialize)]
        struct Whole<'a> {
            version: &'a str,
            verdict: Verdict,
            checks: &'a [Check],
        }
        let worst = self.checks.iter().map(|check| check.verdict).max();
        let verdict = worst.unwrap_or(Verdict::Skip);
        if self.json {
            let whole = Whole { version: version::VERSION, verdict, checks: &self.checks };
            // Strings and lists of strings: all of it can be written as JSON.
            if print(&serde_json::to_string(&whole).unwrap_or_default()).is_err() {
                return false;
            }
        } else {
            let failed = || self.checks.iter().filter(|check| check.verdict == Verdict::Fail);
            say(&match (failed().count(), failed().next()) {
                (1, Some(first)) => format!("1 check failed: {}", first.check),
                (count, Some(first)) => {
                    format!("{count} checks failed; start with: {}", first.check)
                }
                _ if verdict == Verdict::Warn => "works now, with warnings".to_owned(),
                _ => "all checks passed".to_owned(),
            });
        }
        verdict != Verdict::Fail
    }
}
