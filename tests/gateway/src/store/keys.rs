//! API keys and agent tokens, as rows.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::Result;
use super::place::{Place, migrate};
use crate::clock::Moment;

#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    /// `api` or `agent`.
    pub kind: String,
    pub name: String,
    /// The SHA-256 of the whole secret.
    pub hash: Vec<u8>,
    pub scopes: String,
    pub instance: Option<String>,
    pub created_at: Moment,
    pub revoked_at: Option<Moment>,
}

const COLUMNS: &str = "id, kind, name, hash, scopes, instance, created_at, revoked_at";

/// All keys of a folder, for `gateway token`, which may run beside the gateway.
pub struct Keys(Connection);

impl Keys {
    pub fn open(folder: &Path) -> Result<Keys> {
        let place = Place::folder(folder)?;
        let open = || -> Result<Keys> {
            let mut connection = place.open()?;
            migrate(&mut connection)?;
            Ok(Keys(connection))
        };
        open().map_err(|error| error.at(Some(folder)))
    }

    pub fn insert(&self, key: &Key) -> Result<()> {
        self.0.execute(
            &format!("INSERT INTO keys ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)"),
            params![
                key.id,
                key.kind,
                key.name,
                key.hash,
                key.scopes,
                key.instance,
                key.created_at.millis()
            ],
        )?;
        Ok(())
    }

    pub fn list(&self) -> Result<Vec<Key>> {
        let select = format!("SELECT {COLUMNS} FROM keys ORDER BY created_at, id");
        let mut select = self.0.prepare(&select)?;
        let keys = select.query_map([], key)?;
        Ok(keys.collect::<std::result::Result<_, _>>()?)
    }

    /// Whether there was such a key, not revoked before.
    pub fn revoke(&self, id: &str, now: Moment) -> Result<bool> {
        let update = "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL";
        Ok(self.0.execute(update, params![id, now.millis()])? > 0)
    }
}

/// Revoked or not.
pub fn find(connection: &Connection, id: &str) -> Result<Option<Key>> {
    let mut select =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM keys WHERE id = ?1"))?;
    Ok(select.query_row([id], key).optional()?)
}

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key {
        id: row.get(0)?,
        kind: row.get(1)?,
        name: row.get(2)?,
        hash: row.get(3)?,
        scopes: row.get(4)?,
        instance: row.get(5)?,
        created_at: Moment::from_millis(row.get(6)?),
        revoked_at: row.get::<_, Option<i64>>(7)?.map(Moment::from_millis),
    })
}
