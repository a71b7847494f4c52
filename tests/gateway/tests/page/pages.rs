//! What the pages say, to a browser in their headers and to people in their text.

use serde_json::{Value, json};

use crate::support::{Gateway, eventually, location, register};

/// What would be markup, a script or another path if it were not text.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>/../?#%";

fn hostile_snapshot() -> Value {
    json!({"cpu_pct": 1, "mem_pct": 2, "disk_pct": 3, "container_count": 1,
           "containers": [{"name": HOSTILE, "id": HOSTILE, "image": HOSTILE, "state": HOSTILE,
                           "health": HOSTILE, "exit_code": 1, "restarts": 1, "oom_killed": true,
                           "started_at": HOSTILE}],
           "host": {"disks": {HOSTILE: {"used_pct": 99, "inodes_pct": 99}}},
           "errors": {HOSTILE: HOSTILE}})
}

#[tokio::test]
async fn what_an_agent_says_stays_text() {
    let gateway = Gateway::start();
    let mut told = register(HOSTILE);
    for name in ["version", "ip", "os", "arch", "build"] {
        told[name] = json!(HOSTILE);
    }
    told["labels"] = json!({HOSTILE: HOSTILE});
    told["host"] = json!({"kernel": HOSTILE, "distribution": HOSTILE, "init": HOSTILE});
    told["upgrade"] = json!({"probation": {"version": HOSTILE, "seconds_left": 1}, "rolled_back": [
        {"version": HOSTILE, "checksum_sha256": "a", "reason": HOSTILE, "cause": HOSTILE, "at": HOSTILE}]});
    let mut agent = gateway.connect(told).await;
    agent.tell("health_snapshot", hostile_snapshot()).await;
    let cookie = gateway.sign_in(&gateway.keys.api("read,logs,operate")).await;
    let path = "/instances/%3Cscript%3Ealert%281%29%3C%2Fscript%3E%22%27%3E%3Cimg%20src%3Dx%20onerror\
                %3Dalert%282%29%3E%2F..%2F%3F%23%25";
    eventually("the snapshot is there", async || {
        gateway.page(path, &cookie).await.contains("was killed")
    })
    .await;
    let one = gateway.page(path, &cookie).await;
    let all = gateway.page("/", &cookie).await;
    drop(agent);
    eventually("it is lost", async || gateway.page("/", &cookie).await.contains("1 agent is lost"))
        .await;
    let lost = gateway.page("/", &cookie).await;
    assert!(all.contains(&format!("href=\"{path}\"")), "the link leads to the instance");
    for text in [one, all, lost] {
        assert!(text.contains("&lt;script&gt;"), "it is shown");
        assert!(
            !text.contains("<script>") && !text.contains("<img") && !text.contains("onerror=\"")
        );
        let unquoted = text.replace("&quot;", "");
        assert!(!unquoted.contains(">alert(1)"), "{unquoted}");
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do() {
    let gateway = Gateway::start();
    let cookie = gateway.sign_in(&gateway.keys.api("read")).await;
    let page = gateway.page("/", &cookie).await;
    let style = page.split('"').find(|part| part.ends_with("/page.css")).expect("it has a style");
    for path in [
        "/",
        "/sign-in",
        "/sign-in/link/x",
        "/instances/none",
        "/?label=wrong",
        style,
        "/page/assets/x/y",
    ] {
        let answer = gateway.get(path).header("cookie", &cookie).send().await.unwrap();
        let header = |name: &str| {
            let values: Vec<_> = answer.headers().get_all(name).iter().collect();
            assert_eq!(values.len(), 1, "{name} of {path}");
            values[0].to_str().unwrap().to_owned()
        };
        assert_eq!(
            header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("permissions-policy").contains("camera=()"));
        let kept = header("cache-control");
        assert_eq!(kept.contains("immutable"), path == style, "{path}: {kept}");
        assert_eq!(kept == "no-store", path != style, "{path}: {kept}");
    }
    // The policy forbids them, so a page that relied on one would be broken.
    for inline in [" style=", "<style", "onclick=", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn a_key_shows_what_its_scopes_allow() {
    let gateway = Gateway::start();
    let mut agent = gateway.connect(register("web-1")).await;
    agent
        .tell(
            "health_snapshot",
            json!({"cpu_pct": 1, "containers": [{"name": "nginx", "state": "running"}]}),
        )
        .await;
    let all = gateway.sign_in(&gateway.keys.api("read,logs,operate")).await;
    eventually("the container is there", async || {
        gateway.page("/instances/web-1", &all).await.contains("/instances/web-1/logs/nginx")
    })
    .await;
    assert!(
        gateway
            .page("/instances/web-1", &all)
            .await
            .contains("<form method=\"post\" action=\"/instances/web-1/upgrade")
    );

    let reads = gateway.sign_in(&gateway.keys.api("read")).await;
    let page = gateway.page("/instances/web-1", &reads).await;
    assert!(
        page.contains("nginx") && !page.contains("/logs/nginx") && !page.contains("/upgrade\"")
    );

    let operates = gateway.sign_in(&gateway.keys.api("operate")).await;
    let answer = gateway.get("/").header("cookie", &operates).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("lacks the scope read"));
}

#[tokio::test]
async fn the_overview_filters_by_its_url() {
    let gateway = Gateway::start();
    let mut agents = Vec::new();
    for (id, env) in [("web-1", "prod"), ("web-2", "test")] {
        let mut told = register(id);
        told["labels"] = json!({"env": env});
        agents.push(gateway.connect(told).await);
    }
    let cookie = gateway.sign_in(&gateway.keys.api("read")).await;
    let shows = async |query: &str| {
        let page = gateway.page(query, &cookie).await;
        (page.contains("href=\"/instances/web-1\""), page.contains("href=\"/instances/web-2\""))
    };
    assert_eq!(shows("/").await, (true, true));
    assert_eq!(shows("/?label=env%3Dprod&label=&q=").await, (true, false));
    assert_eq!(shows("/?q=TEST").await, (false, true));
    assert_eq!(shows("/?q=nothing").await, (false, false));
    assert_eq!(shows("/?show=lost").await, (false, false));
}

#[tokio::test]
async fn an_asset_of_another_build_is_not_this_one() {
    let gateway = Gateway::start();
    let page = gateway.get("/sign-in").send().await.unwrap().text().await.unwrap();
    let path = page.split('"').find(|part| part.ends_with("/page.css")).unwrap();
    assert_eq!(gateway.get(path).send().await.unwrap().status(), 200);
    let version = path.split('/').nth(3).unwrap();
    let other = path.replace(version, "0123456789abcdef");
    let answer = gateway.get(&other).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), location(&answer)), (404, ""));
}
