//! `docker logs` at work: its process, and the lines that come out of its two pipes.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

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
    stdout: Pipeline,
    stderr: Pipeline,
}

/// One of docker's pipes.
#[derive(Default)]
struct Pipeline {
    parser: LaneParser,
    /// Docker last printed something then, and has not ended a line of several pieces.
    paused: Option<Instant>,
}

/// What a reading of the pipes has found.
#[derive(Default)]
pub struct Heard {
    pub bytes: usize,
    /// The pipe may hold more.
    pub stdout_is_left: bool,
    pub stderr_is_left: bool,
    /// Docker has ended, and all that it printed was read.
    pub ended: Option<ExitStatus>,
}

/// How much is read of each pipe at once.
pub const WHOLE_TURN: usize = 64 * 1024;
/// How long docker may pause within a line of several pieces that is followed. Some log drivers lose
/// the newline of such a line: it would else be shown only with the next line.
const PIECE_PATIENCE: Duration = Duration::from_millis(150);

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

    /// Reads about `limit` bytes of each pipe at most, and hands the lines that they complete to
    /// `sink`.
    pub fn read(
        &mut self,
        now: Instant,
        limit: usize,
        sink: &mut dyn FnMut(Lane, Line<'_>),
    ) -> Heard {
        let Source { job, stdout, stderr, .. } = self;
        let (mut of_stdout, mut of_stderr) = (0, 0);
        let progress = job.turn_within(now, limit, |pipe, bytes| {
            let (lane, pipeline, count) = match pipe {
                Pipe::Stdout => (Lane::Stdout, &mut *stdout, &mut of_stdout),
                Pipe::Stderr => (Lane::Stderr, &mut *stderr, &mut of_stderr),
            };
            *count += bytes.len();
            pipeline.parser.push(bytes, &mut |line| sink(lane, line));
            pipeline.paused = pipeline.parser.is_in_pieces().then_some(now);
        });
        let ended = match progress {
            Progress::Ended(status) => Some(status),
            Progress::Running | Progress::TimedOut => None,
        };
        if ended.is_some() {
            self.finish_lines(|_| true, sink);
        }
        Heard {
            bytes: of_stdout + of_stderr,
            stdout_is_left: of_stdout >= limit,
            stderr_is_left: of_stderr >= limit,
            ended,
        }
    }

    /// When [`Source::hand_on`] is due.
    pub fn hand_on_due(&self) -> Option<Instant> {
        let paused = [self.stdout.paused, self.stderr.paused];
        paused.into_iter().flatten().min().map(|since| since + PIECE_PATIENCE)
    }

    /// Takes a line of several pieces for complete where docker has paused for long.
    pub fn hand_on(&mut self, now: Instant, sink: &mut dyn FnMut(Lane, Line<'_>)) {
        let is_long = |since: Instant| now >= since + PIECE_PATIENCE;
        self.finish_lines(|pipeline| pipeline.paused.is_some_and(is_long), sink);
    }

    fn finish_lines(
        &mut self,
        of: impl Fn(&Pipeline) -> bool,
        sink: &mut dyn FnMut(Lane, Line<'_>),
    ) {
        for (lane, pipeline) in [(Lane::Stdout, &mut self.stdout), (Lane::Stderr, &mut self.stderr)]
        {
            if of(pipeline) {
                pipeline.parser.finish(&mut |line| sink(lane, line));
                pipeline.paused = None;
            }
        }
    }

    /// Bytes of memory in use for lines that are not complete.
    pub fn held(&self) -> usize {
        self.stdout.parser.held() + self.stderr.parser.held()
    }

    /// Why docker has ended with this status.
    pub fn failure(&self, status: ExitStatus) -> Error {
        let complaint = match self.stderr.parser.complaint() {
            "" => self.stdout.parser.complaint(),
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
