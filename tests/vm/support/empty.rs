//! A container that has one file: the agent.

use std::process::Command;

use super::gateway::TOKEN;
use super::shell::{self, docker};
use super::{Gateway, Release, cleanup, unique};

pub struct Empty {
    name: String,
    image: String,
}

impl Empty {
    /// Runs this release as its first process.
    #[track_caller]
    pub fn run(release: &Release, gateway: &Gateway) -> Empty {
        let mut import = Command::new("sh");
        let script =
            r#"tar --transform 's,.*,vmkit-agent,' -c "$0" | docker import --change "$1" -"#;
        let label = format!("LABEL {}", cleanup::label());
        import.args(["-euc", script]).args([release.program.as_os_str(), label.as_ref()]);
        let imported = shell::run_command(import, b"");
        assert!(imported.ok, "{}", imported.stderr);
        let empty = Empty { name: unique(), image: imported.stdout };

        let options = [
            format!("--name={}", empty.name),
            format!("--label={}", cleanup::label()),
            format!("--volume={}:/ca.pem:ro", gateway.ca.display()),
            format!("--env=VMKIT_AGENT_TOKEN={TOKEN}"),
            format!("--env=VMKIT_GATEWAY_URL={}", gateway.url),
        ];
        let mut arguments = vec!["run", "--detach", "--network=host", "--hostname=vm"];
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend(["--env=VMKIT_CA_FILE=/ca.pem", &empty.image, "/vmkit-agent"]);
        docker(&arguments);
        empty
    }

    /// What the agent has written to standard error.
    pub fn log(&self) -> String {
        shell::run(30, "docker", &["logs", &self.name], b"").stderr
    }

    /// Sends SIGTERM; the agent's exit status.
    #[track_caller]
    pub fn stop(&self) -> String {
        docker(&["kill", "--signal=TERM", &self.name]);
        docker(&["wait", &self.name])
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
        let _ = shell::run(60, "docker", &["rm", "--force", "--volumes", &self.name], b"");
        let _ = shell::run(60, "docker", &["image", "rm", "--force", &self.image], b"");
    }
}
