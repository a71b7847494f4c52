//! Requests in flight over a real session, with a docker of the test's own.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::requests::dispatch::{Started, dispatch};
use crate::requests::refuse;
use crate::requests::tests::{PATIENCE, World, request};
use crate::run::tests::alone;

/// Starts a request, or answers it at once.
fn start(world: &mut World, in_flight: &mut InFlight, text: &str) {
    let (request, context) = (request(text), world.context());
    match dispatch(&request, context, in_flight, false) {
        Ok(Started::Work(work)) => in_flight.add(request, work, context.now),
        Ok(Started::Follow(follow)) => in_flight.followers.add(request, *follow, context.now),
        Ok(Started::Upgrade(_)) => panic!("not of this session"),
        Ok(Started::Done(answer)) => {
            Asked::new(request, context.now).answer(context.now, &mut world.session, Ok(answer));
        }
        Err(error) => refuse(request, context.now, &mut world.session, error),
    }
}

fn logs(id: u32, container: &str) -> String {
    let params = format!(r#"{{"container":"{container}","lines":5000}}"#);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"logs_fetch","params":{params}}}"#)
}

fn metrics(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"metrics_collect"}}"#)
}

/// Turns until so many messages have come; calls `each` after every turn.
fn turn_until(
    world: &mut World,
    in_flight: &mut InFlight,
    count: usize,
    mut each: impl FnMut(&InFlight),
) -> Vec<Value> {
    let (mut received, end) = (Vec::new(), Instant::now() + PATIENCE);
    while received.len() < count {
        assert!(Instant::now() < end, "only {received:?}");
        in_flight.turn(Instant::now(), &mut world.session);
        each(in_flight);
        world.turn();
        received.extend(world.received());
    }
    received
}

fn ids(received: &[Value]) -> Vec<&Value> {
    received.iter().map(|message| &message["id"]).collect()
}

fn held(in_flight: &InFlight) -> usize {
    in_flight.requests.iter().filter_map(Running::logs).map(LogsFetch::held).sum()
}

#[test]
fn one_more_than_32_is_busy() {
    alone(|| {
        let (mut world, mut in_flight) = (World::new("exec sleep 1000"), InFlight::default());
        for id in 1..32 {
            start(&mut world, &mut in_flight, &logs(id, "web"));
        }
        assert!(in_flight.check_room(false).is_ok());
        assert_eq!(
            in_flight.check_room(true).unwrap_err().code,
            rpc::Code::Busy,
            "an upgrade counts"
        );
        start(&mut world, &mut in_flight, &logs(32, "web"));
        start(&mut world, &mut in_flight, &logs(33, "web"));
        assert_eq!(in_flight.requests.len(), LIMIT);
        let received = turn_until(&mut world, &mut in_flight, 1, |_| {});
        assert_eq!(
            (&received[0]["id"], &received[0]["error"]["code"]),
            (&33.into(), &rpc::Code::Busy.number().into())
        );
    });
}

#[test]
fn what_is_done_first_is_answered_first() {
    alone(|| {
        let docker = "for name; do :; done
            test $name = fast || until test -e go; do sleep 0.01; done
            echo 2026-01-01T00:00:00Z $name";
        let (mut world, mut in_flight) = (World::new(docker), InFlight::default());
        start(&mut world, &mut in_flight, &logs(1, "slow"));
        start(&mut world, &mut in_flight, &logs(2, "-rf"));
        let received = turn_until(&mut world, &mut in_flight, 1, |_| {});
        assert_eq!(ids(&received), [2]);
        assert_eq!(received[0]["error"]["code"], rpc::Code::InvalidParams.number());
        // A notification is carried out and not answered.
        start(&mut world, &mut in_flight, &logs(3, "fast").replace(r#""id":3,"#, ""));
        start(&mut world, &mut in_flight, &logs(4, "fast"));
        let received = turn_until(&mut world, &mut in_flight, 1, |_| {});
        assert_eq!(ids(&received), [4]);
        world.write("go");
        let received = turn_until(&mut world, &mut in_flight, 1, |_| {});
        assert_eq!(ids(&received), [1]);
        assert_eq!(received[0]["result"]["lines"][0]["text"], "slow");
    });
}

/// Each reply holds up to 1 MiB, and 8 of them were asked for at once.
#[test]
fn large_replies_are_in_memory_one_at_a_time() {
    alone(|| {
        let docker = "exec awk 'BEGIN { s = sprintf(\"%1000s\", \"\"); for (i = 0; i < 1000; i++) \
                      print \"2026-01-01T00:00:00Z\", s }'";
        let (mut world, mut in_flight) = (World::new(docker), InFlight::default());
        for id in 1..=8 {
            start(&mut world, &mut in_flight, &logs(id, "web"));
        }
        let mut most = 0;
        let received = turn_until(&mut world, &mut in_flight, 8, |in_flight| {
            most = most.max(held(in_flight));
        });
        assert!(
            received.iter().all(|reply| reply["result"]["lines"].as_array().unwrap().len() > 900)
        );
        assert!(most > 900 * 1024, "{most}: one reply");
        assert!(most < BUDGET + 1024 * 1024 + 256 * 1024, "{most}");
        assert_eq!(held(&in_flight), 0);
    });
}

#[test]
fn a_snapshot_is_taken_once_for_all_who_ask_meanwhile() {
    alone(|| {
        let docker = "echo $1 >> asked";
        let (mut world, mut in_flight) = (World::new(docker), InFlight::default());
        start(&mut world, &mut in_flight, &metrics(1));
        start(&mut world, &mut in_flight, &metrics(2));
        let begun = Instant::now();
        let due = in_flight.deadline(begun).unwrap();
        assert!(due <= begun + Duration::from_secs(1), "the second reading of the processors");
        let received = turn_until(&mut world, &mut in_flight, 3, |_| {});
        assert_eq!(ids(&received)[..2], [1, 2]);
        assert_eq!(received[2]["method"], "health_snapshot");
        assert_eq!(received[0]["result"], received[2]["params"]);
        assert_eq!(world.file("asked"), "ps\n");
        assert!(in_flight.deadline(Instant::now()).is_none());
        // The next request gets a snapshot of its own.
        start(&mut world, &mut in_flight, &metrics(3));
        assert_eq!(ids(&turn_until(&mut world, &mut in_flight, 2, |_| {}))[0], 3);
        assert_eq!(world.file("asked"), "ps\nps\n");
    });
}
