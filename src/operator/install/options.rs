//! The options of `install` and `uninstall`. The token has none: all users of the machine can read
//! arguments.

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Install {
    pub token: TokenFrom,
    pub gateway_url: Option<String>,
    pub ca_file: Option<String>,
    pub no_start: bool,
    pub dry_run: bool,
}

/// Where the token is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum TokenFrom {
    /// In `VMKIT_AGENT_TOKEN`, or in the configuration already.
    #[default]
    Environment,
    Stdin,
    File(String),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uninstall {
    pub purge: bool,
    pub dry_run: bool,
}
