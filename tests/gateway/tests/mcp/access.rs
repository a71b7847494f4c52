//! Who may use MCP: keys, scopes, hosts and origins.

use reqwest::StatusCode;
use reqwest::header::{COOKIE, HOST, ORIGIN};
use serde_json::{Value, json};

use crate::agent::{Agent, SLOW};
use crate::client::Client;
use crate::gateway::{Gateway, call};

#[tokio::test]
async fn each_tool_needs_its_scope() {
    let gateway = Gateway::start();
    let logs = json!({"instance": "a", "container": "web"});
    for (scopes, names, refused, arguments) in [
        ("read", vec!["list_instances", "get_instance"], "get_logs", &logs),
        ("logs,operate", vec!["get_logs"], "list_instances", &json!({})),
        ("logs", vec!["get_logs"], "get_instance", &json!({"instance": "a"})),
    ] {
        let mut client = Client::connect(&gateway, &gateway.keys.api(scopes), "auto").await;
        let tools = client.tools().await;
        let told: Vec<_> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!(told, names, "{scopes}");
        let line = client.fail(refused, arguments.clone()).await;
        assert!(line.contains("lacks the scope"), "{scopes}: {line}");
    }
    let operate = gateway.post(&gateway.keys.api("operate")).send().await.unwrap();
    assert_eq!(operate.status(), StatusCode::FORBIDDEN);
    assert!(operate.text().await.unwrap().contains("neither the scope read nor logs"));
}

#[tokio::test]
async fn only_an_api_key_in_the_header_opens() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read,logs");
    assert_eq!(gateway.post(&key).send().await.unwrap().status(), StatusCode::OK);
    let wrong = format!("{}x", &key[..key.len() - 1]);
    for stranger in [wrong.as_str(), "", "vmk_", &gateway.keys.agent(None), crate::gateway::TOKEN] {
        let answer = gateway.post(stranger).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{stranger}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert!(answer.text().await.unwrap().contains("Authorization: Bearer vmk_"));
    }
    let mut client = Client::connect(&gateway, &wrong, "auto").await;
    assert!(client.greeting.to_string().contains("raised"), "{}", client.greeting);
    client = Client::connect(&gateway, &key, "auto").await;
    assert_eq!(client.call("list_instances", json!({})).await["matching"], 0);

    // Whatever the page's cookie is called.
    let plain = reqwest::Client::new();
    for name in ["session", "vmkit", "vmkit_session", "__Host-session", "key", "Authorization"] {
        let mut request = gateway.post(&key).build().unwrap();
        request.headers_mut().remove("authorization");
        request.headers_mut().insert(COOKIE, format!("{name}={key}").parse().unwrap());
        let answer = plain.execute(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
    }
    let log = gateway.log();
    let secret = key.rsplit('_').next().unwrap();
    assert!(log.contains(key.split('_').nth(1).unwrap()), "a key's id is logged");
    assert!(!log.contains(secret) && !log.contains(&secret[1..secret.len() - 1]), "no secret is");
}

#[tokio::test]
async fn a_revoked_key_ends_at_once() {
    let gateway = Gateway::start();
    let (key, other) = (gateway.keys.api("read,logs"), gateway.keys.api("read,logs"));
    let mut client = Client::connect(&gateway, &key, "auto").await;
    let agent = Agent::start(&gateway, "web-1", json!({}), json!({})).await;
    // A call that would wait for its agent for 40 s.
    let slow = json!({"instance": "web-1", "container": SLOW});
    client.send(json!({"call": "get_logs", "arguments": slow})).await;
    agent.asked("logs_fetch").await;
    gateway.keys.revoke(&key);
    let said = client.line().await;
    assert!(said.to_string().contains("revoked"), "{said}");
    assert_eq!(gateway.post(&key).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(gateway.post(&other).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn it_answers_to_its_own_names_alone() {
    let gateway =
        Gateway::with(&["--plain", "--host", "gw.example.com", "--cert-name", "cert.example"]);
    let (key, port) = (gateway.keys.api("read"), gateway.port());
    let status = async |headers: &[(reqwest::header::HeaderName, String)]| {
        let mut ask = gateway.post(&key);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        ask.send().await.unwrap().status()
    };
    for host in ["localhost", "127.0.0.1", "[::1]", "gw.example.com", "cert.example"] {
        let host = format!("{host}:{port}");
        assert_eq!(status(&[(HOST, host.clone())]).await, StatusCode::OK, "{host}");
        let own = [(HOST, host.clone()), (ORIGIN, format!("https://{host}"))];
        assert_eq!(status(&own).await, StatusCode::OK, "{host}");
        let foreign = [(HOST, host.clone()), (ORIGIN, "https://evil.example".to_owned())];
        assert_eq!(status(&foreign).await, StatusCode::FORBIDDEN, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.2"] {
        let host = format!("{host}:{port}");
        assert_eq!(status(&[(HOST, host.clone())]).await, StatusCode::FORBIDDEN, "{host}");
    }
    for origin in [format!("http://localhost:{}", port ^ 1), "null".to_owned(), "x".to_owned()] {
        let foreign = [(HOST, format!("localhost:{port}")), (ORIGIN, origin.clone())];
        assert_eq!(status(&foreign).await, StatusCode::FORBIDDEN, "{origin}");
    }
    // A page of another site that has a key to try may not even try it.
    for _ in 0..50 {
        let ask = gateway.post("vmk_wrong").header(HOST, "evil.example");
        assert_eq!(ask.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    let answer = gateway.post("vmk_wrong").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "nobody used up the attempts");
}

/// Another site's page can't ask whether it may: there is no CORS.
#[tokio::test]
async fn there_is_nothing_but_post() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read,logs");
    for method in ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let ask = reqwest::Client::new().request(method.clone(), gateway.url()).bearer_auth(&key);
        let answer = ask.header(ORIGIN, "https://evil.example").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{method}");
    }
}

/// With all scopes, too.
#[tokio::test]
async fn nothing_can_be_changed() {
    let gateway = Gateway::start();
    let key = gateway.keys.api("read,logs,operate");
    for tool in ["upgrade", "agent_upgrade", "restart", "call", "request"] {
        let ask = gateway.post(&key).body(call(tool, &json!({"instance": "a"})).to_string());
        let answer: Value = ask.send().await.unwrap().json().await.unwrap();
        let words = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(words.contains("there is no such tool"), "{tool}: {answer}");
    }
}
