//! A container in which there is nothing but the program: no shell, no libc, no `/tmp`, no docker,
//! and no other process.

use serde_json::Value;

use crate::support::{Download, Empty, Gateway, PATIENCE, Release, Server, poll_until};

#[test]
fn is_all_that_the_agent_needs() {
    let (gateway, release) = (Gateway::start(), Release::current());
    let empty = Empty::run(&release, &gateway);
    let registered = gateway.wait_for_register(0, &release.version, PATIENCE);
    assert_eq!(registered.value["instance"], "vm", "the host name is all there is");

    let metrics = gateway.command("metrics vm").expect("it is registered");
    for part in ["cpu_pct", "mem_pct", "disk_pct"] {
        assert!(metrics[part].is_number(), "{metrics}");
    }
    for part in ["container_count", "container_health"] {
        assert_eq!(metrics[part], Value::Null, "{metrics}");
        let reason = metrics["errors"][part].as_str().unwrap_or_default();
        assert!(reason.contains("docker") && reason.contains("install"), "{metrics}");
    }
    assert_eq!(gateway.command("logs vm web").expect_err("no docker").code, Some(-32002));

    assert_eq!(empty.stop(), "0");
    let log = empty.log();
    assert!(log.contains("registered as vm") && !log.contains("panicked"), "{log}");
}

/// There is no `/tmp` for the download, and nobody who could start the agent anew.
#[test]
fn is_all_that_an_upgrade_needs() {
    let (gateway, server, new) = (Gateway::start(), Server::plain(), Release::next());
    let empty = Empty::run(&Release::current(), &gateway);
    gateway.wait_for_register(0, &Release::current().version, PATIENCE);
    let mark = gateway.mark();
    let url = server.offer("vmkit-agent", new.bytes(), Download::Whole);
    let Release { version, sha256, .. } = &new;
    let answer = gateway.command(&format!("upgrade vm {version} {url} {sha256}"));
    assert_eq!(answer.expect("a good upgrade")["status"], "upgrading");
    gateway.wait_for_register(mark, version, PATIENCE);
    poll_until("the confirmation", PATIENCE, || empty.log().contains("confirmed").then_some(()));
    assert_eq!(empty.stop(), "0");
}
