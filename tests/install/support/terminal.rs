//! A person at a terminal: what is on the screen, what is typed, and whether it is shown.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use vmkit_test_support::PATIENCE;

pub struct Terminal {
    keyboard: File,
    line: OwnedFd,
    child: Child,
    screen: Vec<u8>,
    before: Termios,
}

impl Terminal {
    /// Runs this at a terminal of its own, which sends the signals of its keys to it.
    pub fn run(mut command: Command) -> Terminal {
        // Nobody else has it open, or the terminal would outlive the test.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).expect("a pseudo-terminal");
        grantpt(&keyboard).expect("ours");
        unlockpt(&keyboard).expect("ours");
        let name = ptsname(&keyboard, Vec::new()).expect("it has one");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = rustix::fs::open(name, flags, Mode::empty()).expect("unlocked");
        let before = tcgetattr(&line).expect("a terminal");
        let own = || line.try_clone().expect("descriptors are left");
        command.stdin(own()).stdout(own()).stderr(own());
        let child = command.spawn().expect("util-linux is there");
        Terminal { keyboard: keyboard.into(), line, child, screen: Vec::new(), before }
    }

    /// Waits until the screen ends in this.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.screen().ends_with(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.look(left), "no {words:?} on the screen: {:?}", self.screen());
        }
    }

    pub fn type_in(&mut self, keys: impl AsRef<[u8]>) {
        self.keyboard.write_all(keys.as_ref()).expect("somebody has it open");
    }

    /// Whether what is typed is shown.
    pub fn shows(&self) -> bool {
        self.modes().local_modes.contains(LocalModes::ECHO)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is not reaped yet");
    }

    /// Waits for the program's end; all that was shown. The terminal is as it was before.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            self.look(Duration::from_millis(20));
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.screen());
        };
        while self.look(Duration::ZERO) {}
        let modes = self.modes();
        assert_eq!(modes.local_modes, self.before.local_modes);
        let keys = |modes: &Termios| format!("{:?}", modes.special_codes);
        assert_eq!(keys(&modes), keys(&self.before));
        (status, self.screen())
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.line).expect("a terminal")
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen).replace('\r', "")
    }

    /// Whether something new is on the screen by then.
    fn look(&mut self, within: Duration) -> bool {
        let timeout = Timespec::try_from(within).expect("short enough");
        let mut polled = [PollFd::new(&self.keyboard, PollFlags::IN)];
        if !matches!(poll(&mut polled, Some(&timeout)), Ok(1)) {
            return false;
        }
        let mut new = [0; 4096];
        let count = rustix::io::read(&self.keyboard, &mut new).expect("the line is open here too");
        self.screen.extend_from_slice(&new[..count]);
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The program leads a group of its own, with all that it has started.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let group = Pid::from_child(&self.child);
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
