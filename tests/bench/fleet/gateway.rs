//! The gateway's process: its start with a folder, its end by SIGKILL, and what it costs.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Keys, port_of};
use crate::workplace::{MARK, starting};
use crate::world::World;

pub struct Gateway {
    program: PathBuf,
    folder: PathBuf,
    mark: PathBuf,
    child: Child,
    port: u16,
    pub agent_token: String,
    pub api_key: String,
}

/// Since the process began; `resident` is now.
pub struct Cost {
    pub at: Instant,
    pub resident: u64,
    pub processor: Duration,
    pub written: u64,
}

impl Gateway {
    pub fn start(world: &World) -> Gateway {
        let program = std::env::var_os("GATEWAY").expect("GATEWAY is not set; run make bench");
        let program = PathBuf::from(program).canonicalize().expect("GATEWAY is a file");
        let mark = world.place.path().to_owned();
        let folder = mark.join("gateway");
        let keys = Keys::new(&program, &folder);
        let (agent_token, api_key) = (keys.agent(None), keys.api("read"));
        let (child, port) = run(&program, &folder, &mark, 0);
        Gateway { program, folder, mark, child, port, agent_token, api_key }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// It is made anew at each start.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// When it was killed.
    pub fn kill_and_start_again(&mut self) -> Instant {
        let killed = Instant::now();
        let _ = self.child.kill();
        let _ = self.child.wait();
        (self.child, self.port) = run(&self.program, &self.folder, &self.mark, self.port);
        killed
    }

    pub fn cost(&self) -> Cost {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            std::fs::read_to_string(path).expect("the gateway runs")
        };
        let stat = read("stat");
        // After the name, which may hold anything: utime and stime are the fields 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0)).sum();
        // Linux counts them in hundredths of a second on every machine that this runs on.
        let processor = Duration::from_millis(10 * ticks);
        let resident = 1024 * number(&read("status"), "VmRSS:");
        Cost {
            at: Instant::now(),
            resident,
            processor,
            written: number(&read("io"), "write_bytes:"),
        }
    }

    pub fn database_bytes(&self) -> u64 {
        let bytes = |name| std::fs::metadata(self.folder.join(name)).map_or(0, |file| file.len());
        bytes("gateway.db") + bytes("gateway.db-wal")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn run(program: &PathBuf, folder: &PathBuf, mark: &PathBuf, port: u16) -> (Child, u16) {
    let mut command = Command::new(program);
    command.arg("--data").arg(folder).arg("--ca-out").arg(folder.join("ca.pem"));
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.env(MARK, mark).env_remove("GATEWAY_TOKEN").env_remove("GATEWAY_API_KEY");
    let started = starting();
    // The end of its standard input ends it, also where the bench is killed.
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    drop(started);
    let mut child = child.expect("GATEWAY runs");
    let port = port_of(child.stdout.take().expect("piped"));
    (child, port)
}

/// The number after `name` in a text of `/proc`.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}
