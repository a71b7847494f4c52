//! `register`: the first message of every session, and whether the gateway acknowledged it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::{Config, Labels};
use crate::host::facts::Facts;
use crate::host::process;
use crate::host::version::{self, ARCH, VERSION};
use crate::upgrade::told::Told;
use crate::wire::limits::RETRY_AFTER_CAP;
use crate::wire::rpc::{self, Response};

/// How long the gateway may take to acknowledge.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The id of the only request that the agent makes, once a session.
const ID: u32 = 1;

/// The number of the protocol. Only what an old gateway could not survive would raise it.
const PROTOCOL: u32 = 1;
/// What this agent can do of what the protocol leaves open.
const CAPABILITIES: [&str; 4] = ["logs_follow", "logs_since", "containers", "host"];

#[derive(Serialize)]
struct Params<'a> {
    version: &'a str,
    instance_id: &'a str,
    ip: String,
    os: &'a str,
    arch: &'a str,
    protocol: u32,
    capabilities: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<&'a str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    boot_id: String,
    labels: &'a Labels,
    host: Facts,
    upgrade: &'a Told<'a>,
}

/// What a gateway answered that did not accept this agent.
pub struct Refusal {
    pub why: String,
    /// The gateway asks not to be dialed earlier.
    pub retry_after: Option<Duration>,
}

/// The message. `ip` is this session's address on this machine.
pub fn request(config: &Config, ip: IpAddr, upgrade: &Told) -> String {
    let params = Params {
        version: VERSION,
        instance_id: &config.instance_id,
        ip: ip.to_string(),
        os: "linux",
        arch: ARCH,
        protocol: PROTOCOL,
        capabilities: &CAPABILITIES,
        build: version::build(),
        boot_id: process::kernel_boot(),
        labels: &config.labels,
        host: Facts::read(),
        upgrade,
    };
    rpc::request(ID.into(), "register", &params)
}

/// Whether `response` is the answer to [`request`].
pub fn answers(response: &Response) -> bool {
    // By value: some gateways keep numbers as doubles, and answer 1.0.
    response.id.as_ref().is_some_and(|id| {
        serde_json::from_str::<f64>(id.json()).is_ok_and(|id| id == f64::from(ID))
    })
}

/// Whether the gateway has accepted this agent.
///
/// # Errors
/// What the gateway answered instead.
pub fn acknowledged(response: &Response) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Acknowledgement {
        ok: bool,
    }
    #[derive(Deserialize)]
    struct Error {
        code: i64,
        message: String,
    }
    let refusal = |why| Refusal { why, retry_after: None };
    match &response.outcome {
        Ok(result) => match rpc::params(Some(result)) {
            Ok(Acknowledgement { ok: true }) => Ok(()),
            _ => Err(refusal(format!("register answered {}", shown(result.get())))),
        },
        Err(error) => {
            let why = match serde_json::from_str(error.get()) {
                Ok(Error { code, message }) => format!("error {code}: {}", shown(&message)),
                Err(_) => format!("error {}", shown(error.get())),
            };
            Err(Refusal { why, retry_after: retry_after(error) })
        }
    }
}

/// How long the error's data asks to wait, whatever else the error holds. Anything but a number of
/// seconds is ignored.
fn retry_after(error: &RawValue) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Data {
        retry_after: f64,
    }
    let Error { data } = rpc::params(Some(error)).ok()?;
    let Data { retry_after: seconds } = rpc::params(Some(data)).ok()?;
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(RETRY_AFTER_CAP.as_secs_f64())))
}

/// A text of the gateway's, for the log: one line of bounded length.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(300).collect();
    text.escape_debug().to_string().replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str) -> Refusal {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
        match rpc::parse(&text) {
            Ok(rpc::Incoming::Response(response)) => acknowledged(&response).unwrap_err(),
            _ => panic!("no response: {text}"),
        }
    }

    #[test]
    fn an_answer_has_the_id_by_value() {
        let is_answer = |id: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
            match rpc::parse(&text) {
                Ok(rpc::Incoming::Response(response)) => answers(&response),
                _ => false,
            }
        };
        assert!(["1", "1.0", "1e0"].into_iter().all(&is_answer));
        assert!(!["2", "1.5", "\"1\"", "null"].into_iter().any(&is_answer));
    }

    #[test]
    fn a_refusal_may_ask_for_patience() {
        let asked = |data: &str| {
            let refusal = refused(&format!(r#"{{"code":-32000,"message":"full","data":{data}}}"#));
            assert_eq!(refusal.why, "error -32000: full");
            refusal.retry_after
        };
        assert_eq!(asked(r#"{"retry_after":7,"more":1}"#), Some(Duration::from_secs(7)));
        assert_eq!(asked(r#"{"retry_after":0.5}"#), Some(Duration::from_millis(500)));
        assert_eq!(asked(r#"{"retry_after":1e300}"#), Some(RETRY_AFTER_CAP));
        for data in
            ["null", "7", "[]", "{}", "[7]", r#"{"retry_after":-1}"#, r#"{"retry_after":"7"}"#]
        {
            assert_eq!(asked(data), None, "{data}");
        }
        assert_eq!(refused(r#"{"code":1,"message":"x"}"#).retry_after, None);
        for sloppy in ["", r#""code":1,"message":null,"#, r#""code":"1","message":"x","#] {
            let error = format!(r#"{{{sloppy}"data":{{"retry_after":7}}}}"#);
            assert_eq!(refused(&error).retry_after, Some(Duration::from_secs(7)), "{error}");
        }
        assert_eq!(refused("7").why, "error 7");
    }
}
