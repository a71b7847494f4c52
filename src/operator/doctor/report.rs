//! What the checks have found: a line each as they come, or one JSON object at the end. All of it
//! goes into tickets, so this is also the last place where a secret is stopped.

use serde::Serialize;

use crate::config::{Config, Token};
use crate::host::version;
use crate::operator::output::print;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// There was nothing to check, or what it rests on has failed.
    Skip,
    Pass,
    /// It works, but not well, or not for long.
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
    /// One that shows none of the secrets of `config`.
    pub fn new(json: bool, config: Option<&Config>) -> Report {
        let proxy = config.and_then(|config| config.proxy.as_ref());
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
            let _ = print(&format!("{name}  {check:13}  {seen}{next}"));
        }
        self.checks.push(Check { check, verdict, seen, next });
    }

    /// One line without secrets.
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

    /// The last line, or all of them; true where nothing has failed.
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
            // Strings and lists of them: there is nothing that could not be written.
            if print(&serde_json::to_string(&whole).unwrap_or_default()).is_err() {
                return false;
            }
        } else {
            let _ = print(match verdict {
                Verdict::Fail => "something is wrong: begin with the first FAIL",
                Verdict::Warn => "it works; the WARN lines say what may not stay so",
                Verdict::Pass | Verdict::Skip => "nothing is wrong",
            });
        }
        verdict != Verdict::Fail
    }
}
