//! `docker logs` at work: its process, and the lines that come out of its two pipes.

use std::process::ExitStatus;
use std::time::Instant;

use super::params::Params;
use crate::docker::log_lines::{Lane, LaneParser, Line};
use crate::docker::{self, Failure};
use crate::requests::context::Context;
use crate::run::job::{Job, Pipe, Progress};
use crate::wire::rpc::{self, Error};

pub struct Source {
    job: Job,
    pub program: String,
    pub container: String,
    stdout: LaneParser,
    stderr: LaneParser,
}

/// What a reading of the pipes has found.
pub struct Heard {
    pub bytes: usize,
    /// Docker has ended, and all that it printed was read.
    pub ended: Option<ExitStatus>,
}

impl Source {
    /// Starts docker, which has until `deadline`.
    ///
    /// # Errors
    /// [`rpc::Code::DockerUnusable`] if docker can't be started.
    pub fn start(params: Params, deadline: Instant, context: Context) -> Result<Source, Error> {
        let Context { config, children, .. } = context;
        let Params { container, range, .. } = params;
        let program = config.docker.to_string_lossy().into_owned();
        let arguments = docker::logs_arguments(&container, range);
        let job = children
            .start(&config.docker, arguments, deadline)
            .map_err(|error| Failure::not_started(&program, &error))
            .map_err(into_error)?;
        let (stdout, stderr) = Default::default();
        Ok(Source { job, program, container, stdout, stderr })
    }

    pub fn deadline(&self) -> Instant {
        self.job.deadline()
    }

    /// Whether output wakes the loop. If not, it waits in docker's pipes.
    ///
    /// # Errors
    /// [`rpc::Code::InternalError`].
    pub fn listen(&mut self, listening: bool) -> Result<(), Error> {
        let failed =
            |error: std::io::Error| Error::new(rpc::Code::InternalError, error.to_string());
        self.job.listen(listening).map_err(failed)
    }

    /// Reads a bounded amount, and hands the lines that it completes to `sink`.
    pub fn read(&mut self, now: Instant, sink: &mut dyn FnMut(Lane, Line<'_>)) -> Heard {
        let Source { job, stdout, stderr, .. } = self;
        let mut heard = Heard { bytes: 0, ended: None };
        let progress = job.turn(now, |pipe, bytes| {
            heard.bytes += bytes.len();
            match pipe {
                Pipe::Stdout => stdout.push(bytes, &mut |line| sink(Lane::Stdout, line)),
                Pipe::Stderr => stderr.push(bytes, &mut |line| sink(Lane::Stderr, line)),
            }
        });
        if let Progress::Ended(status) = progress {
            stdout.finish(&mut |line| sink(Lane::Stdout, line));
            stderr.finish(&mut |line| sink(Lane::Stderr, line));
            heard.ended = Some(status);
        }
        heard
    }

    /// Bytes of memory in use for lines that are not complete.
    pub fn held(&self) -> usize {
        self.stdout.held() + self.stderr.held()
    }

    /// Why docker has ended with this status.
    pub fn failure(&self, status: ExitStatus) -> Error {
        let complaint = match self.stderr.complaint() {
            "" => self.stdout.complaint(),
            complaint => complaint,
        };
        into_error(Failure::classify(&self.program, complaint, status))
    }
}

fn into_error(failure: Failure) -> Error {
    let code = match failure {
        Failure::NoSuchContainer(_) => rpc::Code::NoSuchContainer,
        Failure::Unusable(_) => rpc::Code::DockerUnusable,
        Failure::Other(_) => rpc::Code::InternalError,
    };
    Error::new(code, failure.to_string())
}
