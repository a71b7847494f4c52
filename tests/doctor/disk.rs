//! Room, and where an upgrade has to write.

use crate::{gateway::Gateway, machine::Machine};

fn machine(gateway: &Gateway, mounts: &'static str) -> Machine {
    Machine::dialing(&gateway.url).spoil(move |root| root.before_start(mounts))
}

#[test]
fn tmp_that_is_full() {
    let gateway = Gateway::good("now");
    let findings = machine(
        &gateway,
        r#"mount -t tmpfs -o size=64k none "$root/tmp"
           mkdir -p "$root$scratch"
           mount --bind "$scratch" "$root$scratch"
           head -c 1000000 /dev/zero > "$root/tmp/full" 2>/dev/null || true"#,
    )
    .examine();
    findings.assert_first_fail("room-tmp", &["/tmp", "0 MB free", "df -h /tmp"]);
    findings.of("room-root").assert("PASS", &[]);
}

/// Nothing is run from there, so an upgrade does not mind.
#[test]
fn tmp_that_is_noexec() {
    let gateway = Gateway::good("now");
    let findings = machine(
        &gateway,
        r#"mount --rbind "$root/tmp" "$root/tmp"
           mount -o remount,bind,noexec "$root/tmp""#,
    )
    .examine();
    findings.assert_sound();
    findings.of("self-upgrade").assert("PASS", &["/tmp", "noexec"]);
}

#[test]
fn binary_in_a_folder_that_is_read_only() {
    let gateway = Gateway::good("now");
    let findings = machine(
        &gateway,
        r#"mount --rbind "$root/vmkit-test" "$root/vmkit-test"
           mount -o remount,bind,ro "$root/vmkit-test""#,
    )
    .examine();
    findings.assert_first_fail(
        "self-upgrade",
        &["/vmkit-test", "read-only", "findmnt --target /vmkit-test"],
    );
}

const WITHOUT_TMP: &str = r#"
    umount "$root$scratch"
    rm -r "$root/tmp"
    printf '#!/bin/sh\necho CONTAINER ID STATUS\n' >"$root/vmkit-test-docker"
    chmod +x "$root/vmkit-test-docker"
"#;

#[test]
fn tmp_that_is_not_there() {
    let gateway = Gateway::good("now");
    let machine = Machine::dialing(&gateway.url)
        // The fakes are below /tmp.
        .line("VMKIT_DOCKER_BIN=/vmkit-test-docker")
        .spoil(|root| root.before_start(WITHOUT_TMP));
    machine.examine().assert_first_fail("room-tmp", &["/tmp", "no such file"]);
}
