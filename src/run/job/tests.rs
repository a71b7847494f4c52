//! Jobs against real processes: how they end, at their deadline too, and what ends with them.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use rustix::process::test_kill_process;

use super::*;
use crate::run::command;
use crate::run::tests::alone;

fn children(environment: &[(&str, &str)]) -> Rc<Children> {
    let owned = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Children::new(Waiter::new().unwrap(), owned.collect())
}

fn shell(children: &Rc<Children>, script: &str, patience: Duration) -> Captured {
    let end = Instant::now() + patience;
    Captured::new(children.start("/bin/sh".as_ref(), ["-c", script], end).unwrap())
}

const LONG: Duration = Duration::from_secs(60);

/// Whether a process is there and no zombie.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Waits, without a sleep of a fixed length, for the end of a process that was killed.
fn await_end(pid: i32) {
    let end = Instant::now() + LONG;
    while runs(pid) {
        assert!(Instant::now() < end, "{pid} still runs");
        crate::run::wait::pause(Duration::from_millis(5));
    }
}

/// A child of the job's own, whose number the job prints.
const WITH_CHILD: &str = "sleep 1000 & echo $!; ";

fn first_line(job: &mut Captured) -> i32 {
    let end = Instant::now() + LONG;
    loop {
        assert!(matches!(job.turn(Instant::now()), Progress::Running) && Instant::now() < end);
        let line = BufReader::new(&job.output().stdout[..]).lines().next();
        match line.filter(|_| job.output().stdout.ends_with(b"\n")) {
            Some(line) => return line.unwrap().parse().unwrap(),
            None => crate::run::wait::pause(Duration::from_millis(5)),
        }
    }
}

#[test]
fn all_that_a_job_wrote_is_there_at_its_end() {
    alone(|| {
        let children = children(&[]);
        let script = "head -c 300000 /dev/zero; echo oops >&2; exit 3";
        let (progress, output) = shell(&children, script, LONG).finish().unwrap();
        assert!(matches!(progress, Progress::Ended(status) if status.code() == Some(3)));
        assert_eq!((output.stdout.len(), output.stderr), (300_000, b"oops\n".to_vec()));
    });
}

#[test]
fn output_is_kept_up_to_a_limit() {
    alone(|| {
        let children = children(&[]);
        let mut job = shell(&children, "head -c 2000000 /dev/zero", LONG);
        while matches!(job.turn(Instant::now()), Progress::Running) {
            children.waiter.set_deadline(Some(job.deadline()));
            children.waiter.wait().unwrap();
            children.reap();
        }
        assert_eq!(job.output().stdout.len(), CAPTURE_LIMIT);
    });
}

#[test]
fn the_deadline_ends_the_whole_group() {
    alone(|| {
        let children = children(&[]);
        let mut job = shell(&children, &format!("{WITH_CHILD}wait"), LONG);
        let child = first_line(&mut job);
        let before = job.deadline().checked_sub(Duration::from_millis(1)).unwrap();
        assert!(matches!(job.turn(before), Progress::Running));
        assert!(runs(child));
        assert!(matches!(job.turn(job.deadline()), Progress::TimedOut));
        await_end(child);
    });
}

#[test]
fn a_dropped_job_ends_with_its_group() {
    alone(|| {
        let children = children(&[]);
        let mut job = shell(&children, &format!("{WITH_CHILD}wait"), LONG);
        let child = first_line(&mut job);
        assert!(runs(child));
        drop(job);
        await_end(child);
    });
}

/// The pipes stay open: nobody waits for their end.
#[test]
fn a_child_left_behind_ends_with_the_leader() {
    alone(|| {
        let children = children(&[]);
        let (progress, output) = shell(&children, WITH_CHILD, LONG).finish().unwrap();
        assert!(matches!(progress, Progress::Ended(status) if status.success()));
        let child: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        await_end(child);
    });
}

#[test]
fn a_job_that_leaves_its_group_spares_it() {
    alone(|| {
        let children = children(&[]);
        let mut job = shell(&children, WITH_CHILD, LONG);
        job.job.leave_group();
        let (_, output) = job.finish().unwrap();
        let child: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(child).unwrap();
        let spared = test_kill_process(pid).is_ok() && runs(child);
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        assert!(spared);
    });
}

#[test]
fn no_child_gets_a_secret_or_the_proxys_password() {
    alone(|| {
        let secrets = variables::SECRETS.map(|name| (name, "vmkit-test-secret"));
        let proxy = [("HTTPS_PROXY", "http://joe:vmkit-test-secret@proxy:3128")];
        let children = children(&[secrets.as_slice(), &proxy].concat());
        let (_, output) = shell(&children, "env", LONG).finish().unwrap();
        let environment = String::from_utf8(output.stdout).unwrap();
        assert!(!environment.contains("vmkit-test-secret"), "{environment}");
        assert!(environment.contains("HTTPS_PROXY=http://proxy:3128\n"), "{environment}");

        let with = Surroundings::With("VMKIT_UPGRADE_REQUEST", "for this child");
        let end = Instant::now() + LONG;
        let job = children.start_in(with, "/bin/sh".as_ref(), ["-c", "env"], end).unwrap();
        let environment = String::from_utf8(Captured::new(job).finish().unwrap().1.stdout).unwrap();
        assert!(environment.contains("VMKIT_UPGRADE_REQUEST=for this child\n"), "{environment}");
        assert!(environment.contains("joe:vmkit-test-secret@proxy"), "{environment}");
        assert!(!environment.contains("VMKIT_AGENT_TOKEN"), "{environment}");
    });
}

#[test]
fn a_command_says_in_one_line_why_it_failed() {
    alone(|| {
        let children = children(&[]);
        let run =
            |script: &str, patience| command::run(&["/bin/sh", "-c", script], patience, &children);
        assert_eq!(run("echo said", LONG).unwrap(), "said\n");
        let failed = run("echo; echo first >&2; echo second >&2; exit 3", LONG).unwrap_err();
        assert_eq!(failed, "/bin/sh failed: exit status: 3: first");
        assert_eq!(run("exit 4", LONG).unwrap_err(), "/bin/sh failed: exit status: 4: no message");
        let late = run("exec sleep 1000", Duration::ZERO).unwrap_err();
        assert_eq!(late, "/bin/sh failed: did not end within 0 s");
        let absent = command::run(&["/nonexistent"], LONG, &children).unwrap_err();
        assert!(absent.starts_with("/nonexistent failed: No such file"), "{absent}");
    });
}
