//! The docker commands that the agent runs, and what they print: arguments out, output in. Pure.

use crate::host::timestamp::Timestamp;

/// Whether `text` can be a container's name or id. Such a text is safe as an argument: it is no flag
/// and no path.
pub fn is_container_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// What of a container's log is wanted.
#[derive(Clone, Copy)]
pub struct LogsRange {
    /// So many of the last lines.
    pub lines: u32,
    /// Nothing older than this.
    pub since: Option<Timestamp>,
    /// Also the lines to come, until the container ends.
    pub follow: bool,
}

/// Lines of a container's log, each with its time. The container's standard output and standard
/// error come by docker's own.
pub fn logs_arguments(container: &str, range: LogsRange) -> Vec<String> {
    let LogsRange { lines, since, follow } = range;
    let mut arguments: Vec<String> =
        ["logs", "--timestamps", "--tail", &lines.to_string()].map(String::from).into();
    arguments.extend(since.map(|since| format!("--since={}", since.exact())));
    arguments.extend(follow.then(|| "--follow".to_owned()));
    arguments.push(container.to_owned());
    arguments
}
