//! The minutes of one instance's hour: what was folded of it before, and over that what has come since. An
//! hour comes twice where the clock is set back.

use rusqlite::Connection;

use super::recent::{self, Minute};
use super::{Cell, Hour, Step, blocks};
use crate::agents::snapshot::Point;
use crate::store::error::Result;
use crate::store::instances::Number;

pub const IN_HOUR: i64 = 60;

pub struct Minutes {
    first: Minute,
    points: Vec<Option<Point>>,
}

impl Minutes {
    /// `None`: nothing has come since.
    pub fn load(connection: &Connection, no: Number, hour: Hour) -> Result<Option<Minutes>> {
        let first = hour * IN_HOUR;
        let mut new = Vec::new();
        for minute in first..first + IN_HOUR {
            new.push(recent::get(connection, no, minute)?);
        }
        if new.iter().all(Option::is_none) {
            return Ok(None);
        }
        let block = first.div_euclid(Step::Minute.block_len());
        let known = blocks::load(connection, no, Step::Minute, block)?;
        let known = known.iter().map(point).chain(std::iter::repeat(None));
        let points = new.into_iter().zip(known).map(|(new, known)| match (new, known) {
            // One in which nothing could be read takes nothing away.
            (Some(new), Some(known)) if new == Point::default() => Some(known),
            (new, known) => new.or(known),
        });
        Ok(Some(Minutes { first, points: points.collect() }))
    }

    /// In this step, with their indexes.
    pub fn cells(&self, step: Step) -> impl Iterator<Item = (i64, Cell)> {
        let each = step.secs() / Step::Minute.secs();
        let indexes = self.first.div_euclid(each)..;
        let points = self.points.chunks(usize::try_from(each).unwrap_or(1));
        indexes.zip(points).map(|(index, points)| {
            let points: Vec<Point> = points.iter().flatten().copied().collect();
            (index, Cell::fold(&points))
        })
    }
}

/// What a cell of a minute was made of.
fn point(cell: &Cell) -> Option<Point> {
    let values = cell.metrics.map(|spread| spread.map(|spread| spread.mean));
    (cell.count > 0).then_some(Point { values })
}
