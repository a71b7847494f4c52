//! The install script and a release server: good answers, bad answers and no answers.

use super::support::{NAME, Release, SHELLS, Script, TOKEN, said};

#[test]
fn fetches_verifies_and_calls_the_program() {
    let [dash, busybox] = SHELLS.map(Script::with_curl);
    for script in [dash, busybox, Script::with_curl(SHELLS[0]).with_wget()] {
        let release = Release::serve();
        let url = release.url();
        let script = script.env("VMKIT_AGENT_TOKEN", TOKEN);
        let asked = ["--base-url", &url, "--version", "v1.2.3", "--no-start"];
        let passed_on = ["--gateway-url", "wss://a b/$HOME"];
        let output = script.run(&[asked.as_slice(), &passed_on].concat());
        assert!(output.status.success(), "{}", said(&output));
        let token = format!("token={TOKEN}");
        let expected = ["install", "--no-start", passed_on[0], passed_on[1], &token];
        assert_eq!(script.record().expect("it was called"), expected);
        assert_eq!(release.requests(), 2);
    }
}

#[test]
fn the_programs_failure_is_its_own() {
    for shell in SHELLS {
        let release = Release::serve();
        let script = Script::with_curl(shell).env("FATE", "78");
        let output = script.run(&["--base-url", &release.url()]);
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(said(&output), "vmkit-agent: why it failed\n");
    }
}

/// Each of these ends with one line that says why, and nothing was run.
#[test]
fn what_is_wrong_with_a_release_is_fatal() {
    let page = "<!doctype html><title>Sign in</title>";
    let mismatch = "checksum mismatch";
    let program = format!("/{NAME}");
    let not_a_sum = format!("{}  {NAME}\n", "g".repeat(64));
    let faults: [(&str, u16, &str, &str); 9] = [
        ("/SHA256SUMS", 404, "", "HTTP 404: no such release at this URL"),
        (&program, 404, "", "HTTP 404: no such release at this URL"),
        (&program, 500, "", "500"),
        ("/SHA256SUMS", 200, page, "login page"),
        (&program, 200, page, mismatch),
        (&program, 200, &Release::program()[..100], mismatch),
        (&program, 200, "", "empty"),
        ("/SHA256SUMS", 200, &format!("{}  {NAME}\n", "0".repeat(64)), mismatch),
        ("/SHA256SUMS", 200, &not_a_sum, "no line for"),
    ];
    for shell in SHELLS {
        for (path, status, content, why) in faults {
            let release = Release::serve();
            release.put(path, status, content);
            let script = Script::with_curl(shell);
            fails(&script, &["--base-url", &release.url()], why);
            if shell == SHELLS[0] {
                fails(&script.with_wget(), &["--base-url", &release.url()], why);
            }
        }
    }
}

#[test]
fn another_version_than_asked_for_is_refused() {
    for shell in SHELLS {
        let release = Release::serve();
        for version in ["1.2", "1.2.30", "2.0.0"] {
            let script = Script::with_curl(shell);
            fails(
                &script,
                &["--base-url", &release.url(), "--version", version],
                "not vmkit-agent",
            );
        }
    }
}

#[test]
fn a_program_that_does_not_run_here_is_refused() {
    for shell in SHELLS {
        for (program, why) in [
            (elf(0x08).as_slice(), "is not a linux-"),
            (b"#!/bin/sh\nexit 3\n", "does not run here"),
        ] {
            let release = Release::serve();
            release.put(&format!("/{NAME}"), 200, program);
            release.put("/SHA256SUMS", 200, super::support::sums(program));
            let url = release.url();
            let said = fails(&Script::with_curl(shell), &["--base-url", &url], why);
            assert!(said.contains(&format!("{url}/{NAME}")), "{said}");
        }
        let script = Script::with_curl(shell);
        let file = script.file("agent", elf(0x08));
        let file = file.to_str().expect("made of ASCII");
        let said = fails(&script, &["--binary", file], "is not a linux-");
        assert!(said.contains(file), "{said}");
    }
}

/// The beginning of a program for the processor that an ELF file calls so.
fn elf(processor: u8) -> Vec<u8> {
    let head = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0";
    [head.as_slice(), &[processor, 0, b'\n']].concat()
}

#[test]
fn every_machine_gets_its_own_file() {
    for (machine, architecture, processor) in [
        ("x86_64", "amd64", 0x3e),
        ("aarch64", "arm64", 0xb7),
        ("armv7l", "armv7", 0x28),
        ("armv8l", "armv7", 0x28),
        ("riscv64", "riscv64", 0xf3),
    ] {
        let name = format!("vmkit-agent-linux-{architecture}");
        for (processor, why) in [(processor, "does not run here"), (0x08, "is not a linux-")] {
            // No program for any processor: it fails on each of them, but only after the check.
            let program = elf(processor);
            let release = Release::serve();
            release.put(&format!("/{name}"), 200, &program);
            release.put("/SHA256SUMS", 200, super::support::sums(&program).replace(NAME, &name));
            let url = release.url();
            let script = Script::with_curl(SHELLS[0]).on_machine(machine);
            let said = fails(&script, &["--base-url", &url], why);
            assert!(said.contains(&format!("{url}/{name}")), "{said}");
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let [dash, busybox] = SHELLS.map(Script::with_curl);
    for script in [dash, busybox, Script::with_curl(SHELLS[0]).with_wget()] {
        fails(&script, &["--base-url", "http://127.0.0.1:1/"], "http://127.0.0.1:1/SHA256SUMS");
    }
}

#[test]
fn a_name_that_has_no_address_is_named() {
    let [dash, busybox] = SHELLS.map(Script::with_curl);
    let wget = Script::with_curl(SHELLS[0]).without("curl");
    // Captured outputs: no test asks the machine's name servers.
    for script in [&dash, &busybox] {
        let said = "curl: (6) Could not resolve host: vmkit-test.invalid";
        script.fake("curl", &format!("echo '{said}' >&2; exit 6"));
    }
    let said = r#"echo "wget: unable to resolve host address 'vmkit-test.invalid'" >&2; exit 4"#;
    wget.fake("wget", said);
    for script in [&dash, &busybox, &wget] {
        let said = fails(script, &["--base-url", "https://vmkit-test.invalid:1"], "SHA256SUMS: ");
        assert!(said.contains(": could not resolve vmkit-test.invalid; "), "{said}");
    }
    // The proxy's name is another one.
    dash.fake("curl", "echo 'curl: (5) Could not resolve proxy: vmkit-test.invalid' >&2; exit 5");
    fails(&dash, &["--base-url", "https://vmkit-test.invalid:1"], "resolve proxy");
}

#[test]
fn only_https_and_loopback_are_asked() {
    for url in [
        "http://example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "ftp://127.0.0.1",
        "127.0.0.1",
    ] {
        let script = Script::with_curl(SHELLS[0]);
        script.fake("curl", "echo asked >&2; exit 1");
        let said = fails(&script, &["--base-url", url], "--base-url");
        assert!(!said.contains("asked"), "{said}");
    }
}

#[test]
fn a_wget_that_checks_no_certificates_is_refused() {
    let script = Script::with_curl(SHELLS[0]).without("curl");
    script.fake("wget", "echo 'wget: note: TLS certificate validation not implemented' >&2");
    fails(&script, &[], "checks no certificates");
}

#[track_caller]
pub fn fails(script: &Script, arguments: &[&str], why: &str) -> String {
    let output = script.run(arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.starts_with("install.sh: ") && said.contains(why), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(script.record(), None, "it was run after {said}");
    said
}
