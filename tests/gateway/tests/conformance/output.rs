//! What `gateway check` prints, and its exit status.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::kit::{Kit, Program};

#[test]
fn a_fail_shows_the_frames_that_led_to_it() {
    let python = Program::python();
    let run =
        Kit::new().short_clocks().only("A-RPC-5").check(&python.words(&["--break", "A-RPC-5"]));
    let verdict = &run.verdicts["A-RPC-5"];
    assert_eq!((run.code, verdict.word.as_str()), (1, "FAIL"), "{}", verdict.detail);
    assert!(verdict.detail.contains("-32600"), "{}", verdict.detail);
    let has = |from: &str, word: &str| {
        verdict.frames.iter().any(|frame| frame.contains(from) && frame.contains(word))
    };
    assert!(has(" < ", "-32600") && has(" > ", "kit_unknown"), "{:#?}", verdict.frames);
    assert!(verdict.frames.iter().all(|frame| frame.contains(" s  #") && frame.len() < 400));
}

#[test]
fn a_should_that_is_broken_is_a_warning() {
    let python = Program::python();
    let run =
        Kit::new().short_clocks().only("A-BEAT-5").check(&python.words(&["--break", "A-BEAT-5"]));
    assert_eq!((run.code, run.verdicts["A-BEAT-5"].word.as_str()), (0, "WARN"));
}

#[test]
fn what_can_t_be_reached_is_not_tested_and_counts_as_failed() {
    let python = Program::python();
    // Without --upgrade-binary.
    let run = Kit::new().short_clocks().only("A-UPG-9").check(&python.words(&[]));
    let verdict = &run.verdicts["A-UPG-9"];
    assert_eq!((run.code, verdict.word.as_str()), (1, "NOT TESTED"));
    assert!(verdict.detail.contains("--upgrade-binary"), "{}", verdict.detail);
}

#[test]
fn a_fault_of_the_kit_has_a_status_of_its_own() {
    let run = Kit::new().only("A-RPC-5,A-CONN-1").check(&["/nowhere/vmkit-agent"]);
    let words: Vec<&str> = run.verdicts.values().map(|verdict| verdict.word.as_str()).collect();
    assert_eq!((run.code, words), (2, vec!["ERROR", "ERROR"]));
    assert!(run.verdicts["A-RPC-5"].detail.contains("/nowhere/vmkit-agent"));
    for wrong in [&["--only", "A-NONE"][..], &["--clock-scale", "7"], &["--fast"]] {
        let run = Kit::new()
            .with(wrong)
            .with(&["--", "/bin/true"])
            .command
            .output()
            .expect("it was built");
        assert!(!run.status.success(), "{wrong:?}");
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(text.starts_with("gateway: ") && text.lines().count() == 1, "{text}");
    }
}

/// Nothing of it stays: no process, no folder.
#[test]
fn a_kit_that_is_ended_takes_its_agents_along() {
    let python = Program::python();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut kit = Kit::new().short_clocks().only("A-BEAT").with(&["--"]);
    kit.command.args(python.words(&[])).env("TMPDIR", folder.path()).stdout(Stdio::null());
    let mut kit = kit.command.spawn().expect("it was built");
    let within = Duration::from_secs(60);
    let pids = || {
        let logs = std::fs::read_dir(folder.path()).expect("it is there").flatten();
        let name =
            |entry: std::fs::DirEntry| entry.path().join("vmkit-agent").display().to_string();
        let programs: Vec<String> = logs.map(name).collect();
        running(&programs)
    };
    let began = Instant::now();
    while pids().is_empty() {
        assert!(began.elapsed() < within, "no agent was started");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pids = pids();
    let ended = Command::new("kill").args(["-TERM", &kit.id().to_string()]).status();
    assert!(ended.expect("kill is there").success());
    assert_eq!(kit.wait().expect("our child").code(), Some(2));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let is_there = |pid: &&String| std::path::Path::new("/proc").join(pid).join("exe").exists();
    let left: Vec<_> = pids.iter().filter(is_there).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The processes that have one of these programs among their arguments.
fn running(programs: &[String]) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("a Linux").flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            programs.iter().any(|program| line.split('\0').any(|word| word == program))
        })
        .collect()
}

/// Also where an agent says what XML can't hold.
#[test]
fn junit_is_xml_with_every_rule() {
    let python = Program::python();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("junit.xml").display().to_string();
    let run = Kit::new().short_clocks().only("A-FRAME,A-ERR,A-LOG-5").with(&["--junit", &path]);
    let run = run.check(&python.words(&["--break", "A-LOG-5"]));
    assert_eq!(run.code, 1);
    let script = "import sys, xml.etree.ElementTree as tree\n\
                  suite = tree.parse(sys.argv[1]).getroot()\n\
                  print(suite.get('tests'), suite.get('failures'), suite.get('errors'))\n\
                  print(*[case.get('classname') for case in suite if case.find('failure') is not None])";
    let read = Command::new("python3").args(["-I", "-c", script, &path]).output();
    let read = read.expect("python3 is installed");
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    assert_eq!(text, "10 1 0\nA-LOG-5\n", "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn the_table_has_a_line_for_each_rule_and_a_sum() {
    let python = Program::python();
    let mut kit = Kit::new().short_clocks().only("A-FRAME-1,A-RPC-3").with(&["--"]);
    let run =
        kit.command.args(python.words(&["--break", "A-RPC-3"])).output().expect("it was built");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let line = |beginning: &str| text.lines().any(|line| line.starts_with(beginning));
    assert!(line("PASS        A-FRAME-1  MUST"), "{text}");
    assert!(line("FAIL        A-RPC-3    MUST"), "{text}");
    assert!(text.contains("2 rules: 1 PASS, 0 WARN, 1 FAIL, 0 NOT TESTED, 0 ERROR"), "{text}");
}

#[test]
fn the_list_has_every_rule() {
    let mut kit = Kit::new().with(&["--list"]);
    let run = kit.command.stdin(Stdio::null()).output().expect("it was built");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    for sentence in vmkit_gateway::check::sentences::all() {
        let begins = |line: &str| line.split_whitespace().next() == Some(sentence.id);
        assert!(text.lines().any(begins), "{} is missing", sentence.id);
    }
    assert!(!text.contains("without a check"), "{text}");
}
