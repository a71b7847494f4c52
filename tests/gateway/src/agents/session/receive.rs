//! What an agent's frames mean: its messages, its register, its pongs, and where it departs from
//! the protocol.

use std::sync::atomic::Ordering;

use axum::extract::ws::{Message, close_code};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{End, MESSAGE_LIMIT, Outcome, Session, every};
use crate::agents::rpc::{self, Register};

impl Session {
    pub(super) async fn receive(
        &mut self,
        received: Option<Result<Message, axum::Error>>,
    ) -> Result<(), End> {
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
            Some(Ok(Message::Ping(_))) => {
                self.last_agent_ping = Instant::now();
                Ok(())
            }
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
                    self.poll =
                        self.gateway.clocks.poll.map(|period| every(period, Instant::now()));
                }
            }
            Ok(rpc::Message::Notification { method, params }) => self.notified(method, params),
            Ok(rpc::Message::Response { id, outcome }) => {
                match id.and_then(|id| self.requests.remove(id.get())) {
                    Some((_, Some(respond))) => drop(respond.send(outcome)),
                    Some((method, None)) => {
                        if let Err(error) = outcome {
                            let fields = json!({"method": method, "error": error});
                            self.event("request_failed", fields);
                        }
                    }
                    None => self.event("unmatched", json!({"text": text})),
                }
            }
        }
        Ok(())
    }

    fn register(&mut self, params: Value) -> Outcome {
        if self.instance.is_some() {
            return Err(error(rpc::INVALID_REQUEST, "this session is registered".to_owned()));
        }
        let register: Register = serde_json::from_value(params)
            .map_err(|wrong| error(rpc::INVALID_PARAMS, format!("register: {wrong}")))?;
        if self.gateway.refuse_register.load(Ordering::Relaxed) {
            return Err(error(rpc::REFUSED, "register refused by command".to_owned()));
        }
        self.instance = Some(register.instance_id.clone());
        self.gateway.registered(self.number, register, self.orders.clone());
        Ok(json!({"ok": true}))
    }

    fn notified(&mut self, method: String, params: Value) {
        let Some(instance) = &self.instance else {
            return self.violation("a notification before register was acknowledged", &method);
        };
        match method.as_str() {
            "health_snapshot" => {
                self.gateway.snapshot(instance, params.clone());
                self.event("snapshot", json!({"metrics": params}));
            }
            "logs_chunk" | "upgrade_progress" | "upgrade_rolled_back" => {
                self.event("notification", json!({"method": method, "params": params}));
            }
            _ => self.event("unknown_notification", json!({"method": method, "params": params})),
        }
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
        let text: String = text.chars().take(200).collect();
        self.event("violation", json!({"what": what, "text": text}));
    }
}

fn error(code: i64, message: String) -> rpc::Error {
    rpc::Error { code, message }
}
