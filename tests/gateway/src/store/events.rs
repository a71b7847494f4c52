//! The events, as rows: written once, read in pages, and only so many kept.

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Result;
use super::instances::Number;
use crate::agents::events::{Event, What};
use crate::agents::register::InstanceId;
use crate::clock::Moment;

/// Of one instance; one that comes and goes all day must not push out what others have to tell.
const KEPT_OF_INSTANCE: i64 = 1000;
const KEPT: i64 = 1_000_000;
/// At a time, where there are too many.
const DELETED_AT_ONCE: i64 = 1000;

pub type EventId = i64;

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StoredEvent {
    /// Greater than that of any earlier event.
    #[schema(value_type = i64, minimum = 1)]
    pub id: EventId,
    pub at: Moment,
    /// Null where it concerns the gateway itself.
    pub instance: Option<InstanceId>,
    #[serde(flatten)]
    pub what: What,
}

/// Which events to read, at most `limit`.
#[derive(Clone, Debug)]
pub struct Page {
    pub instance: Option<InstanceId>,
    pub part: Part,
    pub limit: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// The oldest after this one, in the order in which they happened.
    After(EventId),
    /// The same, and all before the second.
    Between(EventId, EventId),
    /// The newest before this one, the newest first.
    Before(EventId),
}

pub fn insert(connection: &Connection, event: &Event, no: Option<Number>) -> Result<EventId> {
    let what = serde_json::to_string(&event.what).unwrap_or_default();
    connection
        .prepare_cached("INSERT INTO events (at, instance, what) VALUES (?1, ?2, ?3)")?
        .execute(params![event.at.millis(), no, what])?;
    let id = connection.last_insert_rowid();
    if let Some(no) = no {
        let mut delete = connection.prepare_cached(
            "DELETE FROM events WHERE instance = ?1 AND id <= (SELECT id FROM events
             WHERE instance = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?;
        delete.execute(params![no, KEPT_OF_INSTANCE])?;
    }
    Ok(id)
}

pub fn last_id(connection: &Connection) -> Result<EventId> {
    let last = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'";
    Ok(connection.query_row(last, [], |row| row.get(0))?)
}

pub fn delete_old(connection: &Connection) -> Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1
         AND id < (SELECT min(id) FROM events) + ?2",
    )?;
    delete.execute([KEPT, DELETED_AT_ONCE])?;
    Ok(())
}

pub fn read(connection: &Connection, page: &Page) -> Result<Vec<StoredEvent>> {
    let (order, after, before) = match page.part {
        Part::After(after) => ("ASC", after, EventId::MAX),
        Part::Between(after, before) => ("ASC", after, before),
        Part::Before(before) => ("DESC", 0, before),
    };
    let of_instance = match page.instance {
        Some(_) => "instance = (SELECT no FROM instances WHERE id = ?2) AND",
        None => "?2 IS NULL AND",
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT events.id, at, (SELECT id FROM instances WHERE no = instance), what FROM events
         WHERE {of_instance} events.id > ?1 AND events.id < ?4 ORDER BY events.id {order} LIMIT ?3"
    ))?;
    let instance = page.instance.as_ref().map(InstanceId::as_str);
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![after, instance, limit, before])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.extend(event(row)?);
    }
    Ok(events)
}

/// `None`: an older or newer gateway wrote what this one can't read.
fn event(row: &Row<'_>) -> Result<Option<StoredEvent>> {
    let (id, at): (EventId, i64) = (row.get(0)?, row.get(1)?);
    let (instance, what): (Option<String>, String) = (row.get(2)?, row.get(3)?);
    let Ok(what) = serde_json::from_str(&what) else {
        return Ok(None);
    };
    let instance = instance.and_then(|id| InstanceId::try_from(id).ok());
    Ok(Some(StoredEvent { id, at: Moment::from_millis(at), instance, what }))
}
