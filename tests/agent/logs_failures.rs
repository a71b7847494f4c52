//! `logs_fetch` where docker fails: the code for each cause, and a message that says what to do.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Agent, Container, LogLine, PATIENCE, Session, Setup, texts};

const NO_SUCH_CONTAINER: i64 = -32001;
const DOCKER_UNUSABLE: i64 = -32002;
const INTERNAL_ERROR: i64 = -32603;

/// Output of docker on a real machine; `tests/fixtures/README.md` tells how it was captured.
macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../fixtures/docker/", $name))
    };
}

/// Holds the answer to this code, one line, and these words; in the log it is too.
#[track_caller]
fn assert_fails(agent: &Agent, session: &mut Session, code: i64, words: &[&str]) -> String {
    let response = session.request(1, "logs_fetch", json!({"container": "web"}));
    assert_eq!(response.code(), code, "{response:?}");
    let message = response.message();
    assert!(!message.contains(['\n', '\r']) && message.len() < 500, "{message:?}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    agent.wait_for_log(&["logs_fetch", &code.to_string(), words[0], " ms"]);
    session.assert_quiet();
    message.to_owned()
}

/// A docker that prints this on standard error and exits with 1.
fn complaining(stderr: &str) -> (Agent, Session) {
    let setup = Setup::new();
    setup.file("bin/docker.stderr", stderr);
    setup.docker(r#"cat "$0.stderr" >&2; exit 1"#);
    let (_peer, agent, session) = Agent::registered(setup);
    (agent, session)
}

#[test]
fn each_of_dockers_errors_has_its_code_and_its_remedy() {
    let socket = "/var/run/docker.sock";
    for (stderr, code, words) in [
        (captured!("logs-no-such.stderr"), NO_SUCH_CONTAINER, &["no-such", "docker ps -a"][..]),
        (
            captured!("permission-denied.stderr"),
            DOCKER_UNUSABLE,
            &["permission denied", socket, "docker group"],
        ),
        (
            captured!("daemon-down.stderr"),
            DOCKER_UNUSABLE,
            &["cannot connect", "/nonexistent.sock", "systemctl start docker"],
        ),
        (
            captured!("daemon-down-tcp.stderr"),
            DOCKER_UNUSABLE,
            &["cannot connect", "tcp://127.0.0.1:1", "DOCKER_HOST"],
        ),
        (
            captured!("api-too-new.stderr"),
            DOCKER_UNUSABLE,
            &["client version 1.50 is too new", "DOCKER_API_VERSION"],
        ),
        (
            captured!("context-missing.stderr"),
            DOCKER_UNUSABLE,
            &["context \"nope\"", "docker context ls", "DOCKER_CONTEXT"],
        ),
        (
            captured!("tls-files-missing.stderr"),
            DOCKER_UNUSABLE,
            &["/nope/ca.pem", "DOCKER_CERT_PATH"],
        ),
        (
            captured!("ssh-refused.stderr"),
            DOCKER_UNUSABLE,
            &["over ssh, to 127.0.0.1", "port 22: Connection refused", "without a password"],
        ),
        (
            captured!("logs-driver-none.stderr"),
            DOCKER_UNUSABLE,
            &["logging driver does not support reading", "json-file", "journald"],
        ),
        (captured!("usage.stderr"), INTERNAL_ERROR, &["unknown flag"]),
        ("", INTERNAL_ERROR, &["without a message", "exit status: 1"]),
    ] {
        let (agent, mut session) = complaining(stderr);
        assert_fails(&agent, &mut session, code, words);
    }
}

/// The docker of this machine, in surroundings in which it can't work.
#[test]
fn the_real_docker_says_why_it_cannot_be_used() {
    for (variables, words) in [
        (&[("DOCKER_CONTEXT", "vmkit-test-nope")][..], &["\"vmkit-test-nope\"", "context ls"][..]),
        (
            &[("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/nope")],
            &["/nope/ca.pem", "DOCKER_CERT_PATH"],
        ),
        (&[("DOCKER_API_VERSION", "1.99")], &["1.99 is too new", "DOCKER_API_VERSION"]),
        (&[("DOCKER_HOST", "ssh://127.0.0.1:1")], &["over ssh, to 127.0.0.1", "refused"]),
        (&[("DOCKER_HOST", "tcp://127.0.0.1:1")], &["tcp://127.0.0.1:1", "DOCKER_HOST"]),
    ] {
        let mut setup = Setup::new();
        for (name, value) in variables {
            setup = setup.env(name, *value);
        }
        let (_peer, agent, mut session) = Agent::registered(setup);
        let message = assert_fails(&agent, &mut session, DOCKER_UNUSABLE, words);
        assert!(!message.contains("example.com"), "{message}");
        // A snapshot has the same words.
        let snapshot = session.request(2, "metrics_collect", json!({}));
        assert_eq!(snapshot.result()["errors"]["container_count"], message);
    }
}

#[test]
fn a_real_log_that_cannot_be_read() {
    let container = Container::ended(&["--log-driver", "none"], "true");
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    for follow in [false, true] {
        let params = json!({"container": container.name, "follow": follow});
        let response = session.request(1, "logs_fetch", params);
        assert_eq!(response.code(), DOCKER_UNUSABLE, "{response:?}");
        let message = response.message();
        assert!(message.contains("does not support reading: run"), "{message}");
    }
}

#[test]
fn docker_that_is_not_installed() {
    let (_peer, agent, mut session) =
        Agent::registered(Setup::new().env("VMKIT_DOCKER_BIN", "/nonexistent/docker"));
    let words = ["/nonexistent/docker", "not installed", "VMKIT_DOCKER_BIN"];
    assert_fails(&agent, &mut session, DOCKER_UNUSABLE, &words);

    let name = "vmkit-test-no-such-docker";
    let (_peer, agent, mut session) = Agent::registered(Setup::new().env("VMKIT_DOCKER_BIN", name));
    let words = [name, "not installed", "PATH", "VMKIT_DOCKER_BIN"];
    assert_fails(&agent, &mut session, DOCKER_UNUSABLE, &words);
}

#[test]
fn docker_that_cannot_be_executed() {
    let setup = Setup::new();
    let path = setup.file("plain", "#!/bin/sh\n");
    let (_peer, agent, mut session) = Agent::registered(setup.env("VMKIT_DOCKER_BIN", path));
    let words = ["not executable", "permission denied", "/plain"];
    assert_fails(&agent, &mut session, DOCKER_UNUSABLE, &words);

    let (_peer, agent, mut session) =
        Agent::registered(Setup::new().env("VMKIT_DOCKER_BIN", "/usr"));
    assert_fails(&agent, &mut session, DOCKER_UNUSABLE, &["/usr", "VMKIT_DOCKER_BIN"]);

    // Half a download.
    let setup = Setup::new();
    let path = setup.file("broken", "\x7fELF");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("the test's own");
    let (_peer, agent, mut session) = Agent::registered(setup.env("VMKIT_DOCKER_BIN", path));
    assert_fails(&agent, &mut session, DOCKER_UNUSABLE, &["/broken", "VMKIT_DOCKER_BIN"]);
}

#[test]
fn docker_that_dies_of_a_signal() {
    let setup = Setup::new();
    setup.docker("kill -9 $$");
    let (_peer, agent, mut session) = Agent::registered(setup);
    assert_fails(&agent, &mut session, INTERNAL_ERROR, &["docker", "signal: 9"]);
}

/// The daemon went away in the middle: half a log is not handed over as a whole one.
#[test]
fn docker_that_fails_after_some_lines() {
    let docker = "echo 2026-01-01T00:00:00Z a line\n\
                  echo 2026-01-01T00:00:00Z another >&2\n\
                  echo 'error from daemon in stream: unexpected EOF' >&2; exit 1";
    let setup = Setup::new();
    setup.docker(docker);
    let (_peer, agent, mut session) = Agent::registered(setup);
    assert_fails(&agent, &mut session, INTERNAL_ERROR, &["unexpected EOF"]);

    let params = json!({"container": "web", "stream": true});
    session.send_request(2, "logs_fetch", params);
    let response = session.response_to(2, PATIENCE);
    assert_eq!(response.code(), INTERNAL_ERROR, "{response:?}");
}

/// Docker may say much, and in any form; it goes into the answer and into the log.
#[test]
fn dockers_words_are_made_fit_to_be_shown() {
    let wild = format!(
        "\u{1b}[31mno\u{7}\rforged\u{2028}{} https://user:secret@registry.example/v2?key=secret\n",
        "x".repeat(50)
    );
    let (agent, mut session) = complaining(&wild);
    let message = assert_fails(&agent, &mut session, INTERNAL_ERROR, &["registry.example/v2"]);
    assert!(!message.contains("secret"), "{message:?}");
    assert!(!message.contains(|c: char| c.is_control() || c == '\u{2028}'), "{message:?}");
    for line in agent.log() {
        assert!(line.starts_with('<') && !line.contains("secret"), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }

    let (agent, mut session) = complaining(&"é".repeat(1_000_000));
    assert_fails(&agent, &mut session, INTERNAL_ERROR, &["éééé"]);
}

/// A container may print what docker's errors look like.
#[test]
fn a_containers_own_lines_are_no_errors() {
    let setup = Setup::new();
    let said = "2026-01-01T00:00:00Z Error: No such container: web\n\
                2026-01-01T00:00:00Z Cannot connect to the Docker daemon\n";
    setup.file("bin/docker.stderr", said);
    setup.docker(r#"cat "$0.stderr" >&2"#);
    let (_peer, _agent, mut session) = Agent::registered(setup);
    let response = session.request(1, "logs_fetch", json!({"container": "web"}));
    let lines = LogLine::all_of(response.result());
    let expected = ["Error: No such container: web", "Cannot connect to the Docker daemon"];
    assert_eq!(texts(&lines), expected);
}
