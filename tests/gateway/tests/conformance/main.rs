//! The conformance kit, `gateway check`: that it covers the page, that this repository's agent keeps
//! every rule, and that each check fails against an agent that breaks its rule, and no other check does.

mod kit;
mod lists;
mod matrix;
mod output;
mod waiting;

use kit::{Kit, Verdicts};

/// Everything but PASS.
fn failed(verdicts: &Verdicts) -> Vec<String> {
    let odd = verdicts.iter().filter(|(_, verdict)| verdict.word != "PASS");
    odd.map(|(id, verdict)| format!("{id}: {}: {}", verdict.word, verdict.detail)).collect()
}

/// With the clocks of the protocol: the longest check takes two minutes.
#[test]
fn this_repositorys_agent_keeps_every_rule() {
    let agent = kit::Program::agent();
    let run = Kit::new().upgrade_binary(&agent.next).check(&[&agent.path]);
    let failed = failed(&run.verdicts);
    assert!(failed.is_empty(), "{failed:#?}\n{}", run.error);
    assert_eq!(run.verdicts.len(), vmkit_gateway::check::rules::all().len());
    assert_eq!(run.code, 0);
}

#[test]
fn an_agent_that_shares_no_code_with_it_keeps_every_rule() {
    let python = kit::Program::python();
    let kit = || Kit::new().short_clocks().upgrade_binary(&python.next);
    let mut run = kit().check(&python.words(&[]));
    assert_eq!(run.verdicts.len(), vmkit_gateway::check::rules::all().len());
    // Clocks ten times as short are at the mercy of the machine, which runs other tests too: what is odd
    // is looked at once more, by itself, and counts if it is odd again.
    let odd = failed(&run.verdicts);
    if !odd.is_empty() {
        let ids = odd.iter().filter_map(|line| line.split(':').next());
        let ids: Vec<&str> = ids.collect();
        run = kit().only(&ids.join(",")).check(&python.words(&[]));
    }
    let failed = failed(&run.verdicts);
    assert!(failed.is_empty(), "{failed:#?}\n{}", run.error);
    assert_eq!(run.code, 0);
}
