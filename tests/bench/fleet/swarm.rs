//! The agents' process, from both sides: the bench starts itself again for it, so that what the agents
//! cost is not the gateway's, nor the reader's.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use super::gateway::Gateway;
use super::{light, tls};
use crate::workplace::{MARK, starting};
use crate::world::World;

/// The argument by which the bench knows that it is this process.
pub const CHILD: &str = "fleet-agents";
/// In the child's environment: the token is no argument, which every user could read.
const TOKEN: &str = "FLEET_TOKEN";
const REPORTED_EVERY: Duration = Duration::from_millis(250);

/// What all agents of the child share.
pub struct Shared {
    pub port: u16,
    pub token: String,
    pub registered: AtomicUsize,
    pub lost: AtomicU64,
    ca_file: PathBuf,
    config: Mutex<(Instant, Arc<ClientConfig>)>,
    /// Of each agent.
    polls: Vec<AtomicU64>,
    random: RandomState,
}

/// What the child tells.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Report {
    pub registered: usize,
    /// Sessions that ended.
    pub lost: u64,
    polls: Vec<u64>,
}

pub struct Swarm {
    child: Child,
    reports: Receiver<Report>,
    agents: usize,
}

impl Swarm {
    pub fn start(world: &World, gateway: &Gateway, agents: usize) -> Swarm {
        let own = std::env::current_exe().expect("this program is a file");
        let mut command = Command::new(own);
        command.arg(CHILD).args([gateway.port().to_string(), agents.to_string()]);
        command.arg(gateway.ca_file()).env(TOKEN, &gateway.agent_token);
        command.env(MARK, world.place.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = starting();
        let child = command.spawn();
        drop(started);
        let mut child = child.expect("the bench runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let report = serde_json::from_str(&line).expect("a report");
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        Swarm { child, reports, agents }
    }

    /// All of them.
    pub fn wait_until_registered(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let report = self.report();
            if report.registered == self.agents {
                return;
            }
            let (registered, agents) = (report.registered, self.agents);
            assert!(
                Instant::now() < deadline,
                "only {registered} of {agents} agents are registered"
            );
        }
    }

    /// The newest.
    pub fn report(&mut self) -> Report {
        let newest = self.reports.try_iter().last();
        newest.unwrap_or_else(|| self.reports.recv().expect("the agents' process runs"))
    }

    /// The least and the most of one agent.
    pub fn polls_between(&self, before: &Report, after: &Report) -> (u64, u64) {
        let polls = || after.polls.iter().zip(&before.polls).map(|(after, before)| after - before);
        (polls().min().unwrap_or(0), polls().max().unwrap_or(0))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The child: until standard input ends.
pub fn child(arguments: &[String]) -> ExitCode {
    let [port, agents, ca_file] = arguments else {
        eprintln!("bench: {CHILD} is what the bench starts for itself");
        return ExitCode::from(2);
    };
    let shared = Shared::new(
        port.parse().expect("a port"),
        agents.parse().expect("a number"),
        PathBuf::from(ca_file),
    );
    let shared = Arc::new(shared);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("threads can be made");
    for agent in 0..shared.polls.len() {
        let shared = shared.clone();
        runtime.spawn(async move { light::run(&shared, agent).await });
    }
    runtime.spawn(async move { report(&shared).await });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // The agents do not take leave.
    std::process::exit(0)
}

async fn report(shared: &Shared) {
    loop {
        let polls = shared.polls.iter().map(|count| count.load(Relaxed)).collect();
        let (registered, lost) = (shared.registered.load(Relaxed), shared.lost.load(Relaxed));
        let line = serde_json::to_string(&Report { registered, lost, polls }).expect("numbers");
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return;
        }
        tokio::time::sleep(REPORTED_EVERY).await;
    }
}

impl Shared {
    fn new(port: u16, agents: usize, ca_file: PathBuf) -> Shared {
        let config = tls::config(&ca_file).expect("the gateway wrote its CA");
        Shared {
            port,
            token: std::env::var(TOKEN).expect("the bench gives it"),
            registered: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            ca_file,
            config: Mutex::new((Instant::now(), config)),
            polls: (0..agents).map(|_| AtomicU64::new(0)).collect(),
            random: RandomState::new(),
        }
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// A handshake failed: a gateway that was started again has another CA.
    pub fn gateway_is_another(&self) {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if config.0.elapsed() > REPORTED_EVERY
            && let Ok(read) = tls::config(&self.ca_file)
        {
            *config = (Instant::now(), read);
        }
    }

    /// How often this agent has been polled before.
    pub fn polled(&self, agent: usize) -> u64 {
        self.polls[agent].fetch_add(1, Relaxed)
    }

    /// Of a second.
    pub fn random_part(&self, agent: usize) -> Duration {
        let number = self.random.hash_one((agent, Instant::now()));
        Duration::from_secs(1).mul_f64(number as f64 / u64::MAX as f64)
    }
}
