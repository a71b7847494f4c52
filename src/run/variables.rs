//! The names of the environment variables that no child inherits: their values are secrets, or lead
//! to one.

/// The agent token.
pub const AGENT_TOKEN: &str = "VMKIT_AGENT_TOKEN";
/// The folder of systemd's credentials; the token may be in it.
pub const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The request that the agent hands to the upgrader; its URL may hold a password.
pub const UPGRADE_REQUEST: &str = "VMKIT_UPGRADE_REQUEST";

pub const SECRETS: [&str; 3] = [AGENT_TOKEN, CREDENTIALS, UPGRADE_REQUEST];
