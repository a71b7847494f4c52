//! REST as a client speaks it: answers, problems, and live streams read event by event.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::PATIENCE;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// A live stream.
pub struct Stream {
    response: Response,
    read: String,
}

#[derive(Debug)]
pub struct Message {
    pub id: Option<i64>,
    pub event: String,
    pub data: Value,
}

impl Client {
    pub fn new(base: &str, key: Option<&str>) -> Client {
        let http = reqwest::Client::builder().no_proxy().build().expect("it needs nothing");
        Client { http, base: base.to_owned(), key: key.map(str::to_owned) }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }

    /// The JSON of a good answer.
    #[track_caller]
    pub fn json(&self, path: &str) -> impl Future<Output = Value> {
        let (answer, path) = (self.get(path), path.to_owned());
        async move {
            let answer = answer.await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            answer.json()
        }
    }

    pub async fn stream(&self, path: &str) -> Stream {
        self.stream_from(path, None).await
    }

    /// As a browser goes on with a stream that was cut off.
    pub async fn stream_from(&self, path: &str, last: Option<i64>) -> Stream {
        let mut request = self.request(Method::GET, path).header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        Stream::of(request).await
    }
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Answer {
        let response = timeout(PATIENCE, request.send()).await.expect("it answers");
        let response = response.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = timeout(PATIENCE, response.text()).await.expect("the answer ends");
        Answer { status, headers, body: body.expect("the answer is whole") }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A problem of RFC 9457 with this status and name; its detail.
    #[track_caller]
    pub fn problem(&self, status: u16, name: &str) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:vmkit:problem:{name}"), "{}", self.body);
        assert_eq!(problem["status"], status, "{}", self.body);
        let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
        assert!(!text("title").is_empty() && !text("detail").is_empty(), "{}", self.body);
        text("detail")
    }
}

impl Stream {
    pub async fn of(request: RequestBuilder) -> Stream {
        let stream = timeout(PATIENCE, Stream::of_any(request)).await.expect("it answers");
        stream.expect("it answers")
    }

    /// `None`: the gateway has ended before it answered.
    pub async fn of_any(request: RequestBuilder) -> Option<Stream> {
        let response = request.send().await.ok()?;
        assert_eq!(response.status(), 200);
        let event_stream = HeaderValue::from_static("text/event-stream");
        assert_eq!(response.headers().get(CONTENT_TYPE), Some(&event_stream));
        Some(Stream { response, read: String::new() })
    }

    /// The next event; comments are passed over.
    pub async fn next(&mut self) -> Message {
        let next = timeout(PATIENCE, self.next_or_end()).await.expect("an event comes");
        next.expect("the stream goes on")
    }

    /// Whether nothing comes for this long.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        timeout(time, self.next_or_end()).await.is_err()
    }

    /// Passes over what still comes.
    pub async fn ends(&mut self) {
        let end = async { while self.next_or_end().await.is_some() {} };
        timeout(PATIENCE, end).await.expect("the stream ends");
    }

    /// `None`: it has ended, in good order or not. Safe to cancel.
    pub async fn next_or_end(&mut self) -> Option<Message> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let (message, rest) = (message(block), rest.to_owned());
                self.read = rest;
                if message.is_some() {
                    return message;
                }
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.read.push_str(std::str::from_utf8(&chunk).expect("it is ASCII"));
        }
    }
}

/// `None` for a comment.
fn message(block: &str) -> Option<Message> {
    let field = |name: &str| {
        let value = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.strip_prefix(' ').unwrap_or(value))
    };
    let data = field("data")?;
    Some(Message {
        id: field("id").map(|id| id.parse().expect("an event's id is a number")),
        event: field("event").unwrap_or("message").to_owned(),
        data: serde_json::from_str(data).expect("an event's data is JSON"),
    })
}
