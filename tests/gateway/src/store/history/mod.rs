//! The kept history of snapshots: a point a minute for 24 hours, then ten minutes for a week, then an
//! hour for 30 days. A coarse point has the minimum, maximum, mean and count of its minutes; a minute
//! without a snapshot is a gap and stays one.
//!
//! A snapshot is first a row of `recent`. When an hour is over it is folded: each instance's rows
//! become packed points in three blocks of `history`, and the rows are deleted. So a fleet's snapshots
//! are appended to a few pages, not to a page for each instance, and what is old takes few bytes: at
//! most 90 kB for an instance with 30 days behind it, with all that SQLite adds.

mod blocks;
mod fold;
mod minutes;
mod read;
mod recent;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agents::snapshot::Point;
use crate::clock::Moment;

pub use fold::Folding;
pub use read::{Range, gap, read};
pub use recent::{delete_of_nobody, insert};

pub const METRICS: usize = Point::NAMES.len();

/// Hours since 1970.
type Hour = i64;

/// From point to point.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Minute,
    TenMinutes,
    Hour,
}

impl Step {
    pub const ALL: [Step; 3] = [Step::Minute, Step::TenMinutes, Step::Hour];

    pub fn secs(self) -> i64 {
        match self {
            Step::Minute => 60,
            Step::TenMinutes => 600,
            Step::Hour => 3600,
        }
    }

    /// For how many seconds its points are kept.
    pub fn kept_secs(self) -> i64 {
        const DAY: i64 = 24 * 3600;
        match self {
            Step::Minute => DAY,
            Step::TenMinutes => 7 * DAY,
            Step::Hour => 30 * DAY,
        }
    }

    /// Points in a block: an hour, six hours, a day. A block must fit a page of the database four
    /// times, else it spills into pages of its own.
    fn block_len(self) -> i64 {
        match self {
            Step::Minute => 60,
            Step::TenMinutes => 36,
            Step::Hour => 24,
        }
    }
}

/// What a step of time holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Snapshots; 0 is a gap.
    pub count: u8,
    pub metrics: [Option<Spread>; METRICS],
}

/// In the units of [`Point`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub min: u16,
    pub max: u16,
    pub mean: u16,
}

impl Cell {
    pub fn of(point: Point) -> Cell {
        let spread = |value| Spread { min: value, max: value, mean: value };
        Cell { count: 1, metrics: point.values.map(|value| value.map(spread)) }
    }

    /// Puts a newer one in its place, unless that stands for fewer snapshots: of a time long ago the
    /// minutes are not kept, so what is folded of it anew may be only a part.
    pub fn renew(&mut self, newer: Cell) {
        if newer.count >= self.count {
            *self = newer;
        }
    }

    /// What the points of a step amount to.
    pub fn fold(points: &[Point]) -> Cell {
        let mut cell =
            Cell { count: u8::try_from(points.len()).unwrap_or(u8::MAX), ..Cell::default() };
        for (metric, folded) in cell.metrics.iter_mut().enumerate() {
            let values = || points.iter().filter_map(|point| point.values.get(metric).copied()?);
            let (count, sum) =
                values().fold((0, 0), |(n, sum), value| (n + 1, sum + u32::from(value)));
            *folded = values().min().zip(values().max()).map(|(min, max)| Spread {
                min,
                max,
                mean: u16::try_from((sum + count / 2) / count).unwrap_or(max),
            });
        }
        cell
    }
}

/// The points of a stretch of time, side by side: the point `i` of each list covers the `step` that
/// begins `i` steps after `start`.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct History {
    pub step: Step,
    pub step_secs: i64,
    pub start: Moment,
    /// How many snapshots each point stands for; 0 is a gap.
    pub count: Vec<u8>,
    pub cpu_pct: Series,
    pub mem_pct: Series,
    pub disk_pct: Series,
    pub container_count: Series,
}

/// Null where nothing is known.
#[derive(Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Series {
    pub mean: Vec<Option<f64>>,
    /// Left out where each point is a single snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Vec<Option<f64>>>,
}

impl History {
    fn of(step: Step, start: Moment, cells: &[Cell]) -> History {
        let series = |metric: usize| Series::of(step, cells, metric);
        History {
            step,
            step_secs: step.secs(),
            start,
            count: cells.iter().map(|cell| cell.count).collect(),
            cpu_pct: series(0),
            mem_pct: series(1),
            disk_pct: series(2),
            container_count: series(3),
        }
    }
}

impl Series {
    fn of(step: Step, cells: &[Cell], metric: usize) -> Series {
        let scale = Point::SCALES.get(metric).copied().unwrap_or(1.0);
        let column = |pick: fn(Spread) -> u16| -> Vec<Option<f64>> {
            let spreads = cells.iter().map(|cell| cell.metrics.get(metric).copied().flatten());
            spreads.map(|spread| spread.map(|spread| f64::from(pick(spread)) / scale)).collect()
        };
        let coarse = step != Step::Minute;
        Series {
            mean: column(|spread| spread.mean),
            min: coarse.then(|| column(|spread| spread.min)),
            max: coarse.then(|| column(|spread| spread.max)),
        }
    }
}

#[cfg(test)]
mod tests;
