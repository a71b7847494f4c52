//! A machine where all is well, to be broken in one place; and what doctor has to say about it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use serde_json::Value;

use crate::support::{PATIENCE, PrivateRoot, Setup, TOKEN};

/// In URLs and proxies; no report may hold it.
pub const SECRET: &str = "vmkit-test-hush";
pub const DOCKER: &str = "case $1 in --version) echo Docker version 99, vmkit-test;;
    ps) echo CONTAINER ID STATUS;; esac";

type Spoil = Box<dyn Fn(&PrivateRoot)>;

pub struct Machine {
    env_file: Option<Vec<String>>,
    mode: u32,
    authority: Option<String>,
    programs: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    spoil: Vec<Spoil>,
}

/// A report, read from its JSON.
pub struct Findings {
    pub checks: Vec<Finding>,
    pub status: i32,
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub check: String,
    pub verdict: String,
    pub seen: String,
    pub next: Option<String>,
}

impl Machine {
    /// A machine whose agent dials this URL.
    pub fn dialing(url: &str) -> Machine {
        let assignments = [
            format!("VMKIT_AGENT_TOKEN={TOKEN}"),
            format!("VMKIT_GATEWAY_URL={url}?key={SECRET}"),
            "VMKIT_INSTANCE_ID=vmkit-test-instance".to_owned(),
        ];
        Machine {
            env_file: Some(assignments.to_vec()),
            mode: 0o600,
            authority: None,
            programs: vec![("docker".to_owned(), DOCKER.to_owned())],
            environment: Vec::new(),
            spoil: Vec::new(),
        }
    }

    /// One more line in the environment file.
    pub fn line(mut self, line: &str) -> Machine {
        self.env_file.get_or_insert_default().push(line.to_owned());
        self
    }

    /// This in place of the whole environment file, or none.
    pub fn env_file(mut self, lines: Option<&[&str]>) -> Machine {
        self.env_file = lines.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect());
        self
    }

    pub fn env_file_mode(mut self, mode: u32) -> Machine {
        self.mode = mode;
        self
    }

    /// Has the agent trust the authority with this certificate.
    pub fn trusting(mut self, pem: &str) -> Machine {
        self.authority = Some(pem.to_owned());
        self
    }

    /// A shell script of this name on `PATH`.
    pub fn program(mut self, name: &str, body: &str) -> Machine {
        self.programs.retain(|(known, _)| known != name);
        self.programs.push((name.to_owned(), body.to_owned()));
        self
    }

    /// A variable of the shell that doctor is typed into.
    pub fn env(mut self, name: &str, value: &str) -> Machine {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn spoil(mut self, spoil: impl Fn(&PrivateRoot) + 'static) -> Machine {
        self.spoil.push(Box::new(spoil));
        self
    }

    /// Doctor's findings, which have to be the same for people and for programs.
    #[track_caller]
    pub fn examine(&self) -> Findings {
        let (text, text_status) = self.run(&[]);
        let (json, status) = self.run(&["--json"]);
        let [json] = &json[..] else { panic!("one line of JSON: {json:#?}") };
        let report: Value = serde_json::from_str(json).expect("it is JSON");
        let string = |value: &Value| value.as_str().map(str::to_owned);
        let checks: Vec<Finding> = report["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|check| Finding {
                check: string(&check["check"]).expect("a name"),
                verdict: string(&check["verdict"]).expect("a verdict"),
                seen: string(&check["seen"]).expect("a text"),
                next: string(&check["next"]),
            })
            .collect();
        println!("{}", text.join("\n"));
        assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
        // A line for each check, and the verdict.
        assert_eq!(text.len(), checks.len() + 1, "{text:#?}");
        for (line, finding) in text.iter().zip(&checks) {
            let mut words = line.split_whitespace();
            assert_eq!(words.next(), Some(&*finding.verdict), "{line} {finding:?}");
            assert_eq!(words.next(), Some(&*finding.check), "{line} {finding:?}");
            let wants_a_next_step = matches!(&*finding.verdict, "WARN" | "FAIL");
            assert_eq!(finding.next.is_some(), wants_a_next_step, "{finding:?}");
        }
        for secret in [TOKEN, SECRET] {
            assert!(!json.contains(secret), "{secret}: {json}");
            assert!(text.iter().all(|line| !line.contains(secret)), "{secret}: {text:#?}");
        }
        let failed = checks.iter().any(|finding| finding.verdict == "FAIL");
        assert_eq!((text_status, status), (i32::from(failed), i32::from(failed)));
        Findings { checks, status }
    }

    /// Runs doctor; its lines and its status.
    fn run(&self, options: &[&str]) -> (Vec<String>, i32) {
        let mut setup = Setup::url("")
            .without("VMKIT_GATEWAY_URL")
            .without("VMKIT_AGENT_TOKEN")
            .without("VMKIT_INSTANCE_ID")
            .argument("doctor");
        for option in options {
            setup = setup.argument(option);
        }
        for (name, value) in &self.environment {
            setup = setup.env(name, value);
        }
        for (name, body) in &self.programs {
            setup.program(name, body);
        }
        let mut env_file = self.env_file.clone();
        if let (Some(pem), Some(lines)) = (&self.authority, &mut env_file) {
            lines.push(format!("VMKIT_CA_FILE={}", setup.file("ca.pem", pem)));
        }
        let setup = setup.in_private_root(|root| {
            if let Some(lines) = env_file {
                root.write("etc/vmkit/agent.env", &(lines.join("\n") + "\n"));
                let path = root.path.join("etc/vmkit/agent.env");
                fs::set_permissions(path, fs::Permissions::from_mode(self.mode)).expect("ours");
            }
            let socket = root.path.join("var/run/docker.sock");
            fs::create_dir_all(socket.parent().expect("it has one")).expect("the test's own");
            drop(UnixListener::bind(socket).expect("a path short enough for a socket"));
            for spoil in &self.spoil {
                spoil(root);
            }
        });
        let mut doctor = setup.start();
        let status = doctor.wait_for_exit(2 * PATIENCE);
        (doctor.whole_log(), status.code().expect("it was not ended by a signal"))
    }
}

impl Findings {
    #[track_caller]
    pub fn of(&self, check: &str) -> &Finding {
        let found = self.checks.iter().find(|finding| finding.check == check);
        found.unwrap_or_else(|| panic!("no {check}: {:#?}", self.checks))
    }

    /// The first FAIL is of this check, and says these words, in any case.
    #[track_caller]
    pub fn assert_first_fail(&self, check: &str, words: &[&str]) -> &Finding {
        let first = self.checks.iter().find(|finding| finding.verdict == "FAIL");
        let first = first.unwrap_or_else(|| panic!("no FAIL: {:#?}", self.checks));
        assert_eq!(first.check, check, "{:#?}", self.checks);
        first.assert_says(words);
        first
    }

    #[track_caller]
    pub fn assert_sound(&self) {
        assert_eq!(self.status, 0, "{:#?}", self.checks);
    }
}

impl Finding {
    #[track_caller]
    pub fn assert_says(&self, words: &[&str]) {
        let whole = format!("{self:?}").to_lowercase();
        for word in words {
            assert!(whole.contains(&word.to_lowercase()), "{word:?}: {self:?}");
        }
    }

    #[track_caller]
    pub fn assert(&self, verdict: &str, words: &[&str]) {
        assert_eq!(self.verdict, verdict, "{self:?}");
        self.assert_says(words);
    }
}
