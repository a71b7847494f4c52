//! The logger: which lines are written, and what is taken out of them.

use std::sync::Mutex;
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::limit::{About, Limit};
use super::sink::Sink;
use crate::config::Token;

/// The target of a line about what a gateway has sent, and what came of it.
pub const PEER: &str = "vmkit_agent::peer";
/// The target of a line about a session's beginning or end.
pub const SESSION: &str = "vmkit_agent::session";

/// How the target of each of the agent's own lines begins.
const TARGET: &str = "vmkit_agent";

/// The token that no line may hold. A mutex, because `log` takes loggers for several threads alone.
static SECRET: Mutex<Option<Token>> = Mutex::new(None);

/// From now on no line holds this token.
pub fn hide(token: &Token) {
    if let Ok(mut secret) = SECRET.lock() {
        *secret = Some(token.clone());
    }
}

/// Installs the logger.
pub fn start(level: LevelFilter) {
    let logger = Logger { sink: Sink::find(), limit: Mutex::default() };
    let logger = Box::leak(Box::new(logger));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

struct Logger {
    sink: Sink,
    limit: Mutex<Limit>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with(TARGET)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let about = match record.target() {
            PEER => Some(About::Message),
            SESSION => Some(About::Session),
            _ => None,
        };
        if let Ok(mut limit) = self.limit.lock() {
            let now = Instant::now();
            if let Some(count) = limit.left_out(now, about.is_none()) {
                let count = format!("{count} lines about the gateway's messages were left out");
                self.write(Level::Info, count);
            }
            if about.is_some_and(|about| !limit.admits(now, about)) {
                return;
            }
        }
        self.write(record.level(), record.args().to_string());
    }

    fn flush(&self) {}
}

impl Logger {
    fn write(&self, level: Level, message: String) {
        // A message may repeat the words of others; it stays one line all the same.
        let mut message = message.replace(char::is_control, " ");
        if let Ok(secret) = SECRET.lock()
            && let Some(token) = &*secret
        {
            message = token.blot_out(message);
        }
        self.sink.write(level, &message);
    }
}
