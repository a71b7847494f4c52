//! Each break of the agent in Python against the checks: its own check fails, and no other.
//!
//! All checks for each of more than a hundred breaks take 25 minutes, so a break is held against the
//! checks of its section and against all checks that only look. Also that takes minutes: without
//! `VMKIT_SABOTAGE` in the environment the test takes the first break of each section. `make sabotage` sets
//! `VMKIT_SABOTAGE=each` and takes all breaks; `VMKIT_SABOTAGE=all` holds each against every check.

use std::sync::Mutex;
use std::thread;

use vmkit_gateway::check::rules;

use crate::kit::{Kit, Program, Run};
use crate::lists::breaks;

/// Runs at a time. They wait most of the time.
const AT_A_TIME: usize = 4;

/// Breaks that checks of other sections meet too, because what they look at rests on the broken rule.
const ALSO: &[(&str, &[&str])] = &[
    // A register that was refused is not acted upon.
    ("A-CLOSE-3", &["A-REG-6"]),
    ("A-REG-6", &["A-CLOSE-8", "A-RETRY-1"]),
    // The words of a download that failed.
    ("A-ERR-2", &["A-UPG-11"]),
    // Follows have chunks, and lines in pieces, too.
    ("A-LOG-6", &["A-FOL-15"]),
    ("A-LOG-12", &["A-FOL-5", "A-FOL-12"]),
    // The notification that is not answered is a metrics_collect.
    ("A-MET-8", &["A-RPC-2"]),
    // The id of a follow; a request whose answer is known; one request too many beside follows.
    ("A-RPC-1", &["A-FOL-7"]),
    ("A-RPC-5", &["A-FOL-6", "A-FRAME-5", "A-GROW-1", "A-REG-7", "A-UPG-5"]),
    ("A-RPC-9", &["A-FOL-4"]),
];

/// `A-LOG` of `A-LOG-3`.
fn section(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(section, _)| section)
}

fn run(python: &Program, id: &str) -> Run {
    let passive = rules::all().into_iter().filter(|check| check.is_passive());
    let list: Vec<&str> = passive.map(|check| check.id).chain([section(id)]).collect();
    let kit = Kit::new().short_clocks().upgrade_binary(&python.next).with(&["--parallel", "4"]);
    let kit = match std::env::var("VMKIT_SABOTAGE").as_deref() {
        Ok("all") => kit,
        _ => kit.only(&list.join(",")),
    };
    kit.check(&python.words(&["--break", id]))
}

/// What is wrong with the verdicts of this run; `None`: the one check failed, and it says why.
fn fault(run: &Run, id: &str) -> Option<String> {
    let also = ALSO.iter().find(|(broken, _)| *broken == id).map_or(&[][..], |(_, also)| also);
    let odd = run.verdicts.iter().filter(|(_, verdict)| verdict.word != "PASS");
    let odd = odd.filter(|(id, _)| !also.contains(&id.as_str()));
    let odd: Vec<String> =
        odd.map(|(id, verdict)| format!("{id} {}: {}", verdict.word, verdict.detail)).collect();
    let Some(verdict) = run.verdicts.get(id) else {
        return Some(format!("--break {id}: no verdict: {}", run.error));
    };
    let fails = run.verdicts.values().any(|verdict| verdict.word == "FAIL");
    let code = if fails { 1 } else { 0 };
    let is_right = ["FAIL", "WARN"].contains(&verdict.word.as_str())
        && odd.len() == 1
        && !verdict.detail.is_empty()
        && run.code == code;
    (!is_right).then(|| format!("--break {id}: exit status {}, {odd:#?}", run.code))
}

#[test]
fn a_break_fails_its_own_check_alone() {
    let python = Program::python();
    let mut left: Vec<String> = breaks().into_iter().collect();
    assert!(left.len() > 100, "{} breaks", left.len());
    if std::env::var_os("VMKIT_SABOTAGE").is_none() {
        left.dedup_by(|next, first| section(next) == section(first));
        println!("the first break of each section: {}; all: make sabotage", left.join(", "));
    }
    // Long ones first.
    left.sort_by_key(|id| (section(id) == "A-RETRY", id.clone()));
    let (left, odd) = (Mutex::new(left), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no test panics with it").pop();
                    let Some(id) = next else { return };
                    if fault(&run(&python, &id), &id).is_some() {
                        odd.lock().expect("no test panics with it").push(id);
                    }
                }
            });
        }
    });
    // Clocks ten times as short are at the mercy of the machine, which runs other tests too: what is odd is
    // looked at once more, by itself, and counts if it is odd again.
    let odd = odd.into_inner().expect("no test panics with it");
    println!("once more: {}", odd.join(", "));
    let faults: Vec<String> = odd.iter().filter_map(|id| fault(&run(&python, id), id)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
