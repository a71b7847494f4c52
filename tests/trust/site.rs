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

/// How long a new version has until it is rolled back.
pub const PROBATION: Duration = Duration::from_secs(5);
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
        let peer = gateway();
        let agent = run_agent();
        let session = peer.accept_registered();
        Site { peer, server: Server::plain(), agent, session }
    }

    /// Asks for an upgrade; the error's code and message, or none.
    #[track_caller]
    pub fn upgrade(&mut self, release: &Release) -> Option<(i64, String)> {
        let url = self.server.offer("agent", release.bytes.clone(), Download::Whole);
        let params = json!({
            "version": release.version, "download_url": url, "checksum_sha256": release.sha256()
        });
        self.session.send_request(1, "agent_upgrade", params);
        let response = self.session.response_to(1, PATIENCE);
        response.error.map(|error| (error.code, error.message))
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

    /// Refuses to acknowledge the new version, for as long as it asks.
    #[track_caller]
    pub fn expect_roll_back(&self, session: Session) {
        drop(session);
        expect_roll_back(&self.peer);
    }
}

/// A gateway that the agent's settings name.
pub fn gateway() -> Peer {
    let peer = Peer::plain();
    let settings = format!(
        "VMKIT_AGENT_TOKEN={TOKEN}\nVMKIT_GATEWAY_URL={}\nVMKIT_INSTANCE_ID=vmkit-test\n\
         VMKIT_UPGRADE_PROBATION_SECS={}\n",
        peer.url(),
        PROBATION.as_secs()
    );
    cell::write(ENV_FILE, settings);
    fs::set_permissions(ENV_FILE, Permissions::from_mode(0o600)).expect("just written");
    peer
}

/// Starts the installed agent as somebody at root's shell would: with its settings in the file.
pub fn run_agent() -> Agent {
    let variables = ["VMKIT_AGENT_TOKEN", "VMKIT_GATEWAY_URL", "VMKIT_INSTANCE_ID"];
    let setup = variables.into_iter().fold(Setup::url(""), Setup::without);
    setup.at(INSTALLED).start()
}

/// Answers the `register` of every other version with an error, until our own is back and has told
/// that the other was rolled back.
#[track_caller]
pub fn expect_roll_back(peer: &Peer) {
    poll_until("the previous version", COME_BACK, || {
        let dial = peer.accept_within(COME_BACK).expect("somebody dials");
        let mut session = dial.switch();
        if session.read_register()["version"] == OWN_VERSION {
            session.acknowledge();
            session.next_notification("upgrade_rolled_back");
            return Some(());
        }
        session.answer_register(r#""error":{"code":1,"message":"not you"}"#);
        None
    });
}

/// The folder of the state as earlier versions have made it: for everybody to look into.
pub fn open_state_folder() {
    fs::create_dir_all(STATE_FOLDER).expect("the cell's own");
}
