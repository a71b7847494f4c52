//! REST, as a script or the page reads it. It must tell what the demo has shown.

use std::time::Duration;

use serde_json::Value;

use crate::agent::INSTANCE;

/// What the demo has shown of the agent by now.
#[derive(Default)]
pub struct Shown {
    pub connected: bool,
    pub version: String,
    pub registers: u64,
    pub drops: usize,
    /// Of the latest snapshot: null before the first.
    pub metrics: Value,
}

pub struct Rest {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Rest {
    /// `url` is where REST begins, `key` an API key.
    pub fn new(url: &str, key: &str) -> Result<Rest, String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| format!("REST: {error}"))?;
        Ok(Rest { client, url: url.to_owned(), key: key.to_owned() })
    }

    /// What REST tells otherwise than `shown`, in words; `None` where it tells the same.
    pub async fn differs(&self, shown: &Shown) -> Result<Option<String>, String> {
        let instance = self.get(&format!("/api/instances/{INSTANCE}")).await?;
        let events = self.get(&format!("/api/instances/{INSTANCE}/events")).await?;
        let reason = |event: &&Value| event["reason"] == "dropped by command";
        let drops = events["events"].as_array().into_iter().flatten().filter(reason).count();
        let pairs = [
            ("agent_connected", instance["agent_connected"].clone(), shown.connected.into()),
            ("agent_version", instance["agent_version"].clone(), shown.version.as_str().into()),
            ("registers", instance["registers"].clone(), shown.registers.into()),
            ("metrics", instance["metrics"].clone(), shown.metrics.clone()),
            ("dropped sessions in events", drops.into(), shown.drops.into()),
        ];
        let wrong = pairs.iter().find(|(_, told, shown)| told != shown);
        Ok(wrong.map(|(what, told, shown)| format!("{what} is {told} by REST, and was {shown}")))
    }

    /// How many lines REST has of a container's log, at most 4.
    pub async fn log_lines(&self, container: &str) -> Result<usize, String> {
        let path = format!("/api/instances/{INSTANCE}/logs?container={container}&lines=4");
        Ok(self.get(&path).await?["lines"].as_array().map_or(0, Vec::len))
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.key);
        let cannot = |error: reqwest::Error| format!("GET {path}: {error}");
        let response = request.send().await.map_err(cannot)?;
        let (status, body) = (response.status(), response.text().await.map_err(cannot)?);
        if !status.is_success() {
            return Err(format!("GET {path}: {status}: {body}"));
        }
        serde_json::from_str(&body).map_err(|error| format!("GET {path}: {error}: {body}"))
    }
}
