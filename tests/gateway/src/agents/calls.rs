//! What REST, MCP and the page ask of an agent: its containers' logs, once or live, and an upgrade.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;

use super::fleet::{Change, Record};
use super::register::{InstanceId, Register};
use super::registry::Unreachable;
use super::rpc;
use super::session::{Order, Outcome, Reply, Ticket};
use super::tail::{Ending, Line, Lines, Reader, tail};
use super::upgrade::{OVERDUE, Upgrade};
use crate::clock::Moment;
use crate::gateway::Gateway;

/// The agent's own deadline is 30 s; the rest is slack for the way.
const LOGS_PATIENCE: Duration = Duration::from_secs(40);
/// The agent's own deadline is 600 s.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(610);

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no instance has this id")]
    Unknown,
    #[error("the agent is not connected")]
    NotConnected,
    #[error("too much waits for this agent already; try again later")]
    Busy,
    #[error("too many followers on this gateway; try again later")]
    TooManyFollowers,
    #[error("too many searches on this gateway; try again later")]
    TooManySearches,
    #[error("the agent of version {version} can't do this: it lacks {capability}")]
    TooOld { version: String, capability: &'static str },
    #[error("an upgrade to {0} is going on")]
    UpgradeGoingOn(String),
    #[error("the agent has not answered in time")]
    Late,
    #[error("the session ended before the agent answered")]
    SessionEnded,
    #[error("the agent answered with an error: {}", .0.message)]
    Agent(rpc::Error),
    #[error("the agent's answer is not what the protocol says: {0}")]
    Nonsense(String),
}

#[derive(Clone, Debug)]
pub struct LogQuery {
    pub container: String,
    pub lines: u32,
    /// RFC 3339: lines older than this are left out.
    pub since: Option<OffsetDateTime>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Logs {
    /// The oldest first.
    pub lines: Vec<Line>,
    /// Whether older lines, or the ends of very long ones, were left out for their size.
    #[serde(default)]
    pub truncated: bool,
}

#[derive(Clone, Debug)]
pub struct UpgradeOrder {
    pub version: String,
    pub download_url: String,
    pub checksum_sha256: String,
}

/// A container's lines as they come. Dropped, it ends the agent's work for it.
pub struct Followed {
    reader: Reader,
    ticket: Ticket,
    orders: mpsc::Sender<Order>,
    _place: OwnedSemaphorePermit,
}

impl Followed {
    pub async fn next(&mut self) -> Result<Lines, Ending> {
        self.reader.next().await
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // If there is no place for it, the session notices at the next line that nobody reads.
        let _ = self.orders.try_send(Order::Cancel(self.ticket));
    }
}

impl From<Unreachable> for CallError {
    fn from(why: Unreachable) -> CallError {
        match why {
            Unreachable::Unknown => CallError::Unknown,
            Unreachable::NotConnected => CallError::NotConnected,
            Unreachable::Busy => CallError::Busy,
        }
    }
}

impl Gateway {
    pub async fn logs(&self, id: &InstanceId, query: &LogQuery) -> Result<Logs, CallError> {
        let register = self.registered(id)?;
        let params = params(query, &register);
        let result = self.call(id, "logs_fetch", params, LOGS_PATIENCE).await?;
        let mut logs: Logs = serde_json::from_value(result)
            .map_err(|error| CallError::Nonsense(error.to_string()))?;
        // An older agent does not know `since`.
        logs.lines.retain(|line| is_since(line, query.since));
        Ok(logs)
    }

    pub fn follow(&self, id: &InstanceId, query: &LogQuery) -> Result<Followed, CallError> {
        let register = self.registered(id)?;
        for capability in ["logs_follow"].into_iter().chain(query.since.map(|_| "logs_since")) {
            if !register.can(capability) {
                return Err(CallError::TooOld { version: register.version, capability });
            }
        }
        let place = self.followers.clone().try_acquire_owned();
        let place = place.map_err(|_| CallError::TooManyFollowers)?;
        let mut params = params(query, &register);
        params["follow"] = json!(true);
        let orders = self.agents.orders(id)?;
        let (writer, reader) = tail();
        let (ticket, reply) = (self.agents.ticket(), Reply::Tail(writer));
        let order = Order::Request { ticket, method: "logs_fetch".to_owned(), params, reply };
        orders.try_send(order).map_err(|_| CallError::Busy)?;
        Ok(Followed { reader, ticket, orders, _place: place })
    }

    /// Returns when the order is on its way; what becomes of it is in the instance's record.
    pub fn upgrade(
        self: &Arc<Gateway>,
        id: &InstanceId,
        order: UpgradeOrder,
        by: String,
    ) -> Result<Upgrade, CallError> {
        let orders = self.agents.orders(id)?;
        let permit = orders.try_reserve_owned().map_err(|_| CallError::Busy)?;
        let asked = self.agents.ask_upgrade(id, &order, by)?;
        let params = json!({"version": order.version, "download_url": order.download_url,
                            "checksum_sha256": order.checksum_sha256});
        let ((sent, is_sent), (respond, answer)) = (oneshot::channel(), oneshot::channel());
        permit.send(Order::Upgrade { ticket: self.agents.ticket(), params, sent, respond });
        let (gateway, id) = (self.clone(), id.clone());
        let requested_at = asked.requested_at;
        tokio::spawn(async move {
            if is_sent.await.is_err() {
                return gateway.agents.apply(&id, Change::UpgradeUnsent { requested_at });
            }
            // An answer that never comes is no answer: the agent goes on without its session.
            if let Ok(Ok(outcome)) = timeout(UPGRADE_PATIENCE, answer).await {
                let outcome = outcome.map(drop);
                gateway.agents.apply(&id, Change::UpgradeAnswered(outcome));
            }
            gateway.watch_upgrade(id, requested_at).await;
        });
        Ok(asked)
    }

    /// Ends an upgrade that has no outcome in its time.
    pub async fn watch_upgrade(&self, id: InstanceId, requested_at: Moment) {
        sleep(OVERDUE.saturating_sub(Moment::now().since(requested_at))).await;
        self.agents.apply(&id, Change::UpgradeOverdue { requested_at });
    }

    /// A request that has one answer.
    pub async fn call(
        &self,
        id: &InstanceId,
        method: &str,
        params: Value,
        patience: Duration,
    ) -> Result<Value, CallError> {
        match timeout(patience, self.ask(id, method, params)?).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(error))) => Err(CallError::Agent(error)),
            Ok(Err(_)) => Err(CallError::SessionEnded),
            Err(_) => Err(CallError::Late),
        }
    }

    /// Sends a request at once. Its answer comes here, or nothing, if the session ends before.
    pub fn ask(
        &self,
        id: &InstanceId,
        method: &str,
        params: Value,
    ) -> Result<oneshot::Receiver<Outcome>, Unreachable> {
        let (respond, answer) = oneshot::channel();
        let (ticket, reply) = (self.agents.ticket(), Reply::Once(respond));
        let order = Order::Request { ticket, method: method.to_owned(), params, reply };
        self.agents.order(id, order)?;
        Ok(answer)
    }

    fn registered(&self, id: &InstanceId) -> Result<Register, CallError> {
        let connected = |record: &Record| record.live.map(|_| record.register.clone());
        self.agents.read(|fleet| {
            let record = fleet.get(id).ok_or(CallError::Unknown)?;
            connected(record).ok_or(CallError::NotConnected)
        })
    }
}

fn params(query: &LogQuery, register: &Register) -> Value {
    let mut params = json!({"container": query.container, "lines": query.lines});
    if let Some(since) = query.since.and_then(|since| since.format(&Rfc3339).ok())
        && register.can("logs_since")
    {
        params["since"] = json!(since);
    }
    params
}

/// A line whose time can't be read is kept.
fn is_since(line: &Line, since: Option<OffsetDateTime>) -> bool {
    let written = OffsetDateTime::parse(&line.ts, &Rfc3339);
    since.is_none_or(|since| written.map_or(true, |written| written >= since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::upgrade::Stage;

    #[tokio::test]
    async fn an_order_to_a_session_that_ends_at_that_moment_has_failed() {
        let gateway = Gateway::in_memory();
        let admitted = gateway.agents.admit();
        let register = json!({"version": "1.0.0", "instance_id": "web-1", "ip": "192.0.2.1",
                              "os": "linux", "arch": "amd64"});
        let register = Register::read(register).unwrap();
        let id = register.instance_id.clone();
        gateway.agents.registered(admitted.number, register).unwrap();
        let order = UpgradeOrder {
            version: "2".to_owned(),
            download_url: "https://releases.example/agent".to_owned(),
            checksum_sha256: "1".repeat(64),
        };
        let mut changes = gateway.agents.changes();
        gateway.upgrade(&id, order, "me".to_owned()).unwrap();
        changes.recv().await.unwrap();
        drop(admitted);
        let told = timeout(Duration::from_secs(10), changes.recv()).await;
        told.expect("the failure is told").unwrap();
        let stage = |record: &Record| record.upgrade.clone().map(|upgrade| upgrade.stage);
        let stage = gateway.agents.read(|fleet| fleet.get(&id).and_then(stage));
        assert!(matches!(stage, Some(Stage::Failed { code: None, .. })), "{stage:?}");
    }
}
