//! Names to addresses, anew at every attempt, in a process of its own: the C library's resolver
//! can't be interrupted and may take many seconds, and this program has no threads.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};

use super::attempt::Attempt;
use super::failure::{Cause, Dns, Error, Peer};
use crate::run::job::{Captured, Progress};

/// The addresses of `peer`, at least one. IPv6 and IPv4 take turns.
pub(super) fn addresses(attempt: &Attempt, peer: &Peer) -> Result<Vec<IpAddr>, Error> {
    if let Ok(address) = peer.host.parse() {
        return Ok(vec![address]);
    }
    let failed = |why| Error::from(Cause::Dns { peer: peer.clone(), servers: name_servers(), why });
    let job = attempt
        .children
        .start_self(&["resolve", &peer.host], attempt.deadline)
        .map_err(|error| failed(Dns::Resolver(error)))?;
    let mut resolver = Captured::new(job);
    attempt.until(attempt.deadline);
    loop {
        let now = std::time::Instant::now();
        match resolver.turn(now) {
            Progress::Running => {
                attempt.waiter.wait().map_err(|error| failed(Dns::Resolver(error)))?;
                attempt.woken()?;
            }
            Progress::TimedOut => return Err(failed(Dns::NoAnswer)),
            Progress::Ended(status) if status.success() => {
                let text = String::from_utf8_lossy(&resolver.output().stdout);
                let found = alternate(text.lines().filter_map(|line| line.parse().ok()));
                return if found.is_empty() { Err(failed(Dns::NoAddress)) } else { Ok(found) };
            }
            Progress::Ended(_) => {
                let text = String::from_utf8_lossy(&resolver.output().stderr);
                return Err(failed(reason(text.lines().next().unwrap_or_default().trim())));
            }
        }
    }
}

/// What the C library means, musl or glibc. Neither has a number for it that std hands on.
fn reason(text: &str) -> Dns {
    match text {
        "Try again" | "Temporary failure in name resolution" => Dns::NoAnswer,
        "Name does not resolve" | "Name or service not known" => Dns::NoSuchName,
        "Name has no usable address" | "No address associated with hostname" => Dns::NoAddress,
        "" => Dns::Other("the resolver failed".to_owned()),
        other => Dns::Other(other.to_owned()),
    }
}

/// The resolver's process: prints the addresses of `host`, a line each.
///
/// # Errors
/// The reason in the C library's words.
pub fn print_addresses(host: &str) -> Result<(), String> {
    let addresses = (host, 0).to_socket_addrs().map_err(|error| {
        // The C library's own words, which `reason` knows, follow a preface of std's.
        error.to_string().replace("failed to lookup address information: ", "")
    })?;
    let mut stdout = io::stdout().lock();
    for address in addresses {
        writeln!(stdout, "{}", address.ip()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The families in turn, as RFC 8305 says: a family that is dead holds up no more than one attempt.
/// The resolver's first address stays first, and each family stays in the resolver's order.
fn alternate(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (mut one, mut other) = (Vec::<IpAddr>::new(), Vec::new());
    for address in addresses {
        let is_of_first = one.first().is_none_or(|first| first.is_ipv6() == address.is_ipv6());
        let family = if is_of_first { &mut one } else { &mut other };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let mut mixed = Vec::with_capacity(one.len() + other.len());
    for index in 0..one.len().max(other.len()) {
        mixed.extend(one.get(index));
        mixed.extend(other.get(index));
    }
    mixed
}

/// The servers that the C library asks. Without any, it asks 127.0.0.1.
fn name_servers() -> Vec<String> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    servers.map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_after_the_resolvers_first() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let mixed = |resolved: &[&str]| alternate(resolved.iter().map(|text| parse(text)));
        assert_eq!(
            mixed(&["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3", "::1"]),
            ["10.0.0.1", "::1", "10.0.0.2", "10.0.0.3"].map(parse)
        );
        assert_eq!(mixed(&["::1", "::2", "10.0.0.1"]), ["::1", "10.0.0.1", "::2"].map(parse));
    }

    #[test]
    fn both_c_libraries_are_understood() {
        assert!(matches!(reason("Try again"), Dns::NoAnswer));
        assert!(matches!(reason("Name or service not known"), Dns::NoSuchName));
        assert!(matches!(reason("System error"), Dns::Other(text) if text == "System error"));
    }
}
