//! `gateway check` without a program: it waits for an agent that somebody else has started.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::kit::{Kit, Program, verdicts};

const TOKEN: &str = "vmkit-test-token-7a11";

/// Ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_that_was_started_by_hand() {
    let python = Program::python();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixtures = folder.path().display().to_string();
    let mut kit = Kit::new().short_clocks().with(&["--json", "--fixtures", &fixtures]).only(
        "A-CONN-2,A-CONN-3,A-CONN-9,A-FRAME,A-CLOSE-6,A-CLOSE-8,A-RPC-1,A-RPC-11,A-LOG-2,A-MET-7,A-UPG-12,A-CLOSE-4",
    );
    kit.command.env("GATEWAY_TOKEN", TOKEN).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut kit = Ended(kit.command.spawn().expect("it was built"));
    let mut lines =
        BufReader::new(kit.0.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let line = lines.next().expect("it prints its address");
    let url =
        line.split(' ').find(|word| word.starts_with("ws://")).expect("an address").to_owned();
    let line = lines.next().expect("it prints where docker is");
    assert!(line.contains(&format!("{fixtures}/docker")), "{line}");

    let mut agent = Command::new("setpriv");
    agent
        .args(["--pdeathsig", "KILL", "--", "sh"])
        .args(python.words(&["--break", "A-CONN-3"]))
        .env_clear();
    agent.envs([
        ("PATH", "/usr/bin:/bin"),
        ("VMKIT_AGENT_TOKEN", TOKEN),
        ("VMKIT_INSTANCE_ID", "vmkit-test-by-hand"),
        ("VMKIT_GATEWAY_URL", url.as_str()),
        ("VMKIT_DOCKER_BIN", &format!("{fixtures}/docker")),
        ("STATE_DIRECTORY", &fixtures),
    ]);
    let _agent = Ended(agent.stderr(Stdio::null()).spawn().expect("python3 is installed"));

    let output = kit.0.stdout.take().expect("piped");
    let said: Value = serde_json::from_reader(BufReader::new(output)).expect("JSON");
    let code = kit.0.wait().expect("our child").code();
    let verdicts = verdicts(&said);
    let odd = verdicts.iter().filter(|(_, verdict)| verdict.word != "PASS");
    let odd: Vec<(&str, &str)> =
        odd.map(|(id, verdict)| (id.as_str(), verdict.word.as_str())).collect();
    let due = [
        ("A-CLOSE-4", "NOT TESTED"),
        ("A-CONN-3", "FAIL"),
        ("A-CONN-9", "NOT TESTED"),
        ("A-UPG-12", "NOT TESTED"),
    ];
    let told = || {
        verdicts.iter().map(|(id, v)| format!("{id} {} {}", v.word, v.detail)).collect::<Vec<_>>()
    };
    assert_eq!(odd, due, "{:#?}", told());
    let shown = said.to_string();
    assert!(shown.contains("<token>") && !shown.contains(TOKEN), "{shown}");
    assert!(verdicts["A-CONN-9"].detail.contains("gateway check -- PROGRAM"));
    assert_eq!(code, Some(1));
}
