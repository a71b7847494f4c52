//! Which instances to show: the URL's query, which can be shared.

use std::fmt::Write;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::agents::fleet::Record;
use crate::api::problem::Problem;

/// Of one request.
const LABELS: usize = 16;
const TEXT_LIMIT: usize = 512;

#[derive(Deserialize)]
pub struct Query {
    /// Text that is in the id, a label, the address, the version or the distribution.
    q: Option<String>,
    /// `NAME=VALUE`, all of them. One that is empty is none, as a form sends it.
    #[serde(default)]
    label: Vec<String>,
    show: Option<Show>,
    page: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    #[default]
    All,
    /// What needs attention.
    Wrong,
    Lost,
    /// Of an older version than the newest.
    Behind,
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub text: String,
    pub labels: Vec<(String, String)>,
    pub show: Show,
    /// From 0.
    pub page: usize,
}

impl Query {
    pub fn filter(self) -> Result<Filter, Problem> {
        let labels = self.label.iter().filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let labels: Option<Vec<_>> = labels.collect();
        let labels = labels.ok_or_else(|| Problem::invalid("label is not NAME=VALUE"))?;
        let text = self.q.unwrap_or_default().trim().to_owned();
        if labels.len() > LABELS || text.len() > TEXT_LIMIT {
            let most = format!("over {LABELS} labels, or q has over {TEXT_LIMIT} bytes");
            return Err(Problem::invalid(most));
        }
        let page = self.page.unwrap_or(1).saturating_sub(1);
        Ok(Filter { text, labels, show: self.show.unwrap_or_default(), page })
    }
}

impl Filter {
    pub fn is_everything(&self) -> bool {
        self.text.is_empty() && self.labels.is_empty() && self.show == Show::All
    }

    pub fn matches(&self, record: &Record) -> bool {
        let register = &record.register;
        let has = |(name, value): &(String, String)| register.labels.get(name) == Some(value);
        if !self.labels.iter().all(has) {
            return false;
        }
        let text = self.text.to_lowercase();
        let contains = |part: &str| part.to_lowercase().contains(&text);
        let host = register.host.as_ref();
        text.is_empty()
            || contains(register.instance_id.as_str())
            || contains(&register.version)
            || contains(&register.ip)
            || register.labels.iter().any(|(name, value)| contains(&format!("{name}={value}")))
            || host.and_then(|host| host.distribution.as_deref()).is_some_and(contains)
    }

    /// The path that shows the same on another page.
    pub fn at_page(&self, page: usize) -> String {
        Filter { page, ..self.clone() }.path()
    }

    pub fn with_label(&self, name: &str, value: &str) -> String {
        let mut labels = self.labels.clone();
        labels.push((name.to_owned(), value.to_owned()));
        Filter { labels, page: 0, ..self.clone() }.path()
    }

    pub fn without_label(&self, place: usize) -> String {
        let mut labels = self.labels.clone();
        labels.remove(place);
        Filter { labels, page: 0, ..self.clone() }.path()
    }

    pub fn showing(&self, show: Show) -> String {
        Filter { show, page: 0, ..self.clone() }.path()
    }

    fn path(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = "/?".to_owned();
        if !self.text.is_empty() {
            let _ = write!(path, "q={}&", encode(&self.text));
        }
        for (name, value) in &self.labels {
            let _ = write!(path, "label={}&", encode(&format!("{name}={value}")));
        }
        match self.show {
            Show::All => {}
            Show::Wrong => path.push_str("show=wrong&"),
            Show::Lost => path.push_str("show=lost&"),
            Show::Behind => path.push_str("show=behind&"),
        }
        if self.page > 0 {
            let _ = write!(path, "page={}&", self.page + 1);
        }
        path.truncate(path.len() - 1);
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_shown() {
        let filter = Filter::default();
        assert_eq!(filter.at_page(0), "/");
        assert_eq!(filter.showing(Show::Lost), "/?show=lost");
        let labels = vec![("a b".to_owned(), "c&d=".to_owned())];
        let filter = Filter { text: "x+".to_owned(), labels, show: Show::Wrong, page: 4 };
        assert_eq!(filter.at_page(1), "/?q=x%2B&label=a%20b%3Dc%26d%3D&show=wrong&page=2");
        assert_eq!(filter.without_label(0), "/?q=x%2B&show=wrong");
    }
}
