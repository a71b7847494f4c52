//! "agent_upgrade" from the moment the agent replaces itself: the restart, the trial, the roll-back.

use std::sync::Arc;
use std::time::Duration;

use super::super::bench::Bench;
use super::super::fault::{Fault, Outcome, broken, ensure, unreached};
use super::super::table::{Check, checks};
use super::super::wire::message::Message;
use super::super::wire::session::Session;
use super::releases::Release;
use super::support::{UNFIT, expect_code, shown};
use super::upgrades::upgrade;

pub const CHECKS: &[Check] = checks![
    "A-UPG-7" in "trial" => answers_first,
    "A-UPG-8" in "trial lost" => goes_on_without_its_session,
    "A-UPG-9" in "trial next" => registers_as_the_new_version,
    "A-UPG-10" in "trial" => bans_a_checksum,
    "A-UPG-15" in "trial" => tells_a_roll_back_once,
    "A-UPG-16" in "trial" => tells_the_cause,
];

/// The download, `--version`, the restart; and the trial of 5 s that [`super::super::lanes`] sets.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was seen of an upgrade to a binary that ends at once, and of its roll-back.
pub struct Story {
    release: Release,
    /// Whether the answer came before the close frame, and its code.
    answered_first: bool,
    close: Option<u16>,
    /// The versions of the `register` before and after.
    versions: [String; 2],
    /// `upgrade_rolled_back` of the first session after it, and of the next.
    told: [Vec<Message>; 2],
}

fn rolled_back(session: &Session) -> Vec<Message> {
    session.see(|log| {
        let own = |m: &&Message| m.method() == Some("upgrade_rolled_back");
        log.messages.iter().filter(own).cloned().collect()
    })
}

fn version(register: &Message) -> String {
    register.params()["version"].as_str().unwrap_or_default().to_owned()
}

/// Once in a lane: the checks of the lane look at the same story.
async fn story(bench: &mut Bench) -> Outcome<Arc<Story>> {
    if bench.story.is_none() {
        bench.story = Some(tell(bench).await.map(Arc::new));
    }
    match &bench.story {
        Some(told) => told.clone(),
        None => Err(Fault::Kit("no story".to_owned())),
    }
}

async fn tell(bench: &mut Bench) -> Outcome<Story> {
    let (session, register) = bench.unanswered().await?;
    let before = version(&register);
    super::super::bench::answer(&session, &register, serde_json::json!({"ok": true})).await;
    let release = Release::that_ends();
    let params = release.params(&bench.shared.downloads.offer(release.whole()));
    let id = session.send_request("agent_upgrade", params).await;
    let close = session.closed(PATIENCE).await;
    let answered_first = session.see(|log| {
        let answer = log.messages.iter().find(|m| m.id.as_ref() == Some(&id) && m.is_response());
        let place = log.close().map_or(usize::MAX, |(.., place)| place);
        answer.is_some_and(|m| m.frame < place && m.value["result"]["status"] == "upgrading")
    });
    bench.leave();
    let dial = bench.dial_within(PATIENCE).await?;
    let (session, register) = bench.opened(dial).await?;
    let versions = [before, version(&register)];
    super::super::bench::answer(&session, &register, serde_json::json!({"ok": true})).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let told_first = rolled_back(&session);
    bench.leave();
    let dial = bench.redial().await?;
    let session = bench.accepted(dial).await?;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let told = [told_first, rolled_back(&session)];
    Ok(Story { release, answered_first, close, versions, told })
}

async fn answers_first(bench: &mut Bench) -> Outcome {
    let story = story(bench).await?;
    ensure(story.answered_first, || {
        "{\"status\": \"upgrading\"} did not come before the end of the session".to_owned()
    })?;
    ensure(story.close == Some(1001), || format!("it closed with {:?}", story.close))
}

async fn bans_a_checksum(bench: &mut Bench) -> Outcome {
    let story = story(bench).await?;
    let session = bench.session().await?;
    let release = &story.release;
    let params = release.params(&bench.shared.downloads.offer(release.whole()));
    let answer = upgrade(bench, &session, params).await?;
    expect_code(&answer, UNFIT, "a checksum that was rolled back, because it never started")
}

async fn tells_a_roll_back_once(bench: &mut Bench) -> Outcome {
    let story = story(bench).await?;
    let [before, after] = &story.versions;
    if before != after {
        return unreached(format!("{before} became {after}: nothing was rolled back"));
    }
    let counts = story.told.each_ref().map(Vec::len);
    ensure(counts == [1, 0], || {
        format!(
            "upgrade_rolled_back came {} times, and {} times in the next session",
            counts[0], counts[1]
        )
    })?;
    let params = story.told[0][0].params();
    let is_right = params["version"] == story.release.version.as_str()
        && params["checksum_sha256"] == story.release.sum();
    ensure(is_right, || shown(&story.told[0][0]))
}

async fn tells_the_cause(bench: &mut Bench) -> Outcome {
    let story = story(bench).await?;
    let Some(told) = story.told[0].first() else {
        return unreached("upgrade_rolled_back did not come");
    };
    let causes = ["crashed", "never_started", "refused", "unacknowledged"];
    let cause = told.params()["cause"].as_str().unwrap_or_default();
    let is_right = causes.contains(&cause) && told.params()["banned"].is_boolean();
    ensure(is_right, || shown(told))
}

async fn goes_on_without_its_session(bench: &mut Bench) -> Outcome {
    let session = bench.session().await?;
    let release = Release::that_ends();
    let url = bench.shared.downloads.offer(release.slow(Duration::from_secs(4)));
    session.send_request("agent_upgrade", release.params(&url)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    session.drop_connection();
    let dial = bench.redial().await?;
    let session = bench.accepted(dial).await?;
    let answer = upgrade(bench, &session, release.params(&url)).await?;
    // Which error it is, is A-UPG-6's.
    ensure(answer.code().is_some(), || {
        format!("the upgrade of the lost session has ended: {}", shown(&answer))
    })?;
    // It restarts the agent in the end.
    match session.ended(PATIENCE).await {
        Some(_) => Ok(()),
        None => broken("the upgrade of the lost session did not come to its end"),
    }
}

async fn registers_as_the_new_version(bench: &mut Bench) -> Outcome {
    let release = Release::given(bench)?;
    let session = bench.session().await?;
    let params = release.params(&bench.shared.downloads.offer(release.whole()));
    session.send_request("agent_upgrade", params).await;
    if session.closed(PATIENCE).await.is_none() {
        let last = session.see(|log| log.messages.last().map(shown));
        return unreached(format!(
            "the upgrade did not come to the restart; the last message: {last:?}"
        ));
    }
    bench.leave();
    let dial = bench.dial_within(PATIENCE).await;
    let dial = dial.or_else(|_| broken("it did not dial again after the upgrade"))?;
    let (session, register) = bench.opened(dial).await?;
    super::super::bench::answer(&session, &register, serde_json::json!({"ok": true})).await;
    let told = version(&register);
    ensure(told == release.version, || {
        format!("it registers as {told}, not as {}", release.version)
    })
}
