//! A crash between any two steps of a probation, and what the next start makes of it.

use super::*;
use crate::upgrade::previous;
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

    /// The next start, by whatever is installed.
    fn start(&self) -> Finding {
        let own = checksum_of(&self.content());
        settle(&self.store, &self.installed, || Ok(own))
    }

    fn refused(&self) -> Option<String> {
        self.store.read().refused.pop().map(|refused| refused.reason)
    }
}

#[test]
fn killed_while_downloading_or_staging() {
    let machine = Machine::new();
    let version = Version::try_from(format!("0.1.{}", std::process::id())).unwrap();
    let download = download_path(&version);
    fs::write(&download, "half").unwrap();
    machine.folder.file("agent.new", b"half");
    machine.store.change(|state| state.unfinished = Some(version)).unwrap();
    machine.folder.file("upgrade.json.tmp", b"{");
    assert_eq!(machine.start(), Finding::Nothing);
    assert!(!download.exists());
    assert_eq!(machine.folder.names(), ["agent"]);
}

#[test]
fn one_that_is_still_dying_is_waited_for() {
    let machine = Machine::new();
    let version = Version::try_from("1".to_owned()).unwrap();
    machine.folder.file("agent.new", b"half");
    machine.store.change(|state| state.unfinished = Some(version)).unwrap();
    let lock = Lock::take(&machine.installed).unwrap();
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
    let _lock = Lock::take(&machine.installed).unwrap();
    machine.start();
    assert_eq!(machine.folder.names(), ["agent", "agent.new", "upgrade.json"]);
}

#[test]
fn killed_before_the_swap_the_old_one_goes_on_as_if_nothing_had_been() {
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
        let Finding::OnTrial { trial, watch, rebooted } = machine.start() else {
            panic!("not on trial at start {start}")
        };
        assert_eq!((trial.starts, rebooted), (start, false));
        assert!(watch <= Duration::from_secs(120) && watch > Duration::from_secs(100));
    }
    let Finding::GivenUp { checksum, reason } = machine.start() else { panic!("a fourth start") };
    assert_eq!(reason, "crashed 3 times");
    roll_back(&machine.store, &checksum, &reason).unwrap().unwrap();
    assert_eq!(machine.content(), b"old");
    assert_eq!(machine.refused().unwrap(), reason);
    assert_eq!(machine.start(), Finding::Nothing);
    assert_eq!(machine.refused().unwrap(), reason);
}

#[test]
fn after_a_reboot_probation_begins_anew() {
    let machine = Machine::new();
    machine.remember();
    machine.swap();
    let json = fs::read_to_string(machine.store.path()).unwrap();
    let boot = json.split("\"boot\":\"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(machine.store.path(), json.replace(boot, "another")).unwrap();
    let Finding::OnTrial { watch, rebooted, .. } = machine.start() else { panic!("not on trial") };
    assert_eq!((watch, rebooted), (Duration::from_secs(120), true));
    let Finding::OnTrial { rebooted, .. } = machine.start() else { panic!("not on trial") };
    assert!(!rebooted);
}

#[test]
fn a_roll_back_killed_at_any_step_is_gone_on_with() {
    // After the decision, after the exchange.
    for exchanged in [false, true] {
        let machine = Machine::new();
        let trial = machine.remember();
        swap::keep_previous(&machine.installed).unwrap();
        machine.swap();
        let stage = Stage::RollingBack { reason: "why".to_owned() };
        let decided = Trial { stage, ..trial.clone() };
        machine.store.change(|state| state.trial = Some(decided)).unwrap();
        if exchanged {
            swap::put_back(&trial.previous, &machine.installed).unwrap();
            assert_eq!(machine.start(), Finding::Over);
        } else {
            let reason = "why".to_owned();
            let given_up = Finding::GivenUp { checksum: trial.checksum, reason };
            assert_eq!(machine.start(), given_up);
            roll_back(&machine.store, &trial.checksum, "why").unwrap().unwrap();
        }
        assert_eq!(machine.content(), b"old");
        assert_eq!(machine.refused().as_deref(), Some("why"));
        assert_eq!(machine.folder.names(), ["agent", "upgrade.json"]);
    }
}

#[test]
fn a_guard_of_another_trial_does_nothing() {
    let machine = Machine::new();
    machine.remember();
    machine.swap();
    let other = checksum_of(b"other");
    assert_eq!(roll_back(&machine.store, &other, "why"), Ok(None));
    assert_eq!(machine.content(), b"new");
    // Nor does one that finds another at it.
    let trial = machine.store.read().trial.unwrap();
    fs::write(&trial.previous, "old").unwrap();
    let _lock = Lock::take(&trial.previous).unwrap();
    assert_eq!(roll_back(&machine.store, &trial.checksum, "why"), Ok(None));
    assert_eq!(machine.content(), b"new");
}

#[test]
fn with_nothing_to_go_back_to_the_new_one_stays() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.swap();
    let error = roll_back(&machine.store, &trial.checksum, "why").unwrap_err();
    assert!(error.contains("agent.prev"), "{error}");
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
fn confirmed_the_trial_is_over_and_nothing_is_refused_any_more() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.swap();
    machine.store.change(|state| refuse(state, &trial, "an older one")).unwrap();
    machine.store.change(|state| state.trial = Some(trial.clone())).unwrap();
    let mut probation =
        Probation { store: machine.store.clone(), trial: Some(trial), refused: Vec::new() };
    assert!(probation.confirm().is_some());
    assert!(probation.confirm().is_none());
    assert_eq!(machine.folder.names(), ["agent"]);
}

#[test]
fn what_is_being_rolled_back_is_not_confirmed() {
    let machine = Machine::new();
    let trial = machine.remember();
    let stage = Stage::RollingBack { reason: "why".to_owned() };
    let decided = Trial { stage, ..trial.clone() };
    machine.store.change(|state| state.trial = Some(decided)).unwrap();
    let mut probation =
        Probation { store: machine.store.clone(), trial: Some(trial), refused: Vec::new() };
    assert!(probation.confirm().is_none());
    assert!(machine.store.read().trial.is_some());
}

/// A full disk, for one: what does not work goes nevertheless.
#[test]
fn a_roll_back_needs_no_state_that_can_be_written() {
    let machine = Machine::new();
    let trial = machine.remember();
    swap::keep_previous(&machine.installed).unwrap();
    machine.swap();
    fs::create_dir(machine.folder.path().join("upgrade.json.tmp")).unwrap();
    let rolled_back = roll_back(&machine.store, &trial.checksum, "why").unwrap();
    assert_eq!(rolled_back, Some(trial));
    assert_eq!(machine.content(), b"old");
}

#[test]
fn all_that_was_rolled_back_is_refused() {
    let machine = Machine::new();
    for number in 0..=u8::try_from(REFUSED).unwrap() {
        let checksum = checksum_of(&[number]);
        let trial = Trial { checksum, ..trial(&machine.installed, b"new") };
        machine.store.change(|state| refuse(state, &trial, "why")).unwrap();
    }
    let refused: Vec<_> = machine.store.read().refused.iter().map(|one| one.checksum).collect();
    let newest: Vec<_> = (1..=u8::try_from(REFUSED).unwrap()).map(|n| checksum_of(&[n])).collect();
    assert_eq!(refused, newest);
}

#[test]
fn a_roll_back_is_reported_once() {
    let machine = Machine::new();
    let trial = machine.remember();
    machine.store.change(|state| refuse(state, &trial, "why")).unwrap();
    let refused = machine.store.read().refused;
    let mut probation = Probation { store: machine.store.clone(), trial: None, refused };
    assert_eq!(probation.unreported().next().unwrap().reason, "why");
    probation.mark_reported();
    assert!(probation.unreported().next().is_none());
    let refused = machine.store.read().refused.pop().unwrap();
    assert!(refused.reported);
    let error = refused.error();
    assert_eq!(error.code, rpc::UNFIT);
    assert!(error.to_string().contains("was rolled back at 2"), "{error}");
    assert!(error.to_string().contains("reason: why"), "{error}");
    assert_eq!(previous(&machine.installed), trial.previous);
}
