//! What the agent costs where nothing happens: its size on disk, and idle over TLS.

use std::time::Duration;

use crate::agent::{Agent, Docker};
use crate::figures::megabytes;
use crate::support::{End, Lost, Peer, Session};
use crate::table::Row;
use crate::world::World;

pub fn size(world: &World) -> Vec<Row> {
    let bytes = std::fs::metadata(&world.agent).expect("AGENT is a file").len();
    vec![Row::judged("size of the binary", megabytes(bytes), "≤ 1.65 MB", bytes <= 1_650_000)]
}

/// The peer answers the agent's pings and else keeps silent.
pub fn idle(world: &World) -> Vec<Row> {
    let time = world.pick(Duration::from_secs(31), Duration::from_secs(5));
    let peer = Peer::tls(&world.identity);
    let agent = Agent::start(world, &peer.url(), Docker::Real);
    let mut session = peer.accept_registered();
    listen(&mut session, Duration::from_secs(3));
    let before = agent.sleeps();
    listen(&mut session, time);
    let sleeps = agent.sleeps() - before;
    let (resident, threads) = (agent.resident(), agent.threads());
    vec![
        Row::judged(
            "idle over TLS: resident memory",
            megabytes(resident),
            "≤ 1.9 MB",
            resident <= 1_900_000,
        ),
        Row::judged(
            &format!("idle over TLS: voluntary context switches in {} s", time.as_secs()),
            sleeps.to_string(),
            "≤ 4",
            sleeps <= 4,
        ),
        Row::judged("idle over TLS: threads", threads.to_string(), "1", threads == 1),
    ]
}

fn listen(session: &mut Session, time: Duration) {
    match session.try_next(time) {
        Err(End::Lost(Lost::Deadline)) => {}
        heard => panic!("the agent was not idle: {heard:?}"),
    }
}
