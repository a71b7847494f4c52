//! A VM's first boot with the project's `cloud-init.yaml`, by the real cloud-init.

use std::fs;
use std::sync::Arc;

use crate::support::{Gateway, Kind, PATIENCE, Release, Server, TOKEN, Vm, scratch};

/// The user-data as on the page from which people copy it.
const USER_DATA: &str = include_str!("../../dist/cloud-init.yaml");
const INSTANCE: &str = "i-0123456789";

/// The values that people fill in, and changes that keep the test on this machine.
fn user_data(gateway: &Gateway, release: &str) -> String {
    let environment = format!("VMKIT_GATEWAY_URL={}\n      VMKIT_CA_FILE={ROOTS}", gateway.url);
    let replacements = [
        ("VMKIT_AGENT_TOKEN=<your-agent-token>", &*format!("VMKIT_AGENT_TOKEN={TOKEN}")),
        ("VMKIT_GATEWAY_URL=wss://gateway.vmkit.dev/api/daemon", &environment),
        ("url=https://github.com/vmkit/vmkit-agent/releases/latest/download", release),
        // curl is there, and Debian's servers are not asked for docker.
        ("packages:\n  - docker.io\n  - curl\n", "locale: C.UTF-8\n"),
    ];
    replacements.into_iter().fold(USER_DATA.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in\n{text}");
        text.replace(from, to)
    })
}

/// The certificates that curl trusts; here the agent does too.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A new machine of a cloud, which boots for the first time.
fn first_boot(gateway: &Gateway, server: &Server, program: Arc<[u8]>, sha256: &str) -> Vm {
    let release = format!("url={}", server.offer_release(program, sha256));
    let folder = scratch();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("the folder is the test's own");
    };
    write("user-data", &user_data(gateway, &release));
    write("meta-data", &format!("instance-id: {INSTANCE}\nlocal-hostname: vm\n"));
    let roots = fs::read_to_string(&gateway.ca).expect("the gateway has written it");
    write("roots.pem", &(roots + &server.ca));
    let folder = folder.display();
    let mounts = [
        format!("--volume={folder}:/var/lib/cloud/seed/nocloud:ro"),
        format!("--volume={folder}/roots.pem:{ROOTS}:ro"),
    ];
    Vm::power_on(Kind::Systemd, &mounts)
}

#[test]
fn installs_the_agent_on_the_first_boot_alone() {
    let (gateway, server, release) = (Gateway::start(), Server::tls(), Release::current());
    let vm = first_boot(&gateway, &server, release.bytes(), &release.sha256);
    let registered = gateway.wait_for_register(0, &release.version, PATIENCE);
    assert_eq!(registered.value["instance"], INSTANCE);
    vm.wait_until_up();
    assert_eq!(vm.sh("cloud-init status --wait | tail -n 1"), "status: done");
    assert_eq!(vm.sh("stat --format '%a %U:%G' /etc/vmkit/agent.env"), "600 root:root");
    assert_eq!(vm.sh("find / -xdev -path /proc -prune -o -name 'vmkit.*' -print"), "");
    let requests = server.requests();
    assert_eq!(requests, 2);

    let mark = gateway.mark();
    vm.reboot();
    gateway.wait_for_register(mark, &release.version, PATIENCE);
    vm.sh("cloud-init status --wait");
    assert_eq!(server.requests(), requests, "runcmd is for the first boot");
    assert_eq!(gateway.events(mark, "registered").len(), 1);
}

#[test]
fn shows_a_failure_and_installs_nothing() {
    let (gateway, server) = (Gateway::start(), Server::tls());
    let vm = first_boot(&gateway, &server, Release::current().bytes(), &"0".repeat(64));
    assert_eq!(vm.wait_for_boot(), "degraded");
    assert!(vm.sh("systemctl --failed --plain").contains("cloud-final.service"));
    let status = vm.sh("cloud-init status --long || true");
    assert!(status.contains("status: error") && status.contains("runcmd"), "{status}");
    let log = vm.sh("cat /var/log/cloud-init-output.log");
    assert!(log.contains("checksum") && !log.contains(TOKEN), "{log}");
    assert_eq!(vm.try_sh("ls /usr/local/bin/ /root/vmkit.*").stdout, "/usr/local/bin/:");
}
