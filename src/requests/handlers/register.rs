//! `register`: the first message of every session, and whether the gateway acknowledged it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::host::version::{ARCH, VERSION};
use crate::wire::rpc::{self, Response};

/// How long the gateway may take to acknowledge.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The id of the only request that the agent makes, once a session.
const ID: u64 = 1;

#[derive(Serialize)]
struct Params<'a> {
    version: &'a str,
    instance_id: &'a str,
    ip: String,
    os: &'a str,
    arch: &'a str,
}

/// The message. `ip` is this session's address on this machine.
pub fn request(config: &Config, ip: IpAddr) -> String {
    let params = Params {
        version: VERSION,
        instance_id: &config.instance_id,
        ip: ip.to_string(),
        os: "linux",
        arch: ARCH,
    };
    rpc::request(ID, "register", &params)
}

/// Whether `response` is the answer to [`request`].
pub fn answers(response: &Response) -> bool {
    response.id.as_ref().is_some_and(|id| id.json() == ID.to_string())
}

/// Whether the gateway has accepted this agent.
///
/// # Errors
/// What the gateway answered instead.
pub fn acknowledged(response: &Response) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Acknowledgement {
        ok: bool,
    }
    #[derive(Deserialize)]
    struct Refusal {
        code: i64,
        message: String,
    }
    match &response.outcome {
        Ok(result) => match rpc::params(Some(result)) {
            Ok(Acknowledgement { ok: true }) => Ok(()),
            _ => Err(format!("register answered {}", shown(result.get()))),
        },
        Err(error) => Err(match serde_json::from_str(error.get()) {
            Ok(Refusal { code, message }) => format!("error {code}: {}", shown(&message)),
            Err(_) => format!("error {}", shown(error.get())),
        }),
    }
}

/// A text of the gateway's, for the log: one line of bounded length.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(300).collect();
    text.escape_debug().to_string().replace("\\\"", "\"")
}
