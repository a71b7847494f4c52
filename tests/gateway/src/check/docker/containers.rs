//! `docker ps` and `docker inspect` of the stand-in.

use std::collections::HashSet;
use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};

/// A container as `inspect` tells it.
pub struct Container {
    pub name: String,
    id: String,
    status: &'static str,
    pub health: Option<&'static str>,
    exit_code: i64,
}

impl Container {
    pub fn runs(&self) -> bool {
        self.status == "running"
    }
}

/// The containers of a mode of the stand-in. Each name is at most 128 characters.
pub fn containers(mode: &str) -> Vec<Container> {
    let crowd = |count: usize, length: usize| -> Vec<Container> {
        let name = |number: usize| format!("kit-crowd-{number:0width$}", width = length - 10);
        (0..count).map(|number| container(number, name(number), "running", None)).collect()
    };
    match mode {
        // 5000 objects of some 300 bytes; the names and their health alone are 600 kB.
        "Crowd" => crowd(5000, 100),
        "Throng" => crowd(9900, 126),
        _ => vec![
            container(0, "kit-healthy".into(), "running", Some("healthy")),
            container(1, "kit-unhealthy".into(), "running", Some("unhealthy")),
            container(2, "kit-starting".into(), "running", Some("starting")),
            container(3, "kit-plain".into(), "running", None),
            container(4, "kit-exited".into(), "exited", None),
        ],
    }
}

fn container(
    number: usize,
    name: String,
    status: &'static str,
    health: Option<&'static str>,
) -> Container {
    let exit_code = if status == "exited" { 3 } else { 0 };
    Container { name, id: format!("{:064x}", 0xc0ff_ee00 + number), status, health, exit_code }
}

pub fn ps(mode: &str) -> u8 {
    let mut text = String::from("CONTAINER ID STATUS\n");
    for container in containers(mode) {
        let status = if container.runs() { "Up 5 minutes" } else { "Exited (3) 2 minutes ago" };
        text += &format!("{} {status}\n", container.id);
    }
    printed(&text)
}

pub fn inspect(mode: &str, words: &[String]) -> u8 {
    let by_format = words.iter().any(|word| word.starts_with("--format") || word == "-f");
    let all = containers(mode);
    let words: HashSet<&String> = words.iter().collect();
    let asked = all.iter().filter(|c| words.contains(&c.id) || words.contains(&c.name));
    match by_format {
        true => printed(&asked.map(|container| row(container) + "\n").collect::<String>()),
        false => printed(&Value::Array(asked.map(whole).collect()).to_string()),
    }
}

const IMAGE: &str = "kit:1";
const STARTED: &str = "2026-01-01T00:00:00.5Z";

/// The line of the one template that the stand-in knows: id, name, image, state, health, exit code,
/// restarts, whether memory ran out, and the last start.
fn row(container: &Container) -> String {
    let Container { name, id, status, health, exit_code } = container;
    let health = health.unwrap_or_default();
    json!([id, format!("/{name}"), IMAGE, status, health, exit_code, 0, false, STARTED]).to_string()
}

fn whole(container: &Container) -> Value {
    let Container { name, id, status, health, exit_code } = container;
    let mut state = json!({"Status": status, "Running": container.runs(), "ExitCode": exit_code,
                           "OOMKilled": false, "StartedAt": STARTED});
    if let Some(health) = health {
        state["Health"] = json!({"Status": health});
    }
    json!({"Id": id, "Name": format!("/{name}"), "Config": {"Image": IMAGE}, "State": state,
           "RestartCount": 0})
}

fn printed(text: &str) -> u8 {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    u8::from(printed.is_err())
}
