//! Every error is a problem as RFC 9457 describes it, and the description of all paths is whole.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Client, Gateway};

#[tokio::test]
async fn an_error_is_a_problem_whatever_is_wrong() {
    let gateway = Gateway::start(&[]).await;
    let client = gateway.client();
    let _agent = Agent::start(&gateway, "web-1").await;

    client.get("/api/instances?limit=x").await.problem(400, "invalid-request");
    client.get("/api/instances/%FF").await.problem(400, "invalid-request");
    client.get("/api/instances/a%00b").await.problem(400, "invalid-request");
    client.get("/api/instances/no").await.problem(404, "no-such-instance");
    for path in ["/no", "/api", "/api/", "/api/instances/", "/health/", "/api/instances/a/b"] {
        client.get(path).await.problem(404, "no-such-path");
    }

    let nobody = Client::new(&gateway.api, None);
    for client in [&nobody, &gateway.client_with("vmk_no"), &gateway.client_with("")] {
        let answer = client.get("/api/instances").await;
        answer.problem(401, "no-valid-key");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let reader = gateway.client_with(&gateway.folder().keys.api("read"));
    reader.post("/api/instances/web-1/upgrade", &json!({})).await.problem(403, "missing-scope");

    for (method, path, allowed) in [
        (Method::POST, "/api/instances", "GET,HEAD"),
        (Method::DELETE, "/api/instances/web-1", "GET,HEAD"),
        (Method::GET, "/api/instances/web-1/upgrade", "POST"),
        (Method::PATCH, "/health", "GET,HEAD"),
    ] {
        let answer = Answer::of(client.request(method, path)).await;
        answer.problem(405, "no-such-method");
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
    }
}

#[tokio::test]
async fn a_body_is_json_of_a_bounded_size() {
    let gateway = Gateway::start(&[]).await;
    let _agent = Agent::start(&gateway, "web-1").await;
    let post = async |kind: &str, body: String| {
        let request = gateway.client().request(Method::POST, "/api/instances/web-1/upgrade");
        Answer::of(request.header("content-type", kind).body(body)).await
    };
    let json = "application/json";
    post(json, "{".to_owned()).await.problem(400, "invalid-request");
    post(json, "[]".to_owned()).await.problem(422, "invalid-request");
    post("text/plain", "{}".to_owned()).await.problem(415, "not-json");
    let large = json!({"version": "1".repeat(16 * 1024)}).to_string();
    post(json, large).await.problem(413, "too-large");
}

#[tokio::test]
async fn answers_are_not_sniffed_nor_kept() {
    let gateway = Gateway::start(&[]).await;
    for path in ["/health", "/api/instances", "/no"] {
        let answer = gateway.client().get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

/// All references lead somewhere, and each path says who may and what its errors are.
#[tokio::test]
async fn the_description_is_whole() {
    let gateway = Gateway::start(&[]).await;
    let description = Client::new(&gateway.api, None).json("/api/openapi.json").await;
    let mut references = Vec::new();
    collect(&description, &mut references);
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("it is in the same file");
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (path, scope) in [
        ("/api/instances", "read"),
        ("/api/instances/{id}", "read"),
        ("/api/instances/{id}/history", "read"),
        ("/api/instances/{id}/events", "read"),
        ("/api/events", "read"),
        ("/api/instances/{id}/logs", "logs"),
        ("/api/deploys/{id}/logs", "logs"),
        ("/api/instances/{id}/upgrade", "operate"),
    ] {
        let (_, operation) = description["paths"][path].as_object().unwrap().iter().next().unwrap();
        assert_eq!(operation["security"], json!([{"key": [scope]}]), "{path}");
        assert!(operation["responses"]["default"].is_object(), "{path}");
        assert!(operation["summary"].is_string(), "{path}");
    }
    assert!(description["paths"]["/health"]["get"]["security"].is_null());
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(all) => all.iter().for_each(|one| collect(one, references)),
        _ => {}
    }
}
