//! A few connections that only read. More readers than these wait for each other.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::error::{Error, Result};
use super::place::Place;

const CONNECTIONS: usize = 4;

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
            // One state of the database for all of it.
            let read = connection
                .unchecked_transaction()
                .map_err(Error::from)
                .and_then(|transaction| read(&transaction));
            idle.lock().push(connection);
            drop(permit);
            read
        });
        reading.await.map_err(|_| Error::Ended)?
    }
}
