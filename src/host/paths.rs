//! Where the agent's own files are on a machine.

/// The installed agent.
pub const PROGRAM: &str = "/usr/local/bin/vmkit-agent";
/// The folder of the state, unless systemd says otherwise. Root's alone.
pub const STATE: &str = "/var/lib/vmkit-agent";
