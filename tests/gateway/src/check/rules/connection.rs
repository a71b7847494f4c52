//! "The connection": what the upgrade request holds, and when no session may begin.

use std::fs;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::super::bench::{Bench, SLACK, Shared, TARGET};
use super::super::fault::{Fault, Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::frame;
use super::super::wire::trace::shortened;
use crate::net::tls;

pub const CHECKS: &[Check] = checks![
    "A-CONN-1" in "main" => opens,
    "A-CONN-2" => carries_the_token,
    "A-CONN-3" => keeps_the_token,
    "A-CONN-4" => names_itself,
    "A-CONN-5" => offers_nothing,
    "A-CONN-6" in "dials" => leaves_what_it_did_not_offer,
    "A-CONN-7" in "long dial" => gives_up,
    "A-CONN-8" in "tls" => trusts_no_unknown_root,
    "A-CONN-9" in "abroad" => stays_on_the_loopback,
    "A-CONN-10" in "main" => does_not_listen,
    "A-CONN-11" in "doctor" => doctor_only_looks,
];

async fn opens(bench: &mut Bench) -> Outcome {
    let dial = bench.dial().await?;
    let request = dial.request.clone();
    ensure(request.head.starts_with("GET "), || "its request is no GET".to_owned())?;
    ensure(request.target() == TARGET || bench.agent().is_err(), || {
        format!("it was given {TARGET} and asks for {}", request.target())
    })?;
    let upgrade = request.header("Upgrade").to_ascii_lowercase();
    ensure(upgrade == "websocket", || format!("Upgrade: {upgrade:?}"))?;
    let version = request.header("Sec-WebSocket-Version");
    ensure(version == "13", || format!("Sec-WebSocket-Version: {version:?}"))?;
    bench.accepted(dial).await.map(drop)
}

fn requests(
    shared: &Shared,
    look: impl Fn(&super::super::wire::dial::Request) -> Outcome,
) -> Outcome {
    let sessions = shared.sessions.lock();
    if sessions.is_empty() {
        return unreached("there was no session");
    }
    sessions.iter().try_for_each(|kept| look(kept.request()))
}

fn carries_the_token(shared: &Shared) -> Outcome {
    let right = format!("Bearer {}", shared.token());
    requests(shared, |request| {
        let values = request.headers("Authorization");
        // Another token is the second token of A-RETRY-8.
        let is_right = values == [right.as_str()]
            || matches!(values[..], [value] if value == super::retrying::SECOND_TOKEN);
        ensure(is_right, || format!("Authorization: {values:?}"))
    })
}

fn keeps_the_token(shared: &Shared) -> Outcome {
    let token = shared.token();
    requests(shared, |request| {
        let fields = request.head.lines().filter(|line| line.contains(token));
        let mut odd =
            fields.filter(|line| !line.to_ascii_lowercase().starts_with("authorization:"));
        odd.next().map_or(Ok(()), |line| broken(format!("its request holds it: {line}")))
    })?;
    let sessions = shared.sessions.lock();
    for kept in sessions.iter() {
        let holds = |bytes: &[u8]| bytes.windows(token.len()).any(|part| part == token.as_bytes());
        let frames = kept.see(|log| {
            let messages = log.messages.iter().map(|m| &m.bytes);
            let controls = log.frames.iter().filter(|(_, f)| f.is_control());
            let mut all = messages.chain(controls.map(|(_, f)| &f.payload));
            all.find(|bytes| holds(bytes)).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        });
        if let Some(text) = frames {
            return broken(format!("a frame holds it: {}", shortened(&text)));
        }
    }
    Ok(())
}

fn names_itself(shared: &Shared) -> Outcome {
    requests(shared, |request| {
        let values = request.headers("User-Agent");
        let parts = values.first().and_then(|value| parts_of(value));
        ensure(values.len() == 1 && parts.is_some(), || format!("User-Agent: {values:?}"))
    })
}

/// Version and architecture of `vmkit-agent/<version> (linux; <arch>)`.
pub fn parts_of(user_agent: &str) -> Option<(&str, &str)> {
    let (version, rest) = user_agent.strip_prefix("vmkit-agent/")?.split_once(" (linux; ")?;
    let arch = rest.strip_suffix(')')?;
    let is_word = |text: &str| !text.is_empty() && !text.contains([' ', ';', '(', ')']);
    (is_word(version) && is_word(arch)).then_some((version, arch))
}

fn offers_nothing(shared: &Shared) -> Outcome {
    requests(shared, |request| {
        for name in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
            let values = request.headers(name);
            ensure(values.is_empty(), || format!("{name}: {values:?}"))?;
        }
        Ok(())
    })
}

async fn leaves_what_it_did_not_offer(bench: &mut Bench) -> Outcome {
    for header in
        ["Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Protocol: vmkit\r\n"]
    {
        let mut dial = bench.dial().await?;
        dial.switch(header).await?;
        let named = header.trim_end();
        match dial.read_to_end(Duration::from_secs(3)).await {
            None => return broken(format!("it stays with a gateway that answers {named}")),
            Some(bytes) => ensure(bytes.is_empty(), || {
                format!("it sends {} bytes to a gateway that answers {named}", bytes.len())
            })?,
        }
    }
    Ok(())
}

async fn gives_up(bench: &mut Bench) -> Outcome {
    let mut dial = bench.dial().await?;
    let (began, limit) = (dial.at, bench.by(20.0));
    // A byte now and then: so a timeout of each read would never come.
    let drip = bench.time(0.5);
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nX: ".iter().chain([b'x'].iter().cycle());
    while began.elapsed() < limit {
        let byte = answer.next().copied().unwrap_or(b'x');
        let is_gone = dial.raw_quietly(&[byte]).await.is_err() || dial.is_at_end(drip).await;
        if is_gone {
            return Ok(());
        }
    }
    broken(format!("it still waits for the answer after {:.1} s", began.elapsed().as_secs_f64()))
}

async fn trusts_no_unknown_root(bench: &mut Bench) -> Outcome {
    let kit = |why: String| Fault::Kit(why);
    let (own, other) = (bench.folder().join("own.pem"), bench.folder().join("other.pem"));
    let settings = |path| tls::Settings { ca_out: Some(path), ..Default::default() };
    let acceptor = TlsAcceptor::from(tls::server_config(&settings(own.clone())).map_err(kit)?);
    tls::server_config(&settings(other.clone())).map_err(kit)?;
    let port = bench.listener.address.port();
    let agent = bench.agent()?;
    agent.set("VMKIT_GATEWAY_URL", Some(&format!("wss://localhost:{port}{TARGET}")));
    agent.set("VMKIT_CA_FILE", Some(&other.display().to_string()));
    bench.restart().await?;
    let read = tls_bytes(bench, &acceptor).await?;
    ensure(read.is_empty(), || {
        format!("it sends to an unknown gateway: {}", shortened(&String::from_utf8_lossy(&read)))
    })?;
    // An agent without TLS would pass until here.
    bench.agent()?.set("VMKIT_CA_FILE", Some(&own.display().to_string()));
    bench.restart().await?;
    let read = tls_bytes(bench, &acceptor).await?;
    match read.starts_with(b"GET ") {
        true => Ok(()),
        false => unreached("it does not dial wss: with the root of VMKIT_CA_FILE either"),
    }
}

/// What the agent sends over TLS at first.
async fn tls_bytes(bench: &mut Bench, acceptor: &TlsAcceptor) -> Outcome<Vec<u8>> {
    let connection = bench.connection(Duration::from_secs(20)).await?;
    let within = Duration::from_secs(5);
    let mut buffer = vec![0; 1024];
    let Ok(Ok(mut stream)) = timeout(within, acceptor.accept(connection.stream)).await else {
        return Ok(Vec::new());
    };
    let count = timeout(within, stream.read(&mut buffer)).await;
    buffer.truncate(count.ok().and_then(Result::ok).unwrap_or(0));
    Ok(buffer)
}

/// 0.0.0.0 is no loopback address, and leads to this machine all the same.
async fn stays_on_the_loopback(bench: &mut Bench) -> Outcome {
    bench.dial().await?.refuse("500 Internal Server Error", "").await?;
    let port = bench.listener.address.port();
    let agent = bench.agent()?;
    agent.set("VMKIT_GATEWAY_URL", Some(&format!("ws://0.0.0.0:{port}{TARGET}")));
    bench.restart().await?;
    bench.agent()?.let_end();
    let deadline = Instant::now() + Duration::from_secs(10);
    // It may end at once, or go on without a dial.
    while Instant::now() < deadline && bench.agent()?.is_running() {
        if bench.connection(Duration::from_millis(50)).await.is_ok() {
            return broken(format!("it dials ws://0.0.0.0:{port}"));
        }
    }
    Ok(())
}

async fn does_not_listen(bench: &mut Bench) -> Outcome {
    bench.session().await?;
    let Some(pid) = bench.agent()?.pid() else { return unreached("its process is gone") };
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let entries = entries.map_err(|error| Fault::Kit(format!("/proc/{pid}/fd: {error}")))?;
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let own: Vec<String> = links.map(|link| link.display().to_string()).collect();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for row in text.lines().skip(1) {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let (Some(address), Some(inode)) = (fields.get(1), fields.get(9)) else { continue };
            let listens = fields.get(3) == Some(&"0A");
            ensure(!listens || !own.contains(&format!("socket:[{inode}]")), || {
                format!("it listens on {address} (/proc/net/{table})")
            })?;
        }
    }
    Ok(())
}

async fn doctor_only_looks(bench: &mut Bench) -> Outcome {
    let agent = bench.agent()?;
    agent.kill();
    let fault = |error| Fault::Kit(format!("doctor can't be started: {error}"));
    let mut doctor = agent.start_other("doctor").map_err(fault)?;
    let looked = watch_doctor(bench).await;
    let _ = doctor.kill();
    let _ = doctor.wait();
    looked
}

async fn watch_doctor(bench: &mut Bench) -> Outcome {
    let dial = bench.dial_within(bench.by(20.0) + Duration::from_secs(10)).await?;
    let session = dial.accept("").await?;
    let began = Instant::now();
    let code = session.closed(Duration::from_secs(2) + SLACK).await;
    let data = session.see(|log| log.frames.iter().any(|(_, f)| f.opcode < frame::CLOSE));
    ensure(!data, || "doctor sends a message".to_owned())?;
    ensure(code == Some(1000), || {
        format!("after {:.1} s the close was {code:?}", began.elapsed().as_secs_f64())
    })
}
