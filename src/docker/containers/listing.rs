//! `docker ps`: the ids of all containers, and which of them run.

use super::lines::Lines;
use crate::docker::commands::is_container_name;

/// A table has a header even where there is no container. By it docker is told from a program that
/// prints nothing. `.Status` has the same words in docker and in podman.
const TEMPLATE: &str = "table {{.ID}} {{.Status}}";
const HEADER: &str = "CONTAINER ID";

/// So many containers that run are inspected.
const RUNNING: usize = 10_000;
/// So many of the others are inspected. `docker inspect` takes 0.4 ms for each.
const OTHERS: usize = 500;

/// All containers, with their full ids, for [`Listing`].
pub fn ps_arguments() -> Vec<String> {
    ["ps", "--all", "--no-trunc", "--format", TEMPLATE].map(String::from).into()
}

/// Reads what `docker ps` prints.
#[derive(Default)]
pub struct Listing {
    lines: Lines,
    has_header: bool,
    listed: Listed,
}

/// The containers that docker has listed.
#[derive(Default)]
pub struct Listed {
    /// How many run.
    pub count: usize,
    /// The ids of those, up to [`RUNNING`].
    pub running: Vec<String>,
    /// The ids of the first [`OTHERS`] that don't run. Docker lists the newest first.
    pub others: Vec<String>,
    /// There are more that don't run.
    pub has_more: bool,
}

impl Listing {
    pub fn feed(&mut self, output: &[u8]) {
        self.lines.feed(output, |line| {
            match line.strip_prefix(HEADER) {
                Some(_) => self.has_header = true,
                None => self.listed.add(line),
            };
        });
    }

    /// After the end of the output.
    ///
    /// # Errors
    /// The program that printed it is no docker.
    pub fn end(mut self) -> Result<Listed, &'static str> {
        self.feed(b"\n");
        let no_docker =
            "printed no table of containers: this program is not docker; see VMKIT_DOCKER_BIN";
        self.has_header.then_some(self.listed).ok_or(no_docker)
    }
}

impl Listed {
    /// Takes a line: an id and a status.
    fn add(&mut self, line: &str) {
        let (id, status) = line.split_once(' ').unwrap_or((line, ""));
        if !is_container_name(id) {
            return;
        }
        // `docker ps` without `--all` lists the same: a container that is paused, or waits to be
        // started again, counts as running.
        let status = status.trim_start();
        let runs = status.starts_with("Up") || status.starts_with("Restarting");
        self.count += usize::from(runs);
        let (ids, limit) =
            if runs { (&mut self.running, RUNNING) } else { (&mut self.others, OTHERS) };
        if ids.len() < limit {
            ids.push(id.to_owned());
        } else if !runs {
            self.has_more = true;
        }
    }
}
