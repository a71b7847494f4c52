//! The words for a TLS connection that failed: a peer that is not trusted, or that refuses.

use std::fmt;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::config::trust::Refused;
use crate::config::variables::GATEWAY_URL;
use crate::host::timestamp::Timestamp;

/// What is wrong with a TLS peer, and what to do. Shown as one line.
pub struct Distrust<'a> {
    pub error: &'a Error,
    /// What named the peer: a variable, an option.
    pub named_by: &'static str,
}

/// The same of the gateway, as the error of its connection: an alert may arrive at any time. In
/// TLS 1.3 the server judges the client when the handshake is over for the client.
#[derive(Debug)]
pub struct Failed(pub Error);

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, failed)
    }
}

impl std::error::Error for Failed {}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        Distrust { error: &self.0, named_by: GATEWAY_URL }.fmt(f)
    }
}

/// Never in the form of `Debug`: the shipped program has it cut short.
impl fmt::Display for Distrust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Distrust { error, named_by } = self;
        match error {
            Error::InvalidCertificate(reason) => certificate(f, reason, named_by),
            Error::AlertReceived(alert) => refusal(f, *alert, named_by),
            Error::PeerIncompatible(_) => {
                write!(f, "the server has {NOTHING_IN_COMMON}")
            }
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => write!(
                f,
                "the answer is not TLS, but may be plain HTTP; is there a TLS server on that port? \
                 Check {named_by}"
            ),
            Error::InvalidMessage(_) => {
                write!(f, "{error}; is there a TLS server on that port?")
            }
            other => write!(f, "{other}"),
        }
    }
}

const NOTHING_IN_COMMON: &str = "no TLS version, cipher or curve in common with the agent, which \
    speaks TLS 1.2 and 1.3 with ECDHE, AES-GCM or ChaCha20, X25519, P-256 or P-384";

/// A server that says why it ends the connection.
fn refusal(f: &mut fmt::Formatter, alert: AlertDescription, named_by: &str) -> fmt::Result {
    use AlertDescription as Alert;
    match alert {
        Alert::ProtocolVersion => f.write_str(
            "the server speaks neither TLS 1.2 nor TLS 1.3, and the agent speaks no other version",
        ),
        // OpenSSL's alert for a missing client certificate too, in TLS 1.2.
        Alert::HandshakeFailure | Alert::InsufficientSecurity => write!(
            f,
            "the server refuses the handshake: it wants a client certificate, which the agent does \
             not have, or has {NOTHING_IN_COMMON}"
        ),
        // The agent sends no certificate, so it is its lack that the server finds bad.
        Alert::CertificateRequired | Alert::NoCertificate | Alert::BadCertificate => f.write_str(
            "the server wants a client certificate, which the agent does not have; have the server \
             accept agents without: they show a token",
        ),
        Alert::UnrecognisedName => {
            write!(f, "the server does not know the host name; check {named_by}")
        }
        // rustls has the alert's name.
        other => {
            write!(
                f,
                "the server ended TLS: {}; look at the server's log",
                Error::AlertReceived(other)
            )
        }
    }
}

fn certificate(f: &mut fmt::Formatter, reason: &CertificateError, named_by: &str) -> fmt::Result {
    match reason {
        CertificateError::ExpiredContext { time, not_after } => write!(
            f,
            "the certificate has expired: it was valid until {}, this machine's clock says {}; \
             check the clock, or have the certificate renewed",
            Date(not_after),
            Date(time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => write!(
            f,
            "the certificate is not yet valid: it is valid from {}, this machine's clock says {}; \
             check the clock",
            Date(not_before),
            Date(time)
        ),
        CertificateError::BadSignature => f.write_str(
            "the certificate, or the server, has a signature that is wrong, or an RSA key of fewer \
             than 2048 bits; have it reissued",
        ),
        CertificateError::InvalidPurposeContext { .. } => f.write_str(
            "the certificate is not for a server; have it reissued with \
             extendedKeyUsage=serverAuth",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => f.write_str(
            "the certificate, or its CA's, has a signature that is not accepted, such as SHA-1; \
             have it reissued with SHA-256",
        ),
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(refused @ Refused::OtherHost { hosts, .. }) if !hosts.is_empty() => {
                write!(f, "{refused}; check {named_by}")
            }
            Some(refused) => write!(f, "{refused}"),
            None => write!(f, "the certificate can't be trusted: {other}"),
        },
        other => write!(f, "the certificate can't be trusted: {other}"),
    }
}

struct Date<'a>(&'a UnixTime);

impl fmt::Display for Date<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seconds = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX);
        write!(f, "{}", Timestamp::from_unix(seconds))
    }
}
