//! The steps of an installation. Each step can be carried out, or printed for a dry run. A file is
//! replaced as a whole: a reader finds the old file or the new one, also after a power cut.

use crate::host::files;
use crate::host::paths::PROGRAM;
use crate::run::command;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::error::Error;
use crate::config::ENV_FILE;
use crate::host::init::{Command, Definition};
use crate::host::process::{self, Process};
use crate::host::version;
use crate::operator::output::{complain, say};
use crate::run::job::Children;
use crate::upgrade::store::Store;
use crate::upgrade::swap::{self, Staged};
use crate::upgrade::{Checksum, Version};

/// How long a command of the init system may take, other than the start of the agent.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Copy this program to its place, once the copy has shown that it runs there.
    Copy {
        checksum: Checksum,
    },
    Folder(PathBuf),
    /// Write the agent's variables, readable by root only; `names` are those that change.
    Configure {
        text: String,
        names: Vec<&'static str>,
    },
    Define(Definition),
    /// The manual page. The agent does without it, so a failure is only told.
    Manual(Definition),
    Run(Command),
    /// A command that may fail: the units that it stops may be gone.
    Try(Vec<OsString>),
    /// Stop all processes that run these files.
    End(Vec<PathBuf>),
    Remove(PathBuf),
    RemoveIfEmpty(PathBuf),
}

impl Step {
    /// # Errors
    /// One line: what could not be done, on what, and what to do.
    pub fn carry_out(&self, children: &Rc<Children>) -> Result<(), String> {
        match self {
            Step::Copy { checksum } => copy(checksum, children),
            Step::Folder(path) => folder(path).map_err(|error| on("make", path, &error)),
            Step::Configure { text, .. } => write(Path::new(ENV_FILE), text, 0o600),
            Step::Define(definition) => {
                write(Path::new(definition.path), definition.text, definition.mode)
            }
            Step::Manual(page) => {
                let folder = Path::new(page.path).parent().unwrap_or(Path::new("/"));
                let made = make_folder(folder).map_err(|error| on("make", folder, &error));
                let written = made.and_then(|()| write(Path::new(page.path), page.text, page.mode));
                if let Err(problem) = written {
                    complain(&format!("vmkit-agent: no manual page: {problem}"));
                }
                Ok(())
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

impl Step {
    /// The line for a step that was carried out.
    pub fn done(&self) -> String {
        let (_, did, what) = self.words();
        format!("{did} {what}")
    }

    /// The line for a step in a dry run.
    pub fn planned(&self) -> String {
        let (act, _, what) = self.words();
        format!("would {act} {what}")
    }

    fn words(&self) -> (&'static str, &'static str, String) {
        let wrote = |what: String| ("write", "wrote", what);
        match self {
            Step::Copy { .. } => {
                ("copy", "copied", format!("{} to {PROGRAM} (0755)", version::line()))
            }
            Step::Folder(path) => ("make", "made", format!("{} (0755)", path.display())),
            Step::Configure { names, .. } if names.is_empty() => {
                wrote(format!("{ENV_FILE} (0600)"))
            }
            Step::Configure { names, .. } => {
                wrote(format!("{ENV_FILE} (0600): {}", names.join(", ")))
            }
            Step::Define(file) | Step::Manual(file) => {
                wrote(format!("{} ({:04o})", file.path, file.mode))
            }
            Step::Run(command) => ("run", "ran", command.join(" ")),
            Step::Try(command) => {
                let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
                ("run", "ran", words.join(" "))
            }
            Step::End(_) => ("stop", "stopped", format!("processes running {PROGRAM}")),
            Step::Remove(path) => ("remove", "removed", path.display().to_string()),
            Step::RemoveIfEmpty(path) => {
                ("remove", "removed", format!("{}, if it is empty", path.display()))
            }
        }
    }
}

/// Carries the steps out, or prints them in a dry run.
pub fn take(steps: &[Step], dry_run: bool, children: &Rc<Children>) -> Result<(), Error> {
    for step in steps {
        if dry_run {
            say(&step.planned());
        } else {
            step.carry_out(children).map_err(Error::Failed)?;
            say(&step.done());
        }
    }
    Ok(())
}

fn copy(checksum: &Checksum, children: &Rc<Children>) -> Result<(), String> {
    let installed = Path::new(PROGRAM);
    let said = |error: crate::upgrade::Error| error.to_string();
    let folder = installed.parent().unwrap_or(Path::new("/"));
    make_folder(folder).map_err(|error| on("make", folder, &error))?;
    swap::check_folder(installed).map_err(said)?;
    // An upgrade that is under way is not disturbed.
    let _lock = Store::open(installed).lock_upgrade().map_err(said)?;
    let mut own = File::open("/proc/self/exe")
        .map_err(|error| on("read", Path::new("/proc/self/exe"), &error))?;
    let staged = Staged::for_root(&mut own, checksum, installed).map_err(said)?;
    staged.test(&Version::try_from(version::VERSION.to_owned())?, children).map_err(said)?;
    staged.install().map_err(said)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn folder(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    chown(path, Some(0), Some(0))?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    // A link to a file stays, and the file that it leads to is replaced. A link to anything else,
    // such as a masked unit's to /dev/null, is replaced itself.
    let target = fs::canonicalize(path).ok().filter(|target| target.is_file());
    let path = &target.unwrap_or(path.to_owned());
    let new = unfinished(path);
    let written = files::write_new(&new, text.as_bytes()).and_then(|file| {
        fchown(&file, Some(0), Some(0))?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        // The file is in place; only a power cut could still undo it.
        let _ = files::sync_folder(path);
        Ok(())
    });
    written.map_err(|error| {
        let _ = files::remove(&new);
        on("write", path, &error)
    })
}

/// The path of the new file that is to replace `path`.
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
    files::on(what, path, error) + "; correct it, then run this command again"
}
