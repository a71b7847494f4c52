//! A stretch of one instance's history: the blocks, and what is not folded yet.

use std::ops::RangeInclusive;

use rusqlite::Connection;

use super::minutes::Minutes;
use super::{Cell, History, Hour, Step, blocks, fold};
use crate::clock::Moment;
use crate::store::error::Result;
use crate::store::instances::Number;

/// From `from` to before `to`, in whole steps.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub step: Step,
    pub from: Moment,
    pub to: Moment,
}

impl Range {
    /// No more than is kept of this step.
    pub fn new(step: Step, from: Moment, to: Moment) -> Range {
        let from = from.max(Moment::from_secs(to.secs() - step.kept_secs()));
        Range { step, from, to }
    }

    fn indexes(self) -> std::ops::Range<i64> {
        let secs = self.step.secs();
        let end = self.to.millis().max(self.from.millis()) + secs * 1000 - 1;
        self.from.secs().div_euclid(secs)..Moment::from_millis(end).secs().div_euclid(secs)
    }

    /// The hours of which there may be rows: nothing has come yet of those after `now`.
    pub(super) fn not_folded(self, folded_before: Hour, now: Moment) -> RangeInclusive<Hour> {
        let indexes = self.indexes();
        let hour = |index: i64| (index * self.step.secs()).div_euclid(Step::Hour.secs());
        let last = hour(indexes.end - 1).min(now.secs().div_euclid(Step::Hour.secs()));
        hour(indexes.start).max(folded_before)..=last
    }

    fn start(self) -> Moment {
        Moment::from_secs(self.indexes().start * self.step.secs())
    }

    fn cells(self) -> Vec<Cell> {
        let indexes = self.indexes();
        vec![Cell::default(); usize::try_from(indexes.end - indexes.start).unwrap_or(0)]
    }
}

/// As long as asked for, with nothing in it.
pub fn gap(range: Range) -> History {
    History::of(range.step, range.start(), &range.cells())
}

pub fn read(connection: &Connection, no: Number, range: Range) -> Result<History> {
    let (step, indexes) = (range.step, range.indexes());
    let (start, mut cells) = (range.start(), range.cells());
    if cells.is_empty() {
        return Ok(History::of(step, start, &cells));
    }
    let mut put = |index: i64, cell: Cell| {
        let place = usize::try_from(index - indexes.start).ok();
        if let Some(known) = place.and_then(|place| cells.get_mut(place)) {
            known.renew(cell);
        }
    };

    let block_len = step.block_len();
    for block in indexes.start.div_euclid(block_len)..=(indexes.end - 1).div_euclid(block_len) {
        let cells = blocks::load(connection, no, step, block)?;
        (block * block_len..).zip(cells).for_each(|(index, cell)| put(index, cell));
    }

    let folded = fold::folded_before(connection)?.unwrap_or(0);
    for hour in range.not_folded(folded, Moment::now()) {
        if let Some(minutes) = Minutes::load(connection, no, hour)? {
            minutes.cells(step).for_each(|(index, cell)| put(index, cell));
        }
    }
    Ok(History::of(step, start, &cells))
}
