//! A few connections that only read. More readers than these wait for each other.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::error::{Error, Result};
use super::place::Place;

const CONNECTIONS: usize = 4;

/// Given back however the reading ends.
struct Lent {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.idle.lock().extend(self.connection.take());
    }
}

pub struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One permit for each idle connection.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub fn open(place: &Place) -> Result<Readers> {
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let connection = place.open()?;
            connection.pragma_update(None, "query_only", true)?;
            connections.push(connection);
        }
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        Ok(Readers { idle: Arc::new(Mutex::new(connections)), permits })
    }

    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Ended)?;
        let idle = self.idle.clone();
        let reading = spawn_blocking(move || {
            let connection = idle.lock().pop().ok_or(Error::Ended)?;
            let lent = Lent { connection: Some(connection), idle, _permit: permit };
            let connection = lent.connection.as_ref().ok_or(Error::Ended)?;
            // One state of the database for all of it.
            let transaction = connection.unchecked_transaction()?;
            read(&transaction)
        });
        reading.await.map_err(|_| Error::Ended)?
    }
}
