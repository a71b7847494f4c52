//! Sessions of the page: an API key or a sign-in link is exchanged for a random secret that the browser
//! keeps in a cookie. A session ends with its key, when its time is over, or when it signs out.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::scope::Scopes;
use super::secret::{Hash, random};
use super::{Access, Denied, Identity};
use crate::clock::Moment;
use crate::store::sessions::{Session as Row, What};

/// A working day.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// For the store to write.
const PATIENCE: Duration = Duration::from_secs(5);
/// Timers may be early where the clock on the wall is set back.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// Who it is has been found by this session.
#[derive(Clone)]
pub struct Session {
    pub hash: Hash,
    pub expires_at: Moment,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "session until {}", self.expires_at)
    }
}

/// For the cookie.
pub struct SignedIn {
    pub secret: String,
    pub lifetime: Duration,
}

impl Access {
    pub async fn sign_in(&self, peer: IpAddr, key: &str) -> Result<SignedIn, Denied> {
        let identity = self.api(peer, key).await?;
        let given = identity.key_id.is_none().then(|| Hash::of(key).bytes().to_vec());
        self.begin(identity.name, identity.scopes, identity.key_id, given).await
    }

    /// Of a link that signs in once.
    pub fn sign_in_code(&self, scopes: Scopes) -> Option<String> {
        self.codes.make(scopes, Instant::now())
    }

    pub async fn sign_in_by_code(&self, peer: IpAddr, code: &str) -> Result<SignedIn, Denied> {
        let now = Instant::now();
        match (self.codes.take(code, now), self.api_attempts.must_wait(peer, now)) {
            (Some(scopes), _) => self.begin("sign-in link".to_owned(), scopes, None, None).await,
            (None, Some(wait)) => Err(Denied::TooMany { wait }),
            (None, None) => {
                self.api_attempts.failed(peer, now);
                Err(Denied::Unknown)
            }
        }
    }

    /// Failures count nowhere: a cookie that has expired is no attempt, and none can be guessed.
    pub async fn by_session(&self, presented: &str) -> Result<Identity, Denied> {
        let hash = Hash::of(presented);
        let row = self.store.session(hash.bytes().to_vec()).await.map_err(|_| Denied::Broken)?;
        let row = row.ok_or(Denied::Unknown)?;
        let scopes = self.scopes_of(&row).await?.ok_or(Denied::Unknown)?;
        let session = Some(Session { hash, expires_at: row.expires_at });
        Ok(Identity { key_id: row.key_id, name: row.name, scopes, session })
    }

    pub async fn sign_out(&self, session: &Session) -> Result<(), Denied> {
        self.write(What::End(session.hash.bytes().to_vec())).await
    }

    pub async fn sign_all_out(&self) -> Result<(), Denied> {
        self.codes.forget();
        self.write(What::EndAll).await
    }

    /// A store that can't be read throws nobody out.
    pub(super) async fn is_signed_in(&self, session: &Session) -> bool {
        match self.store.session(session.hash.bytes().to_vec()).await {
            Ok(Some(row)) => self.scopes_of(&row).await.map_or(true, |scopes| scopes.is_some()),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    async fn begin(
        &self,
        name: String,
        scopes: Scopes,
        key_id: Option<String>,
        given_hash: Option<Vec<u8>>,
    ) -> Result<SignedIn, Denied> {
        let secret = random().map_err(|_| Denied::Broken)?;
        let now = Moment::now();
        let lifetime_ms = i64::try_from(LIFETIME.as_millis()).unwrap_or(0);
        let row = Row {
            hash: Hash::of(&secret).bytes().to_vec(),
            name,
            scopes: scopes.to_string(),
            key_id,
            given_hash,
            created_at: now,
            expires_at: Moment::from_millis(now.millis() + lifetime_ms),
        };
        self.write(What::Begin(row)).await?;
        Ok(SignedIn { secret, lifetime: LIFETIME })
    }

    async fn write(&self, what: What) -> Result<(), Denied> {
        let written = timeout(PATIENCE, self.store.change_sessions(what)).await;
        written.ok().and_then(Result::ok).ok_or(Denied::Broken)
    }

    /// What it may do now; `None`: it has ended.
    async fn scopes_of(&self, row: &Row) -> Result<Option<Scopes>, Denied> {
        if row.expires_at <= Moment::now() {
            return Ok(None);
        }
        if let Some(id) = &row.key_id {
            let key = self.store.key(id.clone()).await.map_err(|_| Denied::Broken)?;
            let key = key.filter(|key| key.revoked_at.is_none());
            return Ok(key.and_then(|key| key.scopes.parse().ok()));
        }
        let still_given = row
            .given_hash
            .as_ref()
            .is_none_or(|hash| self.given.api_key.as_ref().is_some_and(|given| given.is(hash)));
        Ok(row.scopes.parse().ok().filter(|_| still_given))
    }
}

/// Never without a session: a key has no end of its own.
pub(super) async fn expiry(session: Option<&Session>) {
    match session {
        Some(session) => sleep(session.expires_at.since(Moment::now()).max(LEAST_WAIT)).await,
        None => std::future::pending().await,
    }
}
