//! `metrics_collect`: the member `containers`, with containers in every state, and with many.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Agent, Container, PATIENCE, Peer, Session, Setup, docker, narrow_listener, poll_until,
};

#[track_caller]
fn collect(session: &mut Session) -> Value {
    let snapshot = session.request(1, "metrics_collect", json!({})).result().clone();
    assert_eq!(session.next_notification("health_snapshot"), snapshot);
    snapshot
}

/// What docker itself says of a container, by a template.
fn said(container: &Container, template: &str) -> String {
    docker(&["inspect", "--format", template, &container.name]).trim().to_owned()
}

#[track_caller]
fn wait_for(container: &Container, template: &str, expected: &str) {
    poll_until(expected, PATIENCE, || (said(container, template) == expected).then_some(()));
}

#[test]
fn containers_in_every_state() {
    const STATE: &str = "{{.State.Status}}";
    let unhealthy = ["--health-cmd", "false", "--health-interval", "1s", "--health-retries", "1"];
    let memory = ["--memory", "16m", "--memory-swap", "16m"];
    let created = Container::created();
    let running = Container::running(&[], "exec sleep 600");
    let sick = Container::running(&unhealthy, "exec sleep 600");
    let paused = Container::running(&[], "exec sleep 600");
    docker(&["pause", &paused.name]);
    let exited = Container::running(&[], "exit 3");
    let killed = Container::running(&memory, "exec tail /dev/zero");
    let crashing = Container::running(&["--restart", "always"], "exit 7");
    wait_for(&sick, "{{.State.Health.Status}}", "unhealthy");
    wait_for(&exited, STATE, "exited");
    wait_for(&killed, STATE, "exited");
    // From the fourth on docker waits for seconds before it starts the container again.
    poll_until("some restarts", PATIENCE, || {
        let state = said(&crashing, "{{.RestartCount}} {{.State.Status}}");
        let (count, state) = state.split_once(' ')?;
        (count.parse::<u32>().is_ok_and(|count| count >= 5) && state == "restarting").then_some(())
    });

    // docker itself misses the kernel's event where the container ends at the same moment.
    let killed_by_memory = said(&killed, "{{.State.OOMKilled}}") == "true";
    let (_peer, _agent, mut session) = Agent::registered(Setup::new());
    let snapshot = collect(&mut session);
    assert_eq!(snapshot.get("errors"), None, "{snapshot}");
    let containers = snapshot["containers"].as_array().expect("a list");
    for (container, runs, expected) in [
        (&created, false, json!(["created", "none", null, false])),
        (&running, true, json!(["running", "none", null, false])),
        (&sick, true, json!(["running", "unhealthy", null, false])),
        (&paused, true, json!(["paused", "none", null, false])),
        (&exited, false, json!(["exited", "none", 3, false])),
        (&killed, false, json!(["exited", "none", 137, killed_by_memory])),
        (&crashing, true, json!(["restarting", "none", 7, false])),
    ] {
        let found = containers.iter().find(|found| found["name"] == *container.name);
        let found = found.unwrap_or_else(|| panic!("no {} in {snapshot}", container.name));
        let state = ["state", "health", "exit_code", "oom_killed"].map(|part| &found[part]);
        assert_eq!(json!(state), expected, "{found}");
        assert_eq!(found["id"], *container.id());
        assert_eq!(found["image"], *said(container, "{{.Config.Image}}"));
        let restarts = found["restarts"].as_u64().expect("a number");
        assert_eq!(restarts >= 5, container.name == crashing.name, "{found}");
        // One that crashes is started again and again.
        if container.name == created.name {
            assert_eq!(found["started_at"], Value::Null);
        } else if container.name != crashing.name {
            assert_eq!(found["started_at"], *said(container, "{{.State.StartedAt}}"));
        }
        assert_eq!(found.as_object().map(|members| members.len()), Some(9), "{found}");
        let health = snapshot["container_health"].get(&container.name);
        assert_eq!(health, runs.then_some(&found["health"]), "{snapshot}");
    }
    docker(&["unpause", &paused.name]);
}

/// Lists `$RUNNING` containers that run and `$STOPPED` that don't, and inspects what it is told to.
const MANY: &str = r#"
    case $1 in
    ps)
        echo "CONTAINER ID STATUS"
        seq -f 'e%015.0f Exited (1) 2 days ago' "$STOPPED"
        seq -f 'a%015.0f Up 2 hours' "$RUNNING"
        ;;
    inspect)
        shift 5
        printf '["%s","/'"$NAME"'-%s","image","running","healthy",0,0,false,"2026-01-01T00:00:00Z"]\n' \
            $(for id; do echo "$id $id"; done)
        ;;
    esac
"#;

fn many(running: u32, stopped: u32, name: &str) -> Setup {
    let setup = Setup::new()
        .env("RUNNING", running.to_string())
        .env("STOPPED", stopped.to_string())
        .env("NAME", name);
    setup.docker(MANY);
    setup
}

/// Docker's output is read also while a snapshot waits for the gateway.
#[test]
fn a_gateway_that_does_not_read_keeps_nothing_busy() {
    let peer = Peer::on(narrow_listener());
    let setup =
        Agent::dialing(&peer).env("RUNNING", "3000").env("STOPPED", "500").env("NAME", "container");
    setup.docker(MANY);
    let agent = setup.start();
    let mut session = peer.accept_registered();
    for id in 1..=2 {
        session.send_request(id, "metrics_collect", json!({}));
        sleep(Duration::from_secs(4)); // the time that the snapshot takes, with much to spare
    }
    let before = processor_time(&agent);
    sleep(Duration::from_secs(2)); // the time that is measured
    let used = processor_time(&agent) - before;
    assert!(used < Duration::from_millis(300), "{used:?} of 2 s");
    let mut kinds = [0, 0];
    while kinds != [2, 2] {
        let message = session.next_message();
        kinds[usize::from(message["method"] == "health_snapshot")] += 1;
    }
}

/// Of the agent's process, without its children.
fn processor_time(agent: &Agent) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<i64> = fields.split(' ').filter_map(|field| field.parse().ok()).collect();
    // The state is no number: utime and stime, the 14th and 15th of all fields, are at 10 and 11.
    Duration::from_millis(10 * (fields[10] + fields[11]) as u64)
}

#[test]
fn a_thousand_containers() {
    let (_peer, _agent, mut session) = Agent::registered(many(1000, 500, "container"));
    let snapshot = collect(&mut session);
    assert_eq!(snapshot["container_count"], 1000);
    let health = snapshot["container_health"].as_object().expect("a map");
    assert_eq!(health.len(), 1000);
    assert!(health.iter().all(|(name, health)| name.len() == 26 && health == "healthy"));
    assert_eq!(snapshot["containers"].as_array().map(Vec::len), Some(1500));
    assert_eq!(snapshot.get("errors"), None);
}

/// A machine that nobody cleans up keeps thousands of containers that have exited.
#[test]
fn of_those_that_do_not_run_the_first_are_listed() {
    let (_peer, agent, mut session) = Agent::registered(many(2, 20_000, "container"));
    let snapshot = collect(&mut session);
    assert_eq!(snapshot["container_count"], 2);
    let containers = snapshot["containers"].as_array().expect("a list");
    assert_eq!(containers.len(), 502);
    assert_eq!(containers[0]["id"], "a000000000000001");
    assert_eq!(containers[501]["id"], "e000000000000500");
    let reasons = snapshot["errors"].as_object().expect("a reason");
    assert_eq!(reasons.len(), 1);
    let reason = reasons["containers.stopped"].as_str().expect("a line");
    assert!(reason.contains("500") && reason.contains("docker ps -a"), "{reason}");
    agent.wait_for_log(&["without containers.stopped", "500"]);
}

#[test]
fn what_does_not_fit_a_message_is_left_out() {
    // Names are in the health too.
    for (count, length, has_health) in [(3000, 150, true), (3000, 400, false)] {
        let (_peer, _agent, mut session) = Agent::registered(many(count, 0, &"n".repeat(length)));
        let snapshot = collect(&mut session);
        assert_eq!(snapshot["container_count"], count);
        assert_eq!(snapshot["containers"], Value::Null);
        assert!(snapshot["errors"]["containers"].to_string().contains("1 MiB"));
        assert_eq!(snapshot["container_health"].is_object(), has_health);
        assert_eq!(snapshot["errors"].get("container_health").is_none(), has_health);
        assert!(snapshot["mem_pct"].is_number());
    }
}
