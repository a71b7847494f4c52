//! Who gets in: by a key, by a link that works once, and for how long; and that no other site can do
//! anything with a session.

use reqwest::StatusCode;

use crate::support::{Gateway, cookie, eventually, location};

#[tokio::test]
async fn a_key_opens_a_session_and_signing_out_ends_it() {
    let gateway = Gateway::start();
    let answer = gateway.get("/instances/a?range=7d").send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(location(&answer), "/sign-in?next=%2Finstances%2Fa%3Frange%3D7d");

    let body = format!("key={}&next=%2F%3Fshow%3Dlost", gateway.keys.api("read"));
    let answer = gateway.post("/sign-in").body(body).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/?show=lost"));
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{set}");
    let cookie = cookie(answer.headers()).unwrap();
    assert_eq!(gateway.status("/", &cookie).await, 200);

    let answer = gateway.post("/sign-out").header("cookie", &cookie).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/sign-in"));
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(gateway.status("/", &cookie).await, 303);
}

#[tokio::test]
async fn a_wrong_key_opens_nothing_and_is_limited() {
    let gateway = Gateway::start();
    let mut last = StatusCode::OK;
    for _ in 0..30 {
        let answer = gateway.post("/sign-in").body("key=vmk_wrong").send().await.unwrap();
        assert_eq!(cookie(answer.headers()), None);
        last = answer.status();
        if last != 401 {
            assert!(answer.headers().contains_key("retry-after"));
            break;
        }
        assert!(answer.text().await.unwrap().contains("not valid"));
    }
    assert_eq!(last, 429);
    // Whoever has a good key is not locked out.
    gateway.sign_in(&gateway.keys.api("read")).await;
}

#[tokio::test]
async fn no_other_site_signs_in_or_changes_anything() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read,logs,operate");
    let cookie = gateway.sign_in(&key).await;
    let other_port = gateway.url.rsplit_once(':').unwrap().0.to_owned() + ":1";
    for origin in [None, Some("null"), Some("https://evil.example"), Some(other_port.as_str())] {
        for path in ["/sign-in", "/sign-out", "/instances/a/upgrade", "/page/stream/a/topics"] {
            let mut request =
                gateway.bare_post(path).header("cookie", &cookie).body(format!("key={key}"));
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{path} from {origin:?}");
            assert!(!answer.headers().contains_key("set-cookie"));
        }
    }
    let request = gateway.post("/sign-out").header("cookie", &cookie);
    let answer = request.header("sec-fetch-site", "same-site").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(gateway.status("/", &cookie).await, 200, "it is still signed in");
}

#[tokio::test]
async fn a_session_reads_rest_but_changes_nothing_there() {
    let gateway = Gateway::start();
    let cookie = gateway.sign_in(&gateway.keys.api("read,operate")).await;
    let list = || gateway.get("/api/instances").header("cookie", &cookie);
    assert_eq!(list().send().await.unwrap().status(), 200);
    for site in ["cross-site", "same-site"] {
        assert_eq!(list().header("sec-fetch-site", site).send().await.unwrap().status(), 401);
    }
    let wrong_key = list().header("authorization", "Bearer vmk_wrong");
    assert_eq!(wrong_key.send().await.unwrap().status(), 401, "a key is never combined with it");
    let upgrade = gateway.post("/api/instances/a/upgrade").header("cookie", &cookie);
    assert_eq!(upgrade.body("{}").send().await.unwrap().status(), 401);
    assert_eq!(gateway.status("/api/instances/a/logs?container=web", &cookie).await, 403);
}

#[tokio::test]
async fn a_session_survives_a_restart_and_ends_with_its_key() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let cookie = gateway.sign_in(&key).await;
    let gateway = gateway.killed_and_started();
    assert_eq!(gateway.status("/", &cookie).await, 200);
    gateway.keys.revoke(&key);
    assert_eq!(gateway.status("/", &cookie).await, 303, "at once");
    assert_eq!(gateway.status("/api/instances", &cookie).await, 401);
}

#[tokio::test]
async fn a_second_sign_in_ends_the_session_before() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let first = gateway.sign_in(&key).await;
    let request = gateway.post("/sign-in").header("cookie", &first).body(format!("key={key}"));
    let second = cookie(request.send().await.unwrap().headers()).unwrap();
    assert_eq!(gateway.status("/", &first).await, 303);
    assert_eq!(gateway.status("/", &second).await, 200);
}

#[tokio::test]
async fn a_link_signs_in_once_and_by_a_button_alone() {
    let mut gateway = Gateway::start();
    let answer = gateway.command("sign-in-link read");
    let url = answer["answer"]["url"].as_str().expect("it is a URL").to_owned();
    let path = url.strip_prefix(&gateway.url).expect("it is of this gateway").to_owned();
    for _ in 0..3 {
        let preview = gateway.get(&path).send().await.unwrap();
        assert_eq!((preview.status().as_u16(), cookie(preview.headers())), (200, None));
    }
    assert_eq!(gateway.bare_post(&path).send().await.unwrap().status(), 403, "from nowhere");
    let answer = gateway.post(&path).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let cookie = cookie(answer.headers()).unwrap();
    assert_eq!(gateway.status("/", &cookie).await, 200);
    let again = gateway.post(&path).send().await.unwrap();
    assert_eq!(again.status(), 401);
    assert!(again.text().await.unwrap().contains("This link has been used"));

    assert!(gateway.command("sign-in-link root").get("error").is_some());
    gateway.command("sign-out-all");
    eventually("all are signed out", async || gateway.status("/", &cookie).await == 303).await;
}

#[tokio::test]
async fn a_link_from_another_site_is_opened_by_the_one_who_is_signed_in() {
    let gateway = Gateway::start();
    // The browser does not send its strict cookie then. It does for the page that this one leads to.
    let request = gateway.get("/?label=env%3Dprod").header("sec-fetch-site", "cross-site");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(text.contains(r#"<meta http-equiv="refresh" content="0; url=/?label=env%3Dprod">"#));
}

#[tokio::test]
async fn of_secrets_the_store_has_none() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read");
    let cookie = gateway.sign_in(&key).await;
    let secrets = [key.as_str(), cookie.split_once('=').unwrap().1];
    for entry in std::fs::read_dir(crate::support::data(gateway.folder())).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in the store");
        }
    }
}
