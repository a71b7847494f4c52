//! What the upgrader tells, the agent or a person, and whether anybody still listens.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::report::{Line, Stage};
use super::{DownloadUrl, Error};
use crate::run::wait;
use crate::wire::rpc;

/// How often the agent hears of a download.
const OFTEN: Duration = Duration::from_secs(1);
/// How often a person does.
const SELDOM: Duration = Duration::from_secs(5);

/// Shared with the connection, which looks here while a server says nothing.
pub struct Story {
    supervised: bool,
    signalled: Arc<AtomicBool>,
    unheard: AtomicBool,
    bytes: AtomicU64,
    /// Zero while it is not known.
    total: AtomicU64,
    /// Whether the download has led to a place that not everybody can reach.
    inside: AtomicBool,
    next: Mutex<Instant>,
}

impl Story {
    /// `supervised`: for the agent, in [`Line`]s; else for a person.
    pub fn new(supervised: bool) -> io::Result<Arc<Story>> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in wait::endings() {
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
        }
        Ok(Arc::new(Story {
            supervised,
            signalled,
            unheard: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            total: AtomicU64::new(0),
            inside: AtomicBool::new(false),
            next: Mutex::new(Instant::now() + if supervised { OFTEN } else { SELDOM }),
        }))
    }

    /// A stage is over.
    ///
    /// # Errors
    /// As [`Story::still_wanted`].
    pub fn done(&self, stage: Stage, text: String) -> io::Result<()> {
        self.say(&Line::Done { stage, text });
        self.check()
    }

    /// Whether it is told to the agent, and the gateway wants the upgrade.
    pub fn is_supervised(&self) -> bool {
        self.supervised
    }

    pub fn failed(&self, error: &Error) {
        let (message, told) = (error.to_string(), error.told.clone());
        self.say(&Line::Failed { code: error.code, message, told });
    }

    /// The download goes to a place that not everybody can reach: from here on the gateway hears
    /// no reason of what fails on the way, for [`Story::seal`] takes it out.
    pub fn leads_inside(&self) {
        self.inside.store(true, Ordering::Relaxed);
    }

    /// What fetching `url` has failed with, good to be told.
    pub fn seal(&self, url: &DownloadUrl, error: Error) -> Error {
        if self.inside.load(Ordering::Relaxed) { error.sealed(url) } else { error }
    }

    /// A download has come this far.
    ///
    /// # Errors
    /// As [`Story::still_wanted`].
    pub fn progress(&self, bytes: u64, total: Option<u64>) -> io::Result<()> {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.total.store(total.unwrap_or_default(), Ordering::Relaxed);
        self.still_wanted()
    }

    /// Says the last of the progress.
    pub fn downloaded(&self) {
        if self.supervised {
            self.say(&self.so_far());
        }
    }

    /// Says how far the download is when it is time to.
    ///
    /// # Errors
    /// When a signal has asked for the end, or nobody listens any more.
    pub fn still_wanted(&self) -> io::Result<()> {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= *next {
            *next = now + if self.supervised { OFTEN } else { SELDOM };
            drop(next);
            self.say(&self.so_far());
        }
        self.check()
    }

    /// Why it is to end, if it is.
    pub fn over(&self) -> Option<Error> {
        let error = |message: &str| Some(Error::new(rpc::INTERNAL_ERROR, message));
        if self.signalled.load(Ordering::Relaxed) {
            error("the upgrade was stopped by a signal; nothing was changed")
        } else if self.supervised && self.unheard.load(Ordering::Relaxed) {
            error("the agent that wanted the upgrade is gone; nothing was changed")
        } else {
            None
        }
    }

    fn check(&self) -> io::Result<()> {
        self.over().map_or(Ok(()), |error| Err(io::Error::other(error.to_string())))
    }

    fn so_far(&self) -> Line {
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        Line::Progress { bytes: self.bytes.load(Ordering::Relaxed), total }
    }

    fn say(&self, line: &Line) {
        let said = match (self.supervised, line) {
            (true, line) => writeln!(io::stdout(), "{line}"),
            (false, Line::Progress { bytes, total: Some(total) }) => {
                writeln!(io::stdout(), "downloading: {bytes} of {total} bytes")
            }
            (false, Line::Progress { bytes, total: None }) => {
                writeln!(io::stdout(), "downloading: {bytes} bytes")
            }
            (false, Line::Done { text, .. }) => writeln!(io::stdout(), "{text}"),
            // main prints it.
            (false, Line::Failed { .. }) => Ok(()),
        };
        if said.is_err() {
            self.unheard.store(true, Ordering::Relaxed);
        }
    }
}
