//! The new text of `/etc/vmkit/agent.env`: the present text, changed by the options of the
//! installation and by the agent's variables in its environment.

use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::Error;
use super::options::{Install, TokenFrom};
use super::step::Step;
use crate::config::env_file;
use crate::config::{Config, ENV_FILE};
use crate::operator::input;
use crate::operator::variables::{self, CA_FILE, GATEWAY, TOKEN};
use crate::run::wait::Waiter;

/// The proxy of the environment is copied too, unless the file has one: every shell of a machine
/// may have the machine's proxy, and the operator may have chosen another for the agent. Upper and
/// lower case mean the same.
const PROXIES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["NO_PROXY", "no_proxy"]];
/// The longest token that is read.
const TOKEN_LIMIT: u64 = 64 * 1024;

/// The file before and after the installation.
#[derive(PartialEq, Eq, Debug)]
pub struct Settings {
    before: Option<String>,
    after: String,
    /// The names of the variables that change.
    changed: Vec<&'static str>,
}

impl Settings {
    /// Reads the file, the options and the environment. With `has_credential` no token is needed.
    ///
    /// # Errors
    /// Why the agent could not be started with the result.
    pub fn decide(
        options: &Install,
        has_credential: bool,
        waiter: &Waiter,
    ) -> Result<Settings, Error> {
        let before = match fs::read_to_string(ENV_FILE) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let problem = format!("can't read {ENV_FILE}: {error}; run: ls -l {ENV_FILE}");
                return Err(Error::Failed(problem));
            }
        };
        let variable = |name: &str| std::env::var(name).ok();
        let mut given = from_environment(variable, before.as_deref().unwrap_or_default());
        let token = match &options.token {
            TokenFrom::Environment => None,
            TokenFrom::Stdin if io::stdin().is_terminal() => {
                let typed = input::secret("agent token: ", waiter);
                let typed = typed.map_err(|error| {
                    Error::Failed(format!("no token: {error}; nothing was changed"))
                })?;
                Some(read_token("the typed line", typed.as_bytes())?)
            }
            TokenFrom::Stdin => Some(read_token("standard input", io::stdin())?),
            TokenFrom::File(path) => {
                let file = File::open(path).map_err(|error| {
                    Error::Failed(match error.kind() {
                        ErrorKind::NotFound => format!("token file {path} does not exist"),
                        _ => format!("can't read the token file {path}: {error}"),
                    })
                })?;
                Some(read_token(&format!("token file {path}"), file)?)
            }
        };
        given.extend(token.map(|token| (TOKEN, token)));
        given.extend(options.gateway_url.clone().map(|url| (GATEWAY, url)));
        if let Some(path) = &options.ca_file {
            // The service is started in another folder.
            let path = std::path::absolute(path).map_err(|error| unreadable(path, &error))?;
            given.push((CA_FILE, path.to_string_lossy().into_owned()));
        }
        let settings = Settings::edit(before, given)?;
        if !settings.has_token() && !has_credential && !options.no_start {
            return Err(Error::Failed(format!(
                "no token: neither in the environment ({TOKEN}) nor in {ENV_FILE}; use \
                 --token-file or --token-stdin"
            )));
        }
        Config::check_file(&settings.after).map_err(Error::Config)?;
        Ok(settings)
    }

    /// Of several values for a name the last one is taken.
    fn edit(before: Option<String>, given: Vec<(&'static str, String)>) -> Result<Settings, Error> {
        let mut after = before.clone().unwrap_or_default();
        let mut changed = Vec::new();
        for (name, value) in given {
            let edited = env_file::set(&after, name, &value).ok_or_else(|| {
                Error::Failed(format!(
                    "{ENV_FILE} ends within quotes or with a backslash, so nothing can be added \
                     to it; correct its last line: sudo vi {ENV_FILE}"
                ))
            })?;
            if edited != after && !changed.contains(&name) {
                changed.push(name);
            }
            after = edited;
        }
        Ok(Settings { before, after, changed })
    }

    pub fn has_token(&self) -> bool {
        let mut assignments = env_file::parse(&self.after).into_iter();
        assignments.rfind(|(name, _)| name == TOKEN).is_some_and(|(_, value)| !value.is_empty())
    }

    /// The steps that change the file; none where it is as it should be.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let folder = Path::new(ENV_FILE).parent().unwrap_or(Path::new("/"));
        if !is_roots(folder, 0o755) {
            steps.push(Step::Folder(folder.to_owned()));
        }
        if self.before.as_deref() != Some(&self.after) || !is_roots(Path::new(ENV_FILE), 0o600) {
            steps.push(Step::Configure { text: self.after.clone(), names: self.changed.clone() });
        }
        steps
    }
}

/// The agent's variables that the environment has, and the proxy unless `file` has one. `variable`
/// reads the environment.
fn from_environment(
    variable: impl Fn(&str) -> Option<String>,
    file: &str,
) -> Vec<(&'static str, String)> {
    let set = |name| variable(name).filter(|value| !value.trim().is_empty());
    let mut given: Vec<_> =
        variables::KNOWN.iter().filter_map(|&name| Some((name, set(name)?))).collect();
    let known = env_file::parse(file);
    for names in PROXIES {
        let is_known = known.iter().any(|(name, _)| names.contains(&name.as_str()));
        let found = names.iter().find_map(|&name| set(name)).filter(|_| !is_known);
        given.extend(found.map(|value| (names[0], value)));
    }
    given
}

fn is_roots(path: &Path, mode: u32) -> bool {
    fs::metadata(path)
        .is_ok_and(|there| (there.uid(), there.gid(), there.mode() & 0o7777) == (0, 0, mode))
}

fn read_token(from: &str, source: impl Read) -> Result<String, Error> {
    let mut text = String::new();
    source.take(TOKEN_LIMIT).read_to_string(&mut text).map_err(|error| unreadable(from, &error))?;
    if text.len() as u64 == TOKEN_LIMIT {
        return Err(Error::Failed(format!(
            "no token: {from} is over 64 KiB; is it the right file?"
        )));
    }
    match text.trim() {
        "" => Err(Error::Failed(format!("no token: {from} is empty; write the token into it"))),
        token if token.contains('\n') => {
            Err(Error::Failed(format!("no token: {from} has more than one line")))
        }
        token => Ok(token.to_owned()),
    }
}

fn unreadable(what: &str, error: &io::Error) -> Error {
    Error::Failed(format!("can't read {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(of: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |asked| of.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn what_the_environment_has_of_ours_is_given() {
        let variables = environment(&[
            (TOKEN, "t"),
            ("VMKIT_UPGRADES", "off"),
            ("VMKIT_LOG_LEVEL", " "),
            ("VMKIT_UPGRADE_REQUEST", "{}"),
            ("PATH", "/bin"),
            ("https_proxy", "http://proxy:1"),
        ]);
        let expected = [
            (TOKEN, "t".to_owned()),
            ("VMKIT_UPGRADES", "off".to_owned()),
            ("HTTPS_PROXY", "http://proxy:1".to_owned()),
        ];
        assert_eq!(from_environment(&variables, "A=1\n"), expected);
        assert_eq!(from_environment(&variables, "https_proxy=\n"), expected[..2]);
    }

    #[test]
    fn what_was_given_is_put_in_and_the_rest_is_kept() {
        let before = "# mine\nVMKIT_AGENT_TOKEN=old\nVMKIT_LOG_LEVEL=debug\n";
        let given = vec![(TOKEN, "from the environment".to_owned()), (TOKEN, "new".to_owned())];
        let settings = Settings::edit(Some(before.to_owned()), given).unwrap();
        assert_eq!(settings.after, before.replace("old", "new"));
        assert_eq!(settings.changed, [TOKEN]);
        assert!(settings.has_token());
        let settings = Settings::edit(Some(before.to_owned()), Vec::new()).unwrap();
        assert!(settings.changed.is_empty() && settings.has_token());
        assert!(!Settings::edit(None, Vec::new()).unwrap().has_token());
    }

    #[test]
    fn a_file_with_an_open_end_is_left_alone() {
        let before = Some("A=\"open\n".to_owned());
        let error = Settings::edit(before, vec![(TOKEN, "s3cr3t".to_owned())]).unwrap_err();
        assert!(error.to_string().contains(ENV_FILE) && !error.to_string().contains("s3cr3t"));
    }

    #[test]
    fn a_token_is_the_whole_of_its_source() {
        assert_eq!(read_token("it", &b" abc\r\n"[..]).unwrap(), "abc");
        assert!(read_token("it", &b"\n"[..]).is_err());
        let two = read_token("it", &b"one\ntwo\n"[..]).unwrap_err().to_string();
        assert_eq!(two, "no token: it has more than one line");
        assert!(read_token("it", &b"\xff"[..]).is_err());
    }
}
