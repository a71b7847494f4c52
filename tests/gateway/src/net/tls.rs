//! The gateway's own CA, made anew at every start, and the server's certificate that it signs.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

pub struct Settings {
    pub ca_out: Option<PathBuf>,
    /// Names and addresses; none stands for every name of the loopback.
    pub names: Vec<String>,
    /// The server certificate's validity, in days from now.
    pub days: (i64, i64),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { ca_out: None, names: Vec::new(), days: (-1, 30) }
    }
}

pub fn server_config(settings: &Settings) -> Result<Arc<ServerConfig>, String> {
    let ca = authority().map_err(|error| format!("making the CA: {error}"))?;
    let key = KeyPair::generate().map_err(|error| format!("making the server's key: {error}"))?;
    let certificate = server_parameters(settings)
        .and_then(|parameters| parameters.signed_by(&key, &ca))
        .map_err(|error| {
            format!("making a certificate for {:?}: {error}; see --cert-name", settings.names)
        })?;
    if let Some(path) = &settings.ca_out {
        std::fs::write(path, ca.pem())
            .map_err(|error| format!("writing the CA to {}: {error}", path.display()))?;
    }
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
        })
        .map_err(|error| format!("setting up TLS: {error}"))?;
    Ok(Arc::new(config))
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "vmkit reference gateway CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)
}

fn server_parameters(settings: &Settings) -> Result<CertificateParams, rcgen::Error> {
    let names = if settings.names.is_empty() {
        ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
    } else {
        settings.names.clone()
    };
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, "vmkit reference gateway");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now + time::Duration::days(settings.days.0);
    parameters.not_after = now + time::Duration::days(settings.days.1);
    Ok(parameters)
}
