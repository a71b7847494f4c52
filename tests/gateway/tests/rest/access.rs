//! Who may do what: scopes, keys and tokens, their end, and those who guess.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::agent::register;
use crate::support::{Agent, Answer, Client, Gateway, eventually};

const UPGRADE: &str = "/api/instances/web-1/upgrade";
const LOGS: &str = "/api/instances/web-1/logs?container=web";

#[tokio::test]
async fn a_scope_allows_what_it_says_and_nothing_else() {
    let gateway = Gateway::start(&[]).await;
    // An instance that is not connected: what is allowed answers 200 or 409, and waits for nobody.
    Agent::start(&gateway, "web-1").await.vanish(&gateway).await;
    let paths = [
        ("read", "/api/instances"),
        ("read", "/api/instances/web-1"),
        ("read", "/api/instances/web-1/history"),
        ("read", "/api/instances/web-1/events"),
        ("read", "/api/events"),
        ("logs", LOGS),
        ("logs", "/api/deploys/shop/logs"),
        ("operate", UPGRADE),
    ];
    for scopes in ["read", "logs", "operate", "read,logs", "logs,operate", "read,logs,operate"] {
        let client = gateway.client_with(&gateway.folder().keys.api(scopes));
        for (scope, path) in paths {
            let answer = match scope {
                "operate" => client.post(path, &json!({})).await,
                _ => client.get(path).await,
            };
            if scopes.split(',').any(|has| has == scope) {
                assert!([200, 404, 409, 422].contains(&answer.status), "{scopes}: {path}");
            } else {
                let detail = answer.problem(403, "missing-scope");
                assert!(detail.ends_with(scope), "{scopes}: {path}: {detail}");
            }
        }
    }
    // Live is no way around.
    let reader = gateway.client_with(&gateway.folder().keys.api("read"));
    reader.get(&format!("{LOGS}&follow=1")).await.problem(403, "missing-scope");
}

#[tokio::test]
async fn keys_and_tokens_do_not_work_in_each_others_place() {
    let gateway = Gateway::start(&[]).await;
    let refused = Agent::connect(&gateway, &gateway.key).await.err();
    assert_eq!(refused, Some(401), "an API key is no agent token");
    let client = gateway.client_with(&gateway.token);
    client.get("/api/instances").await.problem(401, "no-valid-key");
    // Nor under the name of the other.
    let id_and_secret = |secret: &str| secret[4..].to_owned();
    let key = format!("vmk_{}", id_and_secret(&gateway.token));
    gateway.client_with(&key).get("/api/instances").await.problem(401, "no-valid-key");
    let token = format!("vma_{}", id_and_secret(&gateway.key));
    assert_eq!(Agent::connect(&gateway, &token).await.err(), Some(401));
}

#[tokio::test]
async fn only_the_whole_secret_is_a_key() {
    let gateway = Gateway::start(&[]).await;
    let key = &gateway.key;
    let (id, _) = key.rsplit_once('_').unwrap();
    let last = if key.ends_with('a') { 'b' } else { 'a' };
    for wrong in [
        &key[..key.len() - 1],
        &format!("{key}a"),
        &format!("{}{last}", &key[..key.len() - 1]),
        &key.to_uppercase(),
        &format!("{id}_"),
        id,
        "",
    ] {
        let answer = gateway.client_with(wrong).get("/api/instances").await;
        answer.problem(401, "no-valid-key");
    }
    // By no other way than the header, and by one header only.
    let nobody = Client::new(&gateway.api, None);
    for path in [format!("/api/instances?key={key}"), format!("/api/instances?access_token={key}")]
    {
        let answer = nobody.get(&path).await;
        answer.problem(401, "no-valid-key");
        assert!(!answer.body.contains(key.as_str()), "{}", answer.body);
    }
    for (name, value, status) in [
        ("authorization", format!("Bearer {key}"), 200),
        ("authorization", format!("bearer {key}"), 200),
        ("authorization", format!("Basic {key}"), 401),
        ("authorization", key.clone(), 401),
        ("cookie", format!("key={key}"), 401),
        ("x-api-key", key.clone(), 401),
    ] {
        let request = nobody.request(Method::GET, "/api/instances").header(name, value);
        assert_eq!(Answer::of(request).await.status, status, "{name}");
    }
    let two = gateway.client().request(Method::GET, "/api/instances");
    let two = two.header("authorization", "Bearer vmk_other");
    Answer::of(two).await.problem(401, "no-valid-key");
}

#[tokio::test]
async fn a_revoked_key_ends_at_once_with_its_streams() {
    let gateway = Gateway::start(&[]).await;
    let mut agent = Agent::start(&gateway, "web-1").await;
    let (revoked, kept) =
        (gateway.folder().keys.api("read,logs"), gateway.folder().keys.api("read"));
    let client = gateway.client_with(&revoked);
    let mut events = client.stream("/api/events").await;
    let mut others = gateway.client_with(&kept).stream("/api/events").await;
    let path = format!("{LOGS}&follow=1");
    let (request, mut logs) = tokio::join!(agent.asked("logs_fetch"), client.stream(&path));

    gateway.folder().keys.revoke(&revoked);
    client.get("/api/instances").await.problem(401, "no-valid-key");
    let ended = tokio::time::timeout(Duration::from_secs(3), async {
        tokio::join!(events.ends(), logs.ends());
    });
    ended.await.expect("open streams end within seconds");
    assert_eq!(agent.asked("logs_cancel").await.params, json!({"id": request.id}));
    assert_eq!(gateway.client_with(&kept).get("/api/instances").await.status, 200);
    let _b = Agent::start(&gateway, "b").await;
    assert_eq!(others.next().await.data["type"], "connected", "other keys' streams go on");
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions() {
    let gateway = Gateway::start(&[]).await;
    let token = gateway.folder().keys.agent(None);
    let mut agent = Agent::connect(&gateway, &token).await.unwrap();
    agent.register(register("web-1")).await;
    let other = Agent::start(&gateway, "web-2").await;
    gateway.folder().keys.revoke(&token);
    assert_eq!(agent.closed().await, Some(1008));
    assert_eq!(Agent::connect(&gateway, &token).await.err(), Some(401));
    let client = gateway.client();
    let lost = client.json("/api/instances/web-1").await;
    assert_eq!(lost["agent_connected"], false);
    assert!(lost["warning"]["text"].as_str().unwrap().contains("revoked"), "{lost}");
    assert_eq!(client.json("/api/instances/web-2").await["agent_connected"], true);
    drop(other);
}

#[tokio::test]
async fn a_token_for_one_instance_is_for_no_other() {
    let gateway = Gateway::start(&[]).await;
    let token = gateway.folder().keys.agent(Some("web-1"));
    let _victim = Agent::start(&gateway, "web-2").await;
    let mut agent = Agent::connect(&gateway, &token).await.unwrap();
    for other in ["web-2", "web-10", "WEB-1", "web-1 "] {
        let refused = agent.register(register(other)).await;
        assert!(refused["error"]["code"].is_i64(), "{other}: {refused}");
    }
    let client = gateway.client();
    let shown = client.json("/api/instances/web-2").await;
    assert_eq!([&shown["agent_connected"], &shown["registers"]], [&json!(true), &json!(1)]);
    assert_eq!(agent.register(register("web-1")).await["result"], json!({"ok": true}));
    assert_eq!(client.json("/api/instances/web-1").await["agent_connected"], true);
}

/// Who guesses from one address waits; who has a key that was made here does not, nor do others.
#[tokio::test]
async fn failed_attempts_are_limited_by_address() {
    let gateway = Gateway::start(&[]).await;
    let guess = gateway.client_with("vmk_aaaaaaaa_guess");
    let mut answers = Vec::new();
    for _ in 0..25 {
        answers.push(guess.get("/api/instances").await);
    }
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!((3..=6).contains(&limited.len()), "{}", limited.len());
    for answer in limited {
        answer.problem(429, "too-many-attempts");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    assert_eq!(gateway.client().get("/api/instances").await.status, 200);
    let _agent = Agent::start(&gateway, "web-1").await;

    // Agents are counted apart.
    let mut refused = Vec::new();
    for _ in 0..25 {
        refused.extend(Agent::connect(&gateway, "vma_aaaaaaaa_guess").await.err());
    }
    assert_eq!(refused[..15], [401; 15]);
    assert_eq!(refused.last(), Some(&429));
    let _second = Agent::start(&gateway, "web-2").await;

    let elsewhere = reqwest::Client::builder().no_proxy().local_address("127.0.0.9".parse().ok());
    let request = elsewhere.build().unwrap().get(format!("{}/api/instances", gateway.api));
    Answer::of(request.bearer_auth("vmk_aaaaaaaa_guess")).await.problem(401, "no-valid-key");
}

/// Neither a good secret nor a wrong one is written anywhere, at the most talkative level.
#[tokio::test]
async fn secrets_are_in_no_log_and_no_file() {
    let gateway = Gateway::start(&["--log", "trace"]).await;
    let agent = Agent::start(&gateway, "web-1").await;
    let wrong = "vmk_aaaaaaaa_thisisawrongsecret";
    let wrong_token = "vma_aaaaaaaa_thisisawrongtoken";
    for key in [&gateway.key, wrong] {
        let client = gateway.client_with(key);
        client.get("/api/instances").await;
        client.get(&format!("/api/instances?key={key}")).await;
        client.get(&format!("/{key}")).await;
        client.post(&format!("/api/instances/{key}/upgrade"), &json!({"version": key})).await;
    }
    assert!(Agent::connect(&gateway, wrong_token).await.is_err());
    agent.vanish(&gateway).await;
    gateway.logged(&["answered", "POST"]).await;
    let log = gateway.log().join("\n");
    let files = std::fs::read_dir(gateway.folder().data()).unwrap();
    let files: Vec<u8> =
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(files.len() > 4096, "there are files");
    for secret in [&gateway.key, &gateway.token, wrong, wrong_token] {
        let secret = secret.rsplit_once('_').unwrap().1;
        assert!(!log.contains(secret), "{log}");
        let found = files.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "a secret is in the folder");
    }
}

/// The hashes of keys are nobody else's business, whatever the umask and whoever made the folder.
#[tokio::test]
async fn the_data_is_its_owners_alone() {
    let folder = crate::support::gateway::Folder::new();
    std::fs::create_dir(folder.data()).unwrap();
    std::fs::set_permissions(folder.data(), PermissionsExt::from_mode(0o777)).unwrap();
    let (key, token) = (folder.keys.api("read,logs,operate"), folder.keys.agent(None));
    let script = "umask 0; exec \"$@\"";
    let gateway = Gateway::start_by(folder, key, token, script).await;
    let _agent = Agent::start(&gateway, "web-1").await;
    let data = gateway.folder().data();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&data), 0o700);
    let names = ["gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.lock"];
    for name in names {
        assert_eq!(format!("{:o}", mode(&data.join(name))), "600", "{name}");
    }
    let all = std::fs::read_dir(&data).unwrap().count();
    assert_eq!(all, names.len());
}

#[tokio::test]
async fn keys_and_tokens_are_listed_and_revoked_by_their_ids() {
    let gateway = Gateway::start(&[]).await;
    let folder = gateway.folder();
    let token = folder.keys.agent(Some("web-1"));
    let id = token.split('_').nth(1).unwrap();
    let list = || String::from_utf8(folder.keys.run(&["list"]).stdout).unwrap();
    let line = || list().lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line().contains("be web-1") && !line().contains("revoked"), "{}", list());
    assert!(!list().contains(&token) && list().lines().count() == 4, "{}", list());
    folder.keys.revoke(&token);
    assert!(line().contains("revoked"), "{}", list());
    for wrong in [id, "aaaaaaaa", "' OR 1=1"] {
        let output = folder.keys.run(&["revoke", wrong]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no such key or token"), "{said}");
    }
    assert_eq!(gateway.client().get("/api/instances").await.status, 200);
    for wrong in [&["add"][..], &["add", "--name", "x", "--scopes", "root"], &["ad"], &[]] {
        let output = folder.keys.run(wrong);
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{wrong:?}");
    }
    eventually("a new key works", async || {
        let client = gateway.client_with(&folder.keys.api("read"));
        (client.get("/api/instances").await.status == 200).then_some(())
    })
    .await;
}
