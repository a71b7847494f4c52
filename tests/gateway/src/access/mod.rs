//! Who may do what. API keys (`vmk_…`) open REST, the page and MCP; agent tokens open `/api/daemon`.
//! Neither works in the other's place. Knows no HTTP.
//!
//! Keys are looked up in the store at each use, so `gateway token revoke` takes effect at once. Those
//! made here can't be guessed, so whoever has one gets in, also from an address at which others fail.
//! The two that a person may have chosen, given at the start, are not even tried there.

pub mod agent;
mod attempts;
mod codes;
pub mod scope;
pub mod secret;
pub mod session;
pub mod tokens;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::agents::register::InstanceId;
use crate::store::Store;
use agent::{AgentIdentity, Held, Sessions};
use attempts::Attempts;
use codes::Codes;
use scope::Scopes;
use secret::{Hash, Kind, id_of};
use session::Session;

/// Who uses the API.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Of the key, no secret. `None`: the key that the gateway was started with.
    pub key_id: Option<String>,
    pub name: String,
    pub scopes: Scopes,
    /// Of the page, where the cookie proves who it is.
    pub session: Option<Session>,
}

#[derive(Debug, PartialEq)]
pub enum Denied {
    Unknown,
    TooMany {
        wait: Duration,
    },
    /// The store can't be read.
    Broken,
}

/// Given at the start, beside those in the store.
#[derive(Default)]
pub struct Given {
    pub agent_token: Option<Hash>,
    pub api_key: Option<Hash>,
}

pub struct Access {
    store: Store,
    given: Given,
    /// Apart: an agent with a bad token locks nobody out of the page.
    agent_attempts: Attempts,
    api_attempts: Attempts,
    codes: Codes,
    sessions: Arc<Sessions>,
}

/// What was found about a presented secret.
struct Found {
    key_id: Option<String>,
    name: String,
    scopes: String,
    instance: Option<String>,
}

impl Access {
    pub fn new(store: Store, given: Given) -> Access {
        let (agent_attempts, api_attempts, codes, sessions) = Default::default();
        Access { store, given, agent_attempts, api_attempts, codes, sessions }
    }

    pub async fn agent(&self, peer: IpAddr, presented: &str) -> Result<AgentIdentity, Denied> {
        let given = self.given.agent_token.as_ref();
        let found = self.find(Kind::Agent, given, &self.agent_attempts, peer, presented).await?;
        let instance = match found.instance {
            None => None,
            // An instance that can't exist is nobody, not anybody.
            Some(id) => Some(InstanceId::try_from(id).map_err(|_| Denied::Unknown)?),
        };
        Ok(AgentIdentity { token_id: found.key_id, instance })
    }

    pub async fn api(&self, peer: IpAddr, presented: &str) -> Result<Identity, Denied> {
        let given = self.given.api_key.as_ref();
        let found = self.find(Kind::Api, given, &self.api_attempts, peer, presented).await?;
        let scopes = match found.key_id {
            Some(_) => found.scopes.parse().unwrap_or_default(),
            None => Scopes::all(),
        };
        Ok(Identity { key_id: found.key_id, name: found.name, scopes, session: None })
    }

    /// Changes when keys may have been revoked: whoever is connected for long asks again then.
    pub fn revocations(&self) -> watch::Receiver<()> {
        self.store.changed_outside()
    }

    /// `None`: the agent's token has too many sessions already.
    pub fn hold_session(&self, identity: &AgentIdentity) -> Option<Held> {
        self.sessions.hold(identity)
    }

    pub async fn is_agent_allowed(&self, identity: &AgentIdentity) -> bool {
        self.is_live(identity.token_id.as_deref()).await
    }

    pub async fn is_allowed(&self, identity: &Identity) -> bool {
        match &identity.session {
            Some(session) => self.is_signed_in(session).await,
            None => self.is_live(identity.key_id.as_deref()).await,
        }
    }

    /// Returns when this identity may do nothing any more.
    pub async fn until_refused(&self, identity: &Identity) {
        let mut revoked = self.revocations();
        let mut signed_out = self.store.signed_out();
        while self.is_allowed(identity).await {
            tokio::select! {
                changed = revoked.changed() => if changed.is_err() { return },
                changed = signed_out.changed() => if changed.is_err() { return },
                () = session::expiry(identity.session.as_ref()) => {}
            }
        }
    }

    /// A store that can't be read throws nobody out.
    async fn is_live(&self, key_id: Option<&str>) -> bool {
        let Some(id) = key_id else {
            return true;
        };
        match self.store.key(id.to_owned()).await {
            Ok(key) => key.is_some_and(|key| key.revoked_at.is_none()),
            Err(_) => true,
        }
    }

    async fn find(
        &self,
        kind: Kind,
        given: Option<&Hash>,
        attempts: &Attempts,
        peer: IpAddr,
        presented: &str,
    ) -> Result<Found, Denied> {
        let now = Instant::now();
        let wait = attempts.must_wait(peer, now);
        let hash = Hash::of(presented);
        if wait.is_none() && given.is_some_and(|given| given.is(hash.bytes())) {
            let (name, scopes) = ("given at the start".to_owned(), String::new());
            return Ok(Found { key_id: None, name, scopes, instance: None });
        }
        let key = match id_of(kind, presented) {
            Some(id) => self.store.key(id.to_owned()).await.map_err(|_| Denied::Broken)?,
            None => None,
        };
        // Compared in constant time, and the kind is that of the row too, not only of the text.
        let key = key.filter(|key| {
            hash.is(&key.hash) && key.revoked_at.is_none() && key.kind == kind.name()
        });
        match (key, wait) {
            (Some(key), _) => Ok(Found {
                key_id: Some(key.id),
                name: key.name,
                scopes: key.scopes,
                instance: key.instance,
            }),
            (None, Some(wait)) => Err(Denied::TooMany { wait }),
            (None, None) => {
                attempts.failed(peer, now);
                Err(Denied::Unknown)
            }
        }
    }
}
