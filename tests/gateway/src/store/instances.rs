//! The instances' records and latest snapshots, as rows.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::error::Result;
use crate::agents::fleet::Record;
use crate::agents::register::InstanceId;
use crate::agents::snapshot::Snapshot;
use crate::clock::Moment;

/// The number by which all other tables know an instance.
pub type Number = i64;

pub fn number(connection: &Connection, id: &InstanceId) -> Result<Option<Number>> {
    let mut select = connection.prepare_cached("SELECT no FROM instances WHERE id = ?1")?;
    Ok(select.query_row([id.as_str()], |row| row.get(0)).optional()?)
}

/// Everything that is kept, with its numbers. A row that can't be read any more is left out.
pub fn load(connection: &Connection) -> Result<(Vec<Record>, HashMap<InstanceId, Number>)> {
    let mut select = connection.prepare(
        "SELECT no, id, record, at, text FROM instances LEFT JOIN snapshots ON instance = no",
    )?;
    let mut rows = select.query([])?;
    let (mut records, mut numbers) = (Vec::new(), HashMap::new());
    while let Some(row) = rows.next()? {
        let (id, text): (String, String) = (row.get(1)?, row.get(2)?);
        let Ok(mut record) = serde_json::from_str::<Record>(&text) else {
            tracing::error!(instance = id, "its record can't be read; it is left out");
            continue;
        };
        if let (Some(at), Some(text)) = (row.get::<_, Option<i64>>(3)?, row.get(4)?) {
            let snapshot = Snapshot::restore(text, Moment::from_millis(at));
            record.last_seen = record.last_seen.max(Moment::from_millis(at));
            record.snapshot = snapshot.map(Arc::new);
        }
        numbers.insert(record.register.instance_id.clone(), row.get(0)?);
        records.push(record);
    }
    Ok((records, numbers))
}

pub fn save(connection: &Connection, record: &Record) -> Result<Number> {
    let text = serde_json::to_string(record).unwrap_or_default();
    let mut upsert = connection.prepare_cached(
        "INSERT INTO instances (id, record) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record RETURNING no",
    )?;
    let id = record.register.instance_id.as_str();
    Ok(upsert.query_row(params![id, text], |row| row.get(0))?)
}

pub fn save_snapshot(connection: &Connection, no: Number, snapshot: &Snapshot) -> Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO snapshots (instance, at, text) VALUES (?1, ?2, ?3)",
    )?;
    upsert.execute(params![no, snapshot.at.millis(), snapshot.text.get()])?;
    Ok(())
}

pub fn delete_snapshot(connection: &Connection, no: Number) -> Result<()> {
    connection.prepare_cached("DELETE FROM snapshots WHERE instance = ?1")?.execute([no])?;
    Ok(())
}

/// With all that other tables have of it, but for its recent snapshots.
pub fn forget(connection: &Connection, no: Number) -> Result<()> {
    for delete in [
        "DELETE FROM snapshots WHERE instance = ?1",
        "DELETE FROM events WHERE instance = ?1",
        "DELETE FROM history WHERE instance = ?1",
        "DELETE FROM instances WHERE no = ?1",
    ] {
        connection.execute(delete, [no])?;
    }
    Ok(())
}
