//! The words of a failed dial, which the log and `doctor` share.

use std::fmt;
use std::io::ErrorKind;

use super::attempt::BUDGET;
use super::failure::{Cause, Dns, Failure, Http, Peer, Proxy, Tcp, Tls, Unreached};
use super::tcp::EACH;
use crate::config::variables::{GATEWAY_URL, HTTPS_PROXY, TOKEN};
use crate::config::{ENV_FILE, TokenSource};
use crate::wire::tls::Distrust;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.cause.phase().name(), self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Cause::Dns { peer, servers, why } => dns(f, peer, servers, why),
            Cause::Tcp { peer, why } => tcp(f, peer, why),
            Cause::Proxy { proxy, why } => write!(f, "{proxy}: the proxy {}", Say(why)),
            Cause::Tls { gateway, why } => write!(f, "{gateway}: {}", Say(why)),
            Cause::Http { gateway, why } => write!(f, "{gateway}: {}", Say(why)),
        }
    }
}

fn dns(f: &mut fmt::Formatter, peer: &Peer, servers: &[String], why: &Dns) -> fmt::Result {
    let Peer { host, variable, .. } = peer;
    let (asked, say) = match servers {
        [] => ("DNS server 127.0.0.1 (/etc/resolv.conf names none)".to_owned(), "says"),
        [server] => (format!("DNS server {server}"), "says"),
        servers => (format!("DNS servers {}", servers.join(", ")), "say"),
    };
    match why {
        Dns::NoAnswer => {
            write!(f, "{host}: {asked} did not answer; check the servers in /etc/resolv.conf")
        }
        Dns::NoSuchName => {
            write!(f, "{host}: {asked} {say} the name does not exist; check {variable}")
        }
        Dns::NoAddress => {
            write!(f, "{host}: {asked} {say} the name has no address; check {variable}")
        }
        Dns::Other(reason) => {
            write!(f, "{host}: {reason}; asked {asked}; check {variable} and /etc/resolv.conf")
        }
        Dns::Resolver(error) => {
            write!(f, "{host}: can't start the resolver, /proc/self/exe: {error}")
        }
    }
}

fn tcp(f: &mut fmt::Formatter, peer: &Peer, why: &Tcp) -> fmt::Result {
    let Peer { host, port, variable } = peer;
    let Tcp::Tried(tried) = why else {
        return write!(
            f,
            "{host} has no loopback address, and ws:// is for loopback only; check {variable}"
        );
    };
    for (index, (address, why)) in tried.iter().enumerate() {
        write!(f, "{}{address}", if index > 0 { ", " } else { "" })?;
        if index == 0 && address.ip().to_string() != *host {
            write!(f, " ({host})")?;
        }
        match why {
            Unreached::Silent => write!(f, " did not answer within {} s", EACH.as_secs()),
            Unreached::OutOfTime => write!(f, " did not answer {InTime}"),
            Unreached::Error(error) if error.kind() == ErrorKind::ConnectionRefused => {
                f.write_str(" refused the connection")
            }
            Unreached::Error(error) => write!(f, " can't be reached: {error}"),
        }?;
    }
    write!(f, "; a firewall may block outbound port {port}, or {variable} may be wrong")
}

struct InTime;

impl fmt::Display for InTime {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "in time ({} s for the whole dial)", BUDGET.as_secs())
    }
}

/// A reason, to be written after the name of what failed.
struct Say<'a, T>(&'a T);

impl fmt::Display for Say<'_, Proxy> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Proxy::NoAnswer => write!(f, "did not answer {InTime}"),
            Proxy::HungUp => f.write_str("closed the connection without an answer"),
            Proxy::Socket(error) => write!(f, "can't be asked: {error}"),
            Proxy::Endless => f.write_str("sends an answer without an end; it may not be a proxy"),
            Proxy::NotHttp => f.write_str("sent an answer that is not HTTP"),
            Proxy::Credentials(status) => {
                write!(f, "requires a user name and password, or rejects those given ({status})")
            }
            Proxy::Forbidden { target } => {
                return write!(
                    f,
                    "forbids the connection to {target} (403); its access list must allow {target} \
                     and this machine"
                );
            }
            Proxy::Unreachable { target, status } => {
                return write!(
                    f,
                    "could not connect to {target} ({status}); check that address, and the proxy's log"
                );
            }
            Proxy::Refused { target, status } => {
                write!(f, "does not connect to {target} ({status})")
            }
        }?;
        write!(f, "; check {HTTPS_PROXY}")
    }
}

impl fmt::Display for Say<'_, Tls> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Tls::ServerName => {
                write!(f, "the host can't be a name in a certificate; check {GATEWAY_URL}")
            }
            Tls::NoAnswer => write!(f, "the gateway did not finish the TLS handshake {InTime}"),
            Tls::HungUp => f.write_str(
                "the connection ended during the handshake; is there a TLS server on that port? A \
                 firewall may cut TLS",
            ),
            Tls::Socket(error) => write!(f, "the connection failed in the handshake: {error}"),
            Tls::Distrusted(error) => Distrust { error, named_by: GATEWAY_URL }.fmt(f),
        }
    }
}

impl fmt::Display for Say<'_, Http> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Http::NoAnswer => {
                write!(f, "the gateway did not answer the upgrade request {InTime}")
            }
            Http::HungUp => write!(
                f,
                "the gateway closed the connection without an answer; it may be restarting; if this \
                 goes on, check {GATEWAY_URL}, and the gateway's log"
            ),
            Http::Socket(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => Distrust { error, named_by: GATEWAY_URL }.fmt(f),
                None => write!(f, "the connection failed: {error}"),
            },
            Http::Endless => write!(f, "the answer's header has no end; check {GATEWAY_URL}"),
            Http::Unreadable => write!(f, "the answer is not HTTP; check {GATEWAY_URL}"),
            Http::NotWebSocket(reason) => {
                write!(
                    f,
                    "the answer (101) opens no WebSocket: it has {reason}; check {GATEWAY_URL}"
                )
            }
            Http::Extension(name) => write!(
                f,
                "the answer turns on {name}, which the agent did not ask for; switch WebSocket \
                 compression and extensions off at the gateway, or at the proxy before it"
            ),
            Http::Subprotocol(name) => write!(
                f,
                "the answer selects the subprotocol {name}, which the agent did not ask for; switch \
                 subprotocols off at the gateway, or at the proxy before it"
            ),
            Http::TokenRefused { status, source } => {
                write!(f, "the gateway refuses the token ({status}); check ")?;
                match source {
                    TokenSource::Credential(_) => source.fmt(f),
                    _ => write!(f, "{TOKEN} in {ENV_FILE}"),
                }?;
                f.write_str(", and that the token belongs to this gateway")
            }
            Http::NoEndpoint => {
                write!(f, "the gateway has no such endpoint (404); check the path in {GATEWAY_URL}")
            }
            Http::Busy { status, retry_after } => {
                write!(f, "the gateway is overloaded or restarting ({status}); retrying")?;
                match retry_after {
                    Some(delay) => write!(f, ", in {} s at the earliest", delay.as_secs()),
                    None => Ok(()),
                }
            }
            Http::Away(status) => write!(
                f,
                "the gateway is away: a proxy before it can't reach it ({status}); retrying"
            ),
            Http::Redirected { status, location: Some(location) } => write!(
                f,
                "the gateway redirects ({status}) to {location}; redirects are not followed, set \
                 this address in {GATEWAY_URL}"
            ),
            Http::Redirected { status, location: None } => {
                write!(
                    f,
                    "the gateway redirects ({status}) without a Location; check {GATEWAY_URL}"
                )
            }
            Http::Status(status @ (200..=299 | 426)) => write!(
                f,
                "answered {status} instead of 101; a captive portal, or a proxy without \
                 WebSockets, may be in the way; check {GATEWAY_URL}"
            ),
            Http::NoCertificate => write!(
                f,
                "the gateway answered 400: it wants a client certificate, which the agent does not \
                 have; have the server accept agents without: they show a token"
            ),
            Http::Status(status) => {
                write!(f, "the gateway answered {status}; check {GATEWAY_URL}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { host: "gateway.test".to_owned(), port: 443, variable: GATEWAY_URL }
    }

    fn dns_words(servers: &[&str], why: Dns) -> String {
        let servers = servers.iter().copied().map(String::from).collect();
        Cause::Dns { peer: peer(), servers, why }.to_string()
    }

    #[test]
    fn dns_names_the_servers_that_were_asked() {
        assert_eq!(
            dns_words(&["192.0.2.1"], Dns::NoAnswer),
            "gateway.test: DNS server 192.0.2.1 did not answer; check the servers in \
             /etc/resolv.conf"
        );
        assert_eq!(
            dns_words(&["192.0.2.1", "::1"], Dns::NoSuchName),
            "gateway.test: DNS servers 192.0.2.1, ::1 say the name does not exist; check \
             VMKIT_GATEWAY_URL"
        );
        assert!(dns_words(&[], Dns::NoAnswer).contains("127.0.0.1"));
    }

    #[test]
    fn tcp_names_each_address_and_the_port() {
        let at = |address: &str| address.parse().unwrap();
        let refused = Unreached::Error(ErrorKind::ConnectionRefused.into());
        let tried = vec![
            (at("[::1]:443"), refused),
            (at("192.0.2.7:443"), Unreached::Silent),
            (at("192.0.2.8:443"), Unreached::OutOfTime),
        ];
        let cause = Cause::Tcp { peer: peer(), why: Tcp::Tried(tried) };
        assert_eq!(
            cause.to_string(),
            "[::1]:443 (gateway.test) refused the connection, 192.0.2.7:443 did not answer within \
             3 s, 192.0.2.8:443 did not answer in time (20 s for the whole dial); a firewall may block outbound port 443, or VMKIT_GATEWAY_URL may be wrong"
        );
    }
}
