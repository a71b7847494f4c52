//! `vmkit-agent install` and `uninstall`, for real, in a root of their own.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};

use super::support::{Cell, Scratch, TOKEN, agent_program, said};

pub const PROGRAM: &str = "/usr/local/bin/vmkit-agent";
pub const ENV_FILE: &str = "/etc/vmkit/agent.env";
pub const UNIT: &str = "/etc/systemd/system/vmkit-agent.service";
const MANUAL: &str = "/usr/local/share/man/man8/vmkit-agent.8";
pub const REGISTERED: &str = "registered as test, version 1";

#[test]
fn without_an_init_system_it_installs_and_says_how_to_run_it() {
    let cell = Cell::bare();
    let before = cell.tree();
    let output = cell.agent(&["install"], &[("VMKIT_AGENT_TOKEN", TOKEN)]);
    succeeded(&output);
    assert!(said(&output).contains("neither systemd nor OpenRC"), "{}", said(&output));
    assert_eq!((cell.mode(PROGRAM), cell.mode("/etc/vmkit"), cell.mode(ENV_FILE)), modes());
    let [installed, own] = [cell.path(PROGRAM), agent_program().into()].map(fs::read);
    assert!(installed.expect("it was copied") == own.expect("it runs"));
    assert_eq!(cell.read(ENV_FILE), format!("VMKIT_AGENT_TOKEN={TOKEN}\n"));

    // A known setting need not be given again, and no file is written again.
    let again = cell.agent(&["install"], &[]);
    succeeded(&again);
    assert!(
        said(&again).starts_with("to run it: sudo /usr/local/bin/vmkit-agent "),
        "{}",
        said(&again)
    );

    succeeded(&cell.agent(&["uninstall"], &[]));
    assert!(!cell.path(PROGRAM).exists() && cell.path(ENV_FILE).exists());
    succeeded(&cell.agent(&["uninstall", "--purge"], &[]));
    assert_eq!(cell.tree(), before);
    let nothing = cell.agent(&["uninstall", "--purge"], &[]);
    assert!(nothing.status.success() && said(&nothing).starts_with("nothing to do"));
}

#[test]
fn under_systemd_it_runs_and_is_left_alone_while_nothing_changes() {
    let cell = Cell::with_systemd(REGISTERED);
    let token = ("VMKIT_AGENT_TOKEN", TOKEN);
    let output = cell.agent(&["install"], &[token, ("https_proxy", "http://proxy:3128")]);
    succeeded(&output);
    assert_eq!(said(&output).lines().last(), Some(REGISTERED));
    assert_eq!(cell.calls(), ["daemon-reload", "--quiet enable vmkit-agent", "start vmkit-agent"]);
    let past =
        ["copied vmkit-agent ", "made ", "wrote ", "wrote ", "ran ", "wrote ", "ran ", "ran "];
    for (line, verb) in said(&output).lines().zip(past) {
        assert!(line.starts_with(verb), "{verb}: {}", said(&output));
    }
    assert_eq!(cell.mode(UNIT), "644");
    assert_eq!(cell.read(UNIT), include_str!("../../dist/vmkit-agent.service"));
    assert!(cell.read(ENV_FILE).contains("HTTPS_PROXY=http://proxy:3128\n"));

    let again = cell.agent(&["install"], &[token, ("https_proxy", "http://another:3128")]);
    succeeded(&again);
    let unchanged = said(&again);
    assert!(unchanged.ends_with(": already installed and running; not restarted\n"), "{unchanged}");
    assert_eq!((unchanged.lines().count(), cell.calls()), (1, Vec::new()));

    let url = "wss://gateway.example.com/api/daemon";
    let output = cell.agent(&["install", "--gateway-url", url, "--no-start"], &[]);
    succeeded(&output);
    assert!(said(&output).ends_with("to run it: sudo systemctl restart vmkit-agent\n"));
    assert_eq!(cell.calls(), [""; 0]);
    succeeded(&cell.agent(&["install", "--gateway-url", "wss://g/"], &[]));
    assert_eq!(cell.calls(), ["restart vmkit-agent"]);
    cell.write(PROGRAM, "another version");
    cell.write(UNIT, "another unit");
    succeeded(&cell.agent(&["install"], &[]));
    assert_eq!(cell.calls(), ["daemon-reload", "restart vmkit-agent"]);

    succeeded(&cell.agent(&["uninstall", "--purge"], &[]));
    assert_eq!(cell.calls(), ["--quiet disable --now vmkit-agent", "daemon-reload"]);
    assert!(cell.tree().iter().all(|path| !path.contains("vmkit")), "{:?}", cell.tree());
}

#[test]
fn a_dry_run_tells_all_and_changes_nothing() {
    let cell = Cell::with_systemd(REGISTERED);
    let before = cell.tree();
    let environment = [("VMKIT_AGENT_TOKEN", TOKEN), ("HTTPS_PROXY", "http://u:s3cr3t@proxy:1")];
    let output = cell.agent(&["install", "--dry-run"], &environment);
    succeeded(&output);
    let said = said(&output);
    for step in [
        "copy ",
        PROGRAM,
        "make /etc/vmkit ",
        ENV_FILE,
        "VMKIT_AGENT_TOKEN, HTTPS_PROXY",
        UNIT,
        "run systemctl daemon-reload",
        "enable vmkit-agent",
        "start vmkit-agent",
        MANUAL,
        "would wait up to 20 s for the gateway to accept the agent",
    ] {
        assert!(said.contains(step), "{step}: {said}");
    }
    assert!(said.lines().all(|line| line.starts_with("would ")) && !said.contains("s3cr3t"));
    assert_eq!((cell.tree(), cell.calls()), (before, Vec::new()));

    succeeded(&cell.agent(&["install"], &environment));
    let (before, _) = (cell.tree(), cell.calls());
    let output = cell.agent(&["uninstall", "--purge", "--dry-run"], &[]);
    succeeded(&output);
    assert_eq!((cell.tree(), cell.calls()), (before, Vec::new()));
}

#[test]
fn what_others_wrote_to_the_configuration_is_kept() {
    let cell = Cell::bare();
    let before = "# ours\nVMKIT_AGENT_TOKEN=\"old one\"\n\nDOCKER_HOST=unix:///x\nNO_PROXY=a\n";
    cell.write("/etc/elsewhere", before);
    fs::create_dir_all(cell.path("/etc/vmkit")).expect("the test's own");
    symlink("../elsewhere", cell.path(ENV_FILE)).expect("the test's own");
    succeeded(&cell.agent(&["install"], &[("NO_PROXY", "b")]));
    assert_eq!((cell.read("/etc/elsewhere"), cell.mode(ENV_FILE)), (before.into(), "600".into()));

    cell.write("/root/token", &format!("{TOKEN}\n"));
    cell.write("/root/ca.pem", &ca());
    let arguments = ["install", "--token-file", "/root/token", "--ca-file", "root/ca.pem"];
    succeeded(&cell.agent(&arguments, &[("VMKIT_AGENT_TOKEN", "overruled")]));
    let expected = before.replace("\"old one\"", TOKEN) + "VMKIT_CA_FILE=/root/ca.pem\n";
    assert_eq!(cell.read("/etc/elsewhere"), expected);
}

/// Arguments, environment, exit status, and a word on why.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a str);

#[test]
fn what_can_not_work_changes_nothing() {
    let long = "x".repeat(70_000);
    let token = ("VMKIT_AGENT_TOKEN", TOKEN);
    let cases: [Case; 9] = [
        (&[], &[], 1, "no token"),
        (&["--token-file", "/root/two"], &[], 1, "token file /root/two has more than one line"),
        (&["--token-stdin"], &[], 1, "standard input is empty"),
        (&["--token-file", "/nonexistent"], &[], 1, "token file /nonexistent does not exist"),
        (&["--token", TOKEN], &[], 64, "--token-file"),
        (&["--gateway-url", "http://x"], &[token], 78, "VMKIT_GATEWAY_URL"),
        (&["--ca-file", "/nonexistent"], &[token], 78, "VMKIT_CA_FILE"),
        (&[], &[token, ("HTTPS_PROXY", "socks5://x:1")], 78, "HTTPS_PROXY"),
        (&[], &[("VMKIT_AGENT_TOKEN", "\u{e9}"), ("NO_PROXY", &long)], 78, "VMKIT_AGENT_TOKEN"),
    ];
    let cell = Cell::with_systemd(REGISTERED);
    cell.write("/root/two", "one\ntwo\n");
    let before = cell.tree();
    for (arguments, environment, status, why) in cases {
        let output = cell.agent(&[&["install"], arguments].concat(), environment);
        failed(&output, status, why);
        assert_eq!((cell.tree(), cell.calls()), (before.clone(), Vec::new()), "{why}");
    }
    let cell = cell.read_only();
    let output = cell.agent(&["install"], &[token]);
    let last = said(&output).lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("/usr/local/bin") && last.contains("mounted read-only"), "{last}");
    assert_eq!((cell.tree(), cell.calls()), (before, Vec::new()));
}

/// `man` finds the page, and the agent is not restarted for it.
#[test]
fn the_manual_page_comes_and_goes_with_the_program() {
    let cell = Cell::with_systemd(REGISTERED);
    succeeded(&cell.agent(&["install"], &[("VMKIT_AGENT_TOKEN", TOKEN)]));
    assert_eq!(cell.read(MANUAL), include_str!("../../dist/vmkit-agent.8"));
    assert_eq!((cell.mode(MANUAL), cell.mode("/usr/local/share/man/man8")), mode_of_page());
    cell.calls();

    cell.write(MANUAL, "of another version");
    let output = cell.agent(&["install"], &[]);
    succeeded(&output);
    assert!(said(&output).starts_with(&format!("wrote {MANUAL} (0644)\n")), "{}", said(&output));
    assert_eq!(cell.calls(), [""; 0]);

    cell.write("/usr/local/share/man/man8/others.8", "");
    succeeded(&cell.agent(&["uninstall"], &[]));
    assert!(!cell.path(MANUAL).exists());
    assert!(cell.path("/usr/local/share/man/man8/others.8").exists());
}

/// The agent does without its manual page.
#[test]
fn a_manual_page_that_can_not_be_written_stops_nothing() {
    let cell = Cell::with_systemd(REGISTERED);
    cell.write("/usr/local/share/man", "a file in the place of the folder");
    let output = cell.agent(&["install"], &[("VMKIT_AGENT_TOKEN", TOKEN)]);
    succeeded(&output);
    assert!(said(&output).contains("no manual page: can't make "), "{}", said(&output));
    assert_eq!(cell.mode(PROGRAM), "755");
    succeeded(&cell.agent(&["uninstall"], &[]));
}

#[test]
fn an_upgrade_under_way_is_not_disturbed() {
    let cell = Cell::bare();
    cell.write(PROGRAM, "the one before");
    cell.write("/var/lib/vmkit-agent/upgrade.lock", "");
    let lock = File::open(cell.path("/var/lib/vmkit-agent/upgrade.lock")).expect("just written");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    let output = cell.agent(&["install"], &[("VMKIT_AGENT_TOKEN", TOKEN)]);
    assert!(said(&output).contains("another upgrade is under way"), "{}", said(&output));
    assert_eq!(cell.read(PROGRAM), "the one before");
}

#[test]
fn a_service_that_does_not_start_shows_its_log() {
    let cell = Cell::with_systemd(REGISTERED);
    cell.write("/vmkit-test/broken", "");
    let output = cell.agent(&["install"], &[("VMKIT_AGENT_TOKEN", TOKEN)]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("agent log: the log of the agent\n"), "{said}");
    assert!(!said.contains("agent log: Started"), "systemd's line: {said}");
    assert!(said.contains("Job for vmkit-agent.service failed."), "{said}");
}

#[test]
fn an_agent_that_is_not_registered_in_time_shows_its_log() {
    let cell = Cell::with_systemd("connecting to gateway");
    let begun = Instant::now();
    let output = cell.agent(&["install"], &[("VMKIT_AGENT_TOKEN", TOKEN)]);
    assert!((19..40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("agent log: the log of the agent\n"), "{said}");
    assert!(!said.contains("agent log: Started"), "systemd's line: {said}");
    assert!(said.contains("the gateway has not accepted it within 20 s"), "{said}");
}

#[test]
fn others_than_root_are_told_so() {
    let scratch = Scratch::new();
    let program = scratch.open_to_all(&agent_program());
    for command in ["install", "uninstall"] {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        failed(&nobody.arg(command).output().expect("util-linux is there"), 1, "only root");
    }
}

#[track_caller]
pub fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

#[track_caller]
pub fn failed(output: &Output, status: i32, why: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(why) && said.lines().count() == 1, "{why}: {said}");
}

fn modes() -> (String, String, String) {
    ("755".to_owned(), "755".to_owned(), "600".to_owned())
}

fn mode_of_page() -> (String, String) {
    ("644".to_owned(), "755".to_owned())
}

/// A certificate that can be trusted.
fn ca() -> String {
    let key = rcgen::KeyPair::generate().expect("ring makes keys");
    let parameters = rcgen::CertificateParams::new(["ca".to_owned()]).expect("a name");
    parameters.self_signed(&key).expect("its own key").pem()
}
