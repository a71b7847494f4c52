//! The agent, installed and registered, with its gateway and a server that has its next version.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cell::{self, ENV_FILE, INSTALLED, STATE_FOLDER};
use crate::golden::remembered;
use crate::support::{
    Agent, Download, OWN_VERSION, PATIENCE, Peer, Release, Server, Session, Setup, TOKEN,
    poll_until,
};

/// How long a new version has where it is to be rolled back: time to start on a busy machine.
pub const SHORT_PROBATION: Duration = Duration::from_secs(10);
/// How long it takes until one that was given up is ended and the previous one is back.
pub const COME_BACK: Duration = Duration::from_secs(60);

pub struct Site {
    pub peer: Peer,
    server: Server,
    pub agent: Agent,
    pub session: Session,
}

impl Site {
    /// In a cell where the program is in place.
    pub fn up() -> Site {
        Site::with(gateway())
    }

    pub fn with_short_probation() -> Site {
        Site::with_more_settings("")
    }

    /// With a short probation and these lines.
    pub fn with_more_settings(lines: &str) -> Site {
        let peer = gateway();
        let probation = SHORT_PROBATION.as_secs();
        let settings = fs::read_to_string(ENV_FILE).expect("just written");
        write_settings(&format!("{settings}{lines}VMKIT_UPGRADE_PROBATION_SECS={probation}\n"));
        Site::with(peer)
    }

    fn with(peer: Peer) -> Site {
        let agent = run_agent();
        let session = peer.accept_registered();
        Site { peer, server: Server::plain(), agent, session }
    }

    /// Asks for an upgrade; the error's code and message, or none.
    #[track_caller]
    pub fn upgrade(&mut self, release: &Release) -> Option<(i64, String)> {
        self.ask_for_upgrade(release, Download::Whole);
        let response = self.session.response_to(1, PATIENCE);
        response.error.map(|error| (error.code, error.message))
    }

    /// Asks without waiting for the answer.
    pub fn ask_for_upgrade(&mut self, release: &Release, how: Download) {
        let url = self.server.offer("agent", release.bytes.clone(), how);
        let params = json!({
            "version": release.version, "download_url": url, "checksum_sha256": release.sha256()
        });
        self.session.send_request(1, "agent_upgrade", params);
    }

    /// Upgrades at root's shell, where the agent is left to be restarted. What that has said.
    #[track_caller]
    pub fn upgrade_by_hand(&self, release: &Release) -> String {
        let url = self.server.offer("agent", release.bytes.clone(), Download::Whole);
        let arguments = ["upgrade", "--url", &url, "--sha256", &release.sha256(), "--version"];
        let mut upgrade = cell::root(INSTALLED, &[&arguments[..], &[&release.version]].concat());
        cell::said(&upgrade.output().expect("it is installed"))
    }

    /// Has upgraded; the new version's session, whose `register` nobody has answered yet.
    #[track_caller]
    pub fn has_upgraded(&mut self, release: &Release) -> Session {
        assert_eq!(self.upgrade(release), None);
        assert_eq!(self.session.expect_close(), 1001);
        let mut session = self.peer.accept_upgraded();
        assert_eq!(session.read_register()["version"], *release.version);
        session
    }

    /// Acknowledges the new version, which is then there to stay.
    #[track_caller]
    pub fn confirm(&self, session: &mut Session, release: &Release) {
        session.acknowledge();
        self.agent.wait_for_log(&["confirmed"]);
        assert_eq!(remembered()["trial"], Value::Null, "there is nothing left to watch over");
        assert!(fs::read(INSTALLED).expect("it is installed") == release.bytes);
    }
}

/// A gateway that the agent's settings name.
pub fn gateway() -> Peer {
    let peer = Peer::plain();
    write_settings(&format!(
        "VMKIT_AGENT_TOKEN={TOKEN}\nVMKIT_GATEWAY_URL={}\nVMKIT_INSTANCE_ID=vmkit-test\n",
        peer.url()
    ));
    peer
}

/// For root alone to read, since the token is in it.
fn write_settings(settings: &str) {
    cell::write(ENV_FILE, settings);
    fs::set_permissions(ENV_FILE, Permissions::from_mode(0o600)).expect("just written");
}

/// Starts the installed agent as somebody at root's shell would: with its settings in the file.
pub fn run_agent() -> Agent {
    let variables = ["VMKIT_AGENT_TOKEN", "VMKIT_GATEWAY_URL", "VMKIT_INSTANCE_ID"];
    let setup = variables.into_iter().fold(Setup::url(""), Setup::without);
    setup.at(INSTALLED).start()
}

/// Answers the `register` of every other version with an error, until our own is back; its session, and
/// what it registers with.
#[track_caller]
pub fn expect_previous(peer: &Peer) -> (Session, Value) {
    poll_until("the previous version", COME_BACK, || {
        let (mut session, register) = peer.accept_register(COME_BACK).expect("somebody dials");
        if register["version"] == *OWN_VERSION {
            session.acknowledge();
            return Some((session, register));
        }
        session.answer_register(r#""error":{"code":1,"message":"not you"}"#);
        None
    })
}

/// The same, and it tells that the other version was rolled back: in these words, which its `register`
/// has too.
#[track_caller]
pub fn expect_roll_back(peer: &Peer) -> Value {
    let (mut session, register) = expect_previous(peer);
    let told = session.next_notification("upgrade_rolled_back");
    assert_registers_with(&register, &told);
    told
}

/// The newest roll-back in this `register` is the one that was told, and has the time of just now.
#[track_caller]
pub fn assert_registers_with(register: &Value, told: &Value) {
    let upgrade = &register["upgrade"];
    assert_eq!(upgrade["probation"], Value::Null, "{register}");
    let mut newest = upgrade["rolled_back"].as_array().expect("a list").last().cloned();
    let at = newest.as_mut().and_then(|it| it.as_object_mut()?.remove("at"));
    assert_eq!(newest.as_ref(), Some(told), "{register}");
    let at = at.as_ref().and_then(Value::as_str).unwrap_or_default();
    let [earliest, now] = ["-5 minutes", "now"].map(|when| {
        let date = cell::root("date", &["--utc", "--date", when, "+%FT%TZ"]).output();
        String::from_utf8(date.expect("coreutils are there").stdout).expect("ASCII")
    });
    assert!(at >= earliest.trim() && at <= now.trim(), "{earliest}{at}\n{now}");
}

/// The folder of the state as earlier versions have made it: for everybody to look into.
pub fn open_state_folder() {
    fs::create_dir_all(STATE_FOLDER).expect("the cell's own");
}
