//! "metrics_collect".

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::bench::{Bench, Shared};
use super::super::docker::{self, Mode};
use super::super::fault::{Fault, Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::frames::{LIMIT, messages};
use super::support::{result, shown};

pub const CHECKS: &[Check] = checks![
    "A-MET-1" in "metrics" => has_its_members,
    "A-MET-2" in "metrics" => says_what_it_could_not_read,
    "A-MET-3" => percentages,
    "A-MET-4" => in_utc,
    "A-MET-5" in "metrics" => in_time,
    "A-MET-6" in "metrics" => shares_a_snapshot,
    "A-MET-7" in "metrics" => tells_it_twice,
    "A-MET-8" in "metrics" => tells_it_once,
    "A-MET-9" in "metrics" => tells_of_containers,
    "A-MET-10" in "metrics" => tells_of_the_host,
    "A-MET-11" in "metrics" => leaves_out,
];

const SNAPSHOT: &str = "health_snapshot";
/// For the notification that follows its result.
const SOON: Duration = Duration::from_millis(1500);

async fn snapshot(bench: &mut Bench) -> Outcome<(Session, Message)> {
    let session = bench.session().await?;
    let mark = session.mark();
    let answer = bench.ask(&session, "metrics_collect", json!({}), 15.0).await?;
    // So that no later check takes it for its own.
    session.message(mark, SOON, |message| message.method() == Some(SNAPSHOT)).await;
    Ok((session, answer))
}

fn set_mode(bench: &Bench, mode: Mode) -> Outcome {
    if bench.folder().as_os_str().is_empty() {
        return unreached("it needs the stand-in for docker: --fixtures DIR");
    }
    docker::set_mode(bench.folder(), mode)
        .map_err(|error| Fault::Kit(format!("the stand-in for docker: {error}")))
}

/// A snapshot with docker in this mode.
async fn snapshot_with(bench: &mut Bench, mode: Mode) -> Outcome<Message> {
    set_mode(bench, mode)?;
    let taken = snapshot(bench).await;
    set_mode(bench, Mode::Normal)?;
    Ok(taken?.1)
}

async fn has_its_members(bench: &mut Bench) -> Outcome {
    let (_, answer) = snapshot(bench).await?;
    let snapshot = result(&answer, "metrics_collect")?;
    for name in
        ["cpu_pct", "mem_pct", "disk_pct", "container_count", "container_health", "collected_at"]
    {
        ensure(snapshot.get(name).is_some(), || format!("no {name}: {}", shown(&answer)))?;
    }
    Ok(())
}

async fn says_what_it_could_not_read(bench: &mut Bench) -> Outcome {
    let answer = snapshot_with(bench, Mode::Down).await?;
    let snapshot = result(&answer, "metrics_collect without docker")?;
    for name in ["container_count", "container_health"] {
        let reason = snapshot["errors"][name].as_str().unwrap_or_default();
        ensure(snapshot[name].is_null() && !reason.is_empty(), || {
            format!("without docker {name} is {}, its reason {:?}", snapshot[name], reason)
        })?;
    }
    for name in ["cpu_pct", "mem_pct", "disk_pct"] {
        ensure(snapshot.get(name) != Some(&Value::Null), || {
            format!("without docker {name} is null too")
        })?;
    }
    Ok(())
}

/// Holds every snapshot that came to something.
fn snapshots(shared: &Shared, look: impl Fn(&Value) -> Outcome) -> Outcome {
    let count = std::cell::Cell::new(0);
    messages(shared, |message| {
        let results = message.result().filter(|result| result.get("cpu_pct").is_some());
        let notified = (message.method() == Some(SNAPSHOT)).then(|| message.params());
        results.into_iter().chain(notified).try_for_each(|snapshot| {
            count.set(count.get() + 1);
            look(snapshot)
        })
    })?;
    if count.get() == 0 { unreached("there was no snapshot") } else { Ok(()) }
}

fn percentages(shared: &Shared) -> Outcome {
    snapshots(shared, |snapshot| {
        let own = ["cpu_pct", "mem_pct", "disk_pct"].map(|name| &snapshot[name]);
        let disks =
            snapshot["host"]["disks"].as_object().into_iter().flat_map(|disks| disks.values());
        let of_disks = disks.flat_map(|disk| [&disk["used_pct"], &disk["inodes_pct"]]);
        let mut all = own.into_iter().chain([&snapshot["host"]["swap_pct"]]).chain(of_disks);
        let is_right = |value: &&Value| {
            value.is_null()
                || value.as_f64().is_some_and(|number| {
                    let tenths = number * 10.0;
                    (0.0..=100.0).contains(&number) && (tenths - tenths.round()).abs() < 1e-6
                })
        };
        all.find(|value| !is_right(value))
            .map_or(Ok(()), |value| broken(format!("a percentage is {value}")))
    })
}

fn in_utc(shared: &Shared) -> Outcome {
    snapshots(shared, |snapshot| {
        let at = &snapshot["collected_at"];
        let time = OffsetDateTime::parse(at.as_str().unwrap_or_default(), &Rfc3339);
        ensure(at.is_null() || time.is_ok_and(|time| time.offset().is_utc()), || format!("{at}"))
    })
}

async fn in_time(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let began = Instant::now();
    bench.ask(&session, "metrics_collect", json!({}), 15.0).await?;
    let (took, least) = (began.elapsed(), bench.time(1.0));
    ensure(took + Duration::from_millis(10) >= least, || format!("it answers after {took:.2?}"))?;
    set_mode(bench, Mode::Hangs)?;
    let answer = bench.ask(&session, "metrics_collect", json!({}), 15.0).await;
    set_mode(bench, Mode::Normal)?;
    bench.leave();
    match answer {
        Ok(_) => Ok(()),
        Err(_) => broken("with a docker that hangs it does not answer within 15 s"),
    }
}

/// What came from `mark` on, once nothing of a snapshot is under way any more.
async fn later(bench: &Bench, session: &Session, mark: usize) -> Outcome<Vec<Message>> {
    let snapshot = |message: &Message| message.method() == Some(SNAPSHOT);
    session.message(mark, SOON, snapshot).await;
    tokio::time::sleep(bench.time(1.0) + Duration::from_millis(300)).await;
    bench.still_serves(session).await?;
    Ok(session.see(|log| log.messages[mark..].to_vec()))
}

fn snapshots_of(messages: &[Message]) -> Vec<&Message> {
    messages.iter().filter(|message| message.method() == Some(SNAPSHOT)).collect()
}

async fn shares_a_snapshot(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let mark = session.mark();
    let first = session.send_request("metrics_collect", json!({})).await;
    tokio::time::sleep(bench.time(0.3)).await;
    let second = session.send_request("metrics_collect", json!({})).await;
    let first = bench.answer_to(&session, &first, 15.0).await?;
    let second = bench.answer_to(&session, &second, 15.0).await?;
    let same = result(&first, "metrics_collect")? == result(&second, "metrics_collect")?;
    ensure(same, || {
        format!(
            "two requests at a time get two snapshots: {} and {}",
            shown(&first),
            shown(&second)
        )
    })?;
    let messages = later(bench, &session, mark).await?;
    let mut told: Vec<String> =
        snapshots_of(&messages).iter().map(|m| m.params()["collected_at"].to_string()).collect();
    told.dedup();
    ensure(told.len() <= 1, || format!("they lead to {} snapshots", told.len()))
}

async fn tells_it_twice(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let mark = session.mark();
    let id = session.send_request("metrics_collect", json!({})).await;
    let answer = bench.answer_to(&session, &id, 15.0).await?;
    let messages = later(bench, &session, mark).await?;
    let told = snapshots_of(&messages);
    ensure(told.len() == 1, || format!("health_snapshot came {} times", told.len()))?;
    ensure(Some(told[0].params()) == answer.result(), || {
        format!("health_snapshot is another: {}", shown(told[0]))
    })?;
    let place = |so: &dyn Fn(&Message) -> bool| messages.iter().position(so);
    let after = place(&|m| m.id.as_ref() == Some(&id)) < place(&|m| m.method() == Some(SNAPSHOT));
    ensure(after, || "health_snapshot came before the result".to_owned())
}

async fn tells_it_once(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let mark = session.mark();
    session.notify("metrics_collect", json!({})).await;
    let snapshot = |message: &Message| message.method() == Some(SNAPSHOT);
    let told = session.message(mark, bench.by(15.0), snapshot).await;
    ensure(told.is_some(), || "no health_snapshot came".to_owned())?;
    let messages = later(bench, &session, mark).await?;
    let answered = messages
        .iter()
        .find(|m| m.is_response() && !m.id.as_deref().is_some_and(|id| id.starts_with("\"k")));
    answered.map_or(Ok(()), |message| broken(format!("it answers: {}", shown(message))))
}

/// Whether the agent of this session lists a capability.
pub fn can(session: &Session, capability: &str) -> bool {
    session.see(|log| {
        let register = log.messages.iter().find(|message| message.method() == Some("register"));
        let all = register.and_then(|register| register.params()["capabilities"].as_array());
        all.is_some_and(|all| all.iter().any(|name| name == capability))
    })
}

async fn tells_of_containers(bench: &mut Bench) -> Outcome {
    let (session, answer) = snapshot(bench).await?;
    if !can(&session, "containers") {
        return unreached("it does not list the capability containers");
    }
    let containers = &result(&answer, "metrics_collect")?["containers"];
    if containers.is_null() && !bench.folder().as_os_str().is_empty() {
        return broken(format!("no containers: {}", shown(&answer)));
    }
    let all = containers.as_array().cloned().unwrap_or_default();
    for container in &all {
        for name in [
            "name",
            "id",
            "image",
            "state",
            "health",
            "exit_code",
            "restarts",
            "oom_killed",
            "started_at",
        ] {
            ensure(container.get(name).is_some(), || format!("no {name}: {container}"))?;
        }
    }
    if bench.folder().as_os_str().is_empty() {
        return Ok(());
    }
    let exited = all.iter().find(|container| container["name"] == "kit-exited");
    let is_right = exited.is_some_and(|one| one["state"] == "exited" && one["exit_code"] == 3);
    ensure(is_right && all.len() == 5, || {
        format!("docker has five, one has exited with 3: {containers}")
    })
}

async fn tells_of_the_host(bench: &mut Bench) -> Outcome {
    let (session, answer) = snapshot(bench).await?;
    if !can(&session, "host") {
        return unreached("it does not list the capability host");
    }
    let host = &result(&answer, "metrics_collect")?["host"];
    let is_right = host["uptime_s"].is_number()
        && host["load"].as_array().is_some_and(|load| load.len() == 3)
        && host.get("swap_pct").is_some()
        && host["disks"].is_object();
    ensure(is_right, || format!("host: {host}"))
}

async fn leaves_out(bench: &mut Bench) -> Outcome {
    for (mode, left_out, kept) in [
        (Mode::Crowd, &["containers"][..], &["container_health"][..]),
        (Mode::Throng, &["containers", "container_health"], &[]),
    ] {
        let answer = snapshot_with(bench, mode).await?;
        let size = answer.bytes.len();
        let snapshot = result(&answer, "metrics_collect with thousands of containers")?;
        ensure(size <= LIMIT, || format!("the message has {size} bytes"))?;
        for name in left_out {
            let reason = snapshot["errors"][name].as_str().unwrap_or_default();
            ensure(snapshot[name].is_null() && !reason.is_empty(), || {
                format!("{name} does not fit, and is not null with a reason: {}", shown(&answer))
            })?;
        }
        for name in kept {
            ensure(snapshot[name].is_object(), || format!("{name} fits, and is not there"))?;
        }
    }
    Ok(())
}
