//! The configuration: the file itself, and each variable as the agent would read it.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use super::instance;
use super::report::{Report, Verdict};
use super::service::Service;
use crate::config::env_file;
use crate::config::{self, Config, ENV_FILE, Examined, TokenSource};
use crate::operator::variables::{GATEWAY, KNOWN, TOKEN, nearest};

/// What asks for the token and writes it.
const INSTALL_TOKEN: &str = "install --token-stdin";

/// A name and its value.
type Variable = (String, String);

/// With `hidden` the service's settings are in a file that this user can't read.
pub fn check(examined: &Examined, hidden: bool, service: &Service, report: &mut Report) {
    let text = match hidden {
        true => {
            report.skip("config", format!("only root can read {ENV_FILE}"));
            None
        }
        false => file(examined, service, report),
    };
    let assignments = text.as_deref().map(env_file::parse);
    if let Some(assignments) = &assignments {
        unknown(assignments, report);
        shell(assignments, examined, service, report);
        running(assignments, service, report);
    }
    problems(examined, hidden, service, report);
    let Some(config) = &examined.config else { return };
    if examined.has_token {
        token(config, service, report);
    }
    if hidden {
        return;
    }
    if examined.problems.iter().all(|problem| problem.variable() != GATEWAY) {
        report.pass("gateway-url", config.gateway.to_string());
    }
    if let Some(problem) = config.upgrade.proxy_problem() {
        report.warn("settings", problem, format!("sudo vi {ENV_FILE}"));
    }
    instance::check(&config.instance_id, &assignments.unwrap_or_default(), service, report);
    if examined.problems.is_empty() {
        let upgrades = match (&config.upgrade.by_gateway, &config.upgrade.release_key) {
            (false, None) => "off by the gateway, possible by hand".to_owned(),
            (false, Some(key)) => format!("off by the gateway, possible by hand signed with {key}"),
            (true, None) => "on, no signature needed".to_owned(),
            (true, Some(key)) => format!("on, signed with {key}"),
        };
        let level = config.log_level.as_str().to_ascii_lowercase();
        report.pass("settings", format!("log level {level}; upgrades {upgrades}"));
    }
}

/// A line for each variable that would have ended the start.
fn problems(examined: &Examined, hidden: bool, service: &Service, report: &mut Report) {
    for problem in &examined.problems {
        let check = match problem.variable() {
            TOKEN => "token",
            GATEWAY => "gateway-url",
            _ => "settings",
        };
        let next = match (check, &examined.credential) {
            ("token", _) if hidden => {
                report.skip(check, format!("only root can read {ENV_FILE}"));
                continue;
            }
            ("token", Some(_)) => "systemctl cat vmkit-agent".to_owned(),
            ("token", None) => service.own_command(INSTALL_TOKEN),
            _ => format!("sudo vi {ENV_FILE}"),
        };
        report.fail(check, problem.to_string(), next);
    }
}

fn token(config: &Config, service: &Service, report: &mut Report) {
    let source = &config.token_source;
    match is_placeholder(config) {
        true => {
            let seen = format!("still the placeholder of the example, not a token; from {source}");
            report.fail("token", seen, service.own_command(INSTALL_TOKEN));
        }
        false => report.pass("token", format!("set, from {source}")),
    }
}

/// Whether the token is `<your-agent-token>`, as in the example of the file.
fn is_placeholder(config: &Config) -> bool {
    let token = config.token.authorization();
    token.strip_prefix("Bearer <").is_some_and(|rest| rest.ends_with('>'))
}

/// Warns of names in the file that look like the agent's variables: a misspelt name has no effect.
fn unknown(file: &[Variable], report: &mut Report) {
    let names = file.iter().map(|(name, _)| name.as_str());
    let unknown = names.filter(|name| name.starts_with("VMKIT_") && !KNOWN.contains(name));
    let unknown: Vec<String> =
        unknown.map(|name| format!("{name} (did you mean {}?)", nearest(name))).collect();
    if !unknown.is_empty() {
        let seen = format!("{ENV_FILE}: unknown, so without effect: {}", unknown.join(", "));
        report.warn("variables", seen, format!("sudo vi {ENV_FILE}"));
    }
}

/// The text of the file, where it can be read.
fn file(examined: &Examined, service: &Service, report: &mut Report) -> Option<String> {
    const CHECK: &str = "config";
    let is_elsewhere = examined.credential.is_some() || examined.has_token && !service.defined;
    let read = fs::metadata(ENV_FILE).and_then(|file| Ok((file, config::env_file_text()?)));
    let (metadata, text) = match read {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound && is_elsewhere => {
            let from = match examined.credential {
                Some(_) => "a systemd credential",
                None => "the environment",
            };
            report.skip(CHECK, format!("no {ENV_FILE}; the token comes from {from}"));
            return None;
        }
        Err(error) if error.kind() == ErrorKind::NotFound && examined.has_token => {
            let seen = format!("no {ENV_FILE}: this shell has a token, but the service has none");
            report.fail(CHECK, seen, service.own_command(INSTALL_TOKEN));
            return None;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let next = service.own_command(INSTALL_TOKEN);
            report.fail(CHECK, format!("{ENV_FILE}: {error}"), next);
            return None;
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            report.skip(CHECK, format!("only root can read {ENV_FILE}"));
            return None;
        }
        Err(error) => {
            report.fail(CHECK, format!("{ENV_FILE}: {error}"), format!("ls -l {ENV_FILE}"));
            return None;
        }
    };
    let faults = faults(&metadata, &text, examined.has_token);
    let seen: Vec<&str> = faults.iter().map(|(_, seen, _)| seen.as_str()).collect();
    let seen = format!("{ENV_FILE}: {}", seen.join("; "));
    match faults.first() {
        None => {
            let mode = metadata.mode() & 0o7777;
            report.pass(CHECK, format!("{ENV_FILE}: mode {mode:04o}, owner root, valid"));
        }
        Some((Verdict::Fail, _, next)) => report.fail(CHECK, seen, next),
        Some((_, _, next)) => report.warn(CHECK, seen, next),
    }
    Some(text)
}

/// What is wrong with the file: a verdict, what was found and the next command. The worst is first.
fn faults(file: &Metadata, text: &str, has_token: bool) -> Vec<(Verdict, String, String)> {
    let (mode, owner) = (file.mode() & 0o7777, file.uid());
    let edit = format!("sudo vi {ENV_FILE}");
    let mut faults = Vec::new();
    if mode & 0o007 != 0 {
        let seen = format!("mode {mode:04o}: every user on this machine can read the token");
        faults.push((Verdict::Fail, seen, format!("sudo chmod 600 {ENV_FILE}")));
    } else if mode & 0o070 != 0 || owner != 0 {
        let seen =
            format!("mode {mode:04o}, owner {owner}: users other than root can read the token");
        let command = format!("sudo chown root {ENV_FILE} && sudo chmod 600 {ENV_FILE}");
        faults.push((Verdict::Warn, seen, command));
    }
    if env_file::ends_open(text) {
        faults.push((Verdict::Fail, "a quote is not closed".to_owned(), edit.clone()));
    }
    if let [line, ..] = env_file::idle_lines(text)[..] {
        // The line that is not read may be that of the token.
        let verdict = if has_token { Verdict::Warn } else { Verdict::Fail };
        faults.push((verdict, format!("line {line} is not NAME=value, so it is not read"), edit));
    }
    faults.sort_by_key(|(verdict, ..)| std::cmp::Reverse(*verdict));
    faults
}

/// Warns of variables that this shell sets differently from the file: doctor uses the shell's value, the service does not.
/// The token and the gateway's URL come from one place: the service's, if it has a token.
fn shell(file: &[Variable], examined: &Examined, service: &Service, report: &mut Report) {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let set = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
    let set: Vec<_> = set.filter(|(_, value)| !value.is_empty()).collect();
    let names = differing(&set, file);
    if let Some(first) = names.first() {
        let source = examined.config.as_ref().map(|config| &config.token_source);
        let besides = match source {
            Some(TokenSource::File | TokenSource::Credential(_)) => {
                " (but the service's token and gateway)"
            }
            _ => "",
        };
        let seen = format!(
            "your shell sets {} differently from {ENV_FILE}; doctor used your shell's \
             values{besides}, the service does not",
            names.join(", ")
        );
        report.warn(
            "shell",
            seen,
            service.own_command("doctor").replace("sudo ", &format!("sudo env -u {first} ")),
        );
    }
}

/// Warns of variables that the running service has differently from the file: the file was changed
/// since the start, or a unit file sets them too.
fn running(file: &[Variable], service: &Service, report: &mut Report) {
    // An agent that systemd has not started has read the file itself.
    let Some(agent) = service.agent.as_ref().filter(|agent| agent.is_service()) else { return };
    let started = agent.environment();
    if started.is_empty() {
        return;
    }
    let mut names = differing(&started, file);
    names.extend(differing(file, &started));
    // The agent reads a corrected token without a restart.
    names.retain(|name| name != TOKEN);
    names.sort();
    names.dedup();
    if !names.is_empty() {
        let seen = format!(
            "the running agent has {} differently from {ENV_FILE}: changed since its start, or set \
             in a unit file",
            names.join(", ")
        );
        let next = format!("{}; systemctl cat vmkit-agent", service.restart());
        report.warn("running", seen, next);
    }
}

/// The names of the agent's variables in `these` that `those` lack or have with another value. Of
/// several values for a name the last one is used.
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
