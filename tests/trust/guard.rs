//! The guard of a trial, started by hand with the arguments that version 0.1.0 gives it. Where there
//! is no init system it ends as the agent.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, ExitStatus, Stdio};

use crate::cell::{self, INSTALLED, PREVIOUS, STATE};
use crate::site::COME_BACK;
use crate::support::{OWN_VERSION, PATIENCE, Peer, Release, agent_program, poll_until};

const LOG: &str = "/run/guard.log";

pub struct Guard {
    child: Child,
}

impl Guard {
    /// Of this release's trial; to act after so many seconds, or at once.
    pub fn of(release: &Release, after: Option<u64>) -> Guard {
        let checksum = release.sha256();
        let mut guard = cell::root(PREVIOUS, &["rollback", "--state", STATE, "--trial", &checksum]);
        if let Some(seconds) = after {
            guard.args(["--after", &seconds.to_string()]);
        }
        guard.stdout(Stdio::piped()).stderr(File::create(LOG).expect("the cell's own"));
        Guard { child: guard.spawn().expect("it is in place") }
    }

    /// Whether it has said that it watches; else it has ended.
    pub fn is_armed(&mut self) -> bool {
        let mut said = [0; "armed".len()];
        let mut stdout = self.child.stdout.take().expect("asked once");
        stdout.read_exact(&mut said).is_ok_and(|()| said == *b"armed")
    }

    /// Whether it sleeps, once it has come to that or to its end.
    pub fn sleeps(&self) -> bool {
        poll_until("what the guard does", PATIENCE, || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
            let stat = stat.expect("our child");
            match stat.rsplit_once(") ").expect("a name in brackets").1.as_bytes()[0] {
                b'S' => Some(true),
                b'Z' => Some(false),
                _ => None,
            }
        })
    }

    pub fn status(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// The previous program is installed again, and registers. What the guard has said.
    #[track_caller]
    pub fn expect_roll_back(&self, gateway: &Peer) -> String {
        let Some((_, register)) = gateway.accept_register(COME_BACK) else {
            panic!("nobody dials; the guard said:\n{}", self.log())
        };
        assert_eq!(register["version"], *OWN_VERSION);
        let there = fs::read(INSTALLED).expect("something is always installed");
        let before = fs::read(agent_program()).expect("it was built");
        assert!(there == before, "another program is installed:\n{}", self.log());
        self.log()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(LOG).expect("it was made for the guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
