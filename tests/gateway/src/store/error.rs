//! What can go wrong with the store.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    At { path: PathBuf, source: Box<Error> },
    #[error("{0} is in use by another gateway")]
    InUse(PathBuf),
    #[error("{0} belongs to another user: run this as that user, or name another folder")]
    NotMine(PathBuf),
    #[error("{0} has other files in it and no gateway.db: name a folder of its own")]
    NotEmpty(PathBuf),
    #[error("{0} is a symbolic link: remove it")]
    Link(PathBuf),
    #[error("its tables are of version {found}, this gateway knows {known}: use a newer gateway")]
    TooNew { found: u32, known: u32 },
    #[error("the kernel gives no random bytes")]
    Random,
    #[error("the store has ended")]
    Ended,
}

impl Error {
    /// What failed in this folder. Errors that name a path already say it.
    pub fn at(self, folder: Option<&Path>) -> Error {
        match (self, folder) {
            (error @ (Error::Sqlite(_) | Error::TooNew { .. }), Some(path)) => {
                Error::At { path: path.to_owned(), source: Box::new(error) }
            }
            (error, _) => error,
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
