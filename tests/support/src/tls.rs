//! Certificates for the peer: an authority that the agent is told to trust, and identities good and bad.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The certificate that the peer shows to the agent, with its key.
#[derive(Clone)]
pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// Certificate and key, for other programs.
    pub pem: String,
}

impl Authority {
    pub fn new() -> Authority {
        // No two of the same name: that would be a bad signature, not an unknown issuer.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vmkit-test-authority-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a valid authority");
        Authority { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// The authority's certificate, for `VMKIT_CA_FILE`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// For `127.0.0.1` and `localhost`, valid now.
    pub fn good(&self) -> Identity {
        self.for_names(&["127.0.0.1", "localhost"])
    }

    pub fn for_names(&self, names: &[&str]) -> Identity {
        self.issue(names, 2020, 2099)
    }

    /// Valid from the first day of one year to the first day of another.
    pub fn issue(&self, names: &[&str], from: i32, to: i32) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names that a certificate can hold");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("a valid certificate");
        Identity::new(&certificate, &key, WebPkiClientVerifier::no_client_auth())
    }

    /// As [`Authority::good`]. It wants a client certificate, and goes on without.
    pub fn wants_client_certificates(&self) -> Identity {
        let key = KeyPair::generate().expect("keys can be made");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]);
        let params = params.expect("a name that a certificate can hold");
        let certificate = params.signed_by(&key, &self.issuer).expect("a valid certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("it is a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.allow_unauthenticated().build().expect("there is a root");
        Identity::new(&certificate, &key, verifier)
    }
}

impl Identity {
    fn new(
        certificate: &Certificate,
        key: &KeyPair,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Identity {
        let pem = certificate.pem() + &key.serialize_pem();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring serves them")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the key is the certificate's");
        Identity { config: Arc::new(config), pem }
    }
}
