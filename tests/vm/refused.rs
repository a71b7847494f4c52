//! Upgrades that can't be: a clear error, nothing changed, and the session goes on.

use std::sync::Arc;

use crate::support::{Download, INSTALLED, PATIENCE, Refusal, Release, Scene, UNIT};

const DOWNLOAD_FAILED: i64 = -32010;
const CHECKSUM_MISMATCH: i64 = -32011;
const UNFIT: i64 = -32012;
const NOT_REPLACED: i64 = -32013;

#[test]
fn for_what_is_downloaded() {
    let scene = Scene::installed();
    let new = Release::next();
    let before = Before::of(&scene);

    let wrong = Release { sha256: "0".repeat(64), ..new.clone() };
    before.assert_refused(scene.upgrade(&wrong), CHECKSUM_MISMATCH, &["checksum mismatch"]);
    // Word for word: operators are told to look for it.
    let line = scene.vm.wait_for_journal(UNIT, 0, &["checksum mismatch"], PATIENCE);
    assert!(line.message.contains("checksum mismatch") && line.priority <= 4, "{line:?}");

    let truncated = scene.upgrade_by(&new, Download::Truncated);
    // The server is at a loopback address: what it did is for the machine's own log.
    before.assert_refused(truncated, DOWNLOAD_FAILED, &["the agent's log has the reason"]);
    scene.vm.wait_for_journal(UNIT, 0, &["given up", "broke off", "bytes"], PATIENCE);
    let overlong = scene.upgrade_by(&new, Download::Overlong).expect_err("half a file");
    assert!(
        [DOWNLOAD_FAILED, CHECKSUM_MISMATCH].map(Some).contains(&overlong.code),
        "{overlong:?}"
    );

    let nowhere = scene.gateway.command(&format!(
        "upgrade vm {} http://localhost:1/vmkit-agent {}",
        new.version, new.sha256
    ));
    before.assert_refused(nowhere, DOWNLOAD_FAILED, &["localhost:1"]);

    // With the right checksum, for what is wrong.
    let page = b"<!DOCTYPE html><title>502 Bad Gateway</title>";
    for (content, version) in [
        (page.as_slice(), "9.9.9"),
        (&new.bytes()[..4096], &new.version),
        (&new.bytes()[..new.bytes().len() / 2], &new.version),
        (&of_another_architecture(), "9.9.9"),
        (b"#!/bin/sh\necho 'vmkit-agent 9.9.8'", "9.9.9"),
        (b"#!/bin/sh\necho 'vmkit-agent 9.9.9'; exit 1", "9.9.9"),
        (b"#!/bin/sh\nexec sleep infinity", "9.9.9"),
    ] {
        let unfit = Release::unfit(version, content);
        before.assert_refused(scene.upgrade(&unfit), UNFIT, &[version]);
    }
}

#[test]
fn for_the_state_of_the_disk() {
    let scene = Scene::installed();
    let (vm, new) = (&scene.vm, Release::next());
    let before = Before::of(&scene);

    vm.sh("for folder in /tmp /var/lib/vmkit-agent; do mount -t tmpfs -o size=256k none $folder; done");
    let nowhere = &["/var/lib/vmkit-agent", "room"];
    before.assert_refused(scene.upgrade(&new), DOWNLOAD_FAILED, nowhere);
    vm.sh("umount /tmp /var/lib/vmkit-agent");

    vm.sh("mount --bind /usr/local /usr/local; mount -o remount,bind,ro /usr/local");
    before.assert_refused(scene.upgrade(&new), NOT_REPLACED, &["/usr/local/bin", "read-only"]);
    vm.sh("umount /usr/local");

    // Room for the installed agent, and for a part of another.
    let full = "mkdir /mnt/bin; cp -a /usr/local/bin/. /mnt/bin; head -c 100k /dev/zero > /mnt/filler; \
                size=$(du -s --block-size=1k /mnt/bin | cut -f 1); \
                mount -t tmpfs -o size=$((size + 200))k none /usr/local; cp -a /mnt/. /usr/local";
    vm.sh(full);
    vm.sh("systemctl restart vmkit-agent");
    let scene_full = Before::of(&scene);
    scene.gateway.wait_for_register(before.mark, &Release::current().version, PATIENCE);
    let refusal = scene.upgrade(&new);
    scene_full.assert_refused(refusal, NOT_REPLACED, &["/usr/local/bin", "room"]);
}

/// Any user can fill it.
#[test]
fn but_not_for_a_tmp_that_is_full() {
    let scene = Scene::installed();
    let new = Release::next();
    scene.vm.sh("mount -t tmpfs -o size=256k none /tmp");
    let mark = scene.gateway.mark();
    scene.upgrade(&new).expect("the state folder has room");
    scene.gateway.wait_for_register(mark, &new.version, PATIENCE);
    let told = ["/tmp has", "/var/lib/vmkit-agent/vmkit-agent-"];
    scene.vm.wait_for_journal(UNIT, 0, &told, PATIENCE);
}

/// The binary is tried where it is going to run from, never in /tmp.
#[test]
fn but_not_for_a_tmp_that_is_mounted_noexec() {
    let scene = Scene::installed();
    let new = Release::next();
    scene.vm.sh("mount -t tmpfs -o noexec none /tmp");
    let mark = scene.gateway.mark();
    scene.upgrade(&new).expect("/tmp is for the download only");
    scene.gateway.wait_for_register(mark, &new.version, PATIENCE);
}

struct Before<'a> {
    scene: &'a Scene,
    mark: usize,
    files: Vec<String>,
    pid: u32,
}

impl Before<'_> {
    fn of(scene: &Scene) -> Before<'_> {
        let pid = scene.vm.main_pid(UNIT);
        Before { scene, mark: scene.gateway.mark(), files: scene.files(), pid }
    }

    /// Refused with this code and these words, and nothing else happened.
    #[track_caller]
    fn assert_refused<T: std::fmt::Debug>(
        &self,
        outcome: Result<T, Refusal>,
        code: i64,
        words: &[&str],
    ) {
        let refusal = outcome.expect_err("it can't be");
        assert_eq!(refusal.code, Some(code), "{refusal:?}");
        let message = refusal.message.to_lowercase();
        assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {refusal:?}");
        assert_eq!(refusal.message.lines().count(), 1, "{refusal:?}");
        let Scene { vm, gateway, .. } = self.scene;
        assert_eq!(vm.sha256(INSTALLED), Release::current().sha256);
        assert_eq!(self.scene.files(), self.files);
        assert_eq!(gateway.events(self.mark, "disconnected").len(), 0);
        assert_eq!(vm.main_pid(UNIT), self.pid);
        gateway.command("ping vm").expect("it is there");
        self.scene.wait_for_no_guard();
    }
}

/// The agent with another machine's number in its header.
fn of_another_architecture() -> Arc<[u8]> {
    let mut bytes = Release::current().bytes().to_vec();
    // e_machine of ELF: s390x's, which no release is for.
    bytes[18] = 22;
    bytes.into()
}
