//! Words that anybody can say: lines of the log under the agent's name, and numbers without bounds.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::{fs, thread};

use crate::cell::{self, ENV_FILE, INSTALLED, in_a_cell};
use crate::golden::{V0_1_0, on_trial};
use crate::guard::Guard;
use crate::support::TOKEN;

const LOG: &str = "/var/log/messages";

/// A syslog daemon, as far as it takes one: what anybody sends ends up in the log.
fn syslogd() {
    let socket = UnixDatagram::bind("/dev/log").expect("the cell's own");
    fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666)).expect("just made");
    let mut log = OpenOptions::new().create(true).append(true).open(LOG).expect("the cell's own");
    // Ends with the test process.
    thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(length) = socket.recv(&mut message) {
            let line = [&message[..length], b"\n"].concat();
            log.write_all(&line).expect("there is room");
        }
    });
}

/// An OpenRC whose service is an agent that nobody acknowledges; on its start another user logs, as
/// the agent, that it is registered. What becomes of the installation.
fn install_while_somebody_logs(logger: &str) {
    // All that there is in the folder of the machine's own programs for administrators.
    let hidden = cell::root("mount", &["-t", "tmpfs", "vmkit-test", "/sbin"]).status();
    assert!(hidden.expect("util-linux is there").success());
    cell::write("/sbin/openrc-run", "");
    fs::create_dir("/etc/init.d").expect("the cell's own");
    syslogd();
    cell::fake("rc-update", "exit 0");
    let rc_service = format!(
        r#"
        case $2 in
        status) exit 3 ;;
        start)
            setsid "{INSTALLED}" >/dev/null 2>&1 &
            export agent=$!
            setpriv --reuid=65534 --regid=65534 --clear-groups {logger}
        esac
        "#
    );
    cell::fake("rc-service", &rc_service);
    let nobody_answers = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = nobody_answers.local_addr().expect("it is bound").port();
    let settings = format!("VMKIT_AGENT_TOKEN={TOKEN}\nVMKIT_GATEWAY_URL=ws://127.0.0.1:{port}/\n");
    cell::write(ENV_FILE, settings);
    let (succeeded, said) = cell::agent(&["install"]);
    let log = fs::read_to_string(LOG).expect("something was logged");
    assert!(log.contains("registered as x"), "{log}\n{said}");
    assert!(!succeeded, "a line of another user's was believed:\n{said}");
    assert!(said.contains("has not accepted it"), "{said}");
}

#[test]
fn another_user_logs_that_the_agent_is_registered() {
    in_a_cell(|| install_while_somebody_logs("logger -t vmkit-agent 'registered as x'"));
}

/// With the very number of the agent's process.
#[test]
fn another_user_logs_it_as_the_agents_process() {
    let logger = "logger --id=\"$agent\" -p daemon.info -t vmkit-agent 'registered as x'";
    in_a_cell(|| install_while_somebody_logs(logger));
}

/// The longest time there is, taken for what it is or refused.
#[test]
fn a_guard_that_is_to_wait_for_ever() {
    in_a_cell(|| {
        let (next, _) = on_trial(V0_1_0.trial);
        let mut guard = Guard::of(&next, Some(u64::MAX));
        if guard.is_armed() {
            assert!(guard.sleeps(), "{}", guard.log());
        } else {
            let status = guard.status();
            assert_eq!(status.code(), Some(64), "{status}: {}", guard.log());
        }
    });
}
