//! `agent_upgrade`: starts the upgrader, logs its steps and tells the gateway how far the download
//! is. An upgrade outlives the session that it was asked for in.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::logging::PEER;
use crate::requests::context::Context;
use crate::run::job::{Job, Pipe, Progress, Surroundings};
use crate::upgrade::report::{Line, Milestone};
use crate::upgrade::{self, DEADLINE, REQUEST, Request, Version};
use crate::wire::rpc::{self, Error, Id};
use crate::wire::session::Session;

/// How often the gateway hears how far the download is.
const PROGRESS: Duration = Duration::from_secs(5);
/// Bytes that are kept of a line of the upgrader, and of its standard error.
const LINE_LIMIT: usize = 8 * 1024;

/// An upgrade up to the swap.
pub struct Upgrade {
    job: Job,
    version: String,
    /// A notification has no id.
    id: Option<Id>,
    /// The upgrader's output since its last whole line.
    open: Vec<u8>,
    /// The upgrader's standard error.
    complaint: Vec<u8>,
    /// Why the upgrade failed, as the upgrader says.
    failed: Option<upgrade::Error>,
    /// Until the download is done.
    download: Option<Download>,
}

/// How far the download is.
struct Download {
    bytes: u64,
    total: Option<u64>,
    /// When the gateway hears of it next.
    due: Instant,
}

/// What became of an upgrade.
pub struct Ended {
    pub id: Option<Id>,
    pub version: String,
    pub outcome: Result<(), upgrade::Error>,
    /// The upgrader has removed what it made. False if it was killed.
    pub cleaned_up: bool,
}

#[derive(Serialize)]
struct ProgressParams<'a> {
    id: &'a Id,
    stage: &'a str,
    bytes: u64,
    total: Option<u64>,
}

#[derive(Serialize)]
struct Upgrading {
    status: &'static str,
}

impl Upgrade {
    /// Starts the upgrader.
    ///
    /// # Errors
    /// [`rpc::Code::InvalidParams`], or [`rpc::Code::InternalError`] where no process can be started.
    pub fn start(
        params: Option<&RawValue>,
        id: Option<&Id>,
        context: Context,
    ) -> Result<Upgrade, Error> {
        let request: Request = rpc::params(params)?;
        let job = start_upgrader(&request, context).map_err(|error| {
            Error::new(rpc::Code::InternalError, format!("can't start the upgrader: {error}"))
        })?;
        log::info!(
            target: PEER,
            "upgrade to {}: requested, from {}",
            request.version,
            request.url
        );
        Ok(Upgrade::of(job, &request.version, id, context.now))
    }

    /// An upgrade whose upgrader is `job`.
    pub fn of(job: Job, version: &Version, id: Option<&Id>, now: Instant) -> Upgrade {
        Upgrade {
            job,
            version: version.to_string(),
            id: id.cloned(),
            open: Vec::new(),
            complaint: Vec::new(),
            failed: None,
            download: Some(Download { bytes: 0, total: None, due: now + PROGRESS }),
        }
    }

    /// Whether the upgrader's output wakes the loop.
    pub fn listen(&mut self, listening: bool) -> io::Result<()> {
        self.job.listen(listening)
    }

    /// When the next turn is due even if the upgrader says nothing.
    pub fn deadline(&self) -> Instant {
        let progress = self.download.as_ref().map(|download| download.due);
        progress.map_or(self.job.deadline(), |due| due.min(self.job.deadline()))
    }

    /// Moves on as far as it goes without waiting. `session` is the session that the upgrade was
    /// asked for in, while it lives.
    pub fn turn(&mut self, now: Instant, session: Option<&mut Session>) -> Option<Ended> {
        let (mut open, mut lines) = (std::mem::take(&mut self.open), Vec::new());
        let complaint = &mut self.complaint;
        let progress = self.job.turn(now, |pipe, bytes| match pipe {
            Pipe::Stdout => split_lines(&mut open, bytes, &mut lines),
            Pipe::Stderr => {
                let room = LINE_LIMIT.saturating_sub(complaint.len());
                complaint.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        });
        self.open = open;
        for line in lines {
            self.read(line);
        }
        let cleaned_up = self.failed.is_some();
        let outcome = match progress {
            Progress::Running => {
                self.report(now, session);
                return None;
            }
            Progress::TimedOut => {
                let message = format!("not done within {} s", DEADLINE.as_secs());
                Err(upgrade::Error::took_too_long(message))
            }
            Progress::Ended(status) => match self.failed.take() {
                None if status.success() => Ok(()),
                Some(error) => Err(error),
                None => {
                    let words = String::from_utf8_lossy(&self.complaint);
                    let words = words.lines().last().unwrap_or("no message").escape_debug();
                    let message = format!("the upgrader failed ({status}): {words}");
                    Err(upgrade::Error::internal(message))
                }
            },
        };
        let version = self.version.clone();
        Some(Ended { id: self.id.take(), version, outcome, cleaned_up })
    }

    fn read(&mut self, line: String) {
        match Line::parse(&line) {
            Some(Line::Progress { bytes, total }) => {
                if let Some(download) = &mut self.download {
                    (download.bytes, download.total) = (bytes, total);
                }
            }
            Some(Line::Done { milestone, text }) => {
                if milestone == Milestone::Download {
                    self.download = None;
                }
                // From the swap on every line is logged, however many there are.
                let target = if milestone == Milestone::Swap { module_path!() } else { PEER };
                log::info!(target: target, "upgrade to {}: {text}", self.version);
            }
            Some(Line::Note { text }) => {
                log::warn!(target: PEER, "upgrade to {}: {text}", self.version);
            }
            Some(Line::Failed(error)) => self.failed = Some(error),
            None => log::debug!(target: PEER, "upgrade to {}: {line:?}", self.version),
        }
    }

    /// Tells the gateway how far the download is, if a report is due.
    fn report(&mut self, now: Instant, session: Option<&mut Session>) {
        let Some(download) = self.download.as_mut().filter(|download| now >= download.due) else {
            return;
        };
        download.due = now + PROGRESS;
        if let (Some(id), Some(session)) = (&self.id, session) {
            let (bytes, total) = (download.bytes, download.total);
            let params = ProgressParams { id, stage: "download", bytes, total };
            session.send(rpc::notification("upgrade_progress", &params));
        }
    }
}

impl Ended {
    /// The response. `None` for a notification.
    pub fn message(&self) -> Option<String> {
        let id = self.id.as_ref()?;
        Some(match &self.outcome {
            Ok(()) => rpc::result(id, &Upgrading { status: "upgrading" }),
            Err(error) => rpc::error(Some(id), &error.clone().into()),
        })
    }
}

fn start_upgrader(request: &Request, context: Context) -> io::Result<Job> {
    // Not an argument: every user can read those, and the URL may hold a password.
    let request = serde_json::to_string(request).map_err(io::Error::other)?;
    context.children.start_in(
        Surroundings::With(REQUEST, &request),
        "/proc/self/exe".as_ref(),
        ["upgrade", "--supervised"],
        context.now + DEADLINE,
    )
}

/// Adds `bytes` to the `open` line, and moves each line that is whole by then to `lines`.
fn split_lines(open: &mut Vec<u8>, bytes: &[u8], lines: &mut Vec<String>) {
    for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
        let room = LINE_LIMIT.saturating_sub(open.len());
        open.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.ends_with(b"\n") {
            lines.push(String::from_utf8_lossy(open).trim_end().to_owned());
            open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let (mut open, mut lines) = (Vec::new(), Vec::new());
        for piece in ["a", "b\nc\n", "", "d", "\n", "e"] {
            split_lines(&mut open, piece.as_bytes(), &mut lines);
        }
        assert_eq!(lines, ["ab", "c", "d"]);
        assert_eq!(open, b"e");
        split_lines(&mut open, &vec![b'x'; 3 * LINE_LIMIT], &mut lines);
        assert_eq!(open.len(), LINE_LIMIT);
    }
}
