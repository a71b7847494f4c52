//! `docker inspect`: how each container is.

use serde::Serialize;
use serde_json::value::RawValue;

use super::lines::Lines;
use super::listing::Listed;
use crate::host::timestamp::Timestamp;

/// One line of JSON for each container, so that no name and no image can be taken for a separator.
/// Docker and podman both know `.ID`, not `.Id`. `.State.Health` is missing where a container has no
/// health check; podman then has it with an empty status.
const TEMPLATE: &str = "[{{json .ID}},{{json .Name}},{{json .Config.Image}},\
    {{json .State.Status}},\
    {{if .State.Health}}{{json .State.Health.Status}}{{else}}\"\"{{end}},\
    {{.State.ExitCode}},{{.RestartCount}},{{.State.OOMKilled}},{{json .State.StartedAt}}]";

/// Bytes of output, all containers together.
const OUTPUT: usize = 4 * 1024 * 1024;
/// Bytes of JSON that a container takes beside what docker prints: the members' names.
const MEMBERS: usize = 110;

/// All containers that were listed, for [`Inspection`]. If one has vanished, docker prints the others
/// and exits with 1; see [`super::super::only_vanished`].
pub fn inspect_arguments(listed: &Listed) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["inspect", "--type", "container", "--format", TEMPLATE].map(String::from).into();
    arguments.extend(listed.running.iter().chain(&listed.others).cloned());
    arguments
}

/// A container's health. `None`: it has no health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Healthy,
    Unhealthy,
    Starting,
    None,
}

/// A container, as `metrics_collect` reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    name: String,
    id: String,
    /// The name that it was started with.
    image: String,
    /// In docker's own word.
    state: String,
    health: Health,
    /// `None`: it has not ended since it was started. Docker says 0 then.
    exit_code: Option<i64>,
    restarts: u64,
    oom_killed: bool,
    /// `None`: never.
    started_at: Option<String>,
}

/// Reads what `docker inspect` prints.
pub struct Inspection {
    lines: Lines,
    left: usize,
    found: Found,
}

struct Found {
    /// The ids of those that ran when they were listed, sorted.
    running: Vec<String>,
    health: Vec<(String, Health)>,
    containers: Vec<Container>,
    /// Bytes of JSON that are left for containers.
    room: usize,
    /// A line was none of the template's.
    is_odd: bool,
}

/// How the containers are.
#[derive(Debug)]
pub struct Inspected {
    /// Of those that ran when they were listed: the name, without docker's leading slash, and the health.
    pub health: Vec<(String, Health)>,
    /// `None`: they would take more JSON than there is room for.
    pub containers: Option<Vec<Container>>,
}

impl Inspection {
    /// `room`: the bytes of JSON that may be kept of the containers.
    pub fn new(mut running: Vec<String>, room: usize) -> Inspection {
        running.sort_unstable();
        let (health, containers) = (Vec::new(), Vec::new());
        let found = Found { running, health, containers, room, is_odd: false };
        Inspection { lines: Lines::default(), left: OUTPUT, found }
    }

    pub fn feed(&mut self, output: &[u8]) {
        self.left = self.left.saturating_sub(output.len());
        if self.left > 0 {
            self.lines.feed(output, |line| self.found.add(line));
        }
    }

    /// After the end of the output.
    ///
    /// # Errors
    /// What is wrong with the output.
    pub fn end(mut self) -> Result<Inspected, &'static str> {
        self.feed(b"\n");
        let Found { health, containers, room, is_odd, .. } = self.found;
        match (self.left, is_odd) {
            (0, _) => Err("printed more than 4 MiB; too many containers"),
            (_, true) => Err("printed something else than was asked for"),
            _ => Ok(Inspected { health, containers: (room > 0).then_some(containers) }),
        }
    }
}

impl Found {
    fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        let Some(container) = Container::read(line) else {
            self.is_odd = true;
            return;
        };
        if self.running.binary_search(&container.id).is_ok() {
            self.health.push((container.name.clone(), container.health));
        }
        self.room = self.room.saturating_sub(line.len() + MEMBERS);
        if self.room > 0 {
            self.containers.push(container);
        }
    }
}

impl Container {
    /// Reads a line of [`TEMPLATE`].
    fn read(line: &str) -> Option<Container> {
        let row: Vec<&RawValue> = serde_json::from_str(line).ok()?;
        let [id, name, image, state, health, exit_code, restarts, oom_killed, started_at] = *row
        else {
            return None;
        };
        let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
        let (name, state, health, started_at) =
            (text(name)?, text(state)?, text(health)?, text(started_at)?);
        let exit_code: i64 = exit_code.get().parse().ok()?;
        let health = match health.as_str() {
            "healthy" => Health::Healthy,
            "unhealthy" => Health::Unhealthy,
            "starting" => Health::Starting,
            _ => Health::None,
        };
        let has_ended = match state.as_str() {
            "running" | "paused" => false,
            // Docker notes a start that failed as an exit.
            "created" => exit_code != 0,
            _ => true,
        };
        Some(Container {
            name: name.trim_start_matches('/').to_owned(),
            id: text(id)?,
            image: text(image)?,
            state,
            health,
            exit_code: has_ended.then_some(exit_code),
            restarts: restarts.get().parse().ok()?,
            oom_killed: oom_killed.get().parse().ok()?,
            started_at: Some(started_at).filter(|at| is_time(at)),
        })
    }
}

/// Docker's word for never is the first day of the year 1.
fn is_time(text: &str) -> bool {
    let time = Timestamp::parse_prefix(text.as_bytes());
    time.is_some_and(|(_, length)| length == text.len()) && !text.starts_with("0001-")
}
