//! The parameters of `logs_fetch`. What is wrong is refused before a process is started.

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::docker::{self, LogsRange};
use crate::host::timestamp::Timestamp;
use crate::wire::rpc::{self, Error};

const DEFAULT_LINES: u32 = 100;
const MAX_LINES: u32 = 5000;

/// What a request asks for.
pub struct Params {
    /// Safe as an argument.
    pub container: String,
    pub range: LogsRange,
    /// The lines come in chunks.
    pub stream: bool,
}

#[derive(Deserialize)]
struct Members {
    container: String,
    #[serde(default)]
    lines: Lines,
    #[serde(default)]
    since: Since,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    follow: bool,
}

struct Lines(u32);

#[derive(Default)]
struct Since(Option<Timestamp>);

impl Params {
    /// # Errors
    /// [`rpc::Code::InvalidParams`].
    pub fn parse(params: Option<&RawValue>) -> Result<Params, Error> {
        let Members { container, lines, since, stream, follow } = rpc::params(params)?;
        if !docker::is_container_name(&container) {
            let rule = "a name or id is at most 128 of letters, digits, _, . and -, a letter or digit first";
            let message = format!("invalid params: container: {rule}");
            return Err(Error::new(rpc::Code::InvalidParams, message));
        }
        let range = LogsRange { lines: lines.0, since: since.0, follow };
        Ok(Params { container, range, stream })
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines(DEFAULT_LINES)
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Lines, D::Error> {
        let text = <&RawValue>::deserialize(json)?.get();
        // Any number above the maximum counts as the maximum, also one of thirty digits.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            _ if !digits => Err(de::Error::custom("lines is not an integer from 1")),
            Ok(0) => Err(de::Error::custom("lines is less than 1")),
            Ok(lines) => Ok(Lines(u32::try_from(lines).unwrap_or(MAX_LINES).min(MAX_LINES))),
            Err(_) => Ok(Lines(MAX_LINES)),
        }
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Since, D::Error> {
        let text = String::deserialize(json)?;
        match Timestamp::parse(&text) {
            Some(time) => Ok(Since(Some(time))),
            None => Err(de::Error::custom(
                "since is not a time of RFC 3339, such as 2026-01-01T00:00:00Z",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(members: &str) -> Result<Params, Error> {
        let json = RawValue::from_string(format!(r#"{{"container":"web"{members}}}"#)).unwrap();
        Params::parse(Some(&json))
    }

    #[test]
    fn lines_are_an_integer_from_one_and_capped() {
        let lines = |text: &str| parse(&format!(r#","lines":{text}"#)).map(|it| it.range.lines);
        assert_eq!(lines("1"), Ok(1));
        assert_eq!(lines("5000"), Ok(5000));
        assert_eq!(lines("5001"), Ok(5000));
        assert_eq!(lines("99999999999999999999999999"), Ok(5000));
        for wrong in ["0", "-1", "1.5", "1e3", r#""5""#, "null", "true", "[1]"] {
            assert_eq!(lines(wrong).unwrap_err().code, rpc::Code::InvalidParams, "{wrong}");
        }
    }

    #[test]
    fn members_have_defaults_and_unknown_members_are_ignored() {
        for members in ["", r#","tail":7,"grep":{"for":["x"]}"#] {
            let Params { container, range, stream } = parse(members).unwrap();
            assert!(!range.follow);
            assert_eq!((&*container, range.lines, range.since, stream), ("web", 100, None, false));
        }
    }

    #[test]
    fn since_is_a_time_of_rfc_3339() {
        let since = |json: &str| parse(&format!(r#","since":{json}"#)).map(|it| it.range.since);
        let time = Timestamp::parse("2026-01-01T00:00:00.5Z");
        assert_eq!(since(r#""2026-01-01T02:00:00.5+02:00""#), Ok(time));
        assert_eq!(since(r#""2026-01-01T00:00:00\u002e5Z""#), Ok(time));
        for wrong in [
            "null",
            "5",
            "true",
            "[]",
            r#""""#,
            r#""10m""#,
            r#""1767225600""#,
            r#""-1""#,
            r#""--follow""#,
            r#""2026-01-01""#,
            r#""2026-01-01T00:00:00""#,
            r#""2026-01-01T00:00:00Z ""#,
            r#"" 2026-01-01T00:00:00Z""#,
            r#""2026-02-30T00:00:00Z""#,
            r#""2026-01-01T00:00:00Z\n""#,
        ] {
            let error = since(wrong).unwrap_err();
            assert_eq!(error.code, rpc::Code::InvalidParams, "{wrong}");
            assert!(error.message.contains("since") || wrong != r#""10m""#, "{error}");
        }
    }

    proptest! {
        /// Whatever is let through is one argument, and no flag.
        #[test]
        fn a_since_that_is_let_through_is_canonical(text in ".{0,12}|[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?([Zz]|[+-][0-2][0-9]:[0-5][0-9]).?") {
            let json = serde_json::to_string(&text).unwrap();
            if let Ok(params) = parse(&format!(r#","since":{json}"#)) {
                let arguments = docker::logs_arguments("web", params.range);
                prop_assert_eq!(arguments.len(), 6);
                let since = arguments[4].strip_prefix("--since=").unwrap();
                prop_assert_eq!(since.len(), "2026-01-01T00:00:00.000000000Z".len());
                prop_assert!(Timestamp::parse(since).is_some());
            }
        }
    }
}
