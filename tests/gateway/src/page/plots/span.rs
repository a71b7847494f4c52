//! How much of the past to show: what the URL calls `24h`, `7d` and `30d`.

use serde::Deserialize;

use crate::clock::Moment;
use crate::store::history::{Range, Step};

const HOUR: i64 = 3600;

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
pub enum Span {
    #[default]
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
}

impl Span {
    pub const ALL: [Span; 3] = [Span::Day, Span::Week, Span::Month];

    pub fn name(self) -> &'static str {
        match self {
            Span::Day => "24h",
            Span::Week => "7d",
            Span::Month => "30d",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Span::Day => "24 hours",
            Span::Week => "7 days",
            Span::Month => "30 days",
        }
    }

    fn step(self) -> Step {
        match self {
            Span::Day => Step::Minute,
            Span::Week => Step::TenMinutes,
            Span::Month => Step::Hour,
        }
    }

    pub fn range(self, now: Moment) -> Range {
        let step = self.step();
        Range::new(step, Moment::from_secs(now.secs() - step.kept_secs()), now)
    }

    /// Below the plot, at equal distances, from its left edge to its right one.
    pub fn ticks(self) -> &'static [&'static str] {
        match self {
            Span::Day => &["24 h ago", "18 h", "12 h", "6 h", "now"],
            Span::Week => &["7 d ago", "6 d", "5 d", "4 d", "3 d", "2 d", "1 d", "now"],
            Span::Month => &["30 d ago", "25 d", "20 d", "15 d", "10 d", "5 d", "now"],
        }
    }

    /// Of a line of the table.
    pub fn table_secs(self) -> i64 {
        match self {
            Span::Day => HOUR / 2,
            Span::Week => 3 * HOUR,
            Span::Month => 12 * HOUR,
        }
    }
}
