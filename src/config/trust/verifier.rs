//! Decides whether a server can be trusted. The checks are rustls's own, in its own order; what is
//! added is what the server's certificate says of itself, for the words of a refusal.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::certificate::{Certificate, shown};
use super::refused::Refused;

/// The most hosts of a certificate that are shown.
const HOSTS: usize = 4;

#[derive(Debug)]
pub(super) struct Verifier {
    pub roots: RootCertStore,
    /// How many of the roots are from the file. They are the first.
    pub from_file: usize,
    pub ca_file: Option<String>,
    pub algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn refused(
        &self,
        error: &CertificateError,
        end_entity: &[u8],
        intermediates: &[CertificateDer],
        host: &ServerName,
    ) -> Option<Refused> {
        let certificate = Certificate::read(end_entity)?;
        // A server sends its chain in order.
        let top = Certificate::read(intermediates.last().map_or(end_entity, |last| last))?;
        let is_alone = intermediates.is_empty();
        match error {
            CertificateError::UnknownIssuer => Some(Refused::UnknownIssuer {
                issuer: shown(top.issuer),
                is_self_signed: is_alone && top.is_self_signed(),
                is_alone,
                ca_file: self.ca_file.clone(),
            }),
            CertificateError::BadSignature => {
                let mut roots = self.roots.roots.iter();
                let index = roots.position(|root| root.subject.as_ref() == top.issuer)?;
                let ca_file = self.ca_file.clone().filter(|_| index < self.from_file);
                Some(Refused::OtherKey { issuer: shown(top.issuer), ca_file })
            }
            CertificateError::NotValidForNameContext { .. } => {
                let mut all = certificate.hosts();
                let hosts = all.by_ref().take(HOSTS).collect();
                let are_all = all.next().is_none();
                Some(Refused::OtherHost { host: host.to_str().into_owned(), hosts, are_all })
            }
            // webpki's own errors, which rustls does not tell apart.
            CertificateError::Other(_) if certificate.is_version_1 => {
                Some(Refused::Version1 { host: host.to_str().into_owned() })
            }
            CertificateError::Other(_) if certificate.is_ca() => Some(Refused::IsCa),
            _ => None,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer,
        intermediates: &[CertificateDer],
        host: &ServerName,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let check = || {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
            verify_server_name(&certificate, host)
        };
        check().map_err(|error| {
            let refused = match &error {
                Error::InvalidCertificate(error) => {
                    self.refused(error, end_entity, intermediates, host)
                }
                _ => None,
            };
            refused.map_or(error, |refused| {
                CertificateError::Other(OtherError(Arc::new(refused))).into()
            })
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
