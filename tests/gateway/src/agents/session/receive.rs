//! What an agent's frames mean: its messages, its register, its pongs, and where it departs from
//! the protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::{Message, close_code};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::requests::{Answered, Chunk};
use super::{End, MESSAGE_LIMIT, Outcome, Session};
use crate::agents::fleet::Change;
use crate::agents::register::{Register, RollBack};
use crate::agents::rpc;
use crate::agents::snapshot::Snapshot;
use crate::clock::Moment;

/// Of a text that is no good, in a `violation`.
const SHOWN: usize = 200;

impl Session {
    pub(super) async fn receive(
        &mut self,
        received: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
        // An end or an error comes from the network as well as from the agent.
        if matches!(received, Some(Ok(_))) {
            self.heard();
        }
        match received {
            None => Err(End::Gone("the connection ended without a close".to_owned())),
            Some(Err(error)) => Err(End::Gone(error.to_string())),
            Some(Ok(Message::Text(text))) if text.len() > MESSAGE_LIMIT => {
                Err(End::Close(close_code::SIZE, format!("a message of {} bytes", text.len())))
            }
            Some(Ok(Message::Text(text))) => self.message(text.as_str()).await,
            Some(Ok(Message::Binary(_))) => {
                Err(End::Close(close_code::UNSUPPORTED, "a binary frame".to_owned()))
            }
            // The pong is already on its way: the library answers.
            Some(Ok(Message::Ping(_))) => Ok(()),
            Some(Ok(Message::Pong(payload))) => {
                self.pong(&payload);
                Ok(())
            }
            Some(Ok(Message::Close(frame))) => Err(End::Gone(match frame {
                Some(frame) => format!("closed by the agent: {} {}", frame.code, frame.reason),
                None => "closed by the agent without a code".to_owned(),
            })),
        }
    }

    fn heard(&mut self) {
        if let Some(instance) = &self.instance {
            self.gateway.agents.apply(instance, Change::Heard { session: self.number });
        }
        self.last_frame = Instant::now();
    }

    async fn message(&mut self, text: &str) -> Result<(), End> {
        // All the agent sends is newline-delimited JSON: one newline, and that at the end.
        if text.find('\n') != Some(text.len().wrapping_sub(1)) {
            self.violation("the message does not end in its only newline", text);
        }
        match rpc::parse(text) {
            Err(error) => self.violation(&error, text),
            Ok(rpc::Message::Request { id, method, params }) => {
                let outcome = match method.as_str() {
                    "register" => self.register(params),
                    _ => Err(error(rpc::METHOD_NOT_FOUND, format!("no method {method}"))),
                };
                let accepted = outcome.is_ok();
                self.send(Message::text(rpc::response(&id, outcome))).await?;
                if accepted {
                    // The first sample is due at once: nobody likes to look at an empty page.
                    self.poll = self.gateway.clocks.poll.map(|_| Instant::now());
                }
            }
            Ok(rpc::Message::Notification { method, params }) => {
                return self.notified(method, params).await;
            }
            Ok(rpc::Message::Response { id, outcome }) => {
                match self.requests.answer(id.as_deref().map(|id| id.get()), outcome) {
                    Answered::Delivered => {}
                    Answered::Failed { method, error } => {
                        let fields = json!({"method": method, "error": error});
                        self.event("request_failed", fields);
                    }
                    Answered::Unmatched => self.event("unmatched", json!({"text": text})),
                }
            }
        }
        Ok(())
    }

    fn register(&mut self, params: Value) -> Outcome {
        if self.instance.is_some() {
            return Err(error(rpc::INVALID_REQUEST, "this session is registered".to_owned()));
        }
        let register = Register::read(params)
            .map_err(|wrong| error(rpc::INVALID_PARAMS, format!("register: {wrong}")))?;
        if self.gateway.switches.refuse_register.load(Ordering::Relaxed) {
            return Err(error(rpc::REFUSED, "register refused by command".to_owned()));
        }
        let id = register.instance_id.clone();
        if !self.identity.may_be(&id) {
            let message = format!("this token is for another instance than {id}");
            return Err(error(rpc::REFUSED, message));
        }
        let registered = self.gateway.agents.registered(self.number, register);
        registered.map_err(|full| error(rpc::REFUSED, full.to_owned()))?;
        self.instance = Some(id);
        Ok(json!({"ok": true}))
    }

    async fn notified(&mut self, method: String, mut params: Value) -> Result<(), End> {
        let Some(instance) = self.instance.clone() else {
            self.violation("a notification without an accepted register", &method);
            return Ok(());
        };
        match method.as_str() {
            "health_snapshot" => match Snapshot::read(params.clone(), Moment::now()) {
                Ok(snapshot) => {
                    let (session, snapshot) = (self.number, Arc::new(snapshot));
                    let change = Change::Snapshot { session, snapshot };
                    self.gateway.agents.apply(&instance, change);
                    self.event("snapshot", json!({"metrics": params}));
                }
                Err(wrong) => self.violation(&format!("health_snapshot: {wrong}"), ""),
            },
            "logs_chunk" => match self.requests.chunk(&mut params) {
                Ok(Chunk::Delivered) => {}
                Ok(Chunk::Unwanted(ticket)) => return self.cancel(ticket).await,
                Ok(Chunk::Other) => self.told(&method, params),
                Err(wrong) => self.violation(&format!("logs_chunk: {wrong}"), ""),
            },
            "upgrade_progress" => {
                let (bytes, total) = (params["bytes"].as_u64(), params["total"].as_u64());
                let (session, bytes) = (self.number, bytes.unwrap_or(0));
                let change = Change::UpgradeProgress { session, bytes, total };
                self.gateway.agents.apply(&instance, change);
                self.told(&method, params);
            }
            "upgrade_rolled_back" => {
                match RollBack::read(params.clone()) {
                    Ok(roll_back) => {
                        let change = Change::RolledBack { session: self.number, roll_back };
                        self.gateway.agents.apply(&instance, change);
                    }
                    Err(wrong) => self.violation(&format!("upgrade_rolled_back: {wrong}"), ""),
                }
                self.told(&method, params);
            }
            _ => self.event("unknown_notification", json!({"method": method, "params": params})),
        }
        Ok(())
    }

    fn told(&self, method: &str, params: Value) {
        self.event("notification", json!({"method": method, "params": params}));
    }

    fn pong(&mut self, payload: &[u8]) {
        let Ok(id) = payload.try_into().map(u64::from_be_bytes) else {
            return self.violation("a pong with another payload than its ping", "");
        };
        // A pong answers all pings up to its own (RFC 6455, 5.5.3).
        let later = self.pings.split_off(&(id.saturating_add(1)));
        for (_, (sent, respond)) in std::mem::replace(&mut self.pings, later) {
            if let Some(respond) = respond {
                let _ = respond.send(sent.elapsed());
            }
        }
    }

    fn violation(&self, what: &str, text: &str) {
        let text: String = text.chars().take(SHOWN).collect();
        self.event("violation", json!({"what": what, "text": text}));
    }
}

fn error(code: i64, message: String) -> rpc::Error {
    rpc::Error { code, message }
}
