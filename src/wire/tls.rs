//! The words for a TLS peer that is not trusted.

use std::fmt;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use crate::host::timestamp::Timestamp;

/// What is wrong with a TLS peer, and what to do. Shown as one line.
pub struct Distrust<'a> {
    pub error: &'a rustls::Error,
    /// What named the peer: a variable, an option.
    pub named_by: &'static str,
}

/// Whether the certificate's CA is not among the trusted.
pub fn is_unknown(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
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
                "the certificate is signed by a CA that is not trusted; if it is your company's CA: \
                 sudo vmkit-agent install --ca-file FILE",
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
                "the certificate is not yet valid: it is valid from {}, this machine's clock says {}; \
                 check the clock",
                Date(not_before),
                Date(time)
            ),
            other => write!(f, "the certificate can't be trusted: {other}"),
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
