//! A machine with the agent installed as the reference document has it, its gateway, and a server
//! to download from.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::gateway::TOKEN;
use super::{Download, Gateway, PATIENCE, Refusal, Release, Server, Vm, poll_until};

/// Where the reference document installs the agent, and what it calls its unit.
pub const INSTALLED: &str = "/usr/local/bin/vmkit-agent";
pub const PREVIOUS: &str = "/usr/local/bin/vmkit-agent.prev";
pub const UNIT: &str = "vmkit-agent.service";
pub const INSTANCE: &str = "vm";
/// Where a person has put the program before it installs itself.
pub const BROUGHT: &str = "/root/vmkit-agent";

/// How long a new binary is on probation where a scenario waits for the end of it.
pub const SHORT_PROBATION: Duration = Duration::from_secs(12);

pub struct Scene {
    pub vm: Vm,
    pub gateway: Gateway,
    pub server: Server,
}

impl Scene {
    /// The current release, installed, registered.
    #[track_caller]
    pub fn installed() -> Scene {
        Scene::installed_with(Server::plain(), "")
    }

    #[track_caller]
    pub fn with_short_probation() -> Scene {
        Scene::installed_with(Server::plain(), &short_probation())
    }

    /// With more lines in the agent's environment file.
    #[track_caller]
    pub fn installed_with(server: Server, environment: &str) -> Scene {
        Scene::installed_under(UNIT_FILE, Vm::boot(), server, environment)
    }

    /// Under this unit.
    #[track_caller]
    pub fn installed_under(unit: &[u8], vm: Vm, server: Server, environment: &str) -> Scene {
        Scene::installed_as(UNIT, unit, (vm, server), environment)
    }

    /// Under this unit of this name.
    #[track_caller]
    pub fn installed_as(
        name: &str,
        unit: &[u8],
        (vm, server): (Vm, Server),
        environment: &str,
    ) -> Scene {
        let release = Release::current();
        let scene = Scene { vm, gateway: Gateway::start(), server };
        let roots = fs::read_to_string(&scene.gateway.ca).expect("the gateway has written it");
        scene.vm.write("/etc/vmkit/ca.pem", (roots + &scene.server.ca).as_bytes());
        let environment = format!(
            "VMKIT_AGENT_TOKEN={TOKEN}\nVMKIT_GATEWAY_URL={}\nVMKIT_INSTANCE_ID={INSTANCE}\n\
             VMKIT_CA_FILE=/etc/vmkit/ca.pem\n{environment}",
            scene.gateway.url
        );
        scene.vm.write("/etc/vmkit/agent.env", environment.as_bytes());
        scene.vm.write(&format!("/etc/systemd/system/{name}"), unit);
        scene.vm.install(&release.program, INSTALLED);
        scene.vm.sh(&format!(
            "systemctl daemon-reload; systemctl --quiet enable {name}; systemctl start {name}"
        ));
        scene.gateway.wait_for_register(0, &release.version, PATIENCE);
        scene
    }

    /// A machine on which a person has run `vmkit-agent install`, once; registered.
    #[track_caller]
    pub fn installed_by_itself(vm: Vm) -> Scene {
        let scene = Scene { vm, gateway: Gateway::start(), server: Server::plain() };
        let release = Release::current();
        scene.vm.install(&release.program, BROUGHT);
        scene.install();
        scene.gateway.wait_for_register(0, &release.version, PATIENCE);
        scene
    }

    /// Runs `vmkit-agent install`; what it says.
    #[track_caller]
    pub fn install(&self) -> String {
        let roots = fs::read(&self.gateway.ca).expect("the gateway has written it");
        self.vm.write("/root/ca.pem", &roots);
        let url = &self.gateway.url;
        let probation = SHORT_PROBATION.as_secs();
        self.vm.sh(&format!(
            "printf %s '{TOKEN}' | env VMKIT_INSTANCE_ID={INSTANCE} \
             VMKIT_UPGRADE_PROBATION_SECS={probation} \
             {BROUGHT} install --token-stdin --gateway-url {url} --ca-file /root/ca.pem 2>&1"
        ))
    }

    /// Offers the release as it should be and has the gateway ask for the upgrade.
    #[track_caller]
    pub fn upgrade(&self, release: &Release) -> Result<Value, Refusal> {
        self.upgrade_by(release, Download::Whole)
    }

    #[track_caller]
    pub fn upgrade_by(&self, release: &Release, how: Download) -> Result<Value, Refusal> {
        let number = self.ask_for_upgrade(release, how);
        self.gateway.answer(number, Duration::from_secs(90))
    }

    /// Asks without waiting for the answer; its number.
    #[track_caller]
    pub fn ask_for_upgrade(&self, release: &Release, how: Download) -> u64 {
        let url = self.server.offer("vmkit-agent", release.bytes(), how);
        let Release { version, sha256, .. } = release;
        self.gateway.give(&format!("upgrade {INSTANCE} {version} {url} {sha256}"))
    }

    /// To the next version, and to one that ends at once and is given up. Probation has to be short.
    #[track_caller]
    pub fn upgrade_and_roll_back(&self) {
        let Scene { vm, gateway, .. } = self;
        let (old, new) = (Release::current(), Release::next());
        let mark = gateway.mark();
        self.upgrade(&new).expect("a good upgrade");
        gateway.wait_for_register(mark, &new.version, PATIENCE);
        vm.wait_for_journal(UNIT, 0, &["confirmed"], PATIENCE);
        self.wait_for_no_guard();
        assert_eq!(vm.sha256(PREVIOUS), old.sha256);

        let broken = Release::script("9.9.9", "exit 1");
        let mark = gateway.mark();
        self.upgrade(&broken).expect("it passes every test there is before it runs");
        gateway.wait_for_register(mark, &new.version, SHORT_PROBATION + PATIENCE);
        gateway.wait_for_notification(mark, "upgrade_rolled_back", PATIENCE);
        self.wait_for_no_guard();
        assert_eq!(vm.sha256(INSTALLED), new.sha256);
    }

    /// Until this release is the installed one.
    #[track_caller]
    pub fn wait_for_installed(&self, release: &Release, within: Duration) {
        let what = format!("version {} in its place", release.version);
        poll_until(&what, within, || (self.vm.sha256(INSTALLED) == release.sha256).then_some(()));
    }

    /// Until systemd knows of no watch over a probation any more.
    #[track_caller]
    pub fn wait_for_no_guard(&self) {
        poll_until("the end of the watch", PATIENCE, || {
            let units = "systemctl list-units --plain --no-legend 'vmkit-agent-rollback*'";
            self.vm.sh(units).is_empty().then_some(())
        });
    }

    /// The names of all that the agent may leave on the disk, sorted. Lock files stay.
    #[track_caller]
    pub fn files(&self) -> Vec<String> {
        let found = self
            .vm
            .sh("find /usr/local/bin /var/lib/vmkit-agent /tmp ! -type d ! -name '*.lock' 2>/dev/null || true");
        let mut files: Vec<String> = found.lines().map(str::to_owned).collect();
        files.sort();
        files
    }
}

/// The line of the environment file for [`SHORT_PROBATION`].
pub fn short_probation() -> String {
    format!("VMKIT_UPGRADE_PROBATION_SECS={}\n", SHORT_PROBATION.as_secs())
}

/// As the reference document prints it.
const UNIT_FILE: &[u8] = include_bytes!("../reference.service");
