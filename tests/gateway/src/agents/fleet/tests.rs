//! Whatever agents do, in whatever order: what is shown is true, everywhere the same, and each thing is
//! told once.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::agents::status::{Status, status};
use crate::agents::view::{Instance, Summary};

const IDS: [&str; 2] = ["a", "b"];

/// Sessions are named by how many registered before them; the number is taken modulo.
#[derive(Clone, Debug)]
enum Step {
    Register(usize),
    /// An end of any session that ever was: of the newest, of an older one, of one that ended before.
    End(usize),
    Hear(usize),
    Restart,
    /// Milliseconds, back too.
    Clock(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..IDS.len()).prop_map(Step::Register),
        4 => any::<usize>().prop_map(Step::End),
        2 => any::<usize>().prop_map(Step::Hear),
        1 => Just(Step::Restart),
        3 => (-100_000_i64..100_000).prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 1..60)
}

fn id(name: &str) -> InstanceId {
    InstanceId::try_from(name.to_owned()).unwrap()
}

fn register(name: &str, version: &str) -> Box<Register> {
    let params =
        json!({"version": version, "instance_id": name, "ip": "::1", "os": "", "arch": ""});
    Box::new(Register::read(params).unwrap())
}

/// The simplest thing that knows the truth: the session that registered last and has not ended.
#[derive(Default)]
struct Truth {
    live: BTreeMap<InstanceId, SessionNumber>,
    sessions: Vec<InstanceId>,
}

impl Truth {
    fn session(&self, any: usize) -> Option<(SessionNumber, InstanceId)> {
        let index = any.checked_rem(self.sessions.len())?;
        Some((index as SessionNumber + 1, self.sessions[index].clone()))
    }
}

/// What a reader of the events believes.
fn believe(told: &mut BTreeMap<InstanceId, bool>, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Tell(Event { instance: Some(id), what, .. }) = effect {
            match what {
                What::Connected { replaced, .. } => {
                    let before = told.insert(id.clone(), true);
                    assert_eq!(before == Some(true), *replaced, "connected twice without a loss");
                }
                What::Lost { .. } => {
                    assert_eq!(told.insert(id.clone(), false), Some(true), "lost twice");
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn all_that_is_shown_agrees(steps in steps()) {
        let (mut fleet, mut truth, mut told) = (Fleet::default(), Truth::default(), BTreeMap::new());
        let mut now = Moment::from_secs(1_700_000_000);
        for step in steps {
            match step {
                Step::Register(which) => {
                    let id = id(IDS[which]);
                    truth.sessions.push(id.clone());
                    let session = truth.sessions.len() as SessionNumber;
                    let change = Change::Registered { session, register: register(IDS[which], "1") };
                    let effects = fleet.apply(&id, change, now);
                    let older = truth.live.insert(id, session).map(Effect::Close);
                    let closed = effects.iter().find(|effect| matches!(effect, Effect::Close(_)));
                    prop_assert_eq!(closed, older.as_ref(), "the older session is closed, no other");
                    believe(&mut told, &effects);
                }
                Step::End(any) => if let Some((session, id)) = truth.session(any) {
                    let change = Change::Lost { session, reason: "gone".to_owned() };
                    let effects = fleet.apply(&id, change, now);
                    let newest = truth.live.get(&id) == Some(&session);
                    prop_assert_eq!(effects.is_empty(), !newest, "only the newest session's end counts");
                    if newest {
                        truth.live.remove(&id);
                    }
                    believe(&mut told, &effects);
                },
                Step::Hear(any) => if let Some((session, id)) = truth.session(any) {
                    let effects = fleet.apply(&id, Change::Heard { session }, now);
                    prop_assert_eq!(effects, []);
                },
                Step::Restart => {
                    let records: Vec<Record> = fleet.iter().map(kept).collect();
                    fleet = Fleet::default();
                    for record in records {
                        let id = record.register.instance_id.clone();
                        fleet.restore(record);
                        fleet.apply(&id, Change::Restarted, now);
                    }
                    truth.live.clear();
                    told.values_mut().for_each(|connected| *connected = false);
                }
                Step::Clock(by) => now = Moment::from_millis(now.millis() + by),
            }
            for record in fleet.iter() {
                let id = &record.register.instance_id;
                let connected = truth.live.contains_key(id);
                check(record, connected, now)?;
                prop_assert_eq!(told.get(id), Some(&connected), "the events tell the same");
            }
        }
    }
}

/// As the store keeps it.
fn kept(record: &Record) -> Record {
    serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
}

fn check(record: &Record, connected: bool, now: Moment) -> Result<(), TestCaseError> {
    let status: Status = status(record, now);
    prop_assert_eq!(status.agent_connected, connected);
    prop_assert_eq!(status.warning.is_some(), !connected, "a warning as long as it is lost");
    prop_assert_eq!(&Instance::of(record, now).common.status, &status);
    prop_assert_eq!(&Summary::of(record, now).common.status, &status);
    if let Some(warning) = &status.warning {
        prop_assert_eq!(warning.since, status.since);
        prop_assert!(!warning.text.is_empty());
    }
    prop_assert_eq!(status.metrics_age_secs, None);
    Ok(())
}

/// A fleet with one instance, and all that it tells.
struct One {
    fleet: Fleet,
    now: Moment,
    sessions: SessionNumber,
}

impl One {
    fn new(version: &str) -> One {
        let now = Moment::from_secs(1_700_000_000);
        let mut one = One { fleet: Fleet::default(), now, sessions: 0 };
        one.register(*register("a", version));
        one
    }

    fn apply(&mut self, change: Change) -> Vec<What> {
        self.now = Moment::from_millis(self.now.millis() + 1000);
        let effects = self.fleet.apply(&id("a"), change, self.now);
        let told = effects.into_iter().filter_map(|effect| match effect {
            Effect::Tell(event) => Some(event.what),
            _ => None,
        });
        told.filter(|what| !matches!(what, What::Connected { .. })).collect()
    }

    fn register(&mut self, register: Register) -> Vec<What> {
        self.sessions += 1;
        self.apply(Change::Registered { session: self.sessions, register: Box::new(register) })
    }

    fn ask(&mut self, version: &str) {
        let (version, checksum_sha256) = (version.to_owned(), "c0ffee".to_owned());
        let told =
            self.apply(Change::UpgradeAsked { version, checksum_sha256, by: "me".to_owned() });
        assert!(matches!(&told[..], [What::UpgradeRequested { .. }]), "{told:?}");
    }

    /// By its notification.
    fn tell_roll_back(&mut self) -> Vec<What> {
        self.apply(Change::RolledBack { session: self.sessions, roll_back: roll_back(None) })
    }

    fn stage(&self) -> crate::agents::upgrade::Stage {
        self.fleet.get(&id("a")).unwrap().upgrade.clone().unwrap().stage
    }
}

fn roll_back(at: Option<&str>) -> RollBack {
    let mut params = json!({"version": "2", "checksum_sha256": "c0ffee", "reason": "it crashed",
                            "cause": "crashed", "banned": true});
    if let Some(at) = at {
        params["at"] = json!(at);
    }
    RollBack::read(params).unwrap()
}

fn with_roll_backs(version: &str, rolled_back: Vec<RollBack>) -> Register {
    let mut register = *register("a", version);
    register.upgrade = Some(crate::agents::register::UpgradeState { probation: None, rolled_back });
    register
}

#[test]
fn the_register_with_the_new_version_confirms_an_upgrade() {
    use crate::agents::upgrade::Stage;

    let mut one = One::new("1");
    one.ask("2");
    one.apply(Change::UpgradeProgress { session: 1, bytes: 5, total: Some(10) });
    assert_eq!(one.stage(), Stage::Downloading { bytes: 5, total: Some(10) });
    assert_eq!(one.register(*register("a", "1")), [], "a lost session changes nothing");
    one.apply(Change::UpgradeAnswered(Ok(())));
    assert_eq!(one.stage(), Stage::Restarting);
    let confirmed = What::UpgradeConfirmed { version: "2".to_owned() };
    assert_eq!(one.register(*register("a", "2")), [confirmed]);
    assert_eq!(one.stage(), Stage::Confirmed);
    assert_eq!(one.register(*register("a", "2")), []);
}

/// It goes on until it has read its close.
#[test]
fn a_session_that_was_replaced_tells_nothing_more() {
    use crate::agents::upgrade::Stage;

    let mut one = One::new("1");
    one.ask("2");
    one.register(*register("a", "1"));
    let before = one.fleet.get(&id("a")).cloned();
    let snapshot = Arc::new(Snapshot::read(json!({"cpu_pct": 1}), one.now).unwrap());
    let changes = |session| {
        let snapshot = snapshot.clone();
        [
            Change::Snapshot { session, snapshot },
            Change::UpgradeProgress { session, bytes: 5, total: None },
            Change::RolledBack { session, roll_back: roll_back(None) },
        ]
    };
    for change in changes(1) {
        assert_eq!(one.fleet.apply(&id("a"), change, one.now), []);
    }
    assert_eq!(one.fleet.get(&id("a")).cloned(), before);
    for change in changes(2) {
        assert_ne!(one.fleet.apply(&id("a"), change, one.now), []);
    }
    assert!(matches!(one.stage(), Stage::RolledBack { .. }));
}

#[test]
fn an_upgrade_by_hand_is_told_too() {
    let changed = What::VersionChanged { from: "1".to_owned(), to: "3".to_owned() };
    assert_eq!(One::new("1").register(*register("a", "3")), [changed]);
}

#[test]
fn a_refused_upgrade_has_failed() {
    let mut one = One::new("1");
    one.ask("2");
    let error = rpc::Error { code: -32011, message: "checksum mismatch".to_owned() };
    let told = one.apply(Change::UpgradeAnswered(Err(error)));
    assert!(matches!(&told[..], [What::UpgradeFailed { code: Some(-32011), .. }]), "{told:?}");
    assert_eq!(one.apply(Change::UpgradeAnswered(Ok(()))), []);
}

#[test]
fn an_upgrade_without_an_outcome_fails_in_the_end() {
    let mut one = One::new("1");
    one.ask("2");
    let requested_at = one.fleet.get(&id("a")).unwrap().upgrade.clone().unwrap().requested_at;
    let earlier = Moment::from_secs(0);
    assert_eq!(one.apply(Change::UpgradeOverdue { requested_at: earlier }), []);
    let told = one.apply(Change::UpgradeOverdue { requested_at });
    assert!(matches!(&told[..], [What::UpgradeFailed { code: None, .. }]), "{told:?}");
    assert_eq!(one.apply(Change::UpgradeOverdue { requested_at }), []);
}

#[test]
fn a_roll_back_is_told_once_however_often_the_agent_tells_it() {
    use crate::agents::upgrade::Stage;

    let mut one = One::new("1");
    one.ask("2");
    one.apply(Change::UpgradeAnswered(Ok(())));
    let told = vec![roll_back(Some("2026-01-01T00:00:00Z"))];
    let event = What::RolledBack { roll_back: told[0].clone() };
    assert_eq!(one.register(with_roll_backs("1", told.clone())), [event]);
    assert!(
        matches!(one.stage(), Stage::RolledBack { cause: Some(cause), .. } if cause == "crashed")
    );
    assert_eq!(one.tell_roll_back(), [], "the notification after it");
    assert_eq!(one.register(with_roll_backs("1", told.clone())), [], "the next register");
    let record = kept(one.fleet.get(&id("a")).unwrap());
    one.fleet.restore(record);
    assert_eq!(one.register(with_roll_backs("1", told)), [], "a register after a restart");
}

#[test]
fn an_older_agent_tells_a_roll_back_by_its_notification_alone() {
    let mut one = One::new("1");
    assert_eq!(one.tell_roll_back().len(), 1);
}

#[test]
fn what_happened_before_the_first_register_is_told_at_it() {
    let mut fleet = Fleet::default();
    let register =
        Box::new(with_roll_backs("1", vec![roll_back(Some("2026")), roll_back(Some("2027"))]));
    let change = Change::Registered { session: 1, register };
    let effects = fleet.apply(&id("a"), change, Moment::from_secs(1));
    let told = effects.iter().filter(|effect| {
        matches!(effect, Effect::Tell(Event { what: What::RolledBack { .. }, .. }))
    });
    assert_eq!(told.count(), 2);
}

/// An earlier attempt at the same version was rolled back while the gateway did not listen.
#[test]
fn the_roll_back_of_an_earlier_attempt_does_not_undo_a_confirmed_upgrade() {
    let mut one = One::new("1");
    one.ask("2");
    one.apply(Change::UpgradeAnswered(Ok(())));
    let told = one.register(with_roll_backs("2", vec![roll_back(Some("2026"))]));
    assert!(
        matches!(&told[..], [What::UpgradeConfirmed { .. }, What::RolledBack { .. }]),
        "{told:?}"
    );
    assert_eq!(one.stage(), crate::agents::upgrade::Stage::Confirmed);
}

/// The version says nothing then: the register of the new binary is told apart by its probation, and
/// that of the old one by the roll-back.
#[test]
fn an_upgrade_to_the_same_version_is_confirmed_only_by_the_new_binary() {
    use crate::agents::upgrade::Stage;

    let mut one = One::new("1");
    one.ask("1");
    assert_eq!(one.register(*register("a", "1")), [], "a lost session changes nothing");
    assert_eq!(one.stage(), Stage::Asked);
    one.apply(Change::UpgradeAnswered(Ok(())));
    let told = vec![roll_back(Some("2026"))];
    let event = What::RolledBack { roll_back: told[0].clone() };
    assert_eq!(one.register(with_roll_backs("1", told.clone())), [event]);
    assert!(matches!(one.stage(), Stage::RolledBack { .. }));

    one.ask("1");
    one.apply(Change::UpgradeAnswered(Ok(())));
    let mut new = with_roll_backs("1", told);
    assert_eq!(one.register(new.clone()), [], "the same file was given up before");
    assert_eq!(one.stage(), Stage::Restarting);
    let probation =
        crate::agents::register::Probation { version: "1".to_owned(), seconds_left: 9.0 };
    new.upgrade.as_mut().unwrap().probation = Some(probation);
    let confirmed = What::UpgradeConfirmed { version: "1".to_owned() };
    assert_eq!(one.register(new), [confirmed]);
}

#[test]
fn an_older_agent_tells_a_roll_back_to_the_same_version_after_its_register() {
    use crate::agents::upgrade::Stage;

    let mut one = One::new("1");
    one.ask("1");
    one.apply(Change::UpgradeAnswered(Ok(())));
    one.register(*register("a", "1"));
    assert_eq!(one.stage(), Stage::Confirmed, "it says no more");
    assert_eq!(one.tell_roll_back().len(), 1);
    assert!(matches!(one.stage(), Stage::RolledBack { .. }));
}
