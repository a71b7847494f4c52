//! Docker's part of a snapshot: `docker ps`, then `docker inspect` of what it has listed. Two
//! processes at most, however many containers there are.

use std::borrow::Cow;
use std::ops::ControlFlow::{self, Break, Continue};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::parts::{JSON_LIMIT, TOO_LARGE};
use crate::docker::{self, Container, Failure, Health, Inspected, Inspection, Listed, Listing};
use crate::requests::context::Context;
use crate::run::job::{Children, Job, Pipe, Progress};

/// How long docker has for its part of a snapshot.
const PATIENCE: Duration = Duration::from_secs(14);
/// Bytes that are kept of docker's standard error.
const STDERR: usize = 256 * 1024;

/// What docker has said. A part that is missing has its reason.
pub struct Containers {
    pub count: Result<usize, String>,
    pub health: Result<Vec<(String, Health)>, String>,
    pub all: Result<Vec<Container>, String>,
    /// Why `all` lacks some of those that don't run.
    pub lack: Option<String>,
}

/// Docker, being asked.
pub struct Engine {
    program: String,
    children: Rc<Children>,
    /// `None` once docker has said everything.
    step: Option<Step>,
    said: Option<Containers>,
}

/// The command that runs.
enum Step {
    Listing(Asked, Listing),
    Inspecting { asked: Asked, inspection: Inspection, count: usize, lack: Option<String> },
}

struct Asked {
    job: Job,
    stderr: Vec<u8>,
}

impl Engine {
    pub fn ask(context: Context) -> Engine {
        let Context { now, config, children } = context;
        let program = config.docker.to_string_lossy().into_owned();
        let (mut step, mut said) = (None, None);
        match children.start(&config.docker, docker::ps_arguments(), now + PATIENCE) {
            Ok(job) => step = Some(Step::Listing(Asked::new(job), Listing::default())),
            Err(error) => {
                let reason = Failure::not_started(&program, &error).to_string();
                said = Some(Containers::unknown(&reason));
            }
        }
        Engine { program, children: Rc::clone(children), step, said }
    }

    /// When docker's time is over; `None` once it has said everything.
    pub fn deadline(&self) -> Option<Instant> {
        match self.step.as_ref()? {
            Step::Listing(asked, _) | Step::Inspecting { asked, .. } => Some(asked.job.deadline()),
        }
    }

    /// Moves on as far as it goes without waiting.
    pub fn turn(&mut self, now: Instant) {
        if let Some(step) = self.step.take() {
            match self.advance(step, now) {
                Continue(step) => self.step = Some(step),
                Break(containers) => self.said = Some(containers),
            }
        }
    }

    /// What docker has said, once it has said everything.
    pub fn take(&mut self) -> Option<Containers> {
        self.said.take()
    }

    fn advance(&self, step: Step, now: Instant) -> ControlFlow<Containers, Step> {
        match step {
            Step::Listing(mut asked, mut listing) => {
                match asked.turn(now, |output| listing.feed(output)) {
                    Progress::Running => Continue(Step::Listing(asked, listing)),
                    Progress::TimedOut => Break(Containers::unknown(&self.timed_out())),
                    Progress::Ended(status) => match self.listed(&asked, listing, status) {
                        Ok(listed) => self.inspect(listed, asked.job.deadline()),
                        Err(reason) => Break(Containers::unknown(&reason)),
                    },
                }
            }
            Step::Inspecting { mut asked, mut inspection, count, lack } => {
                let inspected = match asked.turn(now, |output| inspection.feed(output)) {
                    Progress::Running => {
                        return Continue(Step::Inspecting { asked, inspection, count, lack });
                    }
                    Progress::TimedOut => Err(self.timed_out()),
                    Progress::Ended(status) => self.inspected(&asked, inspection, status),
                };
                Break(Containers::of(count, inspected, lack))
            }
        }
    }

    fn listed(&self, ps: &Asked, listing: Listing, status: ExitStatus) -> Result<Listed, String> {
        match status.success() {
            true => listing.end().map_err(|what| format!("{} ps: {what}", self.program)),
            false => Err(self.failure(ps, status)),
        }
    }

    /// Starts `docker inspect`, if there are containers.
    fn inspect(&self, listed: Listed, deadline: Instant) -> ControlFlow<Containers, Step> {
        let (program, count) = (&self.program, listed.count);
        if listed.running.is_empty() && listed.others.is_empty() {
            let nothing = Inspected { health: Vec::new(), containers: Some(Vec::new()) };
            return Break(Containers::of(0, Ok(nothing), None));
        }
        if listed.running.len() < count {
            let reason = format!("{program} ps: lists too many containers to inspect them all");
            return Break(Containers::of(count, Err(reason), None));
        }
        // Always the same words: what changes is logged.
        let lack = listed.has_more.then(|| {
            let shown = listed.others.len();
            format!("only {shown} of those that do not run are listed; see {program} ps -a")
        });
        let arguments = docker::inspect_arguments(&listed);
        match self.children.start(program.as_ref(), arguments, deadline) {
            Ok(job) => Continue(Step::Inspecting {
                asked: Asked::new(job),
                inspection: Inspection::new(listed.running, JSON_LIMIT),
                count,
                lack,
            }),
            Err(error) => {
                let reason = Failure::not_started(program, &error).to_string();
                Break(Containers::of(count, Err(reason), None))
            }
        }
    }

    fn inspected(
        &self,
        inspect: &Asked,
        inspection: Inspection,
        status: ExitStatus,
    ) -> Result<Inspected, String> {
        // A container that was removed since `docker ps` is no error; docker prints the others.
        if status.success() || docker::only_vanished(&inspect.stderr()) {
            inspection.end().map_err(|what| format!("{} inspect: {what}", self.program))
        } else {
            Err(self.failure(inspect, status))
        }
    }

    fn failure(&self, asked: &Asked, status: ExitStatus) -> String {
        Failure::classify(&self.program, &asked.stderr(), status).to_string()
    }

    fn timed_out(&self) -> String {
        let (program, seconds) = (&self.program, PATIENCE.as_secs());
        format!("{program}: no answer within {seconds} s: the daemon hangs; see sudo {program} ps")
    }
}

impl Containers {
    /// Docker has said nothing that could be used.
    fn unknown(reason: &str) -> Containers {
        let reason = || reason.to_owned();
        Containers { count: Err(reason()), health: Err(reason()), all: Err(reason()), lack: None }
    }

    fn of(count: usize, inspected: Result<Inspected, String>, lack: Option<String>) -> Containers {
        let (health, all) = match inspected {
            Ok(Inspected { health, containers }) => {
                (Ok(health), containers.ok_or_else(|| TOO_LARGE.to_owned()))
            }
            Err(reason) => (Err(reason.clone()), Err(reason)),
        };
        Containers { count: Ok(count), health, all, lack }
    }
}

impl Asked {
    fn new(job: Job) -> Asked {
        Asked { job, stderr: Vec::new() }
    }

    /// As [`Job::turn`]. Standard output goes to `sink`.
    fn turn(&mut self, now: Instant, mut sink: impl FnMut(&[u8])) -> Progress {
        let stderr = &mut self.stderr;
        self.job.turn(now, |pipe, bytes| match pipe {
            Pipe::Stdout => sink(bytes),
            Pipe::Stderr => stderr.extend(bytes.iter().take(STDERR.saturating_sub(stderr.len()))),
        })
    }

    fn stderr(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}
