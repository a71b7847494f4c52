//! The options of `install` and `uninstall`. The token has none: arguments can be read by
//! everybody on the machine.

const INSTALL: &str = "vmkit-agent install [--token-file FILE | --token-stdin] [--gateway-url URL] \
     [--ca-file FILE] [--no-start] [--dry-run]";
const UNINSTALL: &str = "vmkit-agent uninstall [--purge] [--dry-run]";

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

impl Install {
    /// # Errors
    /// What is wrong, without a word of what was given: it may be the token.
    pub fn parse(arguments: &[&str]) -> Result<Install, String> {
        let refuse = |problem: &str| Err(format!("install: {problem}; usage: {INSTALL}"));
        let mut options = Install::default();
        let mut arguments = arguments.iter();
        let mut seen = Vec::new();
        while let Some(&argument) = arguments.next() {
            if seen.contains(&argument) {
                return refuse("an option is there twice");
            }
            seen.push(argument);
            let flag = match argument {
                "--no-start" => Some(&mut options.no_start),
                "--dry-run" => Some(&mut options.dry_run),
                _ => None,
            };
            if let Some(flag) = flag {
                *flag = true;
                continue;
            }
            if argument == "--token-stdin" {
                options.token = TokenFrom::Stdin;
                continue;
            }
            if argument == "--token" {
                return refuse(
                    "no --token: everybody on this machine could read it; use VMKIT_AGENT_TOKEN, \
                     --token-file or --token-stdin",
                );
            }
            if !["--token-file", "--gateway-url", "--ca-file"].contains(&argument) {
                return refuse("unknown argument");
            }
            let Some(&value) = arguments.next().filter(|value| !value.is_empty()) else {
                return refuse(&format!("{argument} needs a value"));
            };
            match argument {
                "--token-file" => options.token = TokenFrom::File(value.to_owned()),
                "--gateway-url" => options.gateway_url = Some(value.to_owned()),
                _ => options.ca_file = Some(value.to_owned()),
            }
        }
        match seen.contains(&"--token-file") && seen.contains(&"--token-stdin") {
            true => refuse("--token-file or --token-stdin, not both"),
            false => Ok(options),
        }
    }
}

impl Uninstall {
    /// # Errors
    /// What is wrong.
    pub fn parse(arguments: &[&str]) -> Result<Uninstall, String> {
        let mut options = Uninstall::default();
        for &argument in arguments {
            match argument {
                "--purge" => options.purge = true,
                "--dry-run" => options.dry_run = true,
                _ => return Err(format!("uninstall: unknown argument; usage: {UNINSTALL}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_options_at_once() {
        let arguments = "--dry-run --token-file f --gateway-url u --ca-file c --no-start";
        let arguments: Vec<_> = arguments.split(' ').collect();
        let expected = Install {
            token: TokenFrom::File("f".to_owned()),
            gateway_url: Some("u".to_owned()),
            ca_file: Some("c".to_owned()),
            no_start: true,
            dry_run: true,
        };
        assert_eq!(Install::parse(&arguments), Ok(expected));
        assert_eq!(Install::parse(&[]), Ok(Install::default()));
        assert_eq!(
            Uninstall::parse(&["--purge", "--dry-run"]),
            Ok(Uninstall { purge: true, dry_run: true })
        );
    }

    #[test]
    fn what_is_wrong_is_said_and_never_repeated() {
        for wrong in [
            "--token s3cr3t",
            "--token=s3cr3t",
            "s3cr3t",
            "--token-file",
            "--token-file s3cr3t --token-stdin",
            "--dry-run --dry-run",
        ] {
            let arguments: Vec<_> = wrong.split(' ').collect();
            let problem = Install::parse(&arguments).unwrap_err();
            assert!(problem.contains("usage: ") && !problem.contains("s3cr3t"), "{problem}");
            assert!(!problem.contains('\n'));
        }
        assert!(Uninstall::parse(&["-purge"]).is_err());
    }
}
