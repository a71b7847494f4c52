//! "Errors": the shape of each error that came, whatever it came for.

use serde_json::json;

use super::super::bench::{Bench, Shared};
use super::super::downloads::Serve;
use super::super::fault::{Outcome, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::frames::messages;
use super::support::shown;

pub const CHECKS: &[Check] = checks![
    "A-ERR-1" => has_a_code_of_the_table,
    "A-ERR-2" => says_one_line,
    "A-ERR-3" in "upgrades" => tells_no_secret,
];

const TABLE: [i64; 14] = [
    -32700, -32600, -32601, -32602, -32603, -32001, -32002, -32003, -32004, -32010, -32011, -32012,
    -32013, -32014,
];

fn errors(shared: &Shared, look: impl Fn(&Message) -> Outcome) -> Outcome {
    let count = std::cell::Cell::new(0);
    messages(shared, |message| match message.value.get("error") {
        Some(_) => {
            count.set(count.get() + 1);
            look(message)
        }
        None => Ok(()),
    })?;
    if count.get() == 0 { unreached("there was no error") } else { Ok(()) }
}

fn has_a_code_of_the_table(shared: &Shared) -> Outcome {
    errors(shared, |message| {
        let error = &message.value["error"];
        let is_right = error["code"].as_i64().is_some_and(|code| TABLE.contains(&code));
        ensure(is_right && error.get("message").is_some(), || shown(message))
    })
}

fn says_one_line(shared: &Shared) -> Outcome {
    errors(shared, |message| {
        let text = message.value["error"]["message"].as_str().unwrap_or_default();
        let is_line = !text.trim().is_empty() && !text.contains(['\n', '\r']);
        ensure(is_line, || format!("the message is {text:?}: {}", shown(message)))
    })
}

async fn tells_no_secret(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let path = "/gone/vmkit-agent";
    bench.shared.downloads.offer_at(path, Serve::Status("404 Not Found"));
    let address = bench.shared.downloads.address;
    for secret in
        [format!("http://{address}{path}?key=hush"), format!("http://user:hush@{address}{path}")]
    {
        let params = json!({"version": "99.0.1", "download_url": secret,
                            "checksum_sha256": "0".repeat(64)});
        let answer = bench.ask(&session, "agent_upgrade", params, 30.0).await?;
        let text = answer.value["error"]["message"].as_str().unwrap_or_default().to_owned();
        if answer.code().is_none() {
            return unreached("no error came");
        }
        let tells = text.contains("hush") || text.contains("key=") || text.contains("user:");
        ensure(!tells && !text.contains(bench.shared.token()), || text.clone())?;
    }
    Ok(())
}
