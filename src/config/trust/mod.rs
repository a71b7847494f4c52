//! The certificate roots of every TLS connection. The system's own store is not used.

mod der;
mod pem;
mod certificate;
mod refused;
mod verifier;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore};

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
    let mut config = ClientConfig::builder_with_provider(provider)
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
