//! The install script itself: its arguments, what it needs, and what a part of it does, which is
//! nothing.

use std::fs;

use super::fetching::fails;
use super::support::{NAME, Release, SHELLS, Script, TOKEN, repository, said, sums};

#[test]
fn a_download_that_was_cut_does_nothing() {
    let text = fs::read(repository("dist/install.sh")).expect("it is there");
    let release = Release::serve();
    let url = release.url();
    let arguments = ["--base-url", &url];
    for shell in SHELLS {
        let script = Script::with_curl(shell);
        // Up to right before its last command ends; a line feed more or less is no matter.
        let last = text.len() - "; }\n".len();
        for cut in (0..last).step_by(97).chain([last]) {
            let output = script.pipe(&text[..cut], &arguments);
            assert_eq!(output.stdout, b"", "{shell:?}, cut at byte {cut}");
            assert_eq!(script.record(), None, "{shell:?}, cut at byte {cut}");
        }
        assert_eq!(release.requests(), 0);
    }
    let script = Script::with_curl(SHELLS[0]);
    assert!(script.pipe(&text, &arguments).status.success());
    assert!(script.record().is_some());
}

#[test]
fn what_is_missing_is_named() {
    let release = Release::serve();
    let url = release.url();
    let arguments = ["--base-url", &url];
    let dash = || Script::with_curl(SHELLS[0]);
    fails(&dash().without("curl"), &arguments, "curl and wget are not installed");
    fails(&dash().without("sha256sum"), &arguments, "sha256sum");
    fails(&dash().without("mktemp"), &arguments, "no folder to work in");
    for machine in ["i686", "s390x", "armv6l"] {
        fails(&dash().on_machine(machine), &arguments, machine);
    }
    fails(&dash().on_machine("armv6l"), &arguments, "needs ARMv7");
    let script = dash();
    script.fake("id", "echo 1000");
    fails(&script, &arguments, "only root");
    script.fake("uname", "echo FreeBSD");
    fails(&script, &arguments, "FreeBSD");
}

#[test]
fn arguments_are_checked_and_a_token_is_none() {
    for shell in SHELLS {
        let script = Script::with_curl(shell);
        fails(&script, &["--token", TOKEN], "VMKIT_AGENT_TOKEN");
        let unknown = "install.sh: unknown argument";
        for (argument, named) in
            [("--quiet", " --quiet"), ("--quiet=yes", ""), ("-q", ""), (TOKEN, ""), ("token", "")]
        {
            let said = fails(&script, &[argument], unknown);
            assert_eq!(said, format!("{unknown}{named}; see --help\n"));
        }
        fails(&script, &["--version"], "needs a value");
        fails(&script, &["--binary", ""], "needs a value");
        fails(&script, &["--purge"], "--uninstall");
        fails(&script, &["--binary", "/nonexistent"], "/nonexistent");
        let help = script.run(&["--help"]);
        assert!(help.status.success() && said(&help).starts_with("usage: "));
    }
}

#[test]
fn a_file_is_installed_without_a_network() {
    for shell in SHELLS {
        let script = Script::with_curl(shell).without("curl");
        let file = script.file(NAME, Release::program());
        let file = file.to_str().expect("made of ASCII");
        let arguments = ["--binary", file, "--token-file", "/a b", "--dry-run"];
        let output = script.run(&arguments);
        assert!(output.status.success(), "{}", said(&output));
        let expected = ["install", "--token-file", "/a b", "--dry-run", "token="];
        assert_eq!(script.record().expect("it was called"), expected);

        let script = Script::with_curl(shell);
        let file = script.file(NAME, Release::program());
        script.file("SHA256SUMS", sums(b"another"));
        let file = file.to_str().expect("made of ASCII");
        fails(&script, &["--binary", file], "Nothing was changed. The file is damaged");
        let renamed = script.file("agent", Release::program());
        let renamed = renamed.to_str().expect("made of ASCII");
        let advice = "SHA256SUMS lists no file named agent; use the original file name";
        fails(&script, &["--binary", renamed], advice);
        script.file("SHA256SUMS", sums(Release::program().as_bytes()));
        assert!(script.run(&["--binary", file]).status.success());
    }
}

/// A user who may write to the folder changes the file as soon as it was read.
#[test]
fn what_was_verified_is_what_is_installed() {
    // The tools of busybox are its own.
    let script = Script::with_curl(SHELLS[0]);
    let file = script.file(NAME, Release::program());
    let evil = script.file("evil", "#!/bin/sh\necho vmkit-agent 6.6.6\necho evil >\"$RECORD\"\n");
    script.file("SHA256SUMS", sums(Release::program().as_bytes()));
    let swap =
        format!("/usr/bin/sha256sum \"$@\" && /bin/cp '{}' '{}'", evil.display(), file.display());
    script.fake("sha256sum", &swap);
    let output = script.run(&["--binary", file.to_str().expect("made of ASCII")]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(script.record().expect("it was called"), ["install", "token="]);
    assert!(fs::read(&file).expect("it is there").ends_with(b"\"$RECORD\"\n"), "not swapped");
}

#[test]
fn uninstalls_by_the_program() {
    for shell in SHELLS {
        let script = Script::with_curl(shell).without("curl");
        script.fake("agent", &Release::program().replace("#!/bin/sh\n", ""));
        let file = script.file("none", "").with_file_name("bin/agent");
        let file = file.to_str().expect("made of ASCII");
        let arguments = ["--uninstall", "--purge", "--dry-run", "--binary", file];
        assert!(script.run(&arguments).status.success());
        let expected = ["uninstall", "--purge", "--dry-run", "token="];
        assert_eq!(script.record().expect("it was called"), expected);
        fails(&Script::with_curl(shell), &["--uninstall", "--no-start"], "--uninstall takes");
    }
}
