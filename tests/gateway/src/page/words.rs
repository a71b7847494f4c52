//! Times, sizes and paths as a page shows them.

use std::time::Duration;

use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::clock::Moment;

/// What a segment of a path may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

pub fn instance_path(id: &str) -> String {
    format!("/instances/{}", segment(id))
}

pub fn logs_path(id: &str, container: &str) -> String {
    format!("{}/logs/{}", instance_path(id), segment(container))
}

/// The largest unit and the next: `3 d 4 h`.
pub fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) if days < 10 => format!("{days} d {hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

/// How long ago, with the time itself for programs and on hover.
pub fn ago(then: Moment, now: Moment) -> Markup {
    time(then, &format!("{} ago", duration(now.since(then))))
}

pub fn time(moment: Moment, words: &str) -> Markup {
    let text = moment.to_string();
    html! { time datetime=(text) title=(minute(moment)) { (words) } }
}

/// `2026-01-31 17:05 UTC`
pub fn minute(moment: Moment) -> String {
    let text = moment.to_string();
    let (day, rest) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", rest.get(..5).unwrap_or(rest))
}

pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$} {}", UNITS.get(unit).unwrap_or(&"B"))
}

/// `12,345`
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let of = |secs| duration(Duration::from_secs(secs));
        let all = [0, 59, 60, 3599, 3600, 5400, 86_400, 90_000, 20 * 86_400 + 3600].map(of);
        let wanted =
            ["0 s", "59 s", "1 min", "59 min", "1 h", "1 h 30 min", "1 d", "1 d 1 h", "20 d"];
        assert_eq!(all, wanted);
    }

    #[test]
    fn sizes() {
        assert_eq!([0, 1023, 1024, 16 << 30].map(bytes), ["0 B", "1023 B", "1.0 KiB", "16 GiB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_path_keeps_its_segments() {
        assert_eq!(instance_path("a/b?c#d%\"é"), "/instances/a%2Fb%3Fc%23d%25%22%C3%A9");
        assert_eq!(logs_path("a", "web-1"), "/instances/a/logs/web-1");
    }
}
