//! "register".

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::bench::{Bench, Shared, answer};
use super::super::fault::{Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::connection::parts_of;
use super::support::{UNKNOWN_METHOD, expect_code, shown};

pub const CHECKS: &[Check] = checks![
    "A-REG-1" => comes_first_and_once,
    "A-REG-2" => has_its_members,
    "A-REG-3" => is_the_user_agent,
    "A-REG-4" in "dials" => stays_the_same,
    "A-REG-5" => tells_its_own_address,
    "A-REG-6" in "long register" => takes_ok_alone,
    "A-REG-7" in "dials" => serves_before_the_answer,
    "A-REG-8" => tells_the_protocol,
    "A-REG-9" => tells_its_upgrades,
    "A-REG-10" => tells_of_its_machine,
];

/// Holds every `register` to something.
fn registers(shared: &Shared, look: impl Fn(&Session, &Message) -> Outcome) -> Outcome {
    let sessions = shared.sessions.lock();
    let mut count = 0;
    for session in sessions.iter() {
        let register = session.see(|log| {
            log.messages.iter().find(|message| message.method() == Some("register")).cloned()
        });
        if let Some(register) = register {
            count += 1;
            look(session, &register)?;
        }
    }
    if count == 0 { unreached("no register came") } else { Ok(()) }
}

fn comes_first_and_once(shared: &Shared) -> Outcome {
    registers(shared, |session, _| {
        session.see(|log| {
            let methods: Vec<_> = log.messages.iter().map(|message| message.method()).collect();
            let first = methods.first().copied().flatten();
            ensure(first == Some("register"), || {
                format!(
                    "the first message is: {}",
                    log.messages.first().map_or_else(String::new, shown)
                )
            })?;
            let count = methods.iter().filter(|method| **method == Some("register")).count();
            ensure(count == 1, || format!("register came {count} times in a session"))
        })
    })
}

fn has_its_members(shared: &Shared) -> Outcome {
    registers(shared, |_, register| {
        let params = register.params();
        let text = |name: &str| params[name].as_str().unwrap_or_default();
        let is_right = !text("version").is_empty()
            && !text("instance_id").is_empty()
            && text("ip").parse::<IpAddr>().is_ok()
            && text("os") == "linux"
            && ["amd64", "arm64", "armv7", "riscv64"].contains(&text("arch"));
        ensure(is_right, || shown(register))
    })
}

fn is_the_user_agent(shared: &Shared) -> Outcome {
    registers(shared, |session, register| {
        let params = register.params();
        let named = session.request().header("User-Agent");
        // Another form is A-CONN-4's.
        let Some((version, arch)) = parts_of(named) else { return Ok(()) };
        ensure(params["version"] == version && params["arch"] == arch, || {
            format!("User-Agent {named:?}, version {}, arch {}", params["version"], params["arch"])
        })
    })
}

async fn stays_the_same(bench: &mut Bench) -> Outcome {
    let mut ids = Vec::new();
    let (session, register) = bench.unanswered().await?;
    ids.push(register.params()["instance_id"].clone());
    answer(&session, &register, json!({"ok": true})).await;
    for _ in 0..2 {
        bench.leave();
        let dial = bench.redial().await?;
        let (session, register) = bench.opened(dial).await?;
        ids.push(register.params()["instance_id"].clone());
        answer(&session, &register, json!({"ok": true})).await;
    }
    ensure(ids.iter().all(|id| *id == ids[0]), || format!("{ids:?}"))
}

fn tells_its_own_address(shared: &Shared) -> Outcome {
    registers(shared, |session, register| {
        let told = register.params()["ip"].as_str().unwrap_or_default();
        let seen = session.request().peer.ip().to_canonical();
        match told.parse::<IpAddr>() {
            Ok(told) if told == seen => Ok(()),
            // Between the two, addresses may be translated.
            Ok(_) if !seen.is_loopback() => unreached(format!("seen from here it is {seen}")),
            // Without an address it is A-REG-2's.
            Err(_) => Ok(()),
            Ok(_) => broken(format!("its socket has the address {seen}, and it tells {told}")),
        }
    })
}

async fn takes_ok_alone(bench: &mut Bench) -> Outcome {
    let (session, register) = bench.unanswered().await?;
    answer(&session, &register, json!({"ok": true, "workspace": {"kit": [1, 2]}, "until": null}))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    if bench.still_serves(&session).await.is_err() {
        return broken("it takes {\"ok\": true} with more members for a refusal");
    }
    for refusal in [
        json!({"ok": false}),
        json!({"ok": "true"}),
        json!({"ok": 1}),
        json!({}),
        json!("ok"),
        Value::Null,
    ] {
        let (session, register) = bench.unanswered().await?;
        answer(&session, &register, refusal.clone()).await;
        if session.ended(Duration::from_secs(4)).await.is_none() {
            return broken(format!("it takes the result {refusal} for accepted"));
        }
    }
    let (session, _) = bench.unanswered().await?;
    match session.ended(bench.by(10.0) + Duration::from_millis(1500)).await {
        Some(_) => Ok(()),
        None => broken("its register was not answered within 10 s, and the session goes on"),
    }
}

async fn serves_before_the_answer(bench: &mut Bench) -> Outcome {
    let (session, register) = bench.unanswered().await?;
    let id = session.send_request("kit_unknown", json!({})).await;
    let limit = bench.time(8.0).max(Duration::from_millis(400));
    let Some(early) = session.response(&id, limit).await else {
        return broken("a request before the answer to register is not served");
    };
    expect_code(&early, UNKNOWN_METHOD, "an unknown method")?;
    answer(&session, &register, json!({"ok": true})).await;
    Ok(())
}

fn tells_the_protocol(shared: &Shared) -> Outcome {
    registers(shared, |_, register| {
        let params = register.params();
        let capabilities = params["capabilities"].as_array();
        let are_names = capabilities.is_some_and(|all| all.iter().all(Value::is_string));
        ensure(params["protocol"] == 1 && are_names, || {
            format!("protocol {}, capabilities {}", params["protocol"], params["capabilities"])
        })
    })
}

fn tells_its_upgrades(shared: &Shared) -> Outcome {
    registers(shared, |_, register| {
        let upgrade = &register.params()["upgrade"];
        let probation = upgrade.get("probation");
        let is_right = probation.is_some_and(|trial| {
            trial.is_null() || trial["version"].is_string() && trial["seconds_left"].is_number()
        });
        let told = upgrade["rolled_back"].as_array();
        let are_right = told.is_some_and(|all| {
            let right = |one: &Value| {
                one["version"].is_string()
                    && one["checksum_sha256"].is_string()
                    && one["at"].is_string()
            };
            all.len() <= 8 && all.iter().all(right)
        });
        ensure(is_right && are_right, || format!("upgrade: {upgrade}"))
    })
}

fn tells_of_its_machine(shared: &Shared) -> Outcome {
    registers(shared, |_, register| {
        let params = register.params();
        for name in ["build", "boot_id"] {
            ensure(params[name].is_string(), || format!("{name}: {}", params[name]))?;
        }
        for name in ["labels", "host"] {
            ensure(params[name].is_object(), || format!("{name}: {}", params[name]))?;
        }
        Ok(())
    })
}
