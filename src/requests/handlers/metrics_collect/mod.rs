//! `metrics_collect`: one snapshot of this machine. It takes one second, in which the processors are
//! watched and docker is asked at the same time.

mod snapshot;

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::docker::{self, Failure, Health};
use crate::host::usage::{self, CpuTimes};
use crate::requests::context::Context;
use crate::run::job::{Captured, Children, Progress};
use crate::wire::rpc;

use snapshot::snapshot;
pub use snapshot::{Snapshot, Taken};

/// How long the processors are watched.
const SAMPLE: Duration = Duration::from_secs(1);
/// How long docker has for its part of a snapshot.
const DOCKER: Duration = Duration::from_secs(14);

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
