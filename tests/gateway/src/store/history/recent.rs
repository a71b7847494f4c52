//! The rows of the last hour or two: one for each instance and minute, the latest snapshot of it.

use rusqlite::{Connection, OptionalExtension, params};

use super::Step;
use crate::agents::snapshot::Point;
use crate::clock::Moment;
use crate::store::error::Result;
use crate::store::instances::Number;

pub type Minute = i64;

pub fn insert(connection: &Connection, no: Number, at: Moment, point: Point) -> Result<()> {
    let [cpu, mem, disk, containers] = point.values;
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO recent (minute, instance, cpu, mem, disk, containers)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let minute = at.secs() / Step::Minute.secs();
    insert.execute(params![minute, no, cpu, mem, disk, containers])?;
    Ok(())
}

pub fn get(connection: &Connection, no: Number, minute: Minute) -> Result<Option<Point>> {
    let mut select = connection.prepare_cached(
        "SELECT cpu, mem, disk, containers FROM recent WHERE minute = ?1 AND instance = ?2",
    )?;
    let point = select.query_row([minute, no], |row| {
        Ok(Point { values: [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?] })
    });
    Ok(point.optional()?)
}

/// The first that has a row, from this one on.
pub fn first_from(connection: &Connection, minute: Minute) -> Result<Option<Minute>> {
    let mut select =
        connection.prepare_cached("SELECT min(minute) FROM recent WHERE minute >= ?1")?;
    Ok(select.query_row([minute], |row| row.get(0))?)
}

/// The rows of the oldest minute before this one: a fleet's, at most.
pub fn delete_one_before(connection: &Connection, minute: Minute) -> Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM recent WHERE minute = (SELECT min(minute) FROM recent) AND minute < ?1",
    )?;
    delete.execute([minute])?;
    Ok(())
}

/// The rows of instances that are forgotten: their numbers may become others'.
pub fn delete_of_nobody(connection: &Connection) -> Result<()> {
    connection
        .execute("DELETE FROM recent WHERE instance NOT IN (SELECT no FROM instances)", [])?;
    Ok(())
}
