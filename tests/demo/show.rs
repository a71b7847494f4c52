//! The show itself: what is done when, how what happens is told, and whether all of it was seen.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::agent::{Agent, INSTANCE};
use crate::containers::Containers;
use crate::gateway::Gateway;
use crate::rest::{Rest, Shown};
use crate::screen::{Screen, Tone};
use crate::stop::Stop;

/// After the first register; by then a snapshot or two were seen.
const FIRST_LOGS: Duration = Duration::from_secs(4);
const FIRST_DROP: Duration = Duration::from_secs(6);
const FIRST_REST: Duration = Duration::from_secs(9);
const LOGS_EVERY: Duration = Duration::from_secs(10);
const REST_EVERY: Duration = Duration::from_secs(10);
/// What happens just now is told by REST and by the gateway's events, a moment apart.
const REST_AGAIN: Duration = Duration::from_millis(200);
const REST_TRIES: u32 = 10;
/// A session that has lived 60 s is a good one: after it the agent starts over with its backoff.
const DROP_EVERY: Duration = Duration::from_secs(75);

pub struct Show {
    screen: Screen,
    containers: Option<Containers>,
    rest: Rest,
    shown: Shown,
    seen: Seen,
    /// What is due next, and when; nothing before the first register.
    acts: Vec<(Instant, Act)>,
    /// The logs asked for: number of the command, and whose.
    asked: HashMap<u64, String>,
    dropped: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Act {
    Logs(&'static str),
    Drop,
    Rest { tries: u32 },
}

#[derive(Default)]
struct Seen {
    connected: bool,
    registered: bool,
    snapshots: u32,
    logs: bool,
    drop: bool,
    reconnect: bool,
    rest: bool,
    violations: u32,
}

impl Show {
    pub fn new(screen: Screen, containers: Option<Containers>, rest: Rest) -> Show {
        Show {
            screen: screen.restarted(),
            containers,
            rest,
            shown: Shown::default(),
            seen: Seen::default(),
            acts: Vec::new(),
            asked: HashMap::new(),
            dropped: None,
        }
    }

    /// Until it is told to stop.
    pub async fn run(
        &mut self,
        gateway: &mut Gateway,
        agent: &mut Agent,
        stop: &mut Stop,
    ) -> Result<(), String> {
        loop {
            let due = self.acts.iter().map(|(due, _)| *due).min();
            let due = due.unwrap_or_else(|| Instant::now() + LOGS_EVERY);
            tokio::select! {
                () = stop.wait() => return Ok(()),
                line = agent.next() => self.agent_says(&line?),
                line = gateway.next() => self.gateway_says(&line?),
                () = sleep_until(due) => self.act(gateway).await?,
            }
        }
    }

    pub fn agent_says(&self, line: &str) {
        // As journald reads it: `<N>` is the priority.
        let (tone, text) = match line.split_at_checked(3) {
            Some(("<0>" | "<1>" | "<2>" | "<3>", text)) => (Tone::Bad, text),
            Some(("<4>", text)) => (Tone::Warning, text),
            Some(("<5>" | "<6>" | "<7>", text)) => (Tone::Dim, text),
            _ => (Tone::Dim, line),
        };
        self.screen.agent(tone, text);
    }

    /// That everything was seen; the error says what was not.
    pub fn verdict(&self) -> Result<String, String> {
        let logs = self.containers.is_none() || self.seen.logs;
        let all = [
            ("a connection", self.seen.connected),
            ("a register", self.seen.registered),
            ("two snapshots", self.seen.snapshots >= 2),
            ("a container's logs", logs),
            ("a dropped session", self.seen.drop),
            ("the reconnect", self.seen.reconnect),
            ("the same by REST", self.seen.rest),
            ("an agent true to the protocol", self.seen.violations == 0),
        ];
        let missing: Vec<&str> =
            all.iter().filter(|(_, seen)| !seen).map(|(what, _)| *what).collect();
        if !missing.is_empty() {
            return Err(format!("not seen: {}", missing.join(", ")));
        }
        Ok(format!(
            "seen: connected, registered, {} snapshots, {}, a dropped session, the reconnect, \
             and the same by REST",
            self.seen.snapshots,
            if self.seen.logs { "logs" } else { "no logs for want of containers" },
        ))
    }

    async fn act(&mut self, gateway: &mut Gateway) -> Result<(), String> {
        let now = Instant::now();
        let due: Vec<Act> =
            self.acts.extract_if(.., |(due, _)| *due <= now).map(|(_, act)| act).collect();
        for act in due {
            match act {
                Act::Logs(name) => {
                    if let Some(containers) = &self.containers {
                        let full = containers.full_name(name);
                        let number = gateway.command(&format!("logs {INSTANCE} {full} 4")).await?;
                        self.asked.insert(number, name.to_owned());
                    }
                    let next = if name == "web" { "jobs" } else { "web" };
                    self.acts.push((now + LOGS_EVERY, Act::Logs(next)));
                }
                Act::Drop => {
                    self.screen.gateway(Tone::Plain, "drop", "cuts the connection, without a word");
                    gateway.command(&format!("drop {INSTANCE}")).await?;
                    self.acts.push((now + DROP_EVERY, Act::Drop));
                }
                Act::Rest { tries } => self.compare(now, tries).await?,
            }
        }
        Ok(())
    }

    /// REST must tell what was shown.
    async fn compare(&mut self, now: Instant, tries: u32) -> Result<(), String> {
        let mut differs = self.rest.differs(&self.shown).await?;
        if let (None, true, Some(containers)) = (&differs, self.shown.connected, &self.containers)
            && self.rest.log_lines(&containers.full_name("web")).await? == 0
        {
            differs = Some("the log of web is empty by REST".to_owned());
        }
        match differs {
            None => {
                self.seen.rest = true;
                self.screen.gateway(Tone::Plain, "rest", "GET /api/instances/demo says the same");
                self.acts.push((now + REST_EVERY, Act::Rest { tries: 0 }));
                Ok(())
            }
            Some(_) if tries < REST_TRIES => {
                self.acts.push((now + REST_AGAIN, Act::Rest { tries: tries + 1 }));
                Ok(())
            }
            Some(differs) => Err(format!("REST does not tell what was shown: {differs}")),
        }
    }

    fn gateway_says(&mut self, line: &Value) {
        let text = |field: &str| line[field].as_str().unwrap_or("?");
        match line["event"].as_str() {
            Some("connected") => {
                self.seen.connected = true;
                let from = format!("from {}, {}", text("peer"), text("user_agent"));
                self.screen.gateway(Tone::Plain, "connected", &from);
            }
            Some("registered") => {
                let version = text("version");
                self.shown.connected = true;
                self.shown.registers += 1;
                self.shown.version = version.to_owned();
                let system = format!("{}/{}", text("os"), text("arch"));
                self.registered(&format!("{}, version {version}, {system}", text("instance")));
            }
            Some("snapshot") => {
                self.seen.snapshots += 1;
                self.shown.metrics = line["metrics"].clone();
                let snapshot = self.snapshot(&line["metrics"]);
                self.screen.gateway(Tone::Plain, "snapshot", &snapshot);
            }
            Some("disconnected") => {
                self.shown.connected = false;
                if text("reason") == "dropped by command" {
                    self.shown.drops += 1;
                    self.seen.drop = true;
                    self.dropped = Some(Instant::now());
                }
                self.screen.gateway(Tone::Warning, "disconnected", text("reason"));
            }
            Some("violation") => {
                self.seen.violations += 1;
                let what = format!("{}: {}", text("what"), text("text"));
                self.screen.gateway(Tone::Bad, "violation", &what);
            }
            Some(other) => self.screen.gateway(Tone::Bad, other, &line.to_string()),
            None => self.answered(line),
        }
    }

    fn registered(&mut self, what: &str) {
        let now = Instant::now();
        if self.seen.registered {
            let back = self.dropped.take().map_or_else(String::new, |dropped| {
                self.seen.reconnect = true;
                format!(", back after {:.1} s", (now - dropped).as_secs_f64())
            });
            self.screen.gateway(Tone::Good, "registered", &format!("{what}{back}"));
        } else {
            self.seen.registered = true;
            self.acts = vec![
                (now + FIRST_LOGS, Act::Logs("web")),
                (now + FIRST_DROP, Act::Drop),
                (now + FIRST_REST, Act::Rest { tries: 0 }),
            ];
            self.screen.gateway(Tone::Good, "registered", what);
        }
    }

    /// Answers to anything but `logs` say nothing that an event does not.
    fn answered(&mut self, line: &Value) {
        let number = line["command"].as_u64().unwrap_or_default();
        let whose = self.asked.remove(&number);
        if let Some(message) = line["error"]["message"].as_str() {
            return self.screen.gateway(Tone::Bad, "error", message);
        }
        let (Some(whose), Some(lines)) = (whose, line["answer"]["lines"].as_array()) else {
            return;
        };
        self.seen.logs |= !lines.is_empty();
        self.screen.gateway(
            Tone::Plain,
            "logs",
            &format!("the last {} lines of {whose}", lines.len()),
        );
        for line in lines {
            let field = |name: &str| line[name].as_str().unwrap_or("?");
            // The time of day, to the millisecond, is all that fits the eye.
            let time = field("ts").get(11..23).unwrap_or(field("ts"));
            self.screen.more(&format!("{time}  {}", field("text")));
        }
    }

    fn snapshot(&self, metrics: &Value) -> String {
        let share = |name: &str| match metrics[name].as_f64() {
            Some(percentage) => format!("{percentage:.1}%"),
            None => "?".to_owned(),
        };
        let mut text = format!(
            "cpu {:<6} mem {:<6} disk {:<6}",
            share("cpu_pct"),
            share("mem_pct"),
            share("disk_pct")
        );
        if let Some(errors) = metrics["errors"].as_object() {
            let reasons: Vec<&str> = errors.values().filter_map(Value::as_str).collect();
            text += &format!(" {}", reasons.first().unwrap_or(&"with errors"));
        }
        let health = metrics["container_health"].as_object();
        let (mut ours, mut others) = (Vec::new(), 0);
        for (name, health) in health.into_iter().flatten() {
            match self.containers.as_ref().and_then(|all| all.short_name(name)) {
                Some(name) => ours.push(format!("{name} {}", health.as_str().unwrap_or("?"))),
                None => others += 1,
            }
        }
        if others > 0 {
            ours.push(format!("and {others} more"));
        }
        format!("{text} {}", ours.join(", "))
    }
}
