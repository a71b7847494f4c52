//! A crash between any two steps of a trial, and the start after it.

use super::*;
use crate::upgrade::paths::{download_paths, previous, staged};
use crate::upgrade::roll_back;
use crate::upgrade::state::State;
use crate::upgrade::upgrader::swap;

use std::fs;
use std::path::PathBuf;

use crate::upgrade::tests::{Folder, checksum_of, trial};

/// A machine on which the upgrade from `old` to `new` has come as far as a test wants.
struct Machine {
    folder: Folder,
    installed: PathBuf,
    store: Store,
}

impl Machine {
    fn new() -> Machine {
        let folder = Folder::new();
        let installed = folder.file("agent", b"old");
        let store = Store::at(folder.path().join("upgrade.json"));
        Machine { folder, installed, store }
    }

    fn remember(&self) -> Trial {
        let trial = trial(&self.installed, b"new");
        self.folder.file("agent.new", b"new");
        self.store.change(|state| state.trial = Some(trial.clone())).unwrap();
        trial
    }

    fn swap(&self) {
        fs::rename(staged(&self.installed), &self.installed).unwrap();
    }

    fn content(&self) -> Vec<u8> {
        fs::read(&self.installed).unwrap()
    }

    /// A start of the installed binary.
    fn start(&self) -> Finding {
        let own = checksum_of(&self.content());
        settle(&self.store, &self.installed, || Ok(own))
    }

    fn rolled_back(&self) -> Option<String> {
        self.store.read().rolled_back.pop().map(|before| before.reason)
    }

    /// A roll-back that does not wait for another.
    fn roll_back(&self, trial: &Trial) -> Result<Option<Trial>, roll_back::Failure> {
        let (patience, cause) = (Some(Duration::ZERO), Cause::Unacknowledged);
        let done = roll_back(&self.store, trial, cause, "why", patience)?;
        Ok(done.map(|done| {
            done.write_down(&self.store, cause, "why");
            done.trial
        }))
    }

    /// Notes that the trial is being rolled back. The trial as it is on disk.
    fn decide(&self) -> Trial {
        let stage = Stage::RollingBack { reason: "why".to_owned(), cause: Cause::Crashed };
        let decide = |state: &mut State| {
            let trial = state.trial.as_mut().unwrap();
            trial.stage = stage;
            trial.clone()
        };
        self.store.change(decide).unwrap()
    }

    fn probation(&self, trial: Option<Trial>) -> Probation {
        Probation::new(self.store.clone(), trial, self.store.read().rolled_back)
    }
}

#[test]
fn killed_while_downloading_or_staging() {
    let machine = Machine::new();
    let version = Version::try_from(format!("0.1.{}", std::process::id())).unwrap();
    let downloads = download_paths(machine.store.folder(), &version);
    downloads.iter().for_each(|download| fs::write(download, "half").unwrap());
    machine.folder.file("agent.new", b"half");
    machine.store.change(|state| state.unfinished = Some(version)).unwrap();
    machine.folder.file("upgrade.json.tmp", b"{");
    assert_eq!(machine.start(), Finding::Nothing);
    assert!(!downloads.iter().any(|download| download.exists()));
    assert_eq!(machine.folder.names(), ["agent"]);
}

#[test]
fn a_dying_upgrader_is_waited_for() {
    let machine = Machine::new();
    let version = Version::try_from("1".to_owned()).unwrap();
    machine.folder.file("agent.new", b"half");
    machine.store.change(|state| state.unfinished = Some(version)).unwrap();
    let lock = machine.store.lock_upgrade().unwrap();
    let dying = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(lock);
    });
    assert_eq!(machine.start(), Finding::Nothing);
    dying.join().unwrap();
    assert_eq!(machine.folder.names(), ["agent"]);
}

#[test]
fn another_upgrade_at_work_is_left_alone() {
    let machine = Machine::new();
    let version = Version::try_from("1".to_owned()).unwrap();
    machine.folder.file("agent.new", b"half");
    machine.store.change(|state| state.unfinished = Some(version)).unwrap();
    let _lock = machine.store.lock_upgrade().unwrap();
    machine.start();
    assert_eq!(machine.folder.names(), ["agent", "agent.new", "upgrade.json"]);
}

#[test]
fn killed_before_the_swap_the_old_binary_goes_on() {
    for kept in [false, true] {
        let machine = Machine::new();
        machine.remember();
        machine.folder.file("agent.prev.new", b"ol");
        if kept {
            swap::keep_previous(&machine.installed).unwrap();
        }
        assert_eq!(machine.start(), Finding::Over);
        assert_eq!(machine.content(), b"old");
        assert_eq!(machine.store.read(), State::default());
        let left = machine.folder.names();
        assert_eq!(left, if kept { vec!["agent", "agent.prev"] } else { vec!["agent"] });
    }
}

#[test]
fn killed_after_the_swap_the_new_one_is_on_trial_and_three_starts_are_all_it_has() {
    let machine = Machine::new();
    machine.remember();
    swap::keep_previous(&machine.installed).unwrap();
    machine.swap();
    for start in 1..=3 {
        let Finding::OnTrial { trial, left, rebooted } = machine.start() else {
            panic!("not on trial at start {start}")
        };
        assert_eq!((trial.starts, rebooted), (start, false));
        assert!(left <= Duration::from_secs(120) && left > Duration::from_secs(100));
    }
    let Finding::GivenUp { trial, cause, reason } = machine.start() else {
        panic!("a fourth start")
    };
    assert_eq!((cause, &*reason), (Cause::Crashed, "it started and ended 3 times"));
    let done = roll_back(&machine.store, &trial, cause, &reason, None).unwrap().unwrap();
    done.write_down(&machine.store, cause, &reason);
    assert_eq!(machine.content(), b"old");
    assert_eq!(machine.rolled_back().unwrap(), reason);
    assert_eq!(machine.start(), Finding::Nothing);
    assert_eq!(machine.rolled_back().unwrap(), reason);
}

#[test]
fn after_a_reboot_probation_begins_anew() {
    let machine = Machine::new();
    machine.remember();
    machine.swap();
    let json = fs::read_to_string(machine.store.path()).unwrap();
    let boot = json.split("\"boot\":\"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(machine.store.path(), json.replace(boot, "another")).unwrap();
    let Finding::OnTrial { left, rebooted, .. } = machine.start() else { panic!("not on trial") };
    assert_eq!((left, rebooted), (Duration::from_secs(120), true));
    let Finding::OnTrial { rebooted, .. } = machine.start() else { panic!("not on trial") };
    assert!(!rebooted);
}

#[test]
fn a_roll_back_killed_at_any_step_is_gone_on_with() {
    // Killed after the note; killed after the rename.
    for exchanged in [false, true] {
        let machine = Machine::new();
        let trial = machine.remember();
        swap::keep_previous(&machine.installed).unwrap();
        machine.swap();
        let decided = machine.decide();
        if exchanged {
            binary::put_back(&trial.previous(), &machine.installed).unwrap();
            assert_eq!(machine.start(), Finding::Over);
        } else {
            let (cause, reason) = (Cause::Crashed, "why".to_owned());
            assert_eq!(machine.start(), Finding::GivenUp { trial: decided, cause, reason });
            machine.roll_back(&trial).unwrap().unwrap();
        }
        assert_eq!(machine.content(), b"old");
        assert_eq!(machine.rolled_back().as_deref(), Some("why"));
        assert_eq!(machine.folder.names(), ["agent", "agent.prev", "upgrade.json"]);
    }
}

#[test]
fn a_guard_of_another_trial_does_nothing() {
    let machine = Machine::new();
    machine.remember();
    machine.swap();
    let other = trial(&machine.installed, b"other");
    assert!(machine.roll_back(&other).unwrap().is_none());
    assert_eq!(machine.content(), b"new");
}

#[test]
fn a_roll_back_waits_for_another_and_then_happens() {
    let machine = Machine::new();
    let trial = machine.remember();
    swap::keep_previous(&machine.installed).unwrap();
    machine.swap();
    let lock = machine.store.lock_roll_back(Duration::ZERO).unwrap().unwrap();
    assert!(machine.roll_back(&trial).unwrap().is_none());
    assert_eq!(machine.content(), b"new");
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(lock);
    });
    let cause = Cause::Unacknowledged;
    assert!(roll_back(&machine.store, &trial, cause, "why", None).unwrap().is_some());
    other.join().unwrap();
    assert_eq!(machine.content(), b"old");
}

/// A damaged state file does not end a trial.
#[test]
fn a_roll_back_needs_no_state_that_can_be_read() {
    let machine = Machine::new();
    let trial = machine.remember();
    swap::keep_previous(&machine.installed).unwrap();
    machine.swap();
    fs::write(machine.store.path(), "{").unwrap();
    assert!(machine.roll_back(&trial).unwrap().is_some());
    assert_eq!(machine.content(), b"old");
    assert_eq!(machine.rolled_back().as_deref(), Some("why"));
    assert_eq!(machine.folder.names(), ["agent", "agent.prev", "upgrade.json", "upgrade.json.bad"]);
}

#[test]
fn with_nothing_to_go_back_to_the_new_one_stays() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.swap();
    let error = machine.roll_back(&trial).unwrap_err();
    assert!(error.is_final && error.message.contains("agent.prev"), "{error:?}");
    assert_eq!(machine.content(), b"new");
    assert_eq!(machine.start(), Finding::Nothing);
}

#[test]
fn a_trial_of_another_agent_is_its_own_business() {
    let machine = Machine::new();
    machine.remember();
    let other = machine.folder.file("other", b"old");
    let own = checksum_of(b"old");
    assert_eq!(settle(&machine.store, &other, || Ok(own)), Finding::Nothing);
    assert!(machine.store.read().trial.is_some());
    assert_eq!(machine.folder.names(), ["agent", "agent.new", "other", "upgrade.json"]);
}

#[test]
fn confirmed_the_trial_is_over_and_nothing_is_banned_any_more() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.swap();
    machine.store.change(|state| state.give_up(&trial, Cause::Crashed, "before")).unwrap();
    machine.store.change(|state| state.trial = Some(trial.clone())).unwrap();
    let mut probation = machine.probation(Some(trial));
    let now = Instant::now();
    assert!(probation.turn(now).is_none(), "nobody has accepted it");
    probation.accepted(now);
    assert!(probation.turn(now).is_some());
    assert!(probation.turn(now).is_none() && probation.deadline().is_none());
    assert_eq!(machine.folder.names(), ["agent"]);
}

#[test]
fn a_confirmation_that_cannot_be_written_is_tried_again() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.swap();
    let mut probation = machine.probation(Some(trial));
    let now = Instant::now();
    let lock = machine.folder.path().join("upgrade.json.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    probation.accepted(now);
    assert!(probation.turn(now).is_none());
    assert_eq!(probation.deadline(), Some(now + RETRY));
    fs::remove_dir(&lock).unwrap();
    assert!(probation.turn(now + RETRY - Duration::from_millis(1)).is_none());
    assert!(probation.turn(now + RETRY).is_some());
}

#[test]
fn what_is_being_rolled_back_is_not_confirmed() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.decide();
    let mut probation = machine.probation(Some(trial));
    probation.accepted(Instant::now());
    assert!(probation.turn(Instant::now()).is_none() && probation.deadline().is_none());
    assert!(machine.store.read().trial.is_some());
}

/// For example on a full disk.
#[test]
fn a_roll_back_needs_no_state_that_can_be_written() {
    let machine = Machine::new();
    let trial = machine.remember();
    swap::keep_previous(&machine.installed).unwrap();
    machine.swap();
    fs::create_dir(machine.folder.path().join("upgrade.json.tmp")).unwrap();
    assert!(machine.roll_back(&trial).unwrap().is_some());
    // There was room in reserve for that.
    assert_eq!(machine.rolled_back().as_deref(), Some("why"));
    assert_eq!(machine.content(), b"old");
}

#[test]
fn a_roll_back_is_reported_once() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.store.change(|state| state.give_up(&trial, Cause::Crashed, "why")).unwrap();
    let mut probation = machine.probation(None);
    assert_eq!(probation.unreported().next().unwrap().reason, "why");
    probation.mark_reported();
    assert!(probation.unreported().next().is_none());
    let rolled_back = machine.store.read().rolled_back.pop().unwrap();
    assert!(rolled_back.reported);
    let words = rolled_back.in_words();
    assert!(words.contains("was rolled back at 2"), "{words}");
    assert!(words.contains(": why; this binary is refused"), "{words}");
    assert_eq!(previous(&machine.installed), trial.previous());
}
