//! `GET /api/instances/{id}/history`: what was kept of an instance's snapshots, fine and coarse.

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{Agent, Client, Gateway, eventually};

const PATH: &str = "/api/instances/web-1/history";
/// A snapshot a minute.
const HOURS: i64 = 3;

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn text(secs: i64) -> String {
    OffsetDateTime::from_unix_timestamp(secs).unwrap().format(&Rfc3339).unwrap()
}

/// As if an agent had been polled each minute from `start` on; every seventh minute is missing.
fn fill(gateway: &Gateway, start: i64) {
    let mut database = Connection::open(gateway.folder().data().join("gateway.db")).unwrap();
    let transaction = database.transaction().unwrap();
    for minute in start / 60..start / 60 + HOURS * 60 {
        if minute % 7 != 0 {
            let insert = "INSERT INTO recent (minute, instance, cpu, mem, disk, containers)
                          SELECT ?1, no, ?2, NULL, 632, 3 FROM instances WHERE id = 'web-1'";
            assert_eq!(transaction.execute(insert, params![minute, cpu(minute)]).unwrap(), 1);
        }
    }
    // Nothing of it is folded yet.
    transaction
        .execute("INSERT OR REPLACE INTO marks VALUES ('folded_before', ?1)", [start / 3600])
        .unwrap();
    transaction.commit().unwrap();
}

/// Tenths of a per cent.
fn cpu(minute: i64) -> i64 {
    minute % 10 * 100
}

/// From full hour to full hour, in this step.
async fn read(client: &Client, step: &str, start: i64) -> Value {
    let (from, to) = (text(start), text(start + HOURS * 3600));
    client.json(&format!("{PATH}?step={step}&from={from}&to={to}")).await
}

fn check(minutes: &Value, tens: &Value, hours: &Value, start: i64) {
    for (history, step, secs) in
        [(minutes, "minute", 60), (tens, "ten_minutes", 600), (hours, "hour", 3600)]
    {
        let head = [&history["step"], &history["step_secs"], &history["start"]];
        let start = text(start).replace('Z', ".000Z");
        assert_eq!(head, [&json!(step), &json!(secs), &json!(start)]);
        let points = usize::try_from(HOURS * 3600 / secs).unwrap();
        for list in [&history["count"], &history["cpu_pct"]["mean"], &history["mem_pct"]["mean"]] {
            assert_eq!(list.as_array().map(Vec::len), Some(points), "{step}");
        }
        assert_eq!(history["cpu_pct"]["min"].is_null(), step == "minute");
    }
    for index in 0..HOURS * 60 {
        let (minute, place) = (start / 60 + index, usize::try_from(index).unwrap());
        let gap = minute % 7 == 0;
        assert_eq!(minutes["count"][place], i64::from(!gap));
        let mean = if gap { json!(null) } else { json!(cpu(minute) as f64 / 10.0) };
        assert_eq!(minutes["cpu_pct"]["mean"][place], mean, "a gap stays a gap");
        assert_eq!(minutes["mem_pct"]["mean"][place], json!(null));
    }
    for index in 0..HOURS * 6 {
        let place = usize::try_from(index).unwrap();
        let first = start / 60 + index * 10;
        let values: Vec<i64> =
            (first..first + 10).filter(|minute| minute % 7 != 0).map(cpu).collect();
        let (count, sum) = (values.len() as i64, values.iter().sum::<i64>());
        assert_eq!(tens["count"][place], count);
        let cpu = &tens["cpu_pct"];
        let [min, max] = [values.iter().min(), values.iter().max()].map(|it| *it.unwrap());
        assert_eq!(cpu["min"][place], min as f64 / 10.0);
        assert_eq!(cpu["max"][place], max as f64 / 10.0);
        assert_eq!(cpu["mean"][place], ((sum + count / 2) / count) as f64 / 10.0);
        assert_eq!(tens["container_count"]["max"][place], 3.0);
    }
    let count = |history: &Value| -> i64 {
        history["count"].as_array().unwrap().iter().map(|count| count.as_i64().unwrap()).sum()
    };
    assert_eq!([count(tens), count(hours)], [count(minutes); 2]);
}

#[tokio::test]
async fn it_reads_the_same_before_and_after_it_is_folded() {
    let gateway = Gateway::start(&[]).await;
    drop(Agent::start(&gateway, "web-1").await);
    let mut gateway = gateway;
    gateway.end();
    // The hours before the last full one are over for long: the gateway folds them at once.
    let start = now() / 3600 * 3600 - (HOURS + 1) * 3600;
    fill(&gateway, start);
    let gateway = gateway.restart().await;
    let client = gateway.client();
    let steps = ["minute", "ten_minutes", "hour"];
    let mut all = Vec::new();
    for step in steps {
        all.push(read(&client, step, start).await);
    }
    check(&all[0], &all[1], &all[2], start);

    let database = Connection::open(gateway.folder().data().join("gateway.db")).unwrap();
    let left = async || {
        let mark = "SELECT value FROM marks WHERE name = 'folded_before'";
        let hour: i64 = database.query_row(mark, [], |row| row.get(0)).unwrap_or(0);
        (hour >= start / 3600 + HOURS).then_some(())
    };
    eventually("all is folded", left).await;
    for (step, before) in steps.into_iter().zip(&all) {
        assert_eq!(&read(&client, step, start).await, before, "{step}");
    }
}

#[tokio::test]
async fn the_latest_snapshot_is_the_last_point() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    client.get(PATH).await.problem(404, "no-such-instance");
    let agent = Agent::start(&gateway, "web-1").await;
    let history = client.json(PATH).await;
    assert!(history["count"].as_array().unwrap().iter().all(|count| count == 0), "{history}");
    agent.snapshot(12.5);
    let shown = async || {
        let history = client.json(PATH).await;
        let minutes = history["cpu_pct"]["mean"].as_array().unwrap().clone();
        assert_eq!(history["step"], "minute");
        // The minute may have turned.
        minutes.iter().rev().take(3).any(|value| *value == 12.5).then_some(())
    };
    eventually("the snapshot is in the history", shown).await;
}

#[tokio::test]
async fn the_step_fits_the_time_that_is_asked_for() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let _agent = Agent::start(&gateway, "web-1").await;
    const DAY: i64 = 24 * 3600;
    for (days, step, points) in [
        (1, "minute", 24 * 60 - 1..24 * 60 + 2),
        (3, "ten_minutes", 3 * 144..3 * 144 + 2),
        (7, "ten_minutes", 7 * 144 - 1..7 * 144 + 2),
        (8, "hour", 8 * 24..8 * 24 + 2),
        (300, "hour", 30 * 24..30 * 24 + 2),
    ] {
        // A second later than that, so that the question is not older than what is kept.
        let from = text(now() - days * DAY + 5);
        let history = client.json(&format!("{PATH}?from={from}")).await;
        assert_eq!(history["step"], step, "{days} days");
        let count = history["count"].as_array().unwrap().len();
        assert!(points.contains(&count), "{days} days: {count} points");
    }
    let backwards = "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z";
    let history = client.json(&format!("{PATH}?{backwards}")).await;
    assert_eq!(history["count"], json!([]));
    for query in ["step=second", "from=yesterday", "to=", "from=1", "x=1"] {
        client.get(&format!("{PATH}?{query}")).await.problem(400, "invalid-request");
    }
}
