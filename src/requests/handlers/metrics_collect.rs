//! `metrics_collect`: one snapshot of this machine. It takes one second, in which the processors are
//! watched and docker is asked at the same time.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tungstenite::Bytes;

use crate::docker::{self, Failure, Health};
use crate::host::timestamp::Timestamp;
use crate::host::usage::{self, CpuTimes};
use crate::requests::context::Context;
use crate::run::job::{Captured, Children, Progress};
use crate::wire::rpc::{self, Id};

/// How long the processors are watched.
const SAMPLE: Duration = Duration::from_secs(1);
/// The largest snapshot, in bytes of JSON: a message holds it beside an id of any length.
const JSON_LIMIT: usize = rpc::MESSAGE_LIMIT - 32 * 1024;
/// So many bytes of JSON may wait to be sent several times over.
const SMALL: usize = 16 * 1024;
/// How long docker has for its part of a snapshot.
const DOCKER: Duration = Duration::from_secs(14);

/// The result, and the parameters of `health_snapshot`. A part that could not be read is `null`,
/// and `errors` has the reason under the part's name.
#[derive(Serialize)]
pub struct Snapshot {
    cpu_pct: Option<f64>,
    mem_pct: Option<f64>,
    disk_pct: Option<f64>,
    container_count: Option<usize>,
    container_health: Option<BTreeMap<String, Health>>,
    collected_at: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<&'static str, String>,
}

impl Snapshot {
    /// For the log: which parts are missing, and why. Empty if the snapshot is complete.
    fn missing(&self) -> String {
        let mut missing: Vec<(String, &str)> = Vec::new();
        for (&part, reason) in &self.errors {
            match missing.last_mut() {
                Some((parts, last)) if last == reason => *parts = format!("{parts} and {part}"),
                _ => missing.push((part.to_owned(), reason)),
            }
        }
        let missing: Vec<String> = missing
            .into_iter()
            .map(|(parts, reason)| format!(" without {parts}: {reason}"))
            .collect();
        missing.join(";").replace("container_count and container_health", "container data")
    }
}

/// A finished snapshot, in JSON.
pub struct Taken {
    json: String,
    missing: String,
}

impl From<Snapshot> for Taken {
    /// Drops the containers' health if the snapshot would not fit into a message.
    fn from(mut snapshot: Snapshot) -> Taken {
        let encode = |snapshot: &Snapshot| serde_json::to_string(snapshot).unwrap_or_default();
        let mut json = encode(&snapshot);
        if json.len() > JSON_LIMIT {
            snapshot.container_health = None;
            let reason = "it would not fit a message of 1 MiB; too many containers";
            snapshot.errors.insert("container_health", reason.to_owned());
            json = encode(&snapshot);
        }
        Taken { json, missing: snapshot.missing() }
    }
}

impl Taken {
    /// Whether many copies may wait in memory.
    pub fn is_small(&self) -> bool {
        self.json.len() <= SMALL
    }

    /// As [`Snapshot::missing`].
    pub fn missing(&self) -> &str {
        &self.missing
    }

    /// The response to the request `id`.
    pub fn message(&self, id: Option<&Id>) -> Bytes {
        format!("{}{}{}", rpc::result_head(id), self.json, rpc::TAIL).into()
    }

    /// `health_snapshot`.
    pub fn notification(&self) -> String {
        format!("{}{}{}", rpc::notification_head("health_snapshot"), self.json, rpc::TAIL)
    }
}

/// A snapshot that is being taken.
pub struct Sample {
    before: Result<CpuTimes, usage::Error>,
    /// The second reading, taken after one second also if docker takes longer.
    after: Option<Result<CpuTimes, usage::Error>>,
    over: Instant,
    docker: Docker,
    program: String,
    children: Rc<Children>,
}

/// How far docker is.
enum Docker {
    Listing(Captured),
    Inspecting { count: usize, inspect: Captured },
    Done { count: Result<usize, String>, health: Result<BTreeMap<String, Health>, String> },
}

/// Checks that there are no parameters.
///
/// # Errors
/// [`rpc::Code::InvalidParams`].
pub fn check(params: Option<&RawValue>) -> Result<(), rpc::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct None {}
    rpc::params::<None>(params).map(drop)
}

impl Sample {
    pub fn start(context: Context) -> Sample {
        let Context { now, config, children } = context;
        let docker = children
            .start(&config.docker, docker::ps_arguments(), now + DOCKER)
            .map(|job| Docker::Listing(Captured::new(job)));
        let program = config.docker.to_string_lossy().into_owned();
        Sample {
            before: CpuTimes::read(),
            after: None,
            over: now + SAMPLE,
            docker: docker.unwrap_or_else(|error| {
                Docker::failed(&Failure::not_started(&program, &error).to_string())
            }),
            program,
            children: Rc::clone(children),
        }
    }

    /// When the next turn is due even if docker says nothing.
    pub fn deadline(&self) -> Instant {
        match &self.docker {
            Docker::Listing(job) | Docker::Inspecting { inspect: job, .. }
                if self.after.is_some() =>
            {
                job.deadline()
            }
            _ => self.over,
        }
    }

    /// Moves on as far as it goes without waiting. Returns the snapshot once it is complete.
    pub fn turn(&mut self, now: Instant) -> Option<Snapshot> {
        self.ask_docker(now);
        if now < self.over {
            return None;
        }
        let after = self.after.get_or_insert_with(CpuTimes::read);
        match &self.docker {
            Docker::Done { count, health } => {
                Some(snapshot(&self.before, after, count.clone(), health.clone()))
            }
            _ => None,
        }
    }

    fn ask_docker(&mut self, now: Instant) {
        let (program, children) = (&self.program, &self.children);
        if let Docker::Listing(ps) = &mut self.docker {
            self.docker = match ps.turn(now) {
                Progress::Running => return,
                Progress::TimedOut => Docker::failed(&timed_out(program)),
                Progress::Ended(status) => listed(ps, status, program, children)
                    .unwrap_or_else(|reason| Docker::failed(&reason)),
            };
        }
        if let Docker::Inspecting { count, inspect } = &mut self.docker {
            let health = match inspect.turn(now) {
                Progress::Running => return,
                Progress::TimedOut => Err(timed_out(program)),
                Progress::Ended(status) => inspected(inspect, status, program),
            };
            self.docker = Docker::Done { count: Ok(*count), health };
        }
    }
}

impl Docker {
    fn failed(reason: &str) -> Docker {
        Docker::Done { count: Err(reason.to_owned()), health: Err(reason.to_owned()) }
    }
}

/// After `docker ps`: starts `docker inspect` if there are containers.
fn listed(
    ps: &Captured,
    status: ExitStatus,
    program: &str,
    children: &Rc<Children>,
) -> Result<Docker, String> {
    if !status.success() {
        return Err(failure(program, ps, status));
    }
    if ps.is_cut() {
        return Err(format!("{program} ps: printed more than 1 MiB; too many containers"));
    }
    let ids = docker::parse_ps(&String::from_utf8_lossy(&ps.output().stdout));
    if ids.is_empty() {
        return Ok(Docker::Done { count: Ok(0), health: Ok(BTreeMap::new()) });
    }
    let started = children.start(program.as_ref(), docker::inspect_arguments(&ids), ps.deadline());
    Ok(match started {
        Ok(job) => Docker::Inspecting { count: ids.len(), inspect: Captured::new(job) },
        Err(error) => {
            let reason = Failure::not_started(program, &error).to_string();
            Docker::Done { count: Ok(ids.len()), health: Err(reason) }
        }
    })
}

fn inspected(
    inspect: &Captured,
    status: ExitStatus,
    program: &str,
) -> Result<BTreeMap<String, Health>, String> {
    let output = inspect.output();
    if inspect.is_cut() {
        return Err(format!("{program} inspect: printed more than 1 MiB; too many containers"));
    }
    // A container that ended since `docker ps` is no error; docker prints the others.
    if status.success() || docker::only_vanished(&String::from_utf8_lossy(&output.stderr)) {
        Ok(docker::parse_inspect(&String::from_utf8_lossy(&output.stdout)))
    } else {
        Err(failure(program, inspect, status))
    }
}

fn failure(program: &str, job: &Captured, status: ExitStatus) -> String {
    let stderr = String::from_utf8_lossy(&job.output().stderr);
    Failure::classify(program, &stderr, status).to_string()
}

fn timed_out(program: &str) -> String {
    format!(
        "{program}: no answer within {} s: the daemon hangs; see sudo {program} ps",
        DOCKER.as_secs()
    )
}

/// Puts together the two readings of the processors, docker's part, and memory and disk, which are
/// read now.
fn snapshot(
    before: &Result<CpuTimes, usage::Error>,
    after: &Result<CpuTimes, usage::Error>,
    count: Result<usize, String>,
    health: Result<BTreeMap<String, Health>, String>,
) -> Snapshot {
    let mut errors = BTreeMap::new();
    let cpu = match (before, after) {
        (Ok(before), Ok(after)) => Ok(after.busy_percent_since(before)),
        (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
    };
    Snapshot {
        cpu_pct: noted(&mut errors, "cpu_pct", cpu).map(usage::one_decimal),
        mem_pct: noted(&mut errors, "mem_pct", usage::read_memory_percent())
            .map(usage::one_decimal),
        disk_pct: noted(&mut errors, "disk_pct", usage::disk_percent("/")).map(usage::one_decimal),
        container_count: noted(&mut errors, "container_count", count),
        container_health: noted(&mut errors, "container_health", health),
        collected_at: Timestamp::now().to_string(),
        errors,
    }
}

/// The value, if there is one; else the reason goes to `errors`.
fn noted<T, E: ToString>(
    errors: &mut BTreeMap<&'static str, String>,
    part: &'static str,
    read: Result<T, E>,
) -> Option<T> {
    read.map_err(|reason| errors.insert(part, reason.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_what_is_missing_and_why() {
        let missing = |errors: &[(&'static str, &str)]| {
            let cpu = CpuTimes::read();
            let mut snapshot = snapshot(&cpu, &cpu, Ok(0), Ok(BTreeMap::new()));
            let errors = errors.iter().map(|&(part, reason)| (part, reason.to_owned()));
            snapshot.errors = errors.collect();
            snapshot.missing()
        };
        assert_eq!(missing(&[]), "");
        let docker = [("container_count", "no docker"), ("container_health", "no docker")];
        assert_eq!(missing(&docker), " without container data: no docker");
        let both = [("container_health", "no docker"), ("cpu_pct", "no /proc")];
        let expected = " without container_health: no docker; without cpu_pct: no /proc";
        assert_eq!(missing(&both), expected);
    }
}
