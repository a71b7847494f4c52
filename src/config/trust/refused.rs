//! Why a certificate is refused, in words: what it says of itself, and what to do.

use std::fmt;
use std::net::IpAddr;

use crate::config::variables::CA_FILE;

/// A certificate that is refused. All text of the server's is printable and bounded.
#[derive(Debug)]
pub enum Refused {
    UnknownIssuer {
        /// Of the last certificate in the chain that the server sent.
        issuer: String,
        is_self_signed: bool,
        /// The server sent no intermediate certificate.
        is_alone: bool,
        ca_file: Option<String>,
    },
    /// A CA of the issuer's name is trusted, but its key did not make the signature.
    OtherKey {
        issuer: String,
        /// Where the trusted CA is from; none if it is bundled.
        ca_file: Option<String>,
    },
    OtherHost {
        host: String,
        /// A few of the hosts that the certificate is for.
        hosts: Vec<String>,
        are_all: bool,
    },
    /// A CA's own certificate, used by a server.
    IsCa,
    /// X.509 version 1.
    Version1 { host: String },
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Refused::UnknownIssuer { issuer, is_self_signed, is_alone, ca_file } => {
                let signed = if *is_self_signed { "by itself, " } else { "by " };
                write!(
                    f,
                    "the certificate is signed {signed}\"{issuer}\", which is not trusted (the \
                     system's certificate store is not used"
                )?;
                if let Some(path) = ca_file {
                    write!(f, ", {CA_FILE}={path} does not contain it")?;
                }
                let yours = if *is_self_signed { "your gateway's" } else { "your company's CA" };
                write!(f, "); if it is {yours}: sudo vmkit-agent install --ca-file FILE")?;
                match *is_alone && !is_self_signed {
                    true => f.write_str(
                        "; if it is an intermediate CA: have the server send its whole chain, it \
                         sent one certificate",
                    ),
                    false => Ok(()),
                }
            }
            Refused::OtherKey { issuer, ca_file: Some(path) } => write!(
                f,
                "the certificate is not signed by the \"{issuer}\" in {CA_FILE}={path}: this file \
                 may hold an older CA of the same name, or one with an RSA key of fewer than 2048 \
                 bits; put the CA's new certificate there"
            ),
            Refused::OtherKey { issuer, ca_file: None } => write!(
                f,
                "the certificate is not signed by the public CA \"{issuer}\", whose name it bears; \
                 something on the way may intercept TLS"
            ),
            Refused::OtherHost { host, hosts, .. } if hosts.is_empty() => write!(
                f,
                "the certificate names no host (a CN is not enough); have it reissued with {}",
                AltName(host)
            ),
            Refused::OtherHost { host, hosts, are_all } => {
                let more = if *are_all { "" } else { " and others" };
                write!(f, "the certificate is for {}{more}, not for {host}", hosts.join(", "))
            }
            Refused::IsCa => f.write_str(
                "the certificate is a CA's own, which a server can't use; have it reissued with \
                 basicConstraints=CA:FALSE",
            ),
            Refused::Version1 { host } => write!(
                f,
                "the certificate is of X.509 version 1, which names no host; have it reissued as \
                 version 3 with {}",
                AltName(host)
            ),
        }
    }
}

/// A host as openssl's extension has it.
struct AltName<'a>(&'a str);

impl fmt::Display for AltName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = if self.0.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
        write!(f, "subjectAltName={kind}:{}", self.0)
    }
}
