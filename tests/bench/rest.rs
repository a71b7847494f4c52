//! What the agent costs where nothing happens: its size on disk, and idle over TLS.

use std::time::Duration;

use crate::agent::{Agent, Docker};
use crate::figures::{kilobytes, megabytes};
use crate::support::{End, Lost, Peer, Session};
use crate::table::Row;
use crate::world::World;

pub fn size(world: &World) -> Vec<Row> {
    let bytes = std::fs::metadata(&world.agent).expect("AGENT is a file").len();
    vec![Row::judged("size of the binary", megabytes(bytes), "≤ 1.76 MB", bytes <= 1_760_000)]
}

/// The peer answers the agent's pings and else keeps silent.
pub fn idle(world: &World) -> Vec<Row> {
    let time = world.pick(Duration::from_secs(31), Duration::from_secs(5));
    let peer = Peer::tls(&world.identity);
    // Where the kernel loads it is by chance, and with it what is resident.
    let mut memory = Vec::new();
    for _ in 1..world.pick(5, 1) {
        let agent = Agent::start(world, &peer.url(), Docker::Real);
        let mut session = peer.accept_registered();
        listen(&mut session, Duration::from_secs(3));
        memory.push((agent.resident(), agent.private()));
    }
    let agent = Agent::start(world, &peer.url(), Docker::Real);
    let mut session = peer.accept_registered();
    listen(&mut session, Duration::from_secs(3));
    let before = agent.sleeps();
    listen(&mut session, time);
    let sleeps = agent.sleeps() - before;
    memory.push((agent.resident(), agent.private()));
    let (mut resident, mut private): (Vec<u64>, Vec<u64>) = memory.into_iter().unzip();
    let threads = agent.threads();
    // The promise is README's. 1.86 MB was seen where 1.79 MB is usual: the kernel maps more or fewer of
    // the binary's pages.
    vec![
        most("idle over TLS: resident memory", &mut resident, megabytes, ("≤ 1.9 MB", 1_900_000)),
        most("idle over TLS: private memory", &mut private, kilobytes, ("≤ 250 kB", 250_000)),
        Row::judged(
            &format!("idle over TLS: voluntary context switches in {} s", time.as_secs()),
            sleeps.to_string(),
            "≤ 4",
            sleeps <= 4,
        ),
        Row::judged("idle over TLS: threads", threads.to_string(), "1", threads == 1),
    ]
}

/// Median (least–most) of the bytes of several runs, of which none may be over the promise.
fn most(
    what: &str,
    bytes: &mut [u64],
    unit: fn(u64) -> String,
    (promise, limit): (&str, u64),
) -> Row {
    bytes.sort_unstable();
    let (median, least, most) = (bytes[(bytes.len() - 1) / 2], bytes[0], bytes[bytes.len() - 1]);
    let measured = format!("{} ({}–{})", unit(median), unit(least), unit(most));
    Row::judged(what, measured, promise, most <= limit)
}

fn listen(session: &mut Session, time: Duration) {
    match session.try_next(time) {
        Err(End::Lost(Lost::Deadline)) => {}
        heard => panic!("the agent was not idle: {heard:?}"),
    }
}
