//! Who is signed in on the page, as rows.

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::error::Result;
use crate::clock::Moment;

/// Of one key; the oldest ends for one more.
const SESSIONS_OF_KEY: i64 = 50;

#[derive(Clone, Debug)]
pub struct Session {
    /// The SHA-256 of the cookie's value.
    pub hash: Vec<u8>,
    pub name: String,
    pub scopes: String,
    pub key_id: Option<String>,
    pub given_hash: Option<Vec<u8>>,
    pub created_at: Moment,
    pub expires_at: Moment,
}

pub enum What {
    Begin(Session),
    End(Vec<u8>),
    EndAll,
}

/// What waits for the writer.
pub struct Change {
    pub what: What,
    /// Told when it is committed.
    pub done: oneshot::Sender<()>,
}

impl Change {
    pub fn ends_some(&self) -> bool {
        matches!(self.what, What::End(_) | What::EndAll)
    }
}

pub fn apply(connection: &Connection, change: &Change, now: Moment) -> Result<()> {
    match &change.what {
        What::Begin(session) => begin(connection, session, now),
        What::End(hash) => {
            connection.execute("DELETE FROM sessions WHERE hash = ?1", [hash])?;
            Ok(())
        }
        What::EndAll => {
            connection.execute("DELETE FROM sessions", [])?;
            Ok(())
        }
    }
}

/// Expired or not.
pub fn find(connection: &Connection, hash: &[u8]) -> Result<Option<Session>> {
    let mut select = connection.prepare_cached(
        "SELECT hash, name, scopes, key_id, given_hash, created_at, expires_at FROM sessions
         WHERE hash = ?1",
    )?;
    let session = select.query_row([hash], |row| {
        Ok(Session {
            hash: row.get(0)?,
            name: row.get(1)?,
            scopes: row.get(2)?,
            key_id: row.get(3)?,
            given_hash: row.get(4)?,
            created_at: Moment::from_millis(row.get(5)?),
            expires_at: Moment::from_millis(row.get(6)?),
        })
    });
    Ok(session.optional()?)
}

fn begin(connection: &Connection, session: &Session, now: Moment) -> Result<()> {
    connection.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now.millis()])?;
    connection.execute(
        "INSERT INTO sessions (hash, name, scopes, key_id, given_hash, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            session.hash,
            session.name,
            session.scopes,
            session.key_id,
            session.given_hash,
            session.created_at.millis(),
            session.expires_at.millis(),
        ],
    )?;
    connection.execute(
        "DELETE FROM sessions WHERE key_id IS ?1 AND created_at < (SELECT created_at FROM sessions
         WHERE key_id IS ?1 ORDER BY created_at DESC LIMIT 1 OFFSET ?2)",
        params![session.key_id, SESSIONS_OF_KEY - 1],
    )?;
    Ok(())
}
