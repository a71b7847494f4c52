//! The docker commands that the agent runs, and what they print: arguments out, output in. Pure.

/// Whether `text` can be a container's name or id. Such a text is safe as an argument: it is no flag
/// and no path.
pub fn is_container_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The last `lines` lines of a container's log, each with its time. The container's standard output
/// and standard error come by docker's own.
pub fn logs_arguments(container: &str, lines: u32) -> Vec<String> {
    ["logs", "--timestamps", "--tail", &lines.to_string(), container].map(String::from).into()
}
