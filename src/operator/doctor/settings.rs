//! The configuration: the file as such, and each variable as a start would take it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use super::report::{Report, Verdict};
use super::service::Service;
use crate::config::env_file;
use crate::config::{self, ENV_FILE, Examined, TokenSource};

/// A name and its value.
type Variable = (String, String);

pub fn check(examined: &Examined, service: &Service, report: &mut Report) {
    let text = file(examined, service, report);
    if let Some(text) = text {
        let assignments = env_file::parse(&text);
        shell(&assignments, examined, report);
        running(&assignments, service, report);
    }
    for problem in &examined.problems {
        let check = match problem.variable() {
            "VMKIT_AGENT_TOKEN" => "token",
            "VMKIT_GATEWAY_URL" => "gateway-url",
            _ => "settings",
        };
        let next = match &examined.credential {
            Some(_) if check == "token" => "systemctl cat vmkit-agent".to_owned(),
            _ => format!("sudo vi {ENV_FILE}"),
        };
        report.fail(check, problem.to_string(), next);
    }
    let Some(config) = &examined.config else { return };
    if examined.has_token {
        report.pass("token", format!("there, from {}", config.token_source));
    }
    if examined.problems.iter().all(|problem| problem.variable() != "VMKIT_GATEWAY_URL") {
        report.pass("gateway-url", config.gateway.to_string());
    }
    if examined.problems.is_empty() {
        let upgrades = match (&config.upgrade.by_gateway, &config.upgrade.release_key) {
            (false, None) => "off, but for those by hand".to_owned(),
            (false, Some(key)) => format!("off, but for those by hand signed with {key}"),
            (true, None) => "on, no signature needed".to_owned(),
            (true, Some(key)) => format!("on, signed with {key}"),
        };
        let instance = &config.instance_id;
        report.pass("settings", format!("instance {instance}; upgrades {upgrades}"));
    }
}

/// The text of the file, where it can be read.
fn file(examined: &Examined, service: &Service, report: &mut Report) -> Option<String> {
    let is_elsewhere = examined.credential.is_some() || examined.has_token && !service.defined;
    let metadata = match fs::metadata(ENV_FILE) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound && is_elsewhere => {
            report.skip("config", format!("no {ENV_FILE}; the token is from elsewhere"));
            return None;
        }
        Err(error) if error.kind() == ErrorKind::NotFound && examined.has_token => {
            let seen = format!("no {ENV_FILE}: the token is in this shell, and not in the service");
            report.fail("config", seen, "sudo vmkit-agent install --token-stdin");
            return None;
        }
        Err(error) => {
            report.fail("config", format!("{ENV_FILE}: {error}"), "sudo vmkit-agent install");
            return None;
        }
    };
    let text = match config::env_file_text() {
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

/// What is set here and not there: this doctor goes by it, and the service does not. The token and
/// the gateway's URL are from one place: the service's, if it has a token.
fn shell(file: &[Variable], examined: &Examined, report: &mut Report) {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let set = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let set: Vec<_> = set.filter(|(_, value)| !value.is_empty()).collect();
    let names = differing(&set, file);
    if let Some(first) = names.first() {
        let source = examined.config.as_ref().map(|config| &config.token_source);
        let besides = match source {
            Some(TokenSource::File | TokenSource::Credential(_)) => {
                ", but for the token and the gateway, which are the service's"
            }
            _ => "",
        };
        let seen = format!(
            "{}: set in this shell and not so in {ENV_FILE}: this doctor goes by the shell{besides}; \
             the service does not",
            names.join(", ")
        );
        report.warn("shell", seen, format!("env -u {first} vmkit-agent doctor"));
    }
}

/// What the service was started with and what is not so in the file: that was changed since, or
/// overruled by a unit file of somebody's, or systemd reads it in another way.
fn running(file: &[Variable], service: &Service, report: &mut Report) {
    // One that was started otherwise has read the file by itself.
    let Some(agent) = service.agent.as_ref().filter(|agent| agent.is_service()) else { return };
    let started = agent.environment();
    if started.is_empty() {
        return;
    }
    let mut names = differing(&started, file);
    names.extend(differing(file, &started));
    // A corrected token is found without a restart.
    names.retain(|name| name != "VMKIT_AGENT_TOKEN");
    names.sort();
    names.dedup();
    if !names.is_empty() {
        let seen = format!(
            "{}: not as in {ENV_FILE} in the agent that runs; changed since, or set elsewhere?",
            names.join(", ")
        );
        let next = format!("{}; systemctl cat vmkit-agent", service.restart());
        report.warn("running", seen, next);
    }
}

/// The names of the agent's variables in `these` that `those` have not, or have otherwise; of
/// several values for a name the last one counts.
fn differing(these: &[Variable], those: &[Variable]) -> Vec<String> {
    const OTHERS: [&str; 5] = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "DOCKER_HOST"];
    let value = |all: &[Variable], name: &str| {
        all.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let names = these.iter().map(|(name, _)| name);
    let ours = names.filter(|name| name.starts_with("VMKIT_") || OTHERS.contains(&name.as_str()));
    let mut names: Vec<String> =
        ours.filter(|name| value(these, name) != value(those, name)).cloned().collect();
    names.sort();
    names
}
