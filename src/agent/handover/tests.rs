//! Each stage of an upgrade's way through the loop, with an upgrader and a restart command of the
//! test's own.

use super::*;
use crate::requests::tests::{PATIENCE, World, request};
use crate::run::tests::alone;
use crate::upgrade::Version;

/// The session that asks for the upgrade.
const ASKER: u64 = 7;

fn handover(restart_command: &str) -> Handover {
    Handover {
        stage: Stage::Idle,
        restart_command: Some(restart_command.to_owned()),
        installed: Some("/usr/local/bin/vmkit-agent".into()),
    }
}

/// An upgrade by an upgrader that is this shell script.
fn begin(handover: &mut Handover, world: &World, upgrader: &str) {
    let now = Instant::now();
    let job = world.children.start("/bin/sh".as_ref(), ["-c", upgrader], now + PATIENCE).unwrap();
    let id = request(r#"{"jsonrpc":"2.0","id":"up","method":"agent_upgrade"}"#).id;
    let version = Version::try_from("1.2.3".to_owned()).unwrap();
    handover.begin(Box::new(Upgrade::of(job, &version, id.as_ref(), now)), ASKER);
    assert!(handover.is_under_way());
}

/// Turns until there is a step, or until `done`.
fn turn_until(
    handover: &mut Handover,
    world: &mut World,
    session: Option<u64>,
    done: fn(&Handover) -> bool,
) -> Option<Step> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = Instant::now();
        assert!(now < end);
        let current = session.map(|number| (&mut world.session, number));
        let step = handover.turn(now, current, &world.children);
        if step.is_some() || done(handover) {
            return step;
        }
        world.turn();
    }
}

fn is_idle(handover: &Handover) -> bool {
    !handover.is_under_way()
}

fn is_answering(handover: &Handover) -> bool {
    matches!(handover.stage, Stage::Answering { .. })
}

#[test]
fn an_answer_leaves_before_the_session_is_closed() {
    alone(|| {
        let (mut handover, mut world) = (handover("exit 0"), World::new(""));
        begin(&mut handover, &world, "exit 0");
        assert!(handover.deadline().is_some());
        assert_eq!(turn_until(&mut handover, &mut world, Some(ASKER), is_answering), None);
        assert!(world.received().is_empty() && !world.session.has_sent_all());
        let now = Instant::now();
        assert!(handover.deadline().unwrap() <= now + ANSWER);
        assert_eq!(handover.turn(now, Some((&mut world.session, ASKER)), &world.children), None);

        let leave = turn_until(&mut handover, &mut world, Some(ASKER), |_| false);
        assert_eq!(leave, Some(Step::Leave));
        let answers = world.received();
        assert_eq!((answers.len(), &answers[0]["id"]), (1, &"up".into()));
        assert_eq!(answers[0]["result"]["status"], "upgrading");

        assert!(handover.is_leaving() && handover.deadline().is_none());
        let session = Some((&mut world.session, ASKER));
        assert_eq!(handover.turn(Instant::now(), session, &world.children), None);
        assert_eq!(handover.turn(Instant::now(), None, &world.children), Some(Step::Restart));
    });
}

#[test]
fn an_answer_that_does_not_leave_is_not_waited_for_long() {
    alone(|| {
        let (mut handover, mut world) = (handover("exit 0"), World::new(""));
        begin(&mut handover, &world, "exit 0");
        turn_until(&mut handover, &mut world, Some(ASKER), is_answering);
        let until = handover.deadline().unwrap();
        let early = until.checked_sub(Duration::from_millis(1)).unwrap();
        let mut turn = |now| handover.turn(now, Some((&mut world.session, ASKER)), &world.children);
        assert_eq!((turn(early), turn(until)), (None, Some(Step::Leave)));
    });
}

#[test]
fn only_the_session_that_asked_is_answered() {
    alone(|| {
        let (mut handover, mut world) = (handover("exit 0"), World::new(""));
        begin(&mut handover, &world, "exit 0");
        let leave = turn_until(&mut handover, &mut world, Some(ASKER + 1), |_| false);
        assert_eq!(leave, Some(Step::Leave));
        assert!(world.received().is_empty());
    });
}

#[test]
fn without_a_session_the_restart_follows_at_once() {
    alone(|| {
        let (mut handover, mut world) = (handover("exit 0"), World::new(""));
        begin(&mut handover, &world, "exit 0");
        let step = turn_until(&mut handover, &mut world, None, |_| false);
        assert_eq!(step, Some(Step::Restart));
    });
}

#[test]
fn an_upgrade_that_failed_is_answered_and_cleaned_up_after() {
    alone(|| {
        let (mut handover, mut world) = (handover("exit 0"), World::new(""));
        begin(&mut handover, &world, "echo first >&2; echo last words >&2; exit 5");
        let cleaning = |handover: &Handover| matches!(handover.stage, Stage::CleaningUp(_));
        assert_eq!(turn_until(&mut handover, &mut world, Some(ASKER), cleaning), None);
        assert!(handover.is_under_way(), "no other upgrade until all is cleaned up");
        assert_eq!(turn_until(&mut handover, &mut world, Some(ASKER), is_idle), None);
        let answers = world.received();
        let message = answers[0]["error"]["message"].as_str().unwrap();
        assert!(message.contains("exit status: 5") && message.contains("last words"), "{message}");
    });
}

#[test]
fn a_restart_command_runs_to_its_end() {
    alone(|| {
        let mut world = World::new("");
        for command in ["exit 0", "echo no such service >&2; exit 1"] {
            let mut handover = handover(command);
            assert_eq!(handover.restart(Instant::now(), &world.children), None);
            let Stage::Restarting { command: shown, .. } = &handover.stage else { panic!() };
            assert_eq!(*shown, format!("/bin/sh -c {command}"));
            assert!(handover.deadline().is_some() && handover.is_under_way());
            assert_eq!(turn_until(&mut handover, &mut world, None, is_idle), None);
        }
    });
}

#[test]
fn with_nobody_to_ask_the_agent_runs_the_new_binary_in_its_place() {
    alone(|| {
        if std::env::var_os("RC_SVCNAME").is_some() {
            return;
        }
        let world = World::new("");
        let mut handover = Handover { restart_command: None, ..handover("") };
        let ending = handover.restart(Instant::now(), &world.children);
        assert_eq!(ending, Some(Ending::Succeeded("/usr/local/bin/vmkit-agent".into())));
        // Its file was gone already at the start.
        handover.installed = None;
        let ending = handover.restart(Instant::now(), &world.children);
        assert_eq!(ending, Some(Ending::Stopped));
    });
}
