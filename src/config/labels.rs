//! VMKIT_LABELS: `name=value` pairs that `register` tells the gateway.

use std::collections::BTreeMap;

use super::error::Error;
use super::variables::LABELS;

const MOST: usize = 32;
/// In bytes, of a name.
const NAME_LIMIT: usize = 63;
/// In bytes, of a value.
const VALUE_LIMIT: usize = 128;

pub type Labels = BTreeMap<String, String>;

/// # Errors
/// What is wrong with the first pair that is not valid.
pub(super) fn check(text: &str) -> Result<Labels, Error> {
    let mut labels = Labels::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let refuse = |problem: &str| Err(Error::new(LABELS, format!("{pair:?}: {problem}")));
        let Some((name, value)) = pair.split_once('=') else {
            return refuse("no \"=\"; write name=value, for example env=prod,role=db");
        };
        let (name, value) = (name.trim(), value.trim());
        if !is_name(name) {
            return refuse(
                "the name must be 1 to 63 letters, digits or _ . / -, and begin with a letter or a \
                 digit",
            );
        }
        if value.len() > VALUE_LIMIT || value.chars().any(char::is_control) {
            return refuse("the value is longer than 128 bytes, or has control characters");
        }
        if labels.insert(name.to_owned(), value.to_owned()).is_some() {
            return refuse("the name is there twice; remove one of the two");
        }
    }
    match labels.len() {
        0..=MOST => Ok(labels),
        count => Err(Error::new(LABELS, format!("{count} labels; {MOST} are allowed"))),
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read() {
        let labels = check(" env=prod, role=db,vmkit.deploy=a=b,empty=, ").unwrap();
        let expected = [("empty", ""), ("env", "prod"), ("role", "db"), ("vmkit.deploy", "a=b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(labels, expected.into());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |text: &str| check(text).unwrap_err().to_string();
        assert!(
            problem("env").starts_with("VMKIT_LABELS: \"env\": no \"=\""),
            "{}",
            problem("env")
        );
        for text in ["=x", "-a=x", "a b=x", &format!("{}=x", "n".repeat(64))] {
            assert!(problem(text).contains("the name must be"), "{text}");
        }
        assert!(problem(&format!("a={}", "v".repeat(129))).contains("longer than 128"));
        assert!(problem("a=b\u{7}c").contains("control characters"));
        assert!(problem("a=1,a=2").contains("twice"));
        let many: Vec<String> = (0..33).map(|index| format!("l{index}=x")).collect();
        assert!(problem(&many.join(",")).contains("33 labels"));
    }
}
