//! The certificate roots of every TLS connection. The system's own store is not used.

mod der;
mod pem;
mod certificate;
mod refused;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::sign::SigningKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};

use crate::host::timestamp::Timestamp;
pub use pem::roots;
pub use refused::Refused;
use verifier::Verifier;

/// The client side of every TLS connection. It trusts the bundled web roots and `extra`, which are
/// from `ca_file`.
///
/// # Errors
/// rustls refuses its own protocol versions, which can't happen: they are fixed at build time.
pub fn client_config(
    extra: RootCertStore,
    ca_file: Option<&str>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let ring = rustls::crypto::ring::default_provider();
    let provider = Arc::new(CryptoProvider { key_provider: &NoKeys, ..ring });
    let from_file = extra.len();
    let mut roots = extra;
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let algorithms = provider.signature_verification_algorithms;
    let ca_file = ca_file.map(str::to_owned);
    let verifier = Arc::new(Verifier { roots, from_file, ca_file, algorithms });
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // A session lasts for days, so tickets would save nothing, and their cache would take memory.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The agent has no key of its own. So ring's code for signing stays out of the binary.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(
        &self,
        _: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("the agent has no key of its own".to_owned()))
    }
}

/// The clock that certificates are checked by. rustls takes std's, which ends in 2038 on armv7.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(Timestamp::now().unix()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
