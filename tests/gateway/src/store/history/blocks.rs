//! Points in bytes, many in a block. A minute is its values alone, a coarser point a count and three
//! values of each metric; a value is two bytes, little end first. What is missing at the end of a block
//! is a gap.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Cell, METRICS, Spread, Step};
use crate::agents::snapshot::Point;
use crate::store::error::Result;
use crate::store::instances::Number;

/// No value: higher than any that is kept.
const NONE: u16 = u16::MAX;
const VALUE: usize = size_of::<u16>();
const SPREAD: usize = 3 * VALUE;

fn cell_len(step: Step) -> usize {
    match step {
        Step::Minute => METRICS * VALUE,
        Step::TenMinutes | Step::Hour => 1 + METRICS * SPREAD,
    }
}

pub fn load(connection: &Connection, no: Number, step: Step, block: i64) -> Result<Vec<Cell>> {
    let mut select = connection.prepare_cached(
        "SELECT points FROM history WHERE instance = ?1 AND step = ?2 AND block = ?3",
    )?;
    let bytes: Option<Vec<u8>> =
        select.query_row([no, step.secs(), block], |row| row.get(0)).optional()?;
    Ok(unpack(step, &bytes.unwrap_or_default()))
}

pub fn save(
    connection: &Connection,
    no: Number,
    step: Step,
    block: i64,
    cells: &[Cell],
) -> Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO history (instance, step, block, points) VALUES (?1, ?2, ?3, ?4)",
    )?;
    upsert.execute(params![no, step.secs(), block, pack(step, cells)])?;
    Ok(())
}

pub fn delete_before(connection: &Connection, no: Number, step: Step, block: i64) -> Result<()> {
    let mut delete = connection
        .prepare_cached("DELETE FROM history WHERE instance = ?1 AND step = ?2 AND block < ?3")?;
    delete.execute([no, step.secs(), block])?;
    Ok(())
}

pub fn pack(step: Step, cells: &[Cell]) -> Vec<u8> {
    let used = cells.iter().rposition(|cell| cell.count > 0).map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(used * cell_len(step));
    for cell in cells.iter().take(used) {
        if step != Step::Minute {
            bytes.push(cell.count);
        }
        for metric in cell.metrics {
            let values = metric.map_or([NONE; 3], |spread| [spread.min, spread.max, spread.mean]);
            let stored = if step == Step::Minute { &values[..1] } else { &values[..] };
            bytes.extend(stored.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    bytes
}

pub fn unpack(step: Step, bytes: &[u8]) -> Vec<Cell> {
    bytes.chunks_exact(cell_len(step)).map(|bytes| cell(step, bytes)).collect()
}

fn cell(step: Step, bytes: &[u8]) -> Cell {
    if step == Step::Minute {
        let mut point = Point::default();
        for (value, bytes) in point.values.iter_mut().zip(bytes.chunks_exact(VALUE)) {
            *value = number(bytes);
        }
        // A minute in which nothing could be read looks like a gap.
        return match point == Point::default() {
            true => Cell::default(),
            false => Cell::of(point),
        };
    }
    let Some((count, bytes)) = bytes.split_first() else {
        return Cell::default();
    };
    let mut cell = Cell { count: *count, ..Cell::default() };
    for (metric, bytes) in cell.metrics.iter_mut().zip(bytes.chunks_exact(SPREAD)) {
        let mut values = bytes.chunks_exact(VALUE).map(number);
        let mut next = || values.next().flatten();
        *metric = (|| Some(Spread { min: next()?, max: next()?, mean: next()? }))();
    }
    cell
}

fn number(bytes: &[u8]) -> Option<u16> {
    let value = bytes.first_chunk().map_or(NONE, |bytes| u16::from_le_bytes(*bytes));
    (value != NONE).then_some(value)
}
