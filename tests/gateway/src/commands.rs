//! Standard input, a command a line. Each takes effect in its turn and gets exactly one answer,
//! when it is done: a slow one holds up none after it, and answers carry the number of their line.

use std::future::Future;
use std::io::BufRead;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::access::scope::Scopes;
use crate::agents::calls::CallError;
use crate::agents::register::InstanceId;
use crate::agents::registry::{Unforgotten, Unreachable};
use crate::agents::session::Order;
use crate::agents::view::Instance;
use crate::clock::Moment;
use crate::gateway::{Gateway, Refusal};
use crate::output;
use crate::page;

const HELP: &[&str] = &[
    "instances                                 all that is known of every instance",
    "metrics INSTANCE                          metrics_collect",
    "logs INSTANCE CONTAINER [LINES] [stream]  logs_fetch",
    "upgrade INSTANCE VERSION URL SHA256       agent_upgrade",
    "request INSTANCE METHOD [JSON]            any method, with any parameters",
    "send INSTANCE TEXT                        a text message as it is; responses: event unmatched",
    "ping INSTANCE                             how many milliseconds its pong takes",
    "wait-connected INSTANCE SECS              until it is registered",
    "drop INSTANCE                             end its TCP connection without a close",
    "close INSTANCE CODE                       close its session",
    "mute on|off                               read nothing, send nothing unasked, not even pongs",
    "refuse-register on|off                    answer register with an error",
    "refuse-upgrade STATUS [RETRY-AFTER]|off   answer WebSocket upgrades with an HTTP status",
    "forget INSTANCE                           a lost instance, and all that is stored of it",
    "sign-in-link [SCOPES]                     a URL of the page that signs in once, within 10 min",
    "sign-out-all                              end all sessions of the page",
    "quit                                      close every session with 1001, and end",
];

type Outcome = Result<Value, Value>;

enum Step {
    Done(Value),
    Wait(Pin<Box<dyn Future<Output = Outcome> + Send>>),
    Quit,
}

/// Returns at `quit` or the end of standard input.
pub async fn run(gateway: Arc<Gateway>) {
    let mut lines = lines();
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        number += 1;
        match start(&gateway, line.trim()) {
            Ok(Step::Done(answer)) => output::answer(number, Ok(answer)),
            Ok(Step::Wait(outcome)) => {
                tokio::spawn(async move { output::answer(number, outcome.await) });
            }
            Ok(Step::Quit) => return output::answer(number, Ok(json!({"ok": true}))),
            Err(message) => output::answer(number, Err(json!({"message": message}))),
        }
    }
}

/// By a thread of its own, which the end of `main` does not wait for; a read of tokio's would be.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn start(gateway: &Arc<Gateway>, line: &str) -> Result<Step, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let done = || Ok(Step::Done(json!({"ok": true})));
    match words[..] {
        ["help"] => Ok(Step::Done(json!(HELP))),
        ["instances"] => Ok(Step::Done(instances(gateway))),
        ["metrics", instance] => request(gateway, instance, "metrics_collect", json!({})),
        ["logs", instance, container] => logs(gateway, instance, container, None, false),
        ["logs", instance, container, "stream"] => logs(gateway, instance, container, None, true),
        ["logs", instance, container, lines] => {
            logs(gateway, instance, container, Some(lines), false)
        }
        ["logs", instance, container, lines, "stream"] => {
            logs(gateway, instance, container, Some(lines), true)
        }
        ["upgrade", instance, version, url, sha256] => {
            let params =
                json!({"version": version, "download_url": url, "checksum_sha256": sha256});
            request(gateway, instance, "agent_upgrade", params)
        }
        ["request", instance, method] => request(gateway, instance, method, json!({})),
        ["request", instance, method, ..] => {
            let params = serde_json::from_str(after(line, 3))
                .map_err(|error| format!("the parameters are not JSON: {error}"))?;
            request(gateway, instance, method, params)
        }
        ["send", instance, _, ..] => {
            order(gateway, instance, Order::Send(after(line, 2).to_owned()))?;
            done()
        }
        ["ping", instance] => {
            let (respond, pong) = oneshot::channel();
            order(gateway, instance, Order::Ping(respond))?;
            Ok(wait(async move {
                let took = pong.await.map_err(|_| json!({"message": "the session ended"}))?;
                Ok(json!({"ms": milliseconds(took)}))
            }))
        }
        ["wait-connected", instance, seconds] => {
            let patience = Duration::from_secs(number(seconds)?);
            Ok(wait(connected(gateway.clone(), id(instance)?, patience)))
        }
        ["drop", instance] => {
            dismiss(gateway, instance, Order::Drop, "dropped by command")?;
            done()
        }
        ["close", instance, code] => {
            let reason = format!("closed by command: {code}");
            let close = Order::Close(number(code)?, "closed by command".to_owned());
            dismiss(gateway, instance, close, &reason)?;
            done()
        }
        ["mute", switch] => {
            gateway.switches.mute.send_replace(on(switch)?);
            done()
        }
        ["refuse-register", switch] => {
            gateway.switches.refuse_register.store(on(switch)?, Ordering::Relaxed);
            done()
        }
        ["refuse-upgrade", "off"] => {
            *gateway.switches.refuse_upgrade.lock() = None;
            done()
        }
        ["refuse-upgrade", status, ref retry_after @ ..] if retry_after.len() <= 1 => {
            let status =
                StatusCode::from_u16(number(status)?).map_err(|error| error.to_string())?;
            let retry_after = retry_after.first().map(|text| number(text)).transpose()?;
            *gateway.switches.refuse_upgrade.lock() = Some(Refusal { status, retry_after });
            done()
        }
        ["forget", _, ..] => forget(gateway, after(line, 1)),
        ["sign-in-link"] => sign_in_link(gateway, Scopes::all()),
        ["sign-in-link", scopes] => sign_in_link(gateway, scopes.parse()?),
        ["sign-out-all"] => Ok(wait(sign_out_all(gateway.clone()))),
        ["quit"] => Ok(Step::Quit),
        _ => Err(format!("not a command, or not its arguments: {line:?}; see help")),
    }
}

fn sign_in_link(gateway: &Gateway, scopes: Scopes) -> Result<Step, String> {
    let base = gateway.url.get().ok_or("the gateway does not listen yet; try again")?;
    let code = gateway.access.sign_in_code(scopes).ok_or("the kernel gives no random bytes")?;
    Ok(Step::Done(json!({"url": format!("{base}{}", page::sign_in_link(&code))})))
}

async fn sign_out_all(gateway: Arc<Gateway>) -> Outcome {
    let ended = gateway.access.sign_all_out().await;
    let failed = |_| json!({"message": "the store can't be written; try again"});
    ended.map(|()| json!({"ok": true})).map_err(failed)
}

fn instances(gateway: &Gateway) -> Value {
    let now = Moment::now();
    gateway
        .agents
        .read(|fleet| fleet.iter().map(|record| json!(Instance::of(record, now))).collect())
}

fn id(instance: &str) -> Result<InstanceId, String> {
    InstanceId::try_from(instance.to_owned()).map_err(str::to_owned)
}

fn order(gateway: &Gateway, instance: &str, order: Order) -> Result<(), String> {
    gateway.agents.order(&id(instance)?, order).map_err(|why| words(instance, &why))
}

fn dismiss(gateway: &Gateway, instance: &str, order: Order, reason: &str) -> Result<(), String> {
    gateway.agents.dismiss(&id(instance)?, order, reason).map_err(|why| words(instance, &why))
}

fn forget(gateway: &Gateway, instance: &str) -> Result<Step, String> {
    match gateway.agents.forget(&id(instance)?) {
        Ok(()) => Ok(Step::Done(json!({"ok": true}))),
        Err(Unforgotten::Unknown) => Err(words(instance, &Unreachable::Unknown)),
        Err(Unforgotten::Connected) => {
            Err(format!("{instance} is connected, and would be back at once; stop its agent first"))
        }
    }
}

fn words(instance: &str, why: &Unreachable) -> String {
    match why {
        Unreachable::Unknown => format!("no instance {instance} has registered; see instances"),
        Unreachable::NotConnected => format!("{instance} is not connected"),
        Unreachable::Busy => format!("{instance} reads nothing, and too much waits for it"),
    }
}

fn logs(
    gateway: &Arc<Gateway>,
    instance: &str,
    container: &str,
    lines: Option<&str>,
    stream: bool,
) -> Result<Step, String> {
    let mut params = json!({"container": container});
    if let Some(lines) = lines {
        params["lines"] = json!(number::<i64>(lines)?);
    }
    if stream {
        params["stream"] = json!(true);
    }
    request(gateway, instance, "logs_fetch", params)
}

/// The answer is the agent's result, its error the agent's error; the gateway's own have no code.
fn request(
    gateway: &Arc<Gateway>,
    instance: &str,
    method: &str,
    params: Value,
) -> Result<Step, String> {
    // The agent's own deadlines, and slack for the way.
    let patience = Duration::from_secs(match method {
        "agent_upgrade" => 610,
        _ => 40,
    });
    let answer = gateway.ask(&id(instance)?, method, params);
    let answer = answer.map_err(|why| words(instance, &why))?;
    Ok(wait(async move {
        match timeout(patience, answer).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(error))) => Err(json!(error)),
            Ok(Err(_)) => Err(json!({"message": CallError::SessionEnded.to_string()})),
            Err(_) => Err(json!({"message": format!("no response within {patience:?}")})),
        }
    }))
}

async fn connected(gateway: Arc<Gateway>, instance: InstanceId, patience: Duration) -> Outcome {
    let started = Instant::now();
    let mut changed = gateway.agents.coming_and_going();
    let registered = changed.wait_for(|()| gateway.agents.is_connected(&instance));
    match timeout(patience, registered).await {
        Ok(_) => Ok(json!({"ms": milliseconds(started.elapsed())})),
        Err(_) => {
            Err(json!({"message": format!("{instance} is not connected after {patience:?}")}))
        }
    }
}

fn wait(outcome: impl Future<Output = Outcome> + Send + 'static) -> Step {
    Step::Wait(Box::pin(outcome))
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} is not a number that fits here; see help"))
}

fn on(switch: &str) -> Result<bool, String> {
    match switch {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{switch:?} is neither on nor off")),
    }
}

/// What is left of `line` after its first `count` words.
fn after(line: &str, count: usize) -> &str {
    (0..count).fold(line, |rest, _| {
        rest.trim_start().split_once(char::is_whitespace).map_or("", |(_, rest)| rest).trim_start()
    })
}
