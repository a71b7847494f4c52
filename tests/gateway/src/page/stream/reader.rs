//! One stream's events, made as the browser takes them: what it does not take waits as a mark that
//! something has changed, or, of a container's lines, in a tail that leaves out the oldest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::future::select_all;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::streams::Opened;
use super::topic::{Change, Topic};
use crate::agents::calls::{CallError, Followed, LogQuery};
use crate::agents::register::InstanceId;
use crate::agents::tail::{Ending, Lines};
use crate::api::sse::ending;
use crate::gateway::Gateway;
use crate::page::live::Warnings;
use crate::store::events::{EventId, Page, Part};

/// Containers and instances of one stream.
const LOGS: usize = 8;
const INSTANCES: usize = 64;
/// How far back a stream resumes: whoever was away for longer sees the page anew.
const RESUMED: i64 = 1000;
/// Read from the store at once.
const EVENTS: usize = 100;
/// Between two words that the same has changed.
const INSTANCE_PAUSE: Duration = Duration::from_secs(1);
const FLEET_PAUSE: Duration = Duration::from_secs(5);
/// Between two reads of a store that can't be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

pub struct Reader {
    gateway: Arc<Gateway>,
    opened: Opened,
    ready: VecDeque<Event>,
    after: EventId,
    committed: watch::Receiver<EventId>,
    /// After a read that has failed; what else there is to tell comes meanwhile.
    read_again: Option<Instant>,
    warnings: watch::Receiver<Arc<Warnings>>,
    changes: broadcast::Receiver<InstanceId>,
    fleet: Pace,
    instances: BTreeMap<InstanceId, Pace>,
    logs: Vec<(String, Followed)>,
    _place: OwnedSemaphorePermit,
}

/// When to say next that something has changed.
#[derive(Clone, Copy)]
struct Pace {
    told: Instant,
    changed: bool,
}

impl Reader {
    pub fn new(
        gateway: Arc<Gateway>,
        opened: Opened,
        last: Option<EventId>,
        place: OwnedSemaphorePermit,
    ) -> Reader {
        let mut committed = gateway.store.committed();
        let newest = *committed.borrow();
        let after = last.unwrap_or(newest).clamp((newest - RESUMED).max(0), newest);
        committed.mark_changed();
        let mut warnings = gateway.live.subscribe();
        warnings.mark_changed();
        let hello = event("hello", &json!({"topic": "fleet", "stream": opened.name}));
        // Whoever resumes before anything has happened begins here.
        let hello = hello.id(after.to_string());
        Reader {
            ready: VecDeque::from([hello]),
            after,
            committed,
            read_again: None,
            warnings,
            changes: gateway.agents.changes(),
            fleet: Pace::new(),
            instances: BTreeMap::new(),
            logs: Vec::new(),
            gateway,
            opened,
            _place: place,
        }
    }

    /// `None`: the stream has to end.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let due = self.due();
            tokio::select! {
                change = self.opened.changes.recv() => self.obey(change?),
                committed = self.committed.changed() => {
                    committed.ok()?;
                    self.read_events().await;
                }
                changed = self.warnings.changed() => {
                    changed.ok()?;
                    let warnings = self.warnings.borrow_and_update().clone();
                    self.tell("warnings", "fleet", &*warnings);
                }
                changed = self.changes.recv() => self.mark(changed)?,
                () = at(self.read_again) => self.read_events().await,
                () = at(due) => self.tell_changes(),
                (place, outcome) = next_lines(&mut self.logs), if !self.logs.is_empty() => {
                    self.tell_lines(place, outcome);
                }
            }
        }
    }

    fn obey(&mut self, change: Change) {
        match change {
            Change::Add(_, Topic::Fleet) => {}
            Change::Add(name, Topic::Instance(id)) => {
                if self.instances.len() >= INSTANCES && !self.instances.contains_key(&id) {
                    return self.end(&name, &format!("over {INSTANCES} instances on one stream"));
                }
                // Another tab may have asked for it before, and a change may wait to be told.
                self.instances.entry(id).or_insert_with(Pace::new);
            }
            Change::Add(name, Topic::Logs(id, query)) => self.follow(name, &id, query),
            Change::Remove(name) => {
                self.logs.retain(|(topic, _)| *topic != name);
                if let Some(id) = name.strip_prefix("instance:") {
                    self.instances.retain(|known, _| known.as_str() != id);
                }
            }
        }
    }

    fn follow(&mut self, name: String, id: &InstanceId, query: LogQuery) {
        if self.logs.iter().any(|(topic, _)| *topic == name) {
            return self.tell("following", &name, &json!({}));
        }
        if self.logs.len() >= LOGS {
            return self.end(&name, &format!("over {LOGS} containers on one stream"));
        }
        let followed = match self.gateway.follow(id, &query) {
            // An older agent can follow, but not from a time on.
            Err(CallError::TooOld { capability: "logs_since", .. }) => {
                self.gateway.follow(id, &LogQuery { since: None, ..query })
            }
            other => other,
        };
        match followed {
            Ok(followed) => {
                self.tell("following", &name, &json!({}));
                self.logs.push((name, followed));
            }
            Err(error) => self.end(&name, &error.to_string()),
        }
    }

    async fn read_events(&mut self) {
        let newest = *self.committed.borrow_and_update();
        let page =
            Page { instance: None, part: Part::Between(self.after, EventId::MAX), limit: EVENTS };
        let Ok(events) = self.gateway.store.events(page).await else {
            self.read_again = Some(Instant::now() + READ_PAUSE);
            return;
        };
        self.read_again = None;
        match events.last() {
            None => self.after = self.after.max(newest),
            Some(last) => {
                self.after = last.id;
                if events.len() == EVENTS {
                    self.committed.mark_changed();
                }
            }
        }
        for stored in events {
            let id = stored.id.to_string();
            self.ready
                .push_back(event("event", &json!({"topic": "fleet", "event": stored})).id(id));
        }
    }

    fn mark(&mut self, changed: Result<InstanceId, RecvError>) -> Option<()> {
        self.fleet.changed = true;
        match changed {
            Ok(id) => {
                if let Some(pace) = self.instances.get_mut(&id) {
                    pace.changed = true;
                }
            }
            // Too many have changed to know which.
            Err(RecvError::Lagged(_)) => {
                self.instances.values_mut().for_each(|pace| pace.changed = true);
            }
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }

    fn due(&self) -> Option<Instant> {
        let instances = self.instances.values().filter_map(|pace| pace.due(INSTANCE_PAUSE));
        instances.chain(self.fleet.due(FLEET_PAUSE)).min()
    }

    fn tell_changes(&mut self) {
        let now = Instant::now();
        if self.fleet.is_due(FLEET_PAUSE, now) {
            self.tell("changed", "fleet", &json!({}));
        }
        let mut changed = Vec::new();
        for (id, pace) in &mut self.instances {
            if pace.is_due(INSTANCE_PAUSE, now) {
                changed.push(format!("instance:{id}"));
            }
        }
        for topic in changed {
            self.tell("changed", &topic, &json!({}));
        }
    }

    fn tell_lines(&mut self, place: usize, outcome: Result<Lines, Ending>) {
        let Some((topic, _)) = self.logs.get(place) else {
            return;
        };
        let topic = topic.clone();
        match outcome {
            Ok(lines) => {
                self.tell("lines", &topic, &lines);
                // The others come first now: a flood in one container must not silence them.
                self.logs.rotate_left(place + 1);
            }
            Err(why) => {
                self.logs.remove(place);
                self.tell("end", &topic, &ending(&why));
            }
        }
    }

    fn end(&mut self, topic: &str, why: &str) {
        self.tell("end", topic, &json!({"ended": "error", "detail": why}));
    }

    /// `data` is a JSON object.
    fn tell(&mut self, name: &str, topic: &str, data: &impl Serialize) {
        #[derive(Serialize)]
        struct Told<'a, T> {
            topic: &'a str,
            #[serde(flatten)]
            data: &'a T,
        }
        self.ready.push_back(event(name, &Told { topic, data }));
    }
}

impl Pace {
    fn new() -> Pace {
        Pace { told: Instant::now(), changed: false }
    }

    fn due(&self, pause: Duration) -> Option<Instant> {
        self.changed.then_some(self.told + pause)
    }

    /// Told then.
    fn is_due(&mut self, pause: Duration, now: Instant) -> bool {
        let due = self.due(pause).is_some_and(|due| due <= now);
        if due {
            *self = Pace { told: now, changed: false };
        }
        due
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).data(text)
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Of whichever has some first. Safe to cancel. Not to be called with none.
async fn next_lines(logs: &mut [(String, Followed)]) -> (usize, Result<Lines, Ending>) {
    let all = logs.iter_mut().map(|(_, followed)| Box::pin(followed.next()));
    let (outcome, place, _) = select_all(all).await;
    (place, outcome)
}
