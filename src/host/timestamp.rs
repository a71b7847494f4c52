//! Points in time as the wire and docker write them: RFC 3339, and the date of HTTP headers.
//!
//! Pure but for [`Timestamp::now`]. Timestamps are wall-clock time: good for showing, and for
//! ordering lines that docker has stamped, never for deciding when something is due. A calendar
//! crate would bring time zones and locales at half the size of this program.

use std::fmt;
use std::time::Duration;

const SECONDS_PER_DAY: i64 = 86_400;
const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// A point in time, to the nanosecond. Ordered; shown in UTC and whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Since 1970-01-01T00:00:00Z, without leap seconds.
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// The longest text of a time: nine digits of a fraction and a numeric offset.
    pub const MAX_LEN: usize = "2026-01-01T00:00:00.123456789+00:00".len();

    /// The system clock's time; 1970-01-01 if the clock stands before it.
    pub fn now() -> Timestamp {
        let since = since_epoch();
        Timestamp {
            seconds: since.as_secs().try_into().unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        }
    }

    pub fn from_unix(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn unix(self) -> i64 {
        self.seconds
    }

    /// Parses an RFC 3339 time, and nothing else.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (time, len) = Timestamp::parse_prefix(text.as_bytes())?;
        (len == text.len()).then_some(time)
    }

    /// As `2026-01-01T00:00:00.000000000Z`: UTC, to the nanosecond. A time before 1970 is shown as
    /// the first of 1970, and a time after 9999 as the last second of 9999: there is no log from
    /// outside of them, and only years of four digits are RFC 3339.
    pub fn exact(self) -> String {
        const LAST: i64 = 253_402_300_799;
        let within = self.clamp(Timestamp::from_unix(0), Timestamp::from_unix(LAST));
        let shown = within.to_string();
        format!("{}.{:09}Z", shown.trim_end_matches('Z'), within.nanos)
    }

    /// Parses the RFC 3339 time at the start of `bytes`, and returns its length in bytes. The bytes
    /// after it are ignored.
    pub fn parse_prefix(bytes: &[u8]) -> Option<(Timestamp, usize)> {
        let mut rest = Cursor { bytes, at: 0 };
        let year = rest.digits(4)?;
        rest.one_of(b"-")?;
        let month = rest.digits(2)?;
        rest.one_of(b"-")?;
        let day = rest.digits(2)?;
        rest.one_of(b"Tt")?;
        let time_of_day = rest.time_of_day()?;
        let nanos = if rest.one_of(b".").is_some() { rest.fraction()? } else { 0 };
        let offset = match rest.one_of(b"Zz+-")? {
            b'Z' | b'z' => 0,
            sign => {
                let hours = rest.digits(2).filter(|&hours| hours < 24)?;
                rest.one_of(b":")?;
                let minutes = rest.digits(2).filter(|&minutes| minutes < 60)?;
                let offset = (hours * 60 + minutes) * 60;
                if sign == b'+' { offset } else { -offset }
            }
        };
        let seconds = days_since_epoch(year, month, day)? * SECONDS_PER_DAY + time_of_day - offset;
        Some((Timestamp { seconds, nanos }, rest.at))
    }

    /// Parses the date of an HTTP header (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`, or one of
    /// the obsolete forms, `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
    pub fn parse_http_date(text: &str) -> Option<Timestamp> {
        let mut rest = Cursor { bytes: text.as_bytes(), at: 0 };
        rest.name(&WEEKDAYS)?;
        let (year, month, day, time_of_day, end) = match rest.one_of(b" ") {
            Some(_) => {
                let month = rest.name(&MONTHS)?;
                rest.one_of(b" ")?;
                let is_short = rest.one_of(b" ").is_some();
                let day = rest.digits(if is_short { 1 } else { 2 })?;
                rest.one_of(b" ")?;
                let time_of_day = rest.time_of_day()?;
                rest.one_of(b" ")?;
                (rest.digits(4)?, month, day, time_of_day, "")
            }
            None => {
                while rest.one_of(b"adensruy").is_some() {} // the rest of `Sunday`
                rest.one_of(b",")?;
                rest.one_of(b" ")?;
                let day = rest.digits(2)?;
                let separator = [rest.one_of(b" -")?];
                let month = rest.name(&MONTHS)?;
                rest.one_of(&separator)?;
                let year = match &separator {
                    b"-" => century(rest.digits(2)?),
                    _ => rest.digits(4)?,
                };
                rest.one_of(b" ")?;
                (year, month, day, rest.time_of_day()?, " GMT")
            }
        };
        if &rest.bytes[rest.at..] != end.as_bytes() {
            return None;
        }
        Some(Timestamp::from_unix(
            days_since_epoch(year, month, day)? * SECONDS_PER_DAY + time_of_day,
        ))
    }
}

/// As `2026-01-01T00:00:00Z`: UTC, whole seconds, the rest cut off.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds.div_euclid(SECONDS_PER_DAY));
        let time = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The system clock; zero if it stands before 1970.
#[cfg(not(target_arch = "arm"))]
fn since_epoch() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// On armv7, std counts the clock's seconds in 32 bits, and panics after 2038-01-19. The kernel counts
/// in 64 bits.
#[cfg(target_arch = "arm")]
fn since_epoch() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.try_into().unwrap_or_default()
}

/// The year that two digits mean.
fn century(year: i64) -> i64 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        if !wanted.contains(&byte) {
            return None;
        }
        self.at += 1;
        Some(byte)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let mut value = 0;
        for _ in 0..count {
            value = value * 10 + i64::from(self.one_of(b"0123456789")? - b'0');
        }
        Some(value)
    }

    /// `hh:mm:ss`, in seconds. A leap second, `:60`, is the next minute's first.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2).filter(|&hour| hour < 24)?;
        self.one_of(b":")?;
        let minute = self.digits(2).filter(|&minute| minute < 60)?;
        self.one_of(b":")?;
        let second = self.digits(2).filter(|&second| second <= 60)?;
        Some((hour * 60 + minute) * 60 + second)
    }

    /// One to nine digits after the point, in nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let mut nanos = 0;
        let mut unit = 1_000_000_000;
        while let Some(digit) = self.one_of(b"0123456789") {
            unit /= 10;
            if unit == 0 {
                return None;
            }
            nanos += u32::from(digit - b'0') * unit;
        }
        (unit < 1_000_000_000).then_some(nanos)
    }

    /// One of `names`, counted from 1.
    fn name(&mut self, names: &[&[u8]]) -> Option<i64> {
        let rest = &self.bytes[self.at..];
        let index = names.iter().position(|name| rest.starts_with(name))?;
        self.at += names[index].len();
        i64::try_from(index + 1).ok()
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, `None` where there is no
/// such date. This and [`date`] are the "civil" algorithms of Howard Hinnant's
/// <https://howardhinnant.github.io/date_algorithms.html>: years begin in March, so that the leap
/// day comes last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month and day of a count of days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<(i64, u32, usize)> {
        Timestamp::parse_prefix(text.as_bytes())
            .map(|(time, length)| (time.seconds, time.nanos, length))
    }

    #[test]
    fn reads_what_docker_prints() {
        assert_eq!(
            parse("2026-11-23T17:46:41.123456789Z text"),
            Some((1_795_456_001, 123_456_789, 30))
        );
        assert_eq!(parse("2026-11-23T17:46:41.12Z"), Some((1_795_456_001, 120_000_000, 23)));
        assert_eq!(parse("2026-11-23T17:46:41Z"), Some((1_795_456_001, 0, 20)));
        assert_eq!(parse("2026-11-23T19:46:41.5+02:00"), Some((1_795_456_001, 500_000_000, 27)));
        assert_eq!(parse("2026-11-23T12:16:41-05:30"), Some((1_795_456_001, 0, 25)));
    }

    #[test]
    fn knows_the_calendar() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some((0, 0, 20)));
        assert_eq!(parse("1969-12-31T23:59:59Z"), Some((-1, 0, 20)));
        assert_eq!(parse("2000-02-29T00:00:00Z"), Some((951_782_400, 0, 20)));
        assert_eq!(parse("0000-03-01T00:00:00Z").map(|time| time.0), Some(-62_162_035_200));
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
        for wrong in [
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00+0000",
            "26-01-01T00:00:00Z",
            "",
            "2026",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reads_http_dates() {
        let date = |text| Timestamp::parse_http_date(text).map(Timestamp::unix);
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(date(form), Some(784_111_777), "{form}");
        }
        assert_eq!(date("Wednesday, 01-Jan-69 00:00:00 GMT"), Some(3_124_224_000));
        for wrong in [
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov 94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "120",
            "",
        ] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shows_whole_seconds_in_utc() {
        assert_eq!(Timestamp::from_unix(1_767_225_600).to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(
            Timestamp { seconds: -1, nanos: 999_999_999 }.to_string(),
            "1969-12-31T23:59:59Z"
        );
        assert!(Timestamp::now() > Timestamp::from_unix(1_767_225_600));
        for far in [i64::MIN, i64::MAX] {
            let _ = Timestamp::from_unix(far).to_string();
        }
    }

    #[test]
    fn shows_every_nanosecond_of_a_year_with_four_digits() {
        let exact = |text: &str| Timestamp::parse(text).map(Timestamp::exact);
        for (text, expected) in [
            ("2026-01-01T02:00:00.5+02:00", "2026-01-01T00:00:00.500000000Z"),
            ("2026-01-01t00:00:00.000000001z", "2026-01-01T00:00:00.000000001Z"),
            ("0000-01-01T00:00:00+23:59", "1970-01-01T00:00:00.000000000Z"),
            ("9999-12-31T23:59:59.9-23:59", "9999-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(exact(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(exact("2026-01-01T00:00:00Z "), None);
        assert_eq!(exact("10m"), None);
    }

    #[test]
    fn orders_by_time_then_fraction() {
        let time = |text: &str| Timestamp::parse_prefix(text.as_bytes()).unwrap().0;
        assert!(time("2026-01-01T00:00:00.09Z") < time("2026-01-01T00:00:00.1Z"));
        assert!(time("2026-01-01T01:00:00+02:00") < time("2026-01-01T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text: String) {
            let _ = Timestamp::parse_prefix(&bytes);
            let _ = Timestamp::parse_http_date(&text);
        }

        #[test]
        fn an_exact_time_reads_back(seconds in 0..253_402_300_799i64, nanos in 0..1_000_000_000u32) {
            let time = Timestamp { seconds, nanos };
            prop_assert_eq!(Timestamp::parse(&time.exact()), Some(time));
        }

        #[test]
        fn what_is_shown_reads_back(seconds in -62_167_219_200i64..253_402_300_800) {
            let shown = Timestamp::from_unix(seconds).to_string();
            prop_assert_eq!(parse(&shown), Some((seconds, 0, shown.len())));
        }
    }
}
