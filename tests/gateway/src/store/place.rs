//! Where the database is: in a folder, or in memory, where it ends with the process. Opens connections
//! to it and brings its tables up to date.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{Error, Result};

/// Each is run once, in this order, in a transaction of its own. A released one is never changed.
const MIGRATIONS: [&str; 2] =
    [include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql")];
const DATABASE: &str = "gateway.db";
const LOCK: &str = "gateway.lock";
/// Another connection may be writing.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub enum Place {
    Folder(PathBuf),
    /// Of this name, shared by all connections of this process.
    Memory(String),
}

impl Place {
    /// Makes the folder, for its owner only. One that is there must be this user's, and the gateway's
    /// alone: `--data /tmp` must not close `/tmp` to everybody else.
    pub fn folder(path: &Path) -> Result<Place> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        // A link may lead to the folder; from here on there is none on the way.
        let path = path.canonicalize().map_err(io)?;
        if path.metadata().map_err(io)?.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::NotMine(path));
        }
        let entries = fs::read_dir(&path).map_err(io)?.collect::<io::Result<Vec<_>>>();
        let names: Vec<_> = entries.map_err(io)?.iter().map(|entry| entry.file_name()).collect();
        let is_ours = |name: &OsString| [DATABASE, LOCK].iter().any(|own| name == own);
        let is_nothing = |name: &OsString| name == "lost+found";
        if !names.iter().any(is_ours) && !names.iter().all(is_nothing) {
            return Err(Error::NotEmpty(path));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(io)?;
        close_files(&path)?;
        Ok(Place::Folder(path))
    }

    pub fn memory() -> Result<Place> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|_| Error::Random)?;
        Ok(Place::Memory(format!("file:/{:x}?vfs=memdb", u64::from_be_bytes(name))))
    }

    /// Two gateways on one folder would each believe that they alone know its agents.
    pub fn lock(&self) -> Result<Option<File>> {
        let Place::Folder(folder) = self else {
            return Ok(None);
        };
        let path = folder.join(LOCK);
        let io = |source| Error::Io { path: path.clone(), source };
        let file = own_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(folder.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    pub fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let connection = match self {
            // As a path, not as a URI: the folder's name may hold any character.
            Place::Folder(folder) => {
                let path = folder.join(DATABASE);
                // SQLite gives its other files the mode of this one.
                own_file(&path)?;
                let flags = flags & !OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW)?
            }
            Place::Memory(name) => Connection::open_with_flags(name, flags)?,
        };
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // An event that was shown is on the disk, also after a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}

/// The files of an older gateway may be open to others, and links in their place may lead anywhere.
fn close_files(folder: &Path) -> Result<()> {
    for name in [DATABASE, LOCK, "gateway.db-wal", "gateway.db-shm", "gateway.db-journal"] {
        let path = folder.join(name);
        let io = |source| Error::Io { path: path.clone(), source };
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => return Err(Error::Link(path)),
            Ok(_) => fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(())
}

/// Made, if it is not there, for its owner only.
fn own_file(path: &Path) -> Result<File> {
    let open = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    open.map_err(|source| Error::Io { path: path.to_owned(), source })
}

pub fn migrate(connection: &mut Connection) -> Result<()> {
    // Alone: a `gateway token` that is started together with the gateway waits.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    if done > known {
        return Err(Error::TooNew { found: done, known });
    }
    for migration in MIGRATIONS.iter().skip(done as usize) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}
