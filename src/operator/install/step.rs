//! The steps of an installation: each can be shown and carried out. Files are replaced as a whole,
//! so that whoever reads one, or a power cut, finds the old one or the new one.

use crate::host::files;
use crate::host::paths::PROGRAM;
use crate::run::command;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::error::Error;
use crate::config::ENV_FILE;
use crate::host::init::{Command, Definition};
use crate::host::process::{self, Process};
use crate::host::version;
use crate::operator::output::say;
use crate::run::job::Children;
use crate::upgrade::store::Store;
use crate::upgrade::swap::{self, Staged};
use crate::upgrade::{Checksum, Version};

/// How long a command of the init system may take; what it starts is not among these.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// This program to its place, once the copy has shown that it runs there.
    Copy {
        checksum: Checksum,
    },
    Folder(PathBuf),
    /// The agent's variables, for root alone; `names` are those that change.
    Configure {
        text: String,
        names: Vec<&'static str>,
    },
    Define(Definition),
    Run(Command),
    /// What may have nothing to do any more.
    Try(Vec<OsString>),
    /// Whatever runs from these files.
    End(Vec<PathBuf>),
    Remove(PathBuf),
    RemoveIfEmpty(PathBuf),
}

impl Step {
    /// # Errors
    /// In a line, what could not be done, to what, and what to do about it.
    pub fn carry_out(&self, children: &Rc<Children>) -> Result<(), String> {
        match self {
            Step::Copy { checksum } => copy(checksum, children),
            Step::Folder(path) => folder(path).map_err(|error| on("make", path, &error)),
            Step::Configure { text, .. } => write(Path::new(ENV_FILE), text, 0o600),
            Step::Define(definition) => {
                write(Path::new(definition.path), definition.text, definition.mode)
            }
            Step::Run(command) => command::run(command, PATIENCE, children).map(drop),
            Step::Try(command) => {
                let _ = command::run(command, PATIENCE, children);
                Ok(())
            }
            Step::End(programs) => {
                let running = Process::running(programs).into_iter();
                process::end(&running.map(|process| process.identity).collect::<Vec<_>>());
                Ok(())
            }
            Step::Remove(path) => remove(path).map_err(|error| on("remove", path, &error)),
            Step::RemoveIfEmpty(path) => match fs::remove_dir(path) {
                Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
                    Err(on("remove", path, &error))
                }
                _ => Ok(()),
            },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Step::Copy { .. } => write!(f, "copy {} to {PROGRAM} (0755)", version::line()),
            Step::Folder(path) => write!(f, "make {} (0755)", path.display()),
            Step::Configure { names, .. } => {
                write!(f, "write {ENV_FILE} (0600)")?;
                for (index, name) in names.iter().enumerate() {
                    let before = if index == 0 { ": sets " } else { ", " };
                    write!(f, "{before}{name}")?;
                }
                Ok(())
            }
            Step::Define(definition) => {
                write!(f, "write {} ({:04o})", definition.path, definition.mode)
            }
            Step::Run(command) => write!(f, "run {}", command.join(" ")),
            Step::Try(command) => {
                let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
                write!(f, "run {}", words.join(" "))
            }
            Step::End(_) => write!(f, "end what runs from {PROGRAM}"),
            Step::Remove(path) => write!(f, "remove {}", path.display()),
            Step::RemoveIfEmpty(path) => {
                write!(f, "remove {}, if nothing else is in it", path.display())
            }
        }
    }
}

/// Carries the steps out, or says what they would be.
pub fn take(steps: &[Step], dry_run: bool, children: &Rc<Children>) -> Result<(), Error> {
    for step in steps {
        if dry_run {
            say(&format!("would {step}"));
        } else {
            say(&step.to_string());
            step.carry_out(children).map_err(Error::Failed)?;
        }
    }
    Ok(())
}

fn copy(checksum: &Checksum, children: &Rc<Children>) -> Result<(), String> {
    let installed = Path::new(PROGRAM);
    let said = |error: crate::upgrade::Error| error.to_string();
    let folder = installed.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(|error| on("make", folder, &error))?;
    swap::check_folder(installed).map_err(said)?;
    // Not in the middle of an upgrade's steps.
    let _lock = Store::open(installed).lock_upgrade().map_err(said)?;
    let mut own = File::open("/proc/self/exe")
        .map_err(|error| on("read", Path::new("/proc/self/exe"), &error))?;
    let staged = Staged::for_root(&mut own, checksum, installed).map_err(said)?;
    staged.test(&Version::try_from(version::VERSION.to_owned())?, children).map_err(said)?;
    staged.install().map_err(said)
}

fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    chown(path, Some(0), Some(0))?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    // Where it is a link to a file, what it leads to; never to /dev/null, as a masked unit is.
    let target = fs::canonicalize(path).ok().filter(|target| target.is_file());
    let path = &target.unwrap_or(path.to_owned());
    let new = unfinished(path);
    let written = files::remove(&new).and_then(|()| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fchown(&file, Some(0), Some(0))?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        // It is there either way.
        let _ = files::sync_folder(path);
        Ok(())
    });
    written.map_err(|error| {
        let _ = files::remove(&new);
        on("write", path, &error)
    })
}

/// What becomes the file at `path`.
pub fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension("new")
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata().is_ok_and(|there| there.is_dir()) {
        true => fs::remove_dir_all(path),
        false => files::remove(path),
    }
}

fn on(what: &str, path: &Path, error: &io::Error) -> String {
    format!("can't {what} {}: {error}; put that right and run it again", path.display())
}
