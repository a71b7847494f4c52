//! The warning of lost agents, found out once for all open tabs whenever an agent comes or goes.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use maud::{Markup, html};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::visitor::Allowed;
use super::words;
use crate::agents::register::InstanceId;
use crate::agents::status::{Warning, status};
use crate::api::identity::Read;
use crate::clock::Moment;
use crate::gateway::Gateway;

/// Between two looks at the whole fleet, whatever comes and goes.
const PAUSE: Duration = Duration::from_millis(250);
/// Of those that are named.
const NAMED: usize = 5;

/// What every page says of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Warnings {
    pub lost: usize,
    /// The latest first.
    pub agents: Vec<Lost>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lost {
    pub id: InstanceId,
    pub path: String,
    pub since: Moment,
    pub text: String,
}

pub struct Live(watch::Sender<Arc<Warnings>>);

impl Default for Live {
    fn default() -> Live {
        Live(watch::Sender::new(Arc::default()))
    }
}

impl Live {
    pub fn warnings(&self) -> Arc<Warnings> {
        self.0.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<Arc<Warnings>> {
        self.0.subscribe()
    }
}

/// The warning alone, for a page that is open.
pub async fn show(_: Allowed<Read>, State(gateway): State<Arc<Gateway>>) -> Markup {
    gateway.live.warnings().banner()
}

/// For ever.
pub async fn keep(gateway: Arc<Gateway>) {
    let mut changed = gateway.agents.coming_and_going();
    loop {
        changed.borrow_and_update();
        let warnings = Arc::new(find(&gateway, Moment::now()));
        gateway.live.0.send_if_modified(|before| {
            let differs = *before != warnings;
            if differs {
                *before = warnings;
            }
            differs
        });
        sleep(PAUSE).await;
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn find(gateway: &Gateway, now: Moment) -> Warnings {
    let mut lost: Vec<(InstanceId, Warning)> = gateway.agents.read(|fleet| {
        let all = fleet.iter().map(|record| (&record.register.instance_id, status(record, now)));
        all.filter_map(|(id, status)| Some((id.clone(), status.warning?))).collect()
    });
    lost.sort_by_key(|(_, warning)| Reverse(warning.since));
    let count = lost.len();
    lost.truncate(NAMED);
    let agents = lost.into_iter().map(|(id, warning)| Lost {
        path: words::instance_path(id.as_str()),
        id,
        since: warning.since,
        text: warning.text,
    });
    Warnings { lost: count, agents: agents.collect() }
}

impl Warnings {
    /// There also while nothing is wrong, so that a reader of the screen hears what comes into it.
    pub fn banner(&self) -> Markup {
        html! {
            section.warnings #warnings aria-label="Lost agents" aria-live="polite" {
                @if self.lost > 0 { div {
                    p { strong {
                        (words::count(self.lost))
                        @if self.lost == 1 { " agent is lost" } @else { " agents are lost" }
                    } }
                    ul {
                        @for agent in &self.agents {
                            li {
                                a href=(agent.path) { (agent.id) }
                                " since " (words::time(agent.since, &words::minute(agent.since)))
                                ": " (agent.text)
                            }
                        }
                        @if self.lost > self.agents.len() {
                            li { a href="/?show=lost" {
                                "and " (words::count(self.lost - self.agents.len())) " more"
                            } }
                        }
                    }
                } }
            }
        }
    }
}
