//! Folds the hours that are over, a few instances a second, and deletes what is older than it is kept.
//! Where it stands is on disk with the result, so it can be cut off anywhere.

use rusqlite::{Connection, OptionalExtension, params};

use super::minutes::{self, Minutes};
use super::{Cell, Hour, Step, blocks, recent};
use crate::clock::Moment;
use crate::store::error::Result;
use crate::store::instances::Number;

/// A second; 10,000 take eight minutes.
const INSTANCES_AT_ONCE: i64 = 20;
/// After its end, for snapshots that are still on their way to the disk.
const SLACK_SECS: i64 = 60;

/// Where it stands, once that is committed.
#[derive(Clone, Copy, Default)]
pub struct Folding {
    /// The hour that is being folded, and the last instance that is done.
    current: Option<(Hour, Number)>,
}

impl Folding {
    /// Does a little, in the caller's transaction. If that fails, the caller goes on with this as it was.
    pub fn go_on(&mut self, connection: &Connection, now: Moment) -> Result<()> {
        let over = (now.secs() - SLACK_SECS).div_euclid(Step::Hour.secs());
        // Marked in the future: the clock has jumped back, and what comes now must be kept.
        let folded = folded_before(connection)?.filter(|hour| *hour <= over);
        let folded = match folded {
            Some(hour) => hour,
            None => mark(connection, over)?,
        };
        recent::delete_one_before(connection, folded * minutes::IN_HOUR)?;
        if self.current.is_none() {
            let next = recent::first_from(connection, folded * minutes::IN_HOUR)?;
            let next = next.map_or(over, |minute| minute.div_euclid(minutes::IN_HOUR).min(over));
            if next > folded {
                mark(connection, next)?;
            }
            self.current = (next < over).then_some((next, 0));
        }
        if let Some((hour, after)) = self.current {
            self.current = fold_some(connection, hour, after, now)?;
        }
        Ok(())
    }
}

/// All hours before this one are folded. Nothing is where nothing has been folded yet.
pub fn folded_before(connection: &Connection) -> Result<Option<Hour>> {
    let mut select =
        connection.prepare_cached("SELECT value FROM marks WHERE name = 'folded_before'")?;
    Ok(select.query_row([], |row| row.get(0)).optional()?)
}

fn mark(connection: &Connection, hour: Hour) -> Result<Hour> {
    let upsert = "INSERT OR REPLACE INTO marks (name, value) VALUES ('folded_before', ?1)";
    connection.prepare_cached(upsert)?.execute([hour])?;
    Ok(hour)
}

/// Where to go on, if the hour is not done.
fn fold_some(
    connection: &Connection,
    hour: Hour,
    after: Number,
    now: Moment,
) -> Result<Option<(Hour, Number)>> {
    let numbers: Vec<Number> = connection
        .prepare_cached("SELECT no FROM instances WHERE no > ?1 ORDER BY no LIMIT ?2")?
        .query_map(params![after, INSTANCES_AT_ONCE], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    for no in &numbers {
        fold(connection, *no, hour)?;
        for step in Step::ALL {
            let first_kept = (now.secs() - step.kept_secs()).div_euclid(step.secs());
            blocks::delete_before(connection, *no, step, first_kept.div_euclid(step.block_len()))?;
        }
    }
    match numbers.last() {
        Some(last) => Ok(Some((hour, *last))),
        None => {
            mark(connection, hour + 1)?;
            Ok(None)
        }
    }
}

/// One instance's hour. Done again, it has the same result, and nothing that was known before is lost.
fn fold(connection: &Connection, no: Number, hour: Hour) -> Result<()> {
    let Some(minutes) = Minutes::load(connection, no, hour)? else {
        return Ok(());
    };
    for step in Step::ALL {
        let block = (hour * Step::Hour.secs()).div_euclid(step.secs() * step.block_len());
        let mut cells = blocks::load(connection, no, step, block)?;
        for (index, cell) in minutes.cells(step) {
            let place = usize::try_from(index.rem_euclid(step.block_len())).unwrap_or(0);
            if cells.len() <= place {
                cells.resize(place + 1, Cell::default());
            }
            if let Some(known) = cells.get_mut(place) {
                known.renew(cell);
            }
        }
        blocks::save(connection, no, step, block, &cells)?;
    }
    Ok(())
}
