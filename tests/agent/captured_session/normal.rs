//! Takes out of what was said all that another run, machine or day would change. The members stay, in
//! their order, with their types.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{json, value::RawValue};

use super::recorder::{Entry, Sent};
use crate::support::OWN_VERSION;

/// What this machine and moment decide, by the end of the path of names that leads to it.
const FIGURES: &[(&str, &str)] = &[
    ("cpu_pct", "12.5"),
    ("mem_pct", "41.0"),
    ("disk_pct", "63.2"),
    // Other tests have containers too.
    ("container_count", "1"),
    ("containers/image", r#""web:3""#),
    ("host/uptime_s", "86400"),
    ("host/load", "[0.5,0.4,0.3]"),
    ("host/swap_pct", "null"),
    ("host/disks", r#"{"/":{"used_pct":63.2,"inodes_pct":7.0}}"#),
    ("host/kernel", r#""6.1.0-18-cloud-amd64""#),
    ("host/distribution", r#""Debian GNU/Linux 12 (bookworm)""#),
    ("host/cpus", "2"),
    ("host/mem_total", "4102029312"),
    ("host/init", r#""systemd""#),
    ("arch", r#""amd64""#),
    ("build", r#""0123456789ab""#),
    ("boot_id", r#""7c9e6679-7425-40de-944b-e07fc1f90ae7""#),
    ("probation/seconds_left", "117"),
    ("params/bytes", "1048576"),
    ("params/total", "2097152"),
];
const HEADERS: &[(&str, &str)] = &[
    ("host", "gateway.example"),
    ("authorization", "Bearer <token>"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ("user-agent", "vmkit-agent/1.0.0 (linux; amd64)"),
];
const NAME: &str = "web";

/// An entry in both of its forms.
pub struct Line {
    pub scene: &'static str,
    /// For `session.ndjson`.
    pub ndjson: String,
    /// For the page.
    pub shown: String,
}

pub struct Normal {
    container: String,
    container_id: String,
    versions: Vec<String>,
    checksums: Vec<String>,
    urls: Vec<String>,
    times: Vec<(&'static str, String)>,
}

impl Normal {
    pub fn new(container: &str, container_id: &str) -> Normal {
        Normal {
            container: container.to_owned(),
            container_id: container_id.to_owned(),
            versions: vec![OWN_VERSION.to_owned()],
            checksums: Vec::new(),
            urls: Vec::new(),
            times: Vec::new(),
        }
    }

    pub fn entry(&mut self, entry: &Entry) -> Line {
        let Entry { scene, from, sent } = entry;
        let arrow = if *from == "agent" { '<' } else { '>' };
        let (member, shown) = match sent {
            Sent::Http(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| header(line)).collect();
                (format!("\"http\":{}", json!(lines)), lines.join(&format!("\n{arrow} ")))
            }
            Sent::Text(text) if text.ends_with('}') => {
                let text = text.replace(&self.container, NAME);
                let text = text.replace(&self.container_id, &"0b5c".repeat(16));
                let text = self.value("", &text);
                (format!("\"message\":{text}"), text)
            }
            Sent::Text(text) => (format!("\"text\":{}", json!(text)), text.clone()),
            Sent::Close(code) => (format!("\"close\":{code}"), format!("close {code}")),
        };
        let ndjson = format!("{{\"scene\":\"{scene}\",\"from\":\"{from}\",{member}}}");
        Line { scene, ndjson, shown: format!("{arrow} {shown}") }
    }

    /// The JSON `raw`, to which `path` leads.
    fn value(&mut self, path: &str, raw: &str) -> String {
        let is_at = |end: &str| path == end || path.ends_with(&format!("/{end}"));
        if let Some((_, figure)) = FIGURES.iter().find(|(end, _)| is_at(end)) {
            return (*figure).to_owned();
        }
        match raw.as_bytes().first() {
            Some(b'{') => {
                let mut members =
                    serde_json::from_str::<Members>(raw).expect("it was read before").0;
                if is_at("container_health") {
                    members.retain(|(name, _)| name == NAME);
                }
                let members = members.iter().map(|(name, raw)| {
                    let inner = format!("{path}/{name}");
                    format!("{}:{}", json!(name), self.value(&inner, raw.get()))
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Some(b'[') => {
                let mut items: Vec<Box<RawValue>> = serde_json::from_str(raw).expect("as above");
                if is_at("containers") {
                    items.retain(|item| item.get().contains(&format!("\"name\":\"{NAME}\"")));
                }
                let items = items.iter().map(|item| self.value(path, item.get()));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            Some(b'"') => {
                let text: String = serde_json::from_str(raw).expect("as above");
                let name = path.rsplit('/').next().unwrap_or_default();
                json!(self.text(name, &text)).to_string()
            }
            _ => raw.to_owned(),
        }
    }

    /// The string of the member `name`.
    fn text(&mut self, name: &str, text: &str) -> String {
        match name {
            "version" => numbered(place(&mut self.versions, text)),
            "checksum_sha256" => checksum(place(&mut self.checksums, text)),
            "download_url" => url(place(&mut self.urls, text)),
            "ts" => self.time("ts", text, ".000000001"),
            "started_at" => self.time("started_at", text, ".000000001"),
            "at" => self.time("at", text, ""),
            "collected_at" => self.time("collected_at", text, ""),
            "message" | "reason" => self.words(text),
            _ => text.to_owned(),
        }
    }

    /// A text that may repeat what the gateway has named.
    fn words(&self, text: &str) -> String {
        let named = |known: &[String], name: fn(usize) -> String| -> Vec<(String, String)> {
            known.iter().cloned().enumerate().map(|(at, real)| (real, name(at))).collect()
        };
        // Our own version is a text that may stand anywhere.
        let versions = named(&self.versions, numbered).into_iter().skip(1);
        let others = named(&self.checksums, checksum).into_iter().chain(named(&self.urls, url));
        versions
            .chain(others)
            .fold(text.to_owned(), |text, (real, name)| text.replace(&real, &name))
    }

    /// Equal times stay equal; each kind has a minute of its own.
    fn time(&mut self, kind: &'static str, text: &str, fraction: &str) -> String {
        let minute = ["started_at", "ts", "collected_at", "at"].iter().position(|it| *it == kind);
        let minute = minute.unwrap_or_default();
        if !self.times.iter().any(|(of, time)| *of == kind && time == text) {
            self.times.push((kind, text.to_owned()));
        }
        let mut same = self.times.iter().filter(|(of, _)| *of == kind);
        let second = same.position(|(_, time)| time == text).unwrap_or_default();
        format!("2026-01-01T00:{minute:02}:{second:02}{fraction}Z")
    }
}

/// The agent's own version is 1.0.0, the next that is named 1.1.0.
fn numbered(version: usize) -> String {
    format!("1.{version}.0")
}

fn checksum(number: usize) -> String {
    (number + 1).to_string().repeat(64)
}

fn url(number: usize) -> String {
    format!("https://releases.example/{}/vmkit-agent-linux-amd64", number + 1)
}

/// The place of `value` among those seen so far.
fn place(seen: &mut Vec<String>, value: &str) -> usize {
    seen.iter().position(|known| known == value).unwrap_or_else(|| {
        seen.push(value.to_owned());
        seen.len() - 1
    })
}

fn header(line: &str) -> String {
    let known = line.split_once(": ").and_then(|(name, _)| {
        let (_, value) = HEADERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(format!("{name}: {value}"))
    });
    known.unwrap_or_else(|| line.to_owned())
}

/// The members of an object in the order in which they were written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Members, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        json.deserialize_map(Visitor)
    }
}
