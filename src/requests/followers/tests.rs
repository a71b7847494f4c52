//! Follows over a real session, with a docker of the test's own.

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::requests::dispatch::{Started, dispatch};
use crate::requests::in_flight::InFlight;
use crate::requests::tests::{PATIENCE, World, request};
use crate::run::tests::alone;

fn start(world: &World, in_flight: &mut InFlight, id: usize) -> Result<(), Error> {
    let params = r#"{"container":"web","lines":5000,"follow":true}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"logs_fetch","params":{params}}}"#);
    let (request, context) = (request(&text), world.context());
    match dispatch(&request, context, in_flight, false)? {
        Started::Follow(follow) => in_flight.followers.add(request, *follow, context.now),
        _ => panic!("not a follow"),
    }
    Ok(())
}

/// Turns for a while, and calls `each` after every turn.
fn turn_for(
    world: &mut World,
    in_flight: &mut InFlight,
    time: Duration,
    mut each: impl FnMut(&mut World, &Followers),
) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        in_flight.turn(Instant::now(), &mut world.session);
        world.turn();
        each(world, &in_flight.followers);
    }
}

/// Short lines on both pipes, as fast as they are read, while the gateway reads nothing: what each
/// follow holds is bounded, what all hold is too, and the newest lines are kept.
#[test]
fn what_is_held_is_bounded() {
    alone(|| {
        let docker = "yes '2026-01-01T00:00:00Z ' >&2 & exec yes '2026-01-01T00:00:00Z '";
        let (mut world, mut in_flight) = (World::new(docker), InFlight::default());
        for id in 0..LIMIT {
            start(&world, &mut in_flight, id).unwrap();
        }
        assert_eq!(start(&world, &mut in_flight, LIMIT).unwrap_err().code, rpc::Code::Busy);
        let (mut most, mut all) = (0, 0);
        let held = |followers: &Followers| -> Vec<usize> {
            followers.list.iter().map(|running| running.follow.held()).collect()
        };
        turn_for(&mut world, &mut in_flight, Duration::from_secs(6), |_, followers| {
            let held = held(followers);
            most = most.max(*held.iter().max().unwrap());
            all = all.max(held.iter().sum());
        });
        assert!(most > 40 * 1024 && most <= 128 * 1024, "{most} bytes of one");
        assert!(all <= 1280 * 1024, "{all} bytes of all");
        assert!(in_flight.followers.pace.is_lost(Instant::now()), "the gateway has not read");

        // It reads again: what was left out is told, and in a moment it has caught up.
        let mut dropped = 0;
        let end = Instant::now() + PATIENCE;
        while dropped == 0 || in_flight.followers.pace.is_lost(Instant::now()) {
            assert!(Instant::now() < end, "{dropped} dropped");
            turn_for(&mut world, &mut in_flight, Duration::from_millis(50), |world, _| {
                let told = |message: Value| message["params"]["dropped"].as_u64();
                dropped += world.received().into_iter().filter_map(told).sum::<u64>();
            });
        }
        assert!(dropped > 1000, "{dropped} dropped");
    });
}

/// The follow whose last chunk is the longest ago goes first: no busy container delays a quiet one.
#[test]
fn each_follow_has_its_share() {
    alone(|| {
        let docker = "exec yes '2026-01-01T00:00:00Z a line of a busy container'";
        let (mut world, mut in_flight) = (World::new(docker), InFlight::default());
        for id in 0..LIMIT {
            start(&world, &mut in_flight, id).unwrap();
        }
        let mut ids = Vec::new();
        turn_for(&mut world, &mut in_flight, Duration::from_secs(3), |world, _| {
            let of = |message: Value| message["params"]["id"].as_u64();
            ids.extend(world.received().into_iter().filter_map(of));
        });
        assert!(ids.len() > 2 * LIMIT, "{} chunks", ids.len());
        let count = |id| ids.iter().filter(|of| **of == id).count();
        let counts: Vec<usize> = (0..LIMIT as u64).map(count).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 2, "{counts:?}");
    });
}
