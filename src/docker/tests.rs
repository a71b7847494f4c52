//! Real output of docker, and made-up output where no machine at hand gives it.

use std::io;

use super::*;
use crate::host::timestamp::Timestamp;
use proptest::prelude::*;

/// What docker 28.2 printed; `tests/fixtures/README.md` says how each was taken.
macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/docker/", $name))
    };
}

fn failed(stderr: &str) -> Failure {
    Failure::classify("docker", stderr, "exit status: 1")
}

#[test]
fn names_that_are_safe_as_arguments() {
    let longest = "a".repeat(128);
    for name in ["web", "2048", "a", "my_app-1.2", "0123456789abcdef", &longest] {
        assert!(is_container_name(name), "{name}");
    }
    let too_long = "a".repeat(129);
    for name in
        ["", "-f", "--help", ".hidden", "_x", "/web", "a b", "a/b", "wéb", "a\n", "a:b", &too_long]
    {
        assert!(!is_container_name(name), "{name}");
    }
}

#[test]
fn arguments() {
    let range = LogsRange { lines: 100, since: None, follow: false };
    assert_eq!(logs_arguments("web", range), ["logs", "--timestamps", "--tail", "100", "web"]);
    let since = Timestamp::parse("2026-01-01T01:00:00+01:00");
    assert_eq!(
        logs_arguments("web", LogsRange { lines: 5, since, follow: true })[3..],
        ["5", "--since=2026-01-01T00:00:00.000000000Z", "--follow", "web"]
    );
}

#[test]
fn containers_that_vanished() {
    assert!(only_vanished(captured!("inspect-vanished.stderr")));
    assert!(only_vanished(captured!("inspect-all-gone.stderr")));
    assert!(only_vanished(
        "WARNING: something\nError response from daemon: No such container: x\n"
    ));
    assert!(only_vanished("Error: No such object: x\nError: No such object: y\n")); // version 20
    assert!(only_vanished("Error: no such object: \"x\"\n")); // podman
    assert!(!only_vanished(""));
    assert!(!only_vanished("WARNING: something\n"));
    assert!(!only_vanished(captured!("daemon-down.stderr")));
    assert!(!only_vanished("Error: No such object: x\nsomething else\n"));
    // What is said beside the reason: by the CLI, by its plugins, and by podman in docker's place.
    for beside in [
        "WARNING: something",
        "time=\"2026-01-01T00:00:00Z\" level=warning msg=\"something\"",
        "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.",
    ] {
        assert!(only_vanished(&format!("{beside}\nError: No such object: x\n")), "{beside}");
        let failure = failed(&format!("{beside}\nsomething else\n")).to_string();
        assert_eq!(failure, "docker: something else (exit status: 1)");
    }
}

#[test]
fn no_such_container() {
    let expected = "docker: no such container: no-such: see docker ps -a for those there are";
    assert_eq!(failed(captured!("logs-no-such.stderr")), Failure::NoSuchContainer(expected.into()));
    let podman = r#"Error: no container with name or ID "web" found: no such container"#;
    let failure = Failure::classify("/usr/bin/podman", podman, "exit status: 125");
    assert_eq!(
        failure,
        Failure::NoSuchContainer(
            "podman: no such container: web: see podman ps -a for those there are".into()
        )
    );
    let short = failed(r#"Error: no container with name or ID "web" found"#);
    assert!(matches!(short, Failure::NoSuchContainer(message) if message.contains(": web: ")));
}

#[test]
fn permission_denied() {
    let expected = "docker: permission denied on /var/run/docker.sock: add the agent's user to the docker group, or run it as root";
    assert_eq!(failed(captured!("permission-denied.stderr")), Failure::Unusable(expected.into()));
    for older_and_newer in [
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get ...",
        "permission denied while trying to connect to the Docker API at unix:///var/run/docker.sock",
        "permission denied",
    ] {
        assert_eq!(failed(older_and_newer), Failure::Unusable(expected.into()));
    }
    let elsewhere = failed(
        "permission denied while trying to connect to ... at unix:///run/user/7/docker.sock: Get",
    )
    .to_string();
    assert!(elsewhere.contains("permission denied on /run/user/7/docker.sock:"), "{elsewhere}");
    // The daemon's own troubles, and warnings, are no reason to ask for other rights.
    assert!(matches!(
        failed("Error response from daemon: open /x-json.log: permission denied"),
        Failure::Other(_)
    ));
    assert!(matches!(
        failed("WARNING: open /root/.docker/config.json: permission denied"),
        Failure::Other(_)
    ));
}

#[test]
fn daemon_down() {
    let message = |stderr| match failed(stderr) {
        Failure::Unusable(message) => message,
        other => panic!("{other:?}"),
    };
    let expected = "docker: cannot connect to the daemon at unix:///nonexistent.sock: start it with sudo systemctl start docker";
    assert_eq!(message(captured!("daemon-down.stderr")), expected);
    let expected = "docker: cannot connect to the daemon at tcp://127.0.0.1:1: see that it runs there, or check DOCKER_HOST and DOCKER_CERT_PATH";
    assert_eq!(message(captured!("daemon-down-tcp.stderr")), expected);
    let version_29 = "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if \
                      the daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory";
    let expected = "docker: cannot connect to the daemon at unix:///var/run/docker.sock: start it with sudo systemctl start docker";
    assert_eq!(message(version_29), expected);
    let secret = message(
        "error during connect: Get \"https://joe:secret@10.0.0.7:2376/v1.50/json?token=secret\": EOF",
    );
    let expected = "docker: cannot connect to the daemon at https://10.0.0.7:2376: EOF: see that it runs there, or check DOCKER_HOST and DOCKER_CERT_PATH";
    assert_eq!(secret, expected);
    let podman = "Cannot connect to Podman. Please verify your connection to the Linux system";
    assert!(message(podman).starts_with("docker: cannot connect to the daemon: start it with "));
    let podman =
        "Error: unable to connect to Podman socket: Get \"http://d/v4.3.1/libpod/_ping\": EOF";
    assert!(message(podman).starts_with("docker: cannot connect to the daemon at http://d: EOF: "));
    let expected = "docker: cannot connect to the daemon at https://127.0.0.1:18999: tls: first record does not look like a TLS handshake: see that it runs there, or check DOCKER_HOST and DOCKER_CERT_PATH";
    assert_eq!(message(captured!("tls-refused.stderr")), expected);
}

/// Docker's placeholder for the daemon's address helps nobody.
#[test]
fn over_ssh() {
    let remedy = "see that the agent's user can log in there with ssh and without a password";
    let message = |stderr: &str| match failed(stderr) {
        Failure::Unusable(message) => message.replace(remedy, "REMEDY"),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        message(captured!("ssh-refused.stderr")),
        "docker: cannot connect to the daemon over ssh, to 127.0.0.1: ssh: connect to host 127.0.0.1 port 22: Connection refused: REMEDY"
    );
    assert_eq!(
        message(captured!("ssh-missing.stderr")),
        "docker: cannot connect to the daemon over ssh, to the host of DOCKER_HOST: exec: \"ssh\": executable file not found in $PATH: REMEDY"
    );
    let ssh = "ssh: connect to host 127.0.0.1 port 22: Connection refused\r\n";
    // ssh's own permissions are no permissions on docker's socket.
    let denied = "Warning: Permanently added 'h' (ED25519) to the list of known hosts.\r\n\
                  nobody@h: Permission denied (publickey).\r\n";
    for denied in [denied, "nobody@h: Permission denied (publickey).\r\n"] {
        let message = message(&captured!("ssh-refused.stderr").replace(ssh, denied));
        assert_eq!(
            message,
            "docker: cannot connect to the daemon over ssh, to 127.0.0.1: nobody@h: Permission denied (publickey).: REMEDY"
        );
    }
}

#[test]
fn docker_that_is_not_set_up() {
    for (stderr, expected) in [
        (
            captured!("tls-files-missing.stderr"),
            "docker: unable to resolve docker endpoint: open /nope/ca.pem: no such file or directory: check DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        ),
        (
            captured!("tls-files-denied.stderr"),
            "docker: unable to resolve docker endpoint: open /etc/docker-tls/key.pem: permission denied: check DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        ),
        (
            captured!("api-too-new.stderr"),
            "docker: client version 1.50 is too new. Maximum supported API version is 1.41: unset DOCKER_API_VERSION, or update docker",
        ),
        (
            captured!("api-too-old.stderr"),
            "docker: client version 1.1 is too old. Minimum supported API version is 1.12, please upgrade your client to a newer version: unset DOCKER_API_VERSION, or update docker",
        ),
        (
            captured!("logs-driver-none.stderr"),
            "docker: configured logging driver does not support reading: run the container with the log driver json-file, local or journald",
        ),
        (
            "Failed to initialize: unable to load client certificate",
            "docker: unable to load client certificate: check DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CERT_PATH",
        ),
        (
            "Error: this container is using the 'none' log driver, cannot read logs: this container is not logging output",
            "docker: this container is using the 'none' log driver, cannot read logs: this container is not logging output: run the container with the log driver json-file, local or journald",
        ),
    ] {
        assert_eq!(failed(stderr), Failure::Unusable(expected.into()));
    }
    let context = failed(captured!("context-missing.stderr")).to_string();
    let begin =
        "docker: unable to resolve docker endpoint: context \"nope\": context not found: open /";
    assert!(context.starts_with(begin), "{context}");
    assert!(context.ends_with(": see docker context ls, or unset DOCKER_CONTEXT"), "{context}");
    // Of `currentContext` in the configuration file.
    let current = "Current context \"gone\" is not found on the file system, please check your config \
                   file at /root/.docker/config.json";
    let expected = format!("docker: {current}: see docker context ls, or unset DOCKER_CONTEXT");
    assert_eq!(failed(current), Failure::Unusable(expected));
}

#[test]
fn anything_else_is_passed_on() {
    let message = |stderr| match failed(stderr) {
        Failure::Other(message) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        message(captured!("usage.stderr")),
        "docker: unknown flag: --bogus (exit status: 1)"
    );
    assert_eq!(
        message(captured!("config-warning.stderr")),
        "docker: failed without a message (exit status: 1)"
    );
    assert_eq!(message(""), "docker: failed without a message (exit status: 1)");
    // The reason may stand behind a line that says nothing to the agent.
    let behind = failed("something\nError: No such container: web\n");
    assert!(matches!(behind, Failure::NoSuchContainer(_)), "{behind:?}");
    assert_eq!(
        message("a\u{2028}b\u{202e}c\u{200f}d\u{2066}e"),
        "docker: a b c d e (exit status: 1)"
    );
    assert_eq!(
        message("\n\u{1b}[31mred\u{1b}[0m\ttext\n"),
        "docker:  [31mred [0m text (exit status: 1)"
    );
}

#[test]
fn not_started() {
    let message =
        |program, kind: io::ErrorKind| Failure::not_started(program, &kind.into()).to_string();
    assert_eq!(
        message("docker", io::ErrorKind::NotFound),
        "docker: not installed: no \"docker\" on PATH; install it or set VMKIT_DOCKER_BIN"
    );
    assert_eq!(
        message("/opt/podman", io::ErrorKind::NotFound),
        "podman: not installed: no \"/opt/podman\"; install it or set VMKIT_DOCKER_BIN"
    );
    let denied = message("docker", io::ErrorKind::PermissionDenied);
    assert!(
        denied.starts_with("docker: not executable: permission denied on \"docker\" on PATH;"),
        "{denied}"
    );
    assert!(
        message("docker", io::ErrorKind::OutOfMemory)
            .starts_with("docker: cannot start \"docker\": ")
    );
    for code in [11, 12, 23, 24] {
        let error = io::Error::from_raw_os_error(code);
        let message = Failure::not_started("docker", &error).to_string();
        assert!(message.ends_with("out of processes, files or memory; see ulimit -a"), "{message}");
    }
}

proptest! {
    #[test]
    fn messages_are_one_bounded_line(program: String, stderr in any::<String>().prop_flat_map(around_phrases)) {
        let failure = Failure::classify(&program, &stderr, "exit status: 1").to_string();
        prop_assert!(failure.chars().count() <= 300, "{}", failure);
        prop_assert!(!failure.contains(char::is_control));
    }

    #[test]
    fn output_never_panics(text: String) {
        let _ = only_vanished(&text);
    }
}

/// Arbitrary text by itself, and after each of the words that are looked for.
fn around_phrases(text: String) -> impl Strategy<Value = String> {
    let phrases = [
        "",
        "No such container: ",
        "permission denied unix://",
        "error during connect: http://",
        "error during connect: Get \"http://docker.example.com\": command [ssh -- ",
        "[ssh -- x docker system dial-stdio] stderr=docker.example.com",
        "unable to resolve docker endpoint: context ",
        "Error: no such object: \"",
    ];
    proptest::sample::select(phrases.to_vec())
        .prop_map(move |phrase| format!("{phrase}{text}").repeat(20))
}
