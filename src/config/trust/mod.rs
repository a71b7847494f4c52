//! The certificate roots of every TLS connection. The system's own store is not used.

mod der;
mod pem;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore};

pub use pem::roots;

/// The client side of every TLS connection. It trusts the bundled web roots and `extra`.
///
/// # Errors
/// rustls refuses its own protocol versions, which can't happen: they are fixed at build time.
pub fn client_config(extra: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = extra;
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let ring = rustls::crypto::ring::default_provider();
    let provider = Arc::new(CryptoProvider { key_provider: &NoKeys, ..ring });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
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
