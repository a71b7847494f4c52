//! What is wrong with an instance, how bad it is, and what comes first in a list: the page and MCP show
//! the same. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use semver::Version;

use super::fleet::{Fleet, Record};
use super::health::Kind;
use super::status::status;
use super::upgrade::Stage;
use crate::clock::Moment;

/// What is wrong with an instance, the worst first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rank {
    Lost,
    Trouble(Kind),
    UpgradeFailed,
    Behind,
    Fine,
}

/// The key to sort by, before the id. Those who are lost are sorted by the time: the latest is what
/// someone looks for.
pub fn rank(record: &Record, newest: Option<&Version>, now: Moment) -> (Rank, Reverse<Moment>) {
    let status = status(record, now);
    if let Some(warning) = status.warning {
        return (Rank::Lost, Reverse(warning.since));
    }
    let troubles = record.snapshot.as_ref().map(|snapshot| &snapshot.troubles);
    let worst = troubles.and_then(|troubles| troubles.first.first());
    let rank = match worst {
        Some(trouble) => Rank::Trouble(trouble.kind),
        None if failed_upgrade(record).is_some() => Rank::UpgradeFailed,
        None if is_behind(record, newest) => Rank::Behind,
        None => Rank::Fine,
    };
    (rank, Reverse(Moment::default()))
}

/// Everything that is wrong, in words, the worst first.
pub fn wrong(record: &Record, newest: Option<&Version>, now: Moment) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(status(record, now).warning.map(|warning| warning.text));
    if let Some(snapshot) = &record.snapshot {
        let troubles = &snapshot.troubles;
        wrong.extend(troubles.first.iter().map(|trouble| trouble.words.clone()));
        if troubles.more > 0 {
            wrong.push(format!("and {} more", troubles.more));
        }
    }
    wrong.extend(failed_upgrade(record));
    if let Some(newest) = newest.filter(|newest| is_behind(record, Some(newest))) {
        wrong.push(format!(
            "version {} is older than the newest, {newest}",
            record.register.version
        ));
    }
    wrong
}

fn failed_upgrade(record: &Record) -> Option<String> {
    let upgrade = record.upgrade.as_ref()?;
    match upgrade.stage {
        Stage::Failed { .. } => Some(format!("the upgrade to {} has failed", upgrade.version)),
        Stage::RolledBack { .. } => {
            Some(format!("the upgrade to {} was rolled back", upgrade.version))
        }
        _ => None,
    }
}

/// Of versions that are sorted.
pub fn newest(versions: &[(String, usize)]) -> Option<Version> {
    versions.first().and_then(|(version, _)| Version::parse(version).ok())
}

/// A version that can't be read is behind nothing.
pub fn is_behind(record: &Record, newest: Option<&Version>) -> bool {
    let version = Version::parse(&record.register.version).ok();
    version.zip(newest).is_some_and(|(version, newest)| version < *newest)
}

/// How many instances have each version, the newest first.
pub fn versions(fleet: &Fleet) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for record in fleet.iter() {
        *counts.entry(&record.register.version).or_default() += 1;
    }
    let mut versions: Vec<(String, usize)> =
        counts.into_iter().map(|(version, count)| (version.to_owned(), count)).collect();
    versions.sort_by_cached_key(|(version, _)| Reverse(Version::parse(version).ok()));
    versions
}
