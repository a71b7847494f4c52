//! A search, against a session that answers from a log in memory.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::agents::register::Register;
use crate::agents::rpc;

fn gateway() -> (Arc<Gateway>, InstanceId, tokio::sync::mpsc::Receiver<Order>) {
    let gateway = Gateway::in_memory();
    let admitted = gateway.agents.admit();
    let register = json!({"version": "1.0.0", "instance_id": "vmkit-test-1", "ip": "192.0.2.1",
                          "os": "linux", "arch": "amd64"});
    let register = Register::read(register).unwrap();
    let id = register.instance_id.clone();
    gateway.agents.registered(admitted.number, register).unwrap();
    (gateway, id, admitted.orders)
}

fn line(n: usize) -> Line {
    let ts = format!("2026-01-01T{:02}:{:02}:{:02}Z", n / 3600, n / 60 % 60, n % 60);
    Line {
        ts,
        text: format!("Line {n} of {}", if n % 100 == 7 { "Sevens" } else { "others" }),
        from: None,
    }
}

fn query(text: &str, ignore_case: bool) -> SearchQuery {
    SearchQuery { container: "web".to_owned(), needle: Needle::new(text, ignore_case) }
}

/// Answers each request with the last lines of `log`, in chunks; one more line is written before each.
async fn serve(mut orders: tokio::sync::mpsc::Receiver<Order>, mut log: Vec<Line>) -> Vec<Value> {
    let mut asked = Vec::new();
    while let Some(Order::Request { params, reply: Reply::Scan(scanner), .. }) = orders.recv().await
    {
        let lines = params["lines"].as_u64().unwrap() as usize;
        for chunk in log[log.len().saturating_sub(lines)..].chunks(100) {
            scanner.push(chunk.to_vec());
            tokio::task::yield_now().await;
        }
        scanner.answer(Ok(json!({"lines": [], "streamed": lines.min(log.len())})));
        asked.push(params);
        log.push(Line {
            ts: "2026-01-02T00:00:00Z".to_owned(),
            text: "Sevens".to_owned(),
            from: None,
        });
    }
    asked
}

async fn all(mut search: Search) -> (Vec<Line>, Vec<Progress>, End) {
    let (mut lines, mut progress) = (Vec::new(), Vec::new());
    loop {
        match search.next().await.expect("an end comes first") {
            Found::Matches(matches) => lines.extend(matches),
            Found::Progress(now) => progress.push(now),
            Found::End(end) => {
                assert!(search.next().await.is_none());
                return (lines, progress, end);
            }
        }
    }
}

async fn search(lines: usize, query: SearchQuery) -> (Vec<Line>, Vec<Progress>, End, Vec<Value>) {
    let (gateway, id, orders) = gateway();
    let served = tokio::spawn(serve(orders, (0..lines).map(line).collect()));
    let (found, progress, end) = all(gateway.search(&id, query).unwrap()).await;
    // The registry holds the way to the session: without it the session ends.
    gateway.agents.ended(1, Some(&id), "over");
    (found, progress, end, served.await.unwrap())
}

#[tokio::test]
async fn it_walks_back_to_the_start_and_tells_each_match_once_the_newest_first() {
    let (found, progress, end, asked) = search(2000, query("Sevens", false)).await;
    let expected: Vec<Line> =
        (0..2000).rev().map(line).filter(|l| l.text.contains("Sevens")).collect();
    assert_eq!(found, expected, "and not what was written meanwhile");
    assert_eq!(end.why, Why::Start);
    assert_eq!((end.progress.searched, end.progress.matches), (2002, 20));
    assert_eq!(end.progress.back_to, Some(line(0).ts));
    assert!(progress.is_sorted_by_key(|now| now.searched), "{progress:?}");
    assert!(progress.len() >= 3);
    let asked: Vec<_> = asked.iter().map(|params| params["lines"].as_u64().unwrap()).collect();
    assert_eq!(asked, STEPS);
}

#[tokio::test]
async fn the_end_says_what_was_not_searched() {
    let (found, _, end, _) = search(9000, query("sEVENS", true)).await;
    assert_eq!((found.len(), end.why), (50, Why::Reach));
    let (found, ..) = search(9000, query("sEVENS", false)).await;
    assert!(found.is_empty());
    let (found, _, end, _) = search(9000, query("Line", false)).await;
    assert_eq!((found.len(), end.why), (500, Why::Full));
    assert_eq!(found[0], line(8999));
    assert!(found.is_sorted_by(|one, next| one.ts > next.ts));
}

#[tokio::test]
async fn matches_take_bounded_memory() {
    let (scanner, scan) = scan(Needle::new("x", false));
    for _ in 0..100 {
        let text = "x".repeat(60_000);
        scanner.push(vec![Line { ts: String::new(), text, from: None }]);
    }
    let seen = scan.take();
    assert!(seen.full && seen.matches.iter().map(Line::cost).sum::<usize>() <= 1 << 20);
    assert!(seen.matches.len() > 10);
}

#[tokio::test]
async fn it_ends_with_the_session_with_an_error_and_where_nobody_answers() {
    let (gateway, id, mut orders) = gateway();
    let mut running = gateway.search(&id, query("x", false)).unwrap();
    drop(orders.recv().await);
    assert!(matches!(running.next().await, Some(Found::End(End { why: Why::Session, .. }))));

    let mut running = gateway.search(&id, query("x", false)).unwrap();
    if let Some(Order::Request { reply: Reply::Scan(scanner), .. }) = orders.recv().await {
        let message = "no such container".to_owned();
        scanner.answer(Err(rpc::Error { code: -32001, message }));
    }
    let Some(Found::End(end)) = running.next().await else { panic!("no end") };
    assert_eq!((end.why, end.detail.as_deref()), (Why::Error, Some("no such container")));

    let mut silent = gateway.search(&id, query("x", false)).unwrap();
    let _held = orders.recv().await;
    silent.deadline = Instant::now() + PACE;
    assert!(matches!(silent.next().await, Some(Found::End(End { why: Why::Time, .. }))));
}

/// Else one agent would take the search away from the whole fleet.
#[tokio::test]
async fn an_agent_that_never_answers_holds_no_place_of_a_search_that_is_over() {
    let (gateway, id, mut orders) = gateway();
    let mut held = Vec::new();
    for _ in 0..2 * gateway.searchers.available_permits() {
        drop(gateway.search(&id, query("x", false)).unwrap());
        held.push(orders.recv().await);
    }
    let places = gateway.searchers.available_permits();
    let mut late = gateway.search(&id, query("x", false)).unwrap();
    held.push(orders.recv().await);
    late.deadline = Instant::now();
    let (_, _, end) = all(late).await;
    assert_eq!(end.why, Why::Time);
    assert_eq!(gateway.searchers.available_permits(), places);
}
