//! The files of `dist/`, as the programs that they are for judge them, and as the agent's own help
//! has it. A program that is missing fails its test: `make test` installs them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::support::{Scratch, agent_program, architecture, repository, run, said};

#[test]
fn systemd_takes_the_unit_without_a_word() {
    let scratch = Scratch::new();
    let root = scratch.path().join("root");
    let units = root.join("usr/lib/systemd");
    fs::create_dir_all(&units).expect("the test's own");
    // The targets and services that it is ordered by.
    let mut copy = Command::new("cp");
    quiet(copy.args(["-a", "/usr/lib/systemd/system"]).arg(&units), "systemd");
    let unit = root.join("etc/systemd/system/vmkit-agent.service");
    fs::create_dir_all(unit.parent().expect("a folder")).expect("the test's own");
    fs::copy(repository("dist/vmkit-agent.service"), &unit).expect("both are there");
    let program = root.join("usr/local/bin/vmkit-agent");
    fs::create_dir_all(program.parent().expect("a folder")).expect("the test's own");
    fs::copy("/bin/true", program).expect("coreutils are there");

    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg(format!("--root={}", root.display())).arg("vmkit-agent.service");
    quiet(&mut verify, "systemd");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--threshold=35", "--no-pager"]).arg(unit);
    let output = run(&mut security, "systemd");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
}

#[test]
fn the_manual_is_shown_without_a_warning() {
    let page = repository("dist/vmkit-agent.8");
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&page);
    let output = run(man.env("LC_ALL", "C.UTF-8"), "man-db");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    quiet(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(page), "mandoc");
}

#[test]
fn manual_and_example_know_what_the_agent_knows() {
    let output = run(Command::new(agent_program()).arg("--help"), "nothing");
    let help = said(&output);
    let manual = read("dist/vmkit-agent.8").replace("\\-", "-");
    let example = read("dist/agent.env.example");
    let known = variables(&help);
    assert!(known.len() > 8, "{known:?}");
    assert_eq!(variables(&manual), known);
    assert_eq!(variables(&example), known);
    for command in ["run", "install", "doctor", "uninstall", "upgrade"] {
        let output = run(Command::new(agent_program()).args([command, "--help"]), "nothing");
        let help = said(&output);
        let options = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        for option in options.filter(|word| word.starts_with("--") && word.len() > 2) {
            assert!(manual.contains(option), "{command}: {option} is not in the manual");
        }
    }
}

#[test]
fn cloud_init_takes_the_user_data() {
    let mut schema = Command::new(repository("tests/install/cloud_init_schema"));
    schema.arg(repository("dist/cloud-init.yaml")).arg(env!("CARGO_TARGET_TMPDIR"));
    let output = run(&mut schema, "apt");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Valid cloud-config"), "{}", said(&output));
}

#[test]
fn scripts_are_plain_posix_shell() {
    let yaml = read("dist/cloud-init.yaml");
    let command = yaml.lines().skip_while(|line| *line != "  - |").skip(1);
    let command: String =
        command.map(|line| format!("{}\n", line.trim_start_matches("    "))).collect();
    assert!(command.ends_with(" install\n"), "{command}");
    // OpenRC reads the variables of its script.
    for (text, exclude) in [
        (read("dist/install.sh"), ""),
        (read("dist/vmkit-agent.openrc"), "--exclude=SC2034"),
        (command, ""),
    ] {
        let mut shellcheck = Command::new("shellcheck");
        shellcheck.args(["--shell=sh"]).args((!exclude.is_empty()).then_some(exclude)).arg("-");
        let output = feed(&mut shellcheck, &text);
        assert!(output.status.success() && output.stdout.is_empty(), "{}", said(&output));
        for shell in [&["dash"][..], &["busybox", "sh"]] {
            let mut parse = Command::new(shell[0]);
            let output = feed(parse.args(&shell[1..]).args(["-n", "/dev/stdin"]), &text);
            assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
        }
    }
}

#[test]
fn all_files_know_the_same_architectures() {
    let make = read("Makefile");
    let built = make.lines().find_map(|line| line.strip_prefix("archs := "));
    let built = built.expect("make dist builds all of them");
    let built: BTreeSet<&str> = built.split_whitespace().collect();
    assert!(built.contains(architecture()), "{built:?}");
    for (file, before, after) in [
        ("dist/build/agent", "\n    ", ") echo "),
        ("dist/build/emulator", "\n", "-*)"),
        ("dist/build/sums", "\n    ", ") echo "),
        ("dist/install.sh", "arch=", " "),
        ("dist/cloud-init.yaml", "vmkit-agent-linux-", " "),
    ] {
        let text = read(file);
        let names = text.split(before).skip(1).filter_map(|rest| rest.split_once(after));
        let word = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let names: BTreeSet<&str> = names.map(|(name, _)| name).filter(word).collect();
        assert_eq!(names, built, "{file}");
    }
}

/// All words that begin as the agent's variables do.
fn variables(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let own = |word: &&str| word.starts_with("VMKIT_") || word.ends_with("_PROXY");
    words.filter(own).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn quiet(command: &mut Command, package: &str) {
    let output = run(command, package);
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

#[track_caller]
fn feed(command: &mut Command, text: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_owned();
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{program:?}: {error}; apt-get install dash busybox-static shellcheck")
    });
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads all of it");
    child.wait_with_output().expect("our child")
}
