//! The TLS handshake.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::attempt::{Attempt, Passed};
use super::failure::{Cause, Error, Tls as Why};
use crate::config::Config;
use crate::wire::no_certificate::NoCertificate;
use crate::wire::tls::Failed;
use crate::wire::transport::{Tls, Wire};

/// Makes the connection secure, and sure that the gateway is at its other end.
pub(super) fn secure(attempt: &Attempt, wire: Wire, config: &Config) -> Result<Tls, Error> {
    let failed = |why| Error::from(Cause::Tls { gateway: config.gateway.authority(), why });
    let name = ServerName::try_from(config.gateway.host().to_owned())
        .map_err(|_| failed(Why::ServerName))?;
    let certificate = Arc::new(NoCertificate::default());
    let mut tls = ClientConfig::clone(&config.upgrade.tls);
    tls.client_auth_cert_resolver = certificate.clone();
    let connection = ClientConnection::new(Arc::new(tls), name)
        .map_err(|error| failed(Why::Distrusted(error)))?;
    let mut tls = Tls::new(wire, connection, certificate);
    attempt.until(attempt.deadline);
    loop {
        match tls.shake_hands() {
            Ok(true) => {
                (attempt.passed)(Passed::Tls(tls.version()));
                return Ok(tls);
            }
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if attempt.woken()? {
                    return Err(failed(Why::NoAnswer));
                }
            }
            Err(error) => return Err(failed(why(error))),
        }
    }
}

fn why(error: io::Error) -> Why {
    // A peer that closes without having read all resets the connection.
    if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) {
        return Why::HungUp;
    }
    match error.downcast() {
        Ok(Failed(distrust)) => Why::Distrusted(distrust),
        Err(error) => Why::Socket(error),
    }
}
