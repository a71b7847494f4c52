//! "agent_upgrade", up to the point where the agent replaces itself.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::bench::Bench;
use super::super::downloads::Serve;
use super::super::fault::{Fault, Outcome, broken, ensure};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::releases::{Release, Signer};
use super::support::{
    BUSY, FORBIDDEN, INVALID_PARAMS, NO_DOWNLOAD, UNFIT, UNKNOWN_METHOD, WRONG_SUM, expect_code,
    result, shown,
};

pub const CHECKS: &[Check] = checks![
    "A-UPG-1" in "upgrades" => wrong_params,
    "A-UPG-2" in "upgrades" => changes_nothing,
    "A-UPG-3" in "upgrades" => says_what_failed,
    "A-UPG-4" in "long progress" => tells_its_progress,
    "A-UPG-5" in "upgrades busy" => serves_others,
    "A-UPG-6" in "upgrades busy" => at_most_one,
    "A-UPG-11" in "upgrades" => tells_nothing_of_the_file,
    "A-UPG-12" in "upgrades off" => stays_off,
    "A-UPG-13" in "public key" => wants_the_comment,
    "A-UPG-14" in "public key lower" => wants_no_lower_version,
];

/// Asks for an upgrade and waits for its end.
pub async fn upgrade(bench: &Bench, session: &Session, params: Value) -> Outcome<Message> {
    // A small file on the loopback; `--version` alone has 5 s.
    bench.ask(session, "agent_upgrade", params, 60.0).await
}

async fn wrong_params(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let (sum, long) = ("0".repeat(64), "1".repeat(65));
    let url = "http://127.0.0.1:1/vmkit-agent";
    let long_url = format!("{url}?{}", "q".repeat(9 * 1024));
    for (version, url, sum) in [
        ("", url, sum.as_str()),
        ("-1", url, &sum),
        ("../1", url, &sum),
        (&long, url, &sum),
        ("1", "http://192.0.2.1/vmkit-agent", &sum),
        ("1", "ftp://127.0.0.1/vmkit-agent", &sum),
        ("1", "", &sum),
        ("1", &long_url, &sum),
        ("1", url, &sum[1..]),
        ("1", url, &"g".repeat(64)),
    ] {
        let params = json!({"version": version, "download_url": url, "checksum_sha256": sum});
        let answer = upgrade(bench, &session, params).await?;
        let what = format!("version {version:.20?}, URL {url:.40?}, checksum {sum:.10?}");
        expect_code(&answer, INVALID_PARAMS, &what)?;
    }
    let answer = upgrade(bench, &session, json!({"version": "1"})).await?;
    expect_code(&answer, INVALID_PARAMS, "a version alone")
}

/// Params that lead to each error: with its code and its name.
fn failures(bench: &Bench) -> Vec<(Value, i64, &'static str)> {
    let downloads = &bench.shared.downloads;
    let (unfit, another) = (Release::unfit(1000), Release::another_version());
    let gone = unfit.params(&downloads.offer(Serve::Status("404 Not Found")));
    let mut wrong = unfit.params(&downloads.offer(unfit.whole()));
    wrong["checksum_sha256"] = json!("1".repeat(64));
    let does_not_run = Release::unfit(2000);
    let does_not_run = does_not_run.params(&downloads.offer(does_not_run.whole()));
    let another = another.params(&downloads.offer(another.whole()));
    let elsewhere =
        Release::unfit(10).params(&downloads.offer(Serve::Redirect("ftp://127.0.0.1/".into())));
    vec![
        (gone, NO_DOWNLOAD, "a file that is not there"),
        (elsewhere, NO_DOWNLOAD, "a redirect to ftp:"),
        (wrong, WRONG_SUM, "a wrong checksum"),
        (does_not_run, UNFIT, "a file that does not run"),
        (another, UNFIT, "a file of another version"),
    ]
}

async fn changes_nothing(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let path = bench.agent()?.installed();
    let read = || fs::read(&path).map_err(|e| Fault::Kit(format!("{}: {e}", path.display())));
    let before = read()?;
    for (params, _, what) in failures(bench) {
        let answer = upgrade(bench, &session, params).await?;
        if answer.code().is_none() {
            return broken(format!("{what} leads to no error: {}", shown(&answer)));
        }
        ensure(read()? == before, || format!("after {what} the installed file is another"))?;
        bench.still_serves(&session).await?;
    }
    Ok(())
}

async fn says_what_failed(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    for (params, code, what) in failures(bench) {
        let answer = upgrade(bench, &session, params).await?;
        expect_code(&answer, code, what)?;
    }
    Ok(())
}

async fn tells_its_progress(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    for is_told in [true, false] {
        let file = Release::unfit(400_000);
        let slow = Serve::Slow(file.bytes.clone(), bench.time(17.0), is_told);
        let mut params = file.params(&bench.shared.downloads.offer(slow));
        params["checksum_sha256"] = json!("1".repeat(64));
        let id = session.send_request("agent_upgrade", params).await;
        bench.answer_to(&session, &id, 60.0).await?;
        let of: Value = serde_json::from_str(&id).unwrap_or_default();
        let told: Vec<Value> = session.see(|log| {
            let own =
                |m: &&Message| m.method() == Some("upgrade_progress") && m.params()["id"] == of;
            log.messages.iter().filter(own).map(|m| m.params().clone()).collect()
        });
        ensure(told.len() >= 2, || {
            format!("a download of 17 s, and upgrade_progress came {} times", told.len())
        })?;
        let total = if is_told { json!(400_000) } else { Value::Null };
        let mut last = 0;
        for params in &told {
            let bytes = params["bytes"].as_u64().unwrap_or(0);
            let is_right = params["stage"] == "download" && params.get("total") == Some(&total);
            ensure(is_right && bytes > 0 && bytes >= last, || format!("total {total}: {params}"))?;
            last = bytes;
        }
    }
    Ok(())
}

/// Begins an upgrade whose download takes some seconds and fails then; its id.
async fn begin_slow(bench: &Bench, session: &Session) -> String {
    let file = Release::unfit(100_000);
    let mut params = file.params(&bench.shared.downloads.offer(file.slow(Duration::from_secs(4))));
    params["checksum_sha256"] = json!("1".repeat(64));
    let id = session.send_request("agent_upgrade", params).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    id
}

async fn serves_others(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let id = begin_slow(bench, &session).await;
    let began = Instant::now();
    let answer = bench.ask(&session, "kit_unknown", json!({}), 1.0).await?;
    expect_code(&answer, UNKNOWN_METHOD, "an unknown method during a download")?;
    ensure(answer.at.saturating_duration_since(began) < Duration::from_secs(2), || {
        "a request waits for the download".to_owned()
    })?;
    let params = json!({"container": "kit-plain", "lines": 1});
    let answer = bench.ask(&session, "logs_fetch", params, 2.0).await?;
    result(&answer, "logs_fetch during a download")?;
    let is_over = session.see(|log| log.messages.iter().any(|m| m.id.as_ref() == Some(&id)));
    ensure(!is_over, || "logs_fetch was answered after the upgrade".to_owned())?;
    bench.answer_to(&session, &id, 60.0).await.map(drop)
}

async fn at_most_one(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let id = begin_slow(bench, &session).await;
    let other = Release::unfit(10);
    let params = other.params(&bench.shared.downloads.offer(other.whole()));
    let answer = upgrade(bench, &session, params).await?;
    expect_code(&answer, BUSY, "a second upgrade")?;
    bench.answer_to(&session, &id, 60.0).await.map(drop)
}

async fn tells_nothing_of_the_file(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let text =
        |answer: &Message| answer.value["error"]["message"].as_str().unwrap_or_default().to_owned();
    let file = Release::unfit(1000);
    let mut params = file.params(&bench.shared.downloads.offer(file.whole()));
    params["checksum_sha256"] = json!("1".repeat(64));
    let answer = upgrade(bench, &session, params).await?;
    ensure(!text(&answer).to_ascii_lowercase().contains(&file.sum()), || {
        format!("it tells the checksum of what it found: {}", shown(&answer))
    })?;
    let url = bench.shared.downloads.offer(Serve::Status("403 Forbidden"));
    for url in [url.as_str(), "http://127.0.0.1:1/vmkit-agent"] {
        let answer = upgrade(bench, &session, file.params(url)).await?;
        let due = format!("the download from {url} failed; the agent's log has the reason");
        ensure(text(&answer) == due, || {
            format!("the address is not public, so {due:?} was due: {:?}", text(&answer))
        })?;
    }
    Ok(())
}

async fn stays_off(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let file = Release::that_ends();
    let params = file.params(&bench.shared.downloads.offer(file.whole()));
    let answer = upgrade(bench, &session, params).await?;
    expect_code(&answer, FORBIDDEN, "an upgrade with VMKIT_UPGRADES=off")
}

/// An agent that wants signatures, who signs, its architecture and its version.
async fn with_key(bench: &mut Bench) -> Outcome<(Session, Signer, String, String)> {
    let signer = Signer::new(bench.folder())?;
    bench.agent()?.set("VMKIT_UPGRADE_PUBKEY", Some(&signer.key));
    let session = bench.fresh().await?;
    let register = session.message(0, Duration::ZERO, |m| m.method() == Some("register")).await;
    let params = register.map(|register| register.params().clone()).unwrap_or_default();
    let text = |name: &str| params[name].as_str().unwrap_or_default().to_owned();
    Ok((session, signer, text("arch"), text("version")))
}

/// Offers a release with a signature of this comment, or without any.
fn offer(
    bench: &Bench,
    signer: &Signer,
    release: &Release,
    comment: Option<&str>,
) -> Outcome<Value> {
    let url = bench.shared.downloads.offer(release.whole());
    if let Some(comment) = comment {
        bench.shared.downloads.offer_beside(&url, ".minisig", signer.sign(release, comment)?);
    }
    Ok(release.params(&url))
}

async fn expect_upgrading(session: &Session, params: Value, what: &str) -> Outcome {
    let id = session.send_request("agent_upgrade", params).await;
    match session.response(&id, Duration::from_secs(60)).await {
        Some(answer) => ensure(answer.code().is_none(), || format!("{what}: {}", shown(&answer))),
        // That the answer comes first is A-UPG-7's.
        None if session.see(|log| log.close().is_some()) => Ok(()),
        None => broken(format!("no answer to {what}")),
    }
}

async fn wants_the_comment(bench: &mut Bench) -> Outcome {
    let (session, signer, arch, _) = with_key(bench).await?;
    let release = Release::that_ends();
    let version = &release.version;
    let right = format!("vmkit-agent {version} linux/{arch}");
    let other = if arch == "amd64" { "arm64" } else { "amd64" };
    for comment in [
        None,
        Some(format!("vmkit-agent 98.0.0 linux/{arch}")),
        Some(format!("vmkit-agent {version} linux/{other}")),
        Some(format!("{right} and more")),
        Some("anything".to_owned()),
    ] {
        let params = offer(bench, &signer, &release, comment.as_deref())?;
        let answer = upgrade(bench, &session, params).await?;
        expect_code(&answer, WRONG_SUM, &format!("a signature with the comment {comment:?}"))?;
    }
    let params = offer(bench, &signer, &release, Some(&right))?;
    expect_upgrading(&session, params, "a signature with the right comment").await
}

async fn wants_no_lower_version(bench: &mut Bench) -> Outcome {
    let (session, signer, arch, running) = with_key(bench).await?;
    let release = Release::lower();
    let right = format!("vmkit-agent {} linux/{arch}", release.version);
    for comment in [right.clone(), format!("{right} replaces 98.0.0")] {
        let params = offer(bench, &signer, &release, Some(&comment))?;
        let answer = upgrade(bench, &session, params).await?;
        expect_code(&answer, FORBIDDEN, &format!("a lower version with the comment {comment:?}"))?;
    }
    let params = offer(bench, &signer, &release, Some(&format!("{right} replaces {running}")))?;
    expect_upgrading(&session, params, "a lower version that may replace the running one").await
}
