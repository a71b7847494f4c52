//! The state of upgrades, as it is on disk: everything that has to outlive the processes. The reader may be an
//! older or a newer version of this program. So a missing member has a default, an unknown member
//! does no harm, and the members that version 0.1.0 needs are still written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::paths::previous;
use super::request::{Checksum, Version};
use crate::host::process::{self, Identity};
use crate::host::timestamp::Timestamp;

/// A binary that may have failed for an outage of the gateway is banned after so many roll-backs.
const BAN_AFTER: u32 = 3;
/// So many roll-backs are remembered.
pub(super) const ROLLED_BACK: usize = 8;

/// The whole state file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct State {
    /// The version that an upgrader is working on. If it is killed, the files that it leaves are
    /// named after this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Version>,
    /// The trial under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// The roll-backs since the last confirmed upgrade, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rolled_back: Vec<RolledBack>,
}

/// A new binary that the gateway has not accepted yet. Written before the swap, so the previous
/// binary may still be the installed one.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Trial {
    pub version: Version,
    pub checksum: Checksum,
    pub installed: PathBuf,
    /// Where the previous binary is kept, for 0.1.0.
    #[serde(default)]
    previous: PathBuf,
    /// When probation began. It begins anew after a reboot.
    #[serde(default)]
    pub since: Moment,
    /// The length of the probation, in seconds.
    #[serde(default = "default_probation")]
    pub probation: u64,
    /// How often the new binary has been started.
    #[serde(default)]
    pub starts: u32,
    #[serde(default)]
    pub stage: Stage,
    /// The command that restarts the service; none where no command does. Kept here because the
    /// guard has no configuration.
    #[serde(default)]
    pub restart: Option<Vec<String>>,
    /// The agent's process. It becomes the new binary, or has become it. None after an upgrade by
    /// hand, and in a state file of 0.1.0, which has only a pid.
    #[serde(default)]
    pub process: Option<Identity>,
    /// The pid of `process`, for 0.1.0.
    #[serde(default)]
    agent: Option<u32>,
    /// The unit of systemd whose main process the agent is; none where the agent is no unit's.
    #[serde(default)]
    pub unit: Option<String>,
    /// Whether the gateway has refused the `register` of the new binary.
    #[serde(default)]
    pub refused: bool,
}

/// How far a trial is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The new binary is installed, or about to be.
    #[default]
    Staged,
    /// The previous binary is being put back, or is back already.
    RollingBack {
        reason: String,
        #[serde(default)]
        cause: Cause,
    },
}

/// Why a binary was rolled back. The names are those of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(from = "String", rename_all = "snake_case")]
pub enum Cause {
    /// It started and ended three times.
    Crashed,
    /// It was not started, or ended before it recorded its start.
    NeverStarted,
    /// The gateway refused its `register`.
    Refused,
    /// No gateway answered in time: the network or the gateway may have been down. An unknown cause
    /// is read as this cause.
    #[default]
    Unacknowledged,
}

/// A roll-back that is done.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct RolledBack {
    pub version: Version,
    pub checksum: Checksum,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub cause: Cause,
    /// Whether this binary is refused until another upgrade is confirmed.
    #[serde(default)]
    pub banned: bool,
    /// How often this binary was rolled back.
    #[serde(default = "once")]
    times: u32,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub at: i64,
    /// Whether the gateway has been told.
    #[serde(default)]
    pub reported: bool,
}

/// A moment, in seconds since the boot. Corrections of the clock do not move it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Moment {
    boot: String,
    seconds: u64,
}

/// A roll-back, as the gateway is told: by `upgrade_rolled_back`, and in every `register`.
#[derive(Serialize)]
pub struct Report<'a> {
    version: &'a Version,
    checksum_sha256: &'a Checksum,
    reason: &'a str,
    cause: Cause,
    banned: bool,
    /// `register` repeats old roll-backs, so it tells their time; the notification comes once.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

fn default_probation() -> u64 {
    120
}

fn once() -> u32 {
    1
}

impl Trial {
    /// The trial of a binary that is about to be installed, for the agent that is `process`, or by
    /// hand.
    pub fn new(
        version: Version,
        checksum: Checksum,
        installed: &Path,
        probation: Duration,
        process: Option<Identity>,
    ) -> Trial {
        let trial = Trial {
            version,
            checksum,
            installed: installed.to_owned(),
            previous: previous(installed),
            since: Moment::now(),
            probation: probation.as_secs(),
            starts: 0,
            stage: Stage::Staged,
            restart: None,
            process: None,
            agent: None,
            unit: None,
            refused: false,
        };
        trial.run_by(process)
    }

    /// The same trial with another process.
    pub fn run_by(self, process: Option<Identity>) -> Trial {
        Trial { agent: process.as_ref().map(|process| process.pid), process, ..self }
    }

    /// Where the previous binary is kept.
    pub fn previous(&self) -> PathBuf {
        // Never a path from the file: the guard executes it as root.
        previous(&self.installed)
    }

    /// The rest of the probation; none where it began in another boot.
    pub fn left(&self) -> Option<Duration> {
        let elapsed = self.since.elapsed()?;
        Some(Duration::from_secs(self.probation).saturating_sub(elapsed))
    }
}

impl State {
    /// Ends the trial of the binary with `checksum`, if it is this one.
    pub fn end_trial(&mut self, checksum: &Checksum) {
        self.trial = self.trial.take().filter(|trial| trial.checksum != *checksum);
    }

    /// Notes that the trial is over and that its binary was rolled back.
    pub fn give_up(&mut self, trial: &Trial, cause: Cause, reason: &str) {
        self.trial = None;
        let before = self.rolled_back.iter().find(|before| before.checksum == trial.checksum);
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        self.rolled_back.retain(|before| before.checksum != trial.checksum);
        if self.rolled_back.len() >= ROLLED_BACK {
            // A gateway must not be able to lift a ban by eight other roll-backs.
            let oldest = self.rolled_back.iter().position(|before| !before.banned);
            self.rolled_back.remove(oldest.unwrap_or(0));
        }
        let is_at_fault = matches!(cause, Cause::Crashed | Cause::NeverStarted);
        let rolled_back = RolledBack {
            version: trial.version.clone(),
            checksum: trial.checksum,
            reason: reason.to_owned(),
            cause,
            banned: is_at_fault || times >= BAN_AFTER,
            times,
            at: Timestamp::now().unix(),
            reported: false,
        };
        log::warn!("{}", rolled_back.in_words());
        self.rolled_back.push(rolled_back);
    }
}

impl RolledBack {
    /// The parameters of the notification about this roll-back.
    pub fn report(&self) -> Report<'_> {
        let RolledBack { version, checksum, reason, cause, banned, .. } = self;
        let (cause, banned) = (*cause, *banned);
        Report { version, checksum_sha256: checksum, reason, cause, banned, at: None }
    }

    /// The same with its time, as `register` tells it.
    pub fn dated_report(&self) -> Report<'_> {
        Report { at: Some(Timestamp::from_unix(self.at).to_string()), ..self.report() }
    }

    /// One line for the log, also for an upgrade that is refused for it.
    pub fn in_words(&self) -> String {
        let RolledBack { version, checksum, reason, banned, at, .. } = self;
        let at = Timestamp::from_unix(*at);
        let banned = match banned {
            true => "; this binary is refused until another upgrade succeeds",
            false => "",
        };
        format!("version {version} ({checksum}) was rolled back at {at}: {reason}{banned}")
    }
}

impl From<String> for Cause {
    fn from(name: String) -> Cause {
        match name.as_str() {
            "crashed" => Cause::Crashed,
            "never_started" => Cause::NeverStarted,
            "refused" => Cause::Refused,
            _ => Cause::Unacknowledged,
        }
    }
}

impl Moment {
    pub fn now() -> Moment {
        Moment { boot: process::boot(), seconds: process::uptime() }
    }

    /// The time since then; none where that was in another boot.
    fn elapsed(&self) -> Option<Duration> {
        let now = Moment::now();
        let is_same_boot = now.boot == self.boot;
        is_same_boot.then(|| Duration::from_secs(now.seconds.saturating_sub(self.seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::tests::trial;

    #[test]
    fn a_binary_at_fault_is_banned_at_once_and_an_outage_at_the_third_time() {
        let installed = Path::new("/agent");
        let mut state = State::default();
        let banned = |state: &State| state.rolled_back.last().is_some_and(|last| last.banned);
        for cause in [Cause::Crashed, Cause::NeverStarted] {
            state.give_up(&trial(installed, b"bad"), cause, "why");
            assert!(banned(&state), "{cause:?}");
        }
        for (cause, expected) in
            [(Cause::Unacknowledged, false), (Cause::Refused, false), (Cause::Unacknowledged, true)]
        {
            state.give_up(&trial(installed, b"good"), cause, "why");
            assert_eq!(banned(&state), expected, "{cause:?}");
        }
        assert_eq!(state.rolled_back.len(), 2);
    }

    #[test]
    fn the_last_eight_are_remembered() {
        let mut state = State::default();
        for number in 0..10u8 {
            state.give_up(&trial(Path::new("/agent"), &[number]), Cause::Crashed, "why");
        }
        assert_eq!(state.rolled_back.len(), ROLLED_BACK);
        let last = trial(Path::new("/agent"), &[9]).checksum;
        assert_eq!(state.rolled_back.last().map(|last| last.checksum), Some(last));
    }

    #[test]
    fn missing_members_have_defaults_and_unknown_ones_do_no_harm() {
        let sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            r#"{{"later": 1, "trial": {{"version": "2", "checksum": "{sum}", "installed": "/a",
                "later": {{}}}}, "rolled_back": [{{"version": "1", "checksum": "{sum}",
                "cause": "moonlight", "later": []}}]}}"#
        );
        let state: State = serde_json::from_str(&text).unwrap();
        let trial = state.trial.unwrap();
        assert_eq!((trial.previous(), trial.starts, trial.probation), ("/a.prev".into(), 0, 120));
        assert_eq!((trial.left(), trial.process), (None, None));
        assert_eq!(state.rolled_back[0].cause, Cause::Unacknowledged);
        assert!(!state.rolled_back[0].banned);
    }

    #[test]
    fn version_0_1_0_finds_what_it_needs() {
        let process = Identity::of(std::process::id());
        let trial = trial(Path::new("/agent"), b"new").run_by(process);
        let json = serde_json::to_value(&trial).unwrap();
        for name in [
            "version",
            "checksum",
            "installed",
            "previous",
            "since",
            "probation",
            "starts",
            "stage",
        ] {
            assert!(!json[name].is_null(), "{name}");
        }
        assert_eq!(json["agent"], std::process::id());
    }
}
