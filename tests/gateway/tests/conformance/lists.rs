//! The page, the checks and the breaks of the agent in Python: each has what the others have.

use std::collections::BTreeSet;
use std::process::Command;

use vmkit_gateway::check::rules::{self, NOT_CHECKED, NOT_REACHED};
use vmkit_gateway::check::sentences;

use crate::kit::sabotage;

/// All ids of breaks.
pub fn breaks() -> BTreeSet<String> {
    let mut python = Command::new("python3");
    python.args(["-I", "-S"]).arg(sabotage()).arg("--list-breaks");
    let listed = python.output().expect("python3 is installed");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
}

fn checks() -> BTreeSet<String> {
    let all = rules::all();
    let ids: BTreeSet<String> = all.iter().map(|check| check.id.to_owned()).collect();
    assert_eq!(ids.len(), all.len(), "two checks have one id");
    ids
}

/// The rules of the page that bind agents.
fn rules_for_agents() -> BTreeSet<String> {
    let all = sentences::all();
    let ids = all.iter().map(|sentence| sentence.id);
    assert!(ids.clone().all(|id| id.starts_with("A-") || id.starts_with("G-")));
    ids.filter(|id| id.starts_with("A-")).map(str::to_owned).collect()
}

#[test]
fn a_sentence_that_binds_agents_has_a_check_or_a_reason() {
    let listed: BTreeSet<String> = NOT_CHECKED.iter().map(|(id, _)| (*id).to_owned()).collect();
    let checks = checks();
    let both: Vec<_> = listed.intersection(&checks).collect();
    assert!(both.is_empty(), "checked, and listed as not checked: {both:?}");
    let without: Vec<_> = rules_for_agents()
        .into_iter()
        .filter(|id| !checks.contains(id) && !listed.contains(id))
        .collect();
    assert!(without.is_empty(), "neither a check nor a reason in NOT_CHECKED: {without:?}");
}

#[test]
fn a_check_has_its_sentence() {
    let rules = rules_for_agents();
    assert!(rules.len() > 100, "{} rules were found", rules.len());
    let listed = NOT_CHECKED.iter().chain(NOT_REACHED).map(|(id, _)| (*id).to_owned());
    let without: Vec<_> =
        checks().into_iter().chain(listed).filter(|id| !rules.contains(id)).collect();
    assert!(without.is_empty(), "not in dist/protocol.md: {without:?}");
    let empty: Vec<_> =
        NOT_CHECKED.iter().chain(NOT_REACHED).filter(|(_, why)| why.is_empty()).collect();
    assert!(empty.is_empty(), "without a reason: {empty:?}");
}

#[test]
fn a_check_has_its_sabotage() {
    let (checks, breaks) = (checks(), breaks());
    let unproved: Vec<_> = checks.difference(&breaks).collect();
    assert!(unproved.is_empty(), "the agent in Python can't break these: {unproved:?}");
    let idle: Vec<_> = breaks.difference(&checks).collect();
    assert!(idle.is_empty(), "no check sees these breaks: {idle:?}");
}
