//! What can go wrong with the store.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0} is in use by another gateway")]
    InUse(PathBuf),
    #[error("its tables are of version {found}, this gateway knows {known}: use a newer gateway")]
    TooNew { found: u32, known: u32 },
    #[error("the kernel gives no random bytes")]
    Random,
    #[error("the store has ended")]
    Ended,
}

pub type Result<T> = std::result::Result<T, Error>;
