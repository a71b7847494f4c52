//! What the upgrader tells, the agent or a person, and whether anybody still listens.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::run::wait;
use crate::upgrade::error::Error;
use crate::upgrade::report::{Line, Stage};
use crate::upgrade::request::DownloadUrl;
use crate::wire::rpc;

/// How long an upgrade may take up to the swap.
pub const DEADLINE: Duration = Duration::from_secs(600);
/// How often the agent hears of a download.
const OFTEN: Duration = Duration::from_secs(1);
/// How often a person does.
const SELDOM: Duration = Duration::from_secs(5);

/// Shared with the connection, which looks here while a server says nothing.
pub struct Story {
    supervised: bool,
    /// When a person's upgrade is given up. The agent ends its upgrader itself.
    deadline: Option<Instant>,
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
        Story::until(supervised, (!supervised).then(|| Instant::now() + DEADLINE))
    }

    /// The same with another deadline.
    fn until(supervised: bool, deadline: Option<Instant>) -> io::Result<Arc<Story>> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in wait::endings() {
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
        }
        Ok(Arc::new(Story {
            supervised,
            deadline,
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

    /// Something that the log's readers should know.
    ///
    /// # Errors
    /// As [`Story::still_wanted`].
    pub fn note(&self, text: &str) -> io::Result<()> {
        self.say(&Line::Note { text: text.to_owned() });
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
    /// When a signal has asked for the end, nobody listens any more, or it has taken too long.
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
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let seconds = DEADLINE.as_secs();
            let message = format!(
                "not done within {seconds} s; nothing was changed, try again or use a faster server"
            );
            Some(Error::new(rpc::TOOK_TOO_LONG, message))
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
            (false, Line::Done { text, .. } | Line::Note { text }) => {
                writeln!(io::stdout(), "{text}")
            }
            // main prints it.
            (false, Line::Failed { .. }) => Ok(()),
        };
        if said.is_err() {
            self.unheard.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use super::super::{connect, fetch};
    use super::*;
    use crate::config::trust;
    use crate::config::{ReleaseKey, UpgradeConfig};

    /// A server that says something all the time, which is no reason to wait for its end.
    #[test]
    fn a_server_that_drips_is_given_up_at_the_deadline() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let drip = thread::spawn(move || {
            let (mut socket, _) = server.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]).unwrap();
            let mut said = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let end = Instant::now() + Duration::from_secs(10);
            while said.is_ok() && Instant::now() < end {
                thread::sleep(Duration::from_millis(50));
                said = socket.write_all(b"x");
            }
        });
        let config = UpgradeConfig {
            tls: trust::client_config(rustls::RootCertStore::empty()).unwrap(),
            proxy: None,
            by_gateway: true,
            release_key: None,
            probation: Duration::ZERO,
            restart_command: None,
        };
        let began = Instant::now();
        let story = Story::until(false, Some(began + Duration::from_millis(500))).unwrap();
        let client = connect::client(&config, &story);
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let key = ReleaseKey::choose(Some(key)).unwrap().unwrap();
        let url = DownloadUrl::check(&url).unwrap();
        assert!(fetch::signature_of(&client, &url, &key, &story).is_err());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let why = story.over().unwrap();
        assert_eq!(why.code, rpc::TOOK_TOO_LONG);
        assert!(why.to_string().starts_with("not done within 600 s; nothing was changed"));
        drip.join().unwrap();
    }

    /// The agent looks after its own upgrader, and a person's has so long.
    #[test]
    fn a_persons_upgrade_has_a_deadline() {
        assert_eq!(Story::new(true).unwrap().deadline, None);
        let left = Story::new(false).unwrap().deadline.unwrap() - Instant::now();
        assert!(left <= DEADLINE && left > DEADLINE - Duration::from_secs(10), "{left:?}");
    }
}
