//! Whom the agent trusts, and why it did not: the certificate roots, and the words for what is
//! wrong with a gateway's certificate.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::SigningKey;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::host::timestamp::Timestamp;

/// The client side of every TLS connection: the bundled web roots, and `extra` beside them.
///
/// # Errors
/// What rustls finds wrong with its own protocol versions, which are fixed at build time.
pub fn client_config(extra: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = extra;
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let ring = rustls::crypto::ring::default_provider();
    let provider = Arc::new(CryptoProvider { key_provider: &NoKeys, ..ring });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A session lasts for days: nothing to gain from tickets, and their cache would stay in memory.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The agent has no key of its own, so nothing of ring that signs has to be in the binary.
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

/// The certificates of a PEM file.
///
/// # Errors
/// What is wrong with it.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("not a certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(roots)
}

/// What is wrong with the other side of TLS, and what to do.
pub struct Distrust<'a> {
    pub error: &'a rustls::Error,
    /// What named the other side.
    pub named_by: &'static str,
}

impl fmt::Display for Distrust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Distrust { error, named_by } = self;
        let rustls::Error::InvalidCertificate(reason) = error else {
            return match error {
                rustls::Error::InvalidMessage(_) => {
                    write!(f, "{error}; is there a TLS server on that port?")
                }
                other => write!(f, "{other}"),
            };
        };
        match reason {
            CertificateError::UnknownIssuer => f.write_str(
                "the certificate has an unknown issuer; if the other side or a proxy has a CA \
                 of its own, name its PEM file in VMKIT_CA_FILE",
            ),
            CertificateError::NotValidForName => {
                write!(f, "the certificate is for another name; check {named_by}")
            }
            CertificateError::NotValidForNameContext { presented, .. } => write!(
                f,
                "the certificate is for another name ({}); check {named_by}",
                presented.join(", ")
            ),
            CertificateError::ExpiredContext { time, not_after } => write!(
                f,
                "the certificate has expired: it was valid until {}, this machine's clock says \
                 {}; check the clock, or have the certificate renewed",
                Date(not_after),
                Date(time)
            ),
            CertificateError::NotValidYetContext { time, not_before } => write!(
                f,
                "the certificate is not yet valid: it is from {}, this machine's clock says {}; \
                 check the clock",
                Date(not_before),
                Date(time)
            ),
            other => write!(f, "the certificate is not good: {other}"),
        }
    }
}

struct Date<'a>(&'a UnixTime);

impl fmt::Display for Date<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seconds = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX);
        write!(f, "{}", Timestamp::from_unix(seconds))
    }
}
