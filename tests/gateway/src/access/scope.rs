//! What an API key may do. No scope includes another.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Instances, their history and events.
    Read,
    /// What containers write.
    Logs,
    /// Upgrades: as good as root on every VM.
    Operate,
}

#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Scopes(BTreeSet<Scope>);

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Logs, Scope::Operate];

    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Logs => "logs",
            Scope::Operate => "operate",
        }
    }
}

impl Scopes {
    pub fn all() -> Scopes {
        Scopes(Scope::ALL.into())
    }

    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl FromStr for Scopes {
    type Err = String;

    /// Words with commas between, at least one.
    fn from_str(text: &str) -> Result<Scopes, String> {
        let scope = |word: &str| {
            let known = Scope::ALL.into_iter().find(|scope| scope.name() == word);
            known.ok_or_else(|| format!("{word:?} is no scope: read, logs and operate are"))
        };
        text.split(',').map(str::trim).map(scope).collect::<Result<_, _>>().map(Scopes)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.name()).collect();
        formatter.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_they_are_read() {
        let scopes: Scopes = "logs, read".parse().unwrap();
        assert_eq!(scopes.to_string(), "read,logs");
        assert!(scopes.has(Scope::Read) && !scopes.has(Scope::Operate));
        assert!("".parse::<Scopes>().is_err() && "root".parse::<Scopes>().is_err());
    }
}
