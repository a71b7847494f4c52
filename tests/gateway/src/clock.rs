//! Wall time as it is stored and told: milliseconds since 1970. What decides (a pong that is due, a
//! deadline) uses the monotonic clock of tokio instead, so a jump of this clock moves no agent.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

/// UTC. In JSON it is RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Moment(i64);

/// The years 1970 to 9999: RFC 3339 has no others.
const RANGE: std::ops::RangeInclusive<i64> = 0..=253_402_300_799_999;

impl Moment {
    pub fn now() -> Moment {
        let millis = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        Moment::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// What is out of range is taken as the end of the range.
    pub fn from_millis(millis: i64) -> Moment {
        Moment(millis.clamp(*RANGE.start(), *RANGE.end()))
    }

    pub fn from_secs(secs: i64) -> Moment {
        Moment::from_millis(secs.saturating_mul(1000))
    }

    pub fn millis(self) -> i64 {
        self.0
    }

    pub fn secs(self) -> i64 {
        self.0 / 1000
    }

    /// Zero where the clock has jumped back since `earlier`.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As RFC 3339 writes it. A time before 1970 is taken as 1970.
    pub fn parse(text: &str) -> Option<Moment> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Moment::from_millis)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp(self.secs());
        let text = time.ok().and_then(|time| time.format(&Rfc3339).ok());
        let text = text.as_deref().unwrap_or("1970-01-01T00:00:00Z");
        // Always three digits: so the later of two is the greater as a text too.
        write!(formatter, "{}.{:03}Z", text.trim_end_matches('Z'), self.0 % 1000)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(from)?;
        Moment::parse(&text).ok_or_else(|| de::Error::custom("not a time as RFC 3339 writes it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for millis in [0, 1, 999, 1_700_000_000_123, *RANGE.end()] {
            let moment = Moment::from_millis(millis);
            assert_eq!(Moment::parse(&moment.to_string()), Some(moment), "{moment}");
        }
        assert_eq!(Moment::parse("2026-01-01T01:00:00.5+01:00").unwrap().millis() % 1000, 500);
        assert_eq!(Moment::parse("1969-12-31T23:59:59Z"), Some(Moment::from_secs(0)));
        assert_eq!(Moment::parse("yesterday"), None);
    }

    #[test]
    fn a_clock_that_jumps_back_makes_no_negative_age() {
        assert_eq!(Moment::from_secs(1).since(Moment::from_secs(2)), Duration::ZERO);
    }
}
