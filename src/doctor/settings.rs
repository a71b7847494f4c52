//! The configuration: the file as such, and each variable as a start would take it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use super::report::{Report, Verdict};
use crate::config::{ENV_FILE, Examined};
use crate::env_file;

pub fn check(examined: &Examined, report: &mut Report) {
    let text = file(examined, report);
    if let Some(text) = text {
        shell(&text, report);
    }
    for problem in &examined.problems {
        let check = match problem.variable() {
            "VMKIT_AGENT_TOKEN" => "token",
            "VMKIT_GATEWAY_URL" => "gateway-url",
            _ => "settings",
        };
        report.fail(check, problem.to_string(), format!("sudo vi {ENV_FILE}"));
    }
    let Some(config) = &examined.config else { return };
    if examined.has_token {
        report.pass("token", format!("there, from {}", config.token_source));
    }
    if examined.problems.iter().all(|problem| problem.variable() != "VMKIT_GATEWAY_URL") {
        report.pass("gateway-url", config.gateway.to_string());
    }
    if examined.problems.is_empty() {
        report.pass("settings", format!("instance {}", config.instance_id));
    }
}

/// The text of the file, where it can be read.
fn file(examined: &Examined, report: &mut Report) -> Option<String> {
    let metadata = match fs::metadata(ENV_FILE) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound && examined.has_token => {
            report.skip("config", format!("no {ENV_FILE}; the token is from elsewhere"));
            return None;
        }
        Err(error) => {
            report.fail("config", format!("{ENV_FILE}: {error}"), "sudo vmkit-agent install");
            return None;
        }
    };
    let text = match fs::read_to_string(ENV_FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let seen = format!("{ENV_FILE} can't be read by this user");
            report.fail("config", seen, "sudo vmkit-agent doctor");
            return None;
        }
        Err(error) => {
            report.fail("config", format!("{ENV_FILE}: {error}"), format!("file {ENV_FILE}"));
            return None;
        }
    };
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    let edit = format!("sudo vi {ENV_FILE}");
    let mut faults = Vec::new();
    if mode & 0o007 != 0 {
        let seen = format!("mode {mode:04o}: everyone on this machine can get at the token");
        faults.push((Verdict::Fail, seen, format!("sudo chmod 600 {ENV_FILE}")));
    } else if mode & 0o070 != 0 || owner != 0 {
        let seen = format!("mode {mode:04o}, owner {owner}: not for root alone");
        let command = format!("sudo chown root {ENV_FILE} && sudo chmod 600 {ENV_FILE}");
        faults.push((Verdict::Warn, seen, command));
    }
    if env_file::ends_open(&text) {
        faults.push((Verdict::Fail, "a quote in it is not closed".to_owned(), edit.clone()));
    }
    let idle = env_file::idle_lines(&text);
    if let [line, ..] = idle[..] {
        // A stray line does no harm; one that was to be the token does.
        let verdict = if examined.has_token { Verdict::Warn } else { Verdict::Fail };
        faults.push((verdict, format!("line {line} is no NAME=value, so it is not read"), edit));
    }
    faults.sort_by_key(|(verdict, ..)| std::cmp::Reverse(*verdict));
    let seen: Vec<&str> = faults.iter().map(|(_, seen, _)| seen.as_str()).collect();
    let seen = format!("{ENV_FILE}: {}", seen.join("; "));
    match faults.first() {
        None => report.pass("config", format!("{ENV_FILE}: mode {mode:04o}, root's, it parses")),
        Some((Verdict::Fail, _, next)) => report.fail("config", seen, next),
        Some((_, _, next)) => report.warn("config", seen, next),
    }
    Some(text)
}

/// What is set here and not there: this doctor goes by it, and the service does not.
fn shell(text: &str, report: &mut Report) {
    let assignments = env_file::parse(text);
    let ours = |name: &str| {
        const OTHERS: [&str; 5] =
            ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "DOCKER_HOST"];
        name.starts_with("VMKIT_") || OTHERS.contains(&name)
    };
    let differs = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.to_str()?, value.to_string_lossy());
        let there = assignments.iter().rfind(|(known, _)| known == name);
        let same = there.is_some_and(|(_, there)| *there == value);
        (ours(name) && !value.is_empty() && !same).then(|| name.to_owned())
    };
    let mut names: Vec<String> = std::env::vars_os().filter_map(|set| differs(&set)).collect();
    names.sort();
    if let Some(first) = names.first() {
        let seen = format!(
            "{}: set in this shell and not so in {ENV_FILE}: the service may see something else \
             than this doctor",
            names.join(", ")
        );
        report.warn("shell", seen, format!("env -u {first} vmkit-agent doctor"));
    }
}
