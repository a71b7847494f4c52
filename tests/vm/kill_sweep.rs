//! SIGKILL at many points of an upgrade, from the request to the new version's `register`: what is
//! installed is always the old or the new binary, whole, and the next start cleans up.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use vmkit_test_support::{Moment, Share, Took};

use crate::support::{
    Bare, Download, Gateway, PATIENCE, Release, Server, poll_until, sha256, version_of,
};

const WORKERS: u32 = 3;

#[test]
fn of_the_agent() {
    sweep(60, Bare::kill_agent);
}

/// All processes end at once, as at a power cut.
#[test]
fn of_everything() {
    sweep(40, Bare::kill_everything);
}

fn sweep(points: u32, kill: fn(&mut Bare)) {
    let (gateway, server) = (Gateway::start(), Server::plain());
    let world = World { gateway, server, old: Release::current(), new: Release::next() };
    // How far the log had come, for each kill; a sweep that misses whole stages proves little.
    let stages = Mutex::new(BTreeMap::<&str, u32>::new());
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (world, stages) = (&world, &stages);
            scope.spawn(move || {
                let measure = |point| world.undisturbed(&format!("whole-{point}"));
                Share { points, worker, workers: WORKERS }.sweep(measure, |moment| {
                    let stage = world.killed(moment, kill);
                    *stages.lock().expect("no holder panics").entry(stage).or_default() += 1;
                });
            });
        }
    });
    let stages = stages.into_inner().expect("no holder panics");
    println!("killed after: {stages:#?}");
    for stage in [STAGES[0], DOWNLOADED, "swapped"] {
        assert!(stages.contains_key(stage), "none was killed after {stage:?}: {stages:#?}");
    }
}

/// The log's words after each stage, in their order.
const STAGES: [&str; 7] =
    ["requested", DOWNLOADED, "tested", "version kept", "swapped", "trial of version", "confirmed"];
const DOWNLOADED: &str = "verified";

struct World {
    gateway: Gateway,
    server: Server,
    old: Release,
    new: Release,
}

impl World {
    fn undisturbed(&self, instance: &str) -> Took {
        let mut bare = self.start(instance);
        let (mark, asked) = (self.gateway.mark(), Instant::now());
        self.ask(instance, &self.new);
        wait_for_log(&bare, DOWNLOADED);
        let downloaded = Instant::now();
        let (registered, version) = self.wait_for_register(mark, instance);
        assert_eq!(version, self.new.version, "{}", bare.log());
        self.assert_cleaned_up(&mut bare);
        Took { all: registered - asked, rest: registered.saturating_duration_since(downloaded) }
    }

    /// Kills an upgrade at this moment. What the log had come to.
    fn killed(&self, moment: Moment, kill: fn(&mut Bare)) -> &'static str {
        let instance = &format!("killed-{}", moment.point);
        let mut bare = self.start(instance);
        self.ask(instance, &self.new);
        if moment.downloaded {
            wait_for_log(&bare, DOWNLOADED);
        }
        // The time of the kill is the subject of the test.
        thread::sleep(moment.delay);
        kill(&mut bare);
        let log = bare.log();
        let stage = STAGES.into_iter().rev().find(|stage| log.contains(stage));

        self.assert_whole(&bare);
        let mark = self.gateway.mark();
        bare.start();
        let (_, version) = self.wait_for_register(mark, instance);
        self.assert_cleaned_up(&mut bare);
        assert_eq!(version_of(&bare.installed()), version);
        self.assert_upgrades(&bare, instance, &version);
        stage.unwrap_or("nothing yet")
    }

    fn start(&self, instance: &str) -> Bare {
        let mut bare = Bare::new(&self.old, &self.gateway, instance);
        let mark = self.gateway.mark();
        bare.start();
        self.wait_for_register(mark, instance);
        bare
    }

    fn ask(&self, instance: &str, release: &Release) -> u64 {
        let url = self.server.offer("vmkit-agent", release.bytes(), Download::Whole);
        let Release { version, sha256, .. } = release;
        self.gateway.give(&format!("upgrade {instance} {version} {url} {sha256}"))
    }

    /// When the instance registered next, and as which version.
    #[track_caller]
    fn wait_for_register(&self, mark: usize, instance: &str) -> (Instant, String) {
        let own = |event: &serde_json::Value| event["instance"] == instance;
        let event = self.gateway.wait_for(mark, "registered", PATIENCE, own);
        (event.at, event.value["version"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn assert_whole(&self, bare: &Bare) {
        let installed = bare.installed();
        let sum = sha256(&installed);
        assert!([&self.old.sha256, &self.new.sha256].contains(&&sum), "{sum}\n{}", bare.log());
        let mode = std::fs::metadata(&installed).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        version_of(&installed);
    }

    /// Nothing is left but the binary, the one before, and a state without an upgrade in it.
    #[track_caller]
    fn assert_cleaned_up(&self, bare: &mut Bare) {
        self.assert_whole(bare);
        let known = ["bin/vmkit-agent", "bin/vmkit-agent.prev", "state/upgrade.json"];
        let left = || {
            let mut files = bare.files();
            files.retain(|file| !known.contains(&file.as_str()) && !file.ends_with(".lock"));
            let state = bare.state();
            let busy = ["trial", "unfinished"].iter().any(|word| state.contains(word));
            (files, busy.then_some(state))
        };
        let end = Instant::now() + PATIENCE;
        while left() != (Vec::new(), None) {
            assert!(Instant::now() < end, "left after the clean-up: {:?}", left());
            thread::sleep(std::time::Duration::from_millis(20));
        }
        self.assert_whole(bare);
    }

    /// A later upgrade works.
    #[track_caller]
    fn assert_upgrades(&self, bare: &Bare, instance: &str, from: &str) {
        let to = if from == self.old.version { &self.new } else { &self.old };
        let mark = self.gateway.mark();
        let number = self.ask(instance, to);
        if let Err(refusal) = self.gateway.answer(number, PATIENCE) {
            panic!("{refusal:?}\n{}", bare.log());
        }
        assert_eq!(self.wait_for_register(mark, instance).1, to.version);
    }
}

#[track_caller]
fn wait_for_log(bare: &Bare, words: &str) {
    poll_until(&format!("{words:?} in the log"), PATIENCE, || {
        bare.log().contains(words).then_some(())
    });
}
