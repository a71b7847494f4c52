//! A release that is signed by the real minisign: `make release` makes the signatures, the install
//! script verifies that of the checksums, and a build takes no key that is none.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::fetching::fails;
use super::support::{NAME, Release, SHELLS, Scratch, Script, repository, run, said, sums};

#[path = "../../build.rs"]
#[expect(dead_code, reason = "cargo runs the rest of it")]
mod build_script;

const UNCHECKED: &str = "minisign is not installed, so the signature of SHA256SUMS was not checked";

/// A key pair without a password.
struct Signer {
    scratch: Scratch,
}

impl Signer {
    fn new() -> Signer {
        let signer = Signer { scratch: Scratch::new() };
        signer.minisign(&["-G", "-f", "-W", "-p", "key.pub", "-s", "key.sec"]);
        signer
    }

    fn key(&self) -> String {
        let text = fs::read_to_string(self.path("key.pub")).expect("minisign has written it");
        text.lines().nth(1).expect("after a comment").to_owned()
    }

    fn sign(&self, content: &str) -> Vec<u8> {
        fs::write(self.path("signed"), content).expect("the test's own");
        self.minisign(&["-S", "-s", "key.sec", "-m", "signed"]);
        fs::read(self.path("signed.minisig")).expect("minisign has written it")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    #[track_caller]
    fn minisign(&self, arguments: &[&str]) {
        let mut command = Command::new("minisign");
        let output = run(command.args(arguments).current_dir(self.scratch.path()), "minisign");
        assert!(output.status.success(), "{}", said(&output));
    }
}

#[test]
fn the_checksums_of_a_release_are_verified_with_its_key() {
    let (signer, other) = (Signer::new(), Signer::new());
    let good = sums(Release::program().as_bytes());
    for shell in SHELLS {
        let script = || Script::with_curl(shell).with_release_key(&signer.key()).with_minisign();
        let release = Release::serve();
        let url = release.url();
        let arguments = ["--base-url", &url];
        fails(&script(), &arguments, "SHA256SUMS.minisig: HTTP 404");
        for wrong in [other.sign(&good), signer.sign("other sums"), b"<html>".to_vec()] {
            release.put("/SHA256SUMS.minisig", 200, wrong);
            fails(&script(), &arguments, "bad signature");
        }
        release.put("/SHA256SUMS.minisig", 200, signer.sign(&good));
        let script = script();
        let output = script.run(&arguments);
        assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
        assert!(script.record().is_some());
    }
}

#[test]
fn where_minisign_is_not_that_is_said_and_without_a_key_nothing() {
    let signer = Signer::new();
    for shell in SHELLS {
        let release = Release::serve();
        let arguments = ["--base-url", &release.url()];
        let output = Script::with_curl(shell).with_release_key(&signer.key()).run(&arguments);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), format!("install.sh: {UNCHECKED}\n"));
        for script in [Script::with_curl(shell), Script::with_curl(shell).with_release_key("")] {
            let output = script.with_minisign().run(&arguments);
            assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
        }
        assert_eq!(release.requests(), 6);
    }
}

#[test]
fn a_local_files_checksums_are_verified_too() {
    let signer = Signer::new();
    let good = sums(Release::program().as_bytes());
    for shell in SHELLS {
        let script = Script::with_curl(shell).with_release_key(&signer.key()).with_minisign();
        let file = script.file(NAME, Release::program());
        let arguments = ["--binary", file.to_str().expect("made of ASCII")];
        script.file("SHA256SUMS", &good);
        fails(&script, &arguments, "SHA256SUMS is not signed");
        script.file("SHA256SUMS.minisig", signer.sign("other sums"));
        fails(&script, &arguments, "bad signature");
        script.file("SHA256SUMS.minisig", signer.sign(&good));
        let output = script.run(&arguments);
        assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    }
}

/// The files that `make dist` makes, and `make release` on them.
struct Built {
    scratch: Scratch,
}

impl Built {
    fn new(key: &str) -> Built {
        let built = Built { scratch: Scratch::new() };
        let program = built.scratch.write(NAME, Release::program());
        let mut chmod = Command::new("chmod");
        assert!(run(chmod.arg("755").arg(program), "coreutils").status.success());
        // A release has a line for each of its files.
        let line = sums(Release::program().as_bytes());
        built.scratch.write("SHA256SUMS", line.lines().nth(1).expect("ours").to_owned() + "\n");
        let mut installer = Command::new(repository("dist/build/installer"));
        installer.arg(built.scratch.path().join("install.sh")).env("RELEASE_PUBKEY", key);
        assert!(run(&mut installer, "sed").status.success());
        built
    }

    fn release(&self, key: &str, replaces: &str, sums_key: &str) -> Output {
        let mut release = Command::new(repository("dist/build/release"));
        run(release.arg(self.scratch.path()).args([key, replaces, sums_key]), "minisign")
    }

    #[track_caller]
    fn refuses(&self, key: &str, replaces: &str, why: &str) {
        let output = self.release(key, replaces, "");
        assert!(!output.status.success() && said(&output).contains(why), "{}", said(&output));
        let files = fs::read_dir(self.scratch.path()).expect("the test's own").flatten();
        let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        assert!(names.all(|name| !name.ends_with(".minisig")), "{}", said(&output));
    }

    /// The trusted comment of a file's signature, if it was made with this key.
    #[track_caller]
    fn comment(&self, name: &str, signer: &Signer) -> String {
        let mut minisign = Command::new("minisign");
        minisign.args(["-V", "-Q", "-P", &signer.key(), "-m", name]);
        let output = run(minisign.current_dir(self.scratch.path()), "minisign");
        assert!(output.status.success(), "{}", said(&output));
        said(&output).trim_end().to_owned()
    }
}

#[test]
fn make_release_binds_each_signature_to_version_and_architecture() {
    let signer = Signer::new();
    let secret = signer.path("key.sec").display().to_string();
    let arch = NAME.rsplit('-').next().expect("it ends in it");
    for key in [String::new(), signer.key()] {
        let built = Built::new(&key);
        for (replaces, end) in [("", ""), ("1.3.0", " replaces 1.3.0")] {
            let output = built.release(&secret, replaces, "");
            assert!(output.status.success(), "{}", said(&output));
            let comment = format!("vmkit-agent 1.2.3 linux/{arch}{end}");
            assert_eq!(built.comment(NAME, &signer), comment);
            assert_eq!(built.comment("SHA256SUMS", &signer), "vmkit-agent 1.2.3 SHA256SUMS");
        }
    }
}

#[test]
fn where_the_key_changes_the_old_one_signs_for_agents_and_the_new_one_for_installers() {
    let (old, new) = (Signer::new(), Signer::new());
    let secret = |signer: &Signer| signer.path("key.sec").display().to_string();
    let built = Built::new(&new.key());
    let output = built.release(&secret(&old), "", &secret(&new));
    assert!(output.status.success(), "{}", said(&output));
    assert!(built.comment(NAME, &old).starts_with("vmkit-agent 1.2.3 linux/"));
    assert_eq!(built.comment("SHA256SUMS", &new), "vmkit-agent 1.2.3 SHA256SUMS");
}

#[test]
fn make_release_signs_nothing_that_is_wrong() {
    let (signer, other) = (Signer::new(), Signer::new());
    let secret = signer.path("key.sec").display().to_string();
    Built::new("").refuses("", "", "no key");
    Built::new("").refuses("/nonexistent/key", "", "/nonexistent/key");
    Built::new("").refuses(&secret, "1.0 2.0", "not a version");
    Built::new(&other.key()).refuses(&secret, "", "is not the key that RELEASE_PUBKEY named");
    for name in ["SHA256SUMS", "install.sh", NAME] {
        let built = Built::new("");
        fs::remove_file(built.scratch.path().join(name)).expect("it is there");
        built.refuses(&secret, "", name);
    }
    let built = Built::new("");
    built.scratch.write(NAME, "#!/bin/sh\necho vmkit-agent 6.6.6\n");
    built.refuses(&secret, "", NAME);
    let built = Built::new("");
    built.scratch.write("vmkit-agent-linux-other", "");
    built.refuses(&secret, "", "vmkit-agent-linux-other");
}

#[test]
fn a_build_and_its_install_script_take_no_key_that_is_none() {
    let good = Signer::new().key();
    assert_eq!(build_script::check_key(""), Ok(()));
    assert_eq!(build_script::check_key(&good), Ok(()));
    for bad in ["none", &good[1..], &good[..good.len() - 4], "untrusted comment: a key"] {
        let problem = build_script::check_key(bad).expect_err(bad);
        assert!(problem.contains("minisign.pub"), "{problem}");
    }
    let mut installer = Command::new(repository("dist/build/installer"));
    let output = run(installer.arg("/dev/null").env("RELEASE_PUBKEY", "';reboot;'"), "sed");
    assert!(!output.status.success() && said(&output).contains("RELEASE_PUBKEY"));
}
