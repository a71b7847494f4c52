//! What the upgrader tells the agent or the person that started it, and whether they still want
//! the upgrade.
//!
//! ureq's connections and resolver share the reporter, and ureq's traits ask that such values be
//! `Send` and `Sync`. So its members are atomics and a mutex, in a program of one thread.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::run::wait;
use crate::upgrade::error::Error;
use crate::upgrade::report::{Line, Milestone};
use crate::upgrade::request::DownloadUrl;

/// How long an upgrade may take up to the swap.
pub const DEADLINE: Duration = Duration::from_secs(600);
/// How often the agent hears of a download.
const OFTEN: Duration = Duration::from_secs(1);
/// How often a person hears of a download.
const SELDOM: Duration = Duration::from_secs(5);

pub struct Reporter {
    /// Whether the agent listens, and not a person.
    supervised: bool,
    /// When a person's upgrade is given up. None for the agent, which ends its upgrader itself.
    deadline: Option<Instant>,
    signalled: Arc<AtomicBool>,
    /// Standard output could not be written to.
    unheard: AtomicBool,
    bytes: AtomicU64,
    /// 0 while the size is unknown.
    total: AtomicU64,
    /// The download has led to an address that is not public.
    inside: AtomicBool,
    /// When the progress is told next.
    next: Mutex<Instant>,
}

impl Reporter {
    /// `supervised`: for the agent, as [`Line`]s; otherwise for a person.
    ///
    /// # Errors
    /// The operating system's own, of a signal handler.
    pub fn new(supervised: bool) -> io::Result<Arc<Reporter>> {
        Reporter::until(supervised, (!supervised).then(|| Instant::now() + DEADLINE))
    }

    fn until(supervised: bool, deadline: Option<Instant>) -> io::Result<Arc<Reporter>> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in wait::endings() {
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
        }
        Ok(Arc::new(Reporter {
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

    /// Tells that a step has succeeded.
    ///
    /// # Errors
    /// As [`Reporter::still_wanted`].
    pub fn done(&self, milestone: Milestone, text: String) -> Result<(), Error> {
        self.say(&Line::Done { milestone, text });
        self.check()
    }

    /// Tells a warning.
    ///
    /// # Errors
    /// As [`Reporter::still_wanted`].
    pub fn note(&self, text: String) -> Result<(), Error> {
        self.say(&Line::Note { text });
        self.check()
    }

    /// Whether the gateway has asked for the upgrade, and not a person.
    pub fn is_supervised(&self) -> bool {
        self.supervised
    }

    pub fn failed(&self, error: Error) {
        self.say(&Line::Failed(error));
    }

    /// The download leads to an address that is not public. From here on [`Reporter::seal`] keeps
    /// the reasons of failures from the gateway.
    pub fn leads_inside(&self) {
        self.inside.store(true, Ordering::Relaxed);
    }

    /// The failure of fetching `url`, with no more for the gateway than it may hear.
    pub fn seal(&self, url: &DownloadUrl, error: Error) -> Error {
        if self.inside.load(Ordering::Relaxed) { error.sealed(url) } else { error }
    }

    /// The download has come this far.
    ///
    /// # Errors
    /// As [`Reporter::still_wanted`].
    pub fn progress(&self, bytes: u64, total: Option<u64>) -> Result<(), Error> {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.total.store(total.unwrap_or_default(), Ordering::Relaxed);
        self.still_wanted()
    }

    /// Tells the agent the size of the whole download.
    pub fn downloaded(&self) {
        if self.supervised {
            self.say(&self.so_far());
        }
    }

    /// Tells the progress where that is due.
    ///
    /// # Errors
    /// Why the upgrade has to end: a signal, a listener that is gone, or the deadline.
    pub fn still_wanted(&self) -> Result<(), Error> {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= *next {
            *next = now + if self.supervised { OFTEN } else { SELDOM };
            drop(next);
            self.say(&self.so_far());
        }
        self.check()
    }

    /// Why the upgrade has to end. None while it may go on.
    pub fn reason_to_stop(&self) -> Option<Error> {
        if self.signalled.load(Ordering::Relaxed) {
            Some(Error::internal("the upgrade was stopped by a signal; nothing was changed"))
        } else if self.supervised && self.unheard.load(Ordering::Relaxed) {
            Some(Error::internal("the agent that wanted the upgrade is gone; nothing was changed"))
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some(Error::took_too_long(format!(
                "not done within {} s; nothing was changed, try again or use a faster server",
                DEADLINE.as_secs()
            )))
        } else {
            None
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.reason_to_stop().map_or(Ok(()), Err)
    }

    fn so_far(&self) -> Line {
        let total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        Line::Progress { bytes: self.bytes.load(Ordering::Relaxed), total }
    }

    fn say(&self, line: &Line) {
        let text = match (self.supervised, line) {
            (true, line) => line.to_string(),
            (false, Line::Progress { bytes, total: Some(total) }) => {
                format!("downloading: {bytes} of {total} bytes")
            }
            (false, Line::Progress { bytes, total: None }) => format!("downloading: {bytes} bytes"),
            (false, Line::Done { text, .. } | Line::Note { text }) => text.clone(),
            // main prints the error.
            (false, Line::Failed(_)) => return,
        };
        if writeln!(io::stdout(), "{text}").is_err() {
            self.unheard.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use super::super::connect::Client;
    use super::super::fetch;
    use super::*;
    use crate::config::trust;
    use crate::config::{ReleaseKey, UpgradeConfig};
    use crate::upgrade::error::Kind;

    /// Some bytes now and then do not make up for a missed deadline.
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
            tls: trust::client_config(rustls::RootCertStore::empty(), None).unwrap(),
            proxy: None,
            no_proxy: Default::default(),
            by_gateway: true,
            release_key: None,
            probation: Duration::ZERO,
            restart_command: None,
        };
        let began = Instant::now();
        let reporter = Reporter::until(false, Some(began + Duration::from_millis(500))).unwrap();
        let client = Client::new(&config, &reporter);
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let key = ReleaseKey::choose(Some(key)).unwrap().unwrap();
        let url = DownloadUrl::check(&url).unwrap();
        assert!(fetch::signature_of(&client, &url, &key, &reporter).is_err());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let why = reporter.reason_to_stop().unwrap();
        assert_eq!(why.kind, Kind::TookTooLong);
        assert!(why.to_string().starts_with("not done within 600 s; nothing was changed"));
        drip.join().unwrap();
    }

    /// The agent ends its own upgrader.
    #[test]
    fn only_a_persons_upgrade_has_a_deadline() {
        assert_eq!(Reporter::new(true).unwrap().deadline, None);
        let left = Reporter::new(false).unwrap().deadline.unwrap() - Instant::now();
        assert!(left <= DEADLINE && left > DEADLINE - Duration::from_secs(10), "{left:?}");
    }
}
