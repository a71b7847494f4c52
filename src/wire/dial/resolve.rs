//! Names to addresses, anew at every attempt, in a process of its own: the C library's resolver
//! can't be interrupted and may take many seconds, and a thread is not to be had.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};

use super::{Attempt, Error, Failure, Peer, Phase};
use crate::run::job::{Captured, Progress};

/// The addresses of `peer`, IPv6 and IPv4 in alternation.
pub(super) fn addresses(attempt: &Attempt, peer: &Peer) -> Result<Vec<IpAddr>, Error> {
    let Peer { host, variable, .. } = *peer;
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let failed = |reason: &str| {
        let advice =
            format!("check the name in {variable} and the name servers in /etc/resolv.conf");
        let reason = format!("{host}: {reason} (asked {}); {advice}", name_servers());
        Error::from(Failure::new(Phase::Dns, reason))
    };
    let job = attempt
        .children
        .start_self(&["resolve", host], attempt.deadline)
        .map_err(|error| failed(&format!("can't start the resolver, /proc/self/exe: {error}")))?;
    let mut resolver = Captured::new(job);
    attempt.until(attempt.deadline);
    loop {
        let now = std::time::Instant::now();
        match resolver.turn(now) {
            Progress::Running => {
                attempt.waiter.wait().map_err(|error| failed(&error.to_string()))?;
                attempt.woken()?;
            }
            Progress::TimedOut => return Err(failed("no answer in time")),
            Progress::Ended(status) if status.success() => {
                let text = String::from_utf8_lossy(&resolver.output().stdout);
                let found = alternate(text.lines().filter_map(|line| line.parse().ok()));
                return if found.is_empty() { Err(failed("no address")) } else { Ok(found) };
            }
            Progress::Ended(_) => {
                let text = String::from_utf8_lossy(&resolver.output().stderr);
                return Err(failed(text.lines().next().unwrap_or("the resolver failed").trim()));
            }
        }
    }
}

/// The resolver's process: prints the addresses of `host`, a line each.
///
/// # Errors
/// The reason, as the C library has it.
pub fn print_addresses(host: &str) -> Result<(), String> {
    let addresses = (host, 0).to_socket_addrs().map_err(|error| {
        // std's preface says nothing that the line it ends up in does not.
        error.to_string().replace("failed to lookup address information: ", "")
    })?;
    let mut stdout = io::stdout().lock();
    for address in addresses {
        writeln!(stdout, "{}", address.ip()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// IPv6 and IPv4 in turn, each in the resolver's order, none twice.
fn alternate(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() { &mut six } else { &mut four };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let mut mixed = Vec::with_capacity(six.len() + four.len());
    for index in 0..six.len().max(four.len()) {
        mixed.extend(six.get(index));
        mixed.extend(four.get(index));
    }
    mixed
}

/// Who was asked, for the error.
fn name_servers() -> String {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .collect();
    if servers.is_empty() { "no name server: 127.0.0.1".to_owned() } else { servers.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3", "::1"].map(parse);
        let mixed = alternate(addresses.into_iter());
        assert_eq!(mixed, ["::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map(parse));
    }
}
