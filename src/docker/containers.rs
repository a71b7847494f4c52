//! `docker ps` and `docker inspect`: which containers there are and how they are. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::commands::is_container_name;

/// One line for each container: its name and its health. `.State.Health.Status` alone fails for a
/// container without a health check.
const INSPECT_TEMPLATE: &str =
    "{{.Name}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}";

/// The ids of the running containers, for [`parse_ps`].
pub fn ps_arguments() -> Vec<String> {
    ["ps", "-q"].map(String::from).into()
}

/// Names and health of the containers `ids`, for [`parse_inspect`]. If a container has vanished,
/// docker prints the others and exits with 1; see [`super::only_vanished`].
pub fn inspect_arguments(ids: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["inspect", "--format", INSPECT_TEMPLATE].map(String::from).into();
    arguments.extend_from_slice(ids);
    arguments
}

/// The ids that `docker ps -q` printed.
pub fn parse_ps(stdout: &str) -> Vec<String> {
    stdout.lines().map(str::trim).filter(|id| is_container_name(id)).map(String::from).collect()
}

/// A container's health. `None`: it has no health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Healthy,
    Unhealthy,
    Starting,
    None,
}

/// Container name, without docker's leading slash, to health.
pub fn parse_inspect(stdout: &str) -> BTreeMap<String, Health> {
    stdout
        .lines()
        .filter_map(|line| {
            let (name, health) = line.split_once(' ').unwrap_or((line, ""));
            let name = name.trim_start_matches('/');
            let health = match health.trim() {
                "healthy" => Health::Healthy,
                "unhealthy" => Health::Unhealthy,
                "starting" => Health::Starting,
                _ => Health::None,
            };
            (!name.is_empty()).then(|| (name.to_string(), health))
        })
        .collect()
}
