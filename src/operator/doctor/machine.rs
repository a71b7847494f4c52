//! How the checks run programs: in the same way as the agent, one at a time.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::run::job::{Captured, Children, Progress, Surroundings};
use crate::run::wait::Waiter;

pub struct Machine {
    pub waiter: Rc<Waiter>,
    pub children: Rc<Children>,
    /// Variables of agent.env that children get in addition to this process's environment.
    environment: Vec<(String, String)>,
}

/// How a program has ended.
pub enum Answer {
    Ended { status: ExitStatus, stdout: String, stderr: String, took: Duration },
    TimedOut,
    NotStarted(io::Error),
}

impl Machine {
    /// Takes the environment for children out of `config`, as the agent does.
    pub fn new(config: Option<&mut Config>) -> io::Result<Machine> {
        let environment = config.map(|config| std::mem::take(&mut config.environment));
        let environment = environment.unwrap_or_default();
        let waiter = Waiter::new()?;
        let children = Children::new(Rc::clone(&waiter), environment.clone());
        Ok(Machine { waiter, children, environment })
    }

    /// The value of a variable, as the agent's children see it.
    pub fn variable(&self, name: &str) -> Option<String> {
        let own = std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let given = || self.environment.iter().rfind(|(given, _)| given == name);
        own.or_else(|| given().map(|(_, value)| value.clone())).filter(|value| !value.is_empty())
    }

    /// Runs a program and waits for its end.
    ///
    /// # Errors
    /// A signal that ends this process.
    pub fn ask(
        &self,
        surroundings: Surroundings,
        program: &OsStr,
        arguments: &[String],
        limit: Duration,
    ) -> io::Result<Answer> {
        let started = Instant::now();
        let end = started + limit;
        let job = match self.children.start_in(surroundings, program, arguments, end) {
            Ok(job) => job,
            Err(error) => return Ok(Answer::NotStarted(error)),
        };
        let mut job = Captured::new(job);
        loop {
            self.children.reap();
            match job.turn(Instant::now()) {
                Progress::Running => {
                    self.waiter.set_deadline(Some(end));
                    self.waiter.wait()?;
                    self.go_on()?;
                }
                Progress::TimedOut => return Ok(Answer::TimedOut),
                Progress::Ended(status) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let output = job.output();
                    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
                    return Ok(Answer::Ended { status, stdout, stderr, took: started.elapsed() });
                }
            }
        }
    }

    /// # Errors
    /// A signal that ends this process.
    pub fn go_on(&self) -> io::Result<()> {
        match self.waiter.stopping() {
            true => Err(io::Error::new(ErrorKind::Interrupted, "ended by a signal")),
            false => Ok(()),
        }
    }
}
