//! What all who start the reference gateway need: keys and tokens of its folder, and its port.

use std::io::{BufRead, BufReader, Read, copy, sink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

/// `gateway token`, as an operator runs it, also while the gateway runs.
#[derive(Clone)]
pub struct Keys {
    program: PathBuf,
    data: PathBuf,
}

impl Keys {
    /// `program` is the gateway, `data` the folder that it is given with `--data`.
    pub fn new(program: impl AsRef<Path>, data: impl AsRef<Path>) -> Keys {
        Keys { program: program.as_ref().to_owned(), data: data.as_ref().to_owned() }
    }

    /// An API key.
    #[track_caller]
    pub fn api(&self, scopes: &str) -> String {
        self.made("vmk_", &["--name", &format!("test {scopes}"), "--scopes", scopes])
    }

    /// An agent token, for this instance alone or for any.
    #[track_caller]
    pub fn agent(&self, instance: Option<&str>) -> String {
        let mut words = vec!["--name", "test", "--agent"];
        words.extend(instance.iter().flat_map(|instance| ["--instance", instance]));
        self.made("vma_", &words)
    }

    /// A key or a token.
    #[track_caller]
    pub fn revoke(&self, secret: &str) {
        let id = secret.split('_').nth(1).expect("it has an id");
        let revoked = self.done(&["revoke", id]);
        assert!(revoked.starts_with("revoked"), "{revoked}");
    }

    #[track_caller]
    fn made(&self, prefix: &str, words: &[&str]) -> String {
        let secret = self.done(&[&["add"], words].concat());
        assert!(secret.starts_with(prefix), "{secret}");
        secret
    }

    /// What the command prints.
    #[track_caller]
    pub fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("token").args(words).arg("--data").arg(&self.data);
        command.output().expect("the gateway is built")
    }
}

/// Where it listens. What it prints later is read and forgotten, or it would wait for a reader.
#[track_caller]
pub fn port_of(stdout: impl Read + Send + 'static) -> u16 {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line).expect("it tells where it listens");
    thread::spawn(move || copy(&mut lines, &mut sink()));
    let told: Value = serde_json::from_str(&line).unwrap_or_default();
    let address = told["address"].as_str().unwrap_or_default();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.unwrap_or_else(|| panic!("the gateway said {line:?}"))
}
