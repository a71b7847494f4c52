//! The hosts that are reached without the proxy: the list in NO_PROXY, and whether a host is on it.
//! Pure.
//!
//! Nothing is resolved: a range of addresses is for hosts that are written as an address, as curl and
//! Go have it.

use std::net::IpAddr;

use super::variables::NO_PROXY;
use crate::host::authority::bare;
use crate::host::redact::without_secrets;

/// The entries of NO_PROXY.
#[derive(Clone, Default, Debug)]
pub struct NoProxy {
    entries: Vec<Entry>,
    /// Entries that mean nothing here.
    ignored: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    hosts: Hosts,
    /// The only port that it is for.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Hosts {
    All,
    /// A name in lower case, without a dot at either end.
    Named {
        name: String,
        /// Only the names below it.
        below: bool,
    },
    /// The addresses that share their first bits with this one.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// The entries stand between commas, white space, or both.
    pub(super) fn parse(text: &str) -> NoProxy {
        let mut list = NoProxy::default();
        let words = text.split(|separator: char| separator == ',' || separator.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            match Entry::parse(word) {
                Some(entry) => list.entries.push(entry),
                None => list.ignored.push(word.to_owned()),
            }
        }
        list
    }

    /// What to tell the operator of entries that are ignored. The variable is often set for the whole
    /// machine, with entries for other programs, so they are no error: the agent starts.
    pub(super) fn problem(&self) -> Option<String> {
        let ignored: Vec<_> =
            self.ignored.iter().map(|it| format!("{:?}", without_secrets(it))).collect();
        (!ignored.is_empty()).then(|| {
            format!(
                "{NO_PROXY}: ignored {}; an entry is a name, .suffix, an IP address, a range like \
                 10.0.0.0/8, each with :port if need be, or *",
                ignored.join(", ")
            )
        })
    }

    /// Whether `host`, with or without brackets, is on the list.
    pub fn has(&self, host: &str, port: u16) -> bool {
        let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port)
                && match (&entry.hosts, address) {
                    (Hosts::All, _) => true,
                    (Hosts::Network(network, bits), Some(address)) => {
                        first_bits(*network, *bits) == first_bits(address, *bits)
                    }
                    (Hosts::Named { name, below }, None) => {
                        match host.strip_suffix(name.as_str()) {
                            Some("") => !below,
                            Some(front) => front.ends_with('.'),
                            None => false,
                        }
                    }
                    _ => false,
                }
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Entry> {
        if let Some(hosts) = Hosts::parse(text) {
            return Some(Entry { hosts, port: None });
        }
        let (hosts, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        Some(Entry { hosts: Hosts::parse(hosts)?, port: Some(port) })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Hosts> {
        if text == "*" {
            return Some(Hosts::All);
        }
        if let Ok(address) = bare(text).parse::<IpAddr>() {
            let address = address.to_canonical();
            return Some(Hosts::Network(address, width(address)));
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address = bare(address).parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Hosts::Network(address, bits));
        }
        let name = text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text);
        let below = name.starts_with('.');
        let name = name.trim_matches('.').to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // The beginning of an address, `192.168.`, is no name.
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
        (name.bytes().all(is_name) && !numeric).then_some(Hosts::Named { name, below })
    }
}

/// How many bits an address of this kind has.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The kind of address, and its first bits.
fn first_bits(address: IpAddr, bits: u32) -> (bool, u128) {
    let whole = match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => u128::from(address),
    };
    let rest = width(address).saturating_sub(bits);
    (address.is_ipv4(), whole.checked_shr(rest).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::authority::split;

    #[test]
    fn an_entry_is_for_these_hosts_and_no_others() {
        for (entry, on_the_list, others) in [
            (
                "example.com",
                "example.com EXAMPLE.com. a.example.com a.b.example.com",
                "notexample.com com example.com.evil 10.0.0.1",
            ),
            ("Example.COM.", "example.com example.com. a.example.com", "example.co"),
            (".internal", "a.internal A.B.internal.", "internal ainternal"),
            ("*.internal", "a.internal", "internal ainternal"),
            ("localhost", "localhost LOCALHOST", "127.0.0.1 [::1] localhost.example"),
            ("*", "h 10.0.0.1 [::1]", ""),
            ("h:8443", "h:8443 a.h:8443", "h h:443 a.h"),
            (".h:8443", "a.h:8443", "h:8443 a.h:443"),
            ("*:8443", "h:8443 10.0.0.1:8443", "h:443"),
            ("10.0.0.1", "10.0.0.1 [::ffff:10.0.0.1]", "10.0.0.10 110.0.0.1 a.10.0.0.1"),
            ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0 10.255.255.255", "11.0.0.0 9.255.255.255 [::a00:0] h"),
            ("10.1.2.3/8", "10.200.0.1", "11.1.2.3"),
            ("192.168.4.0/22", "192.168.4.1 192.168.7.255", "192.168.8.0 192.168.3.255"),
            ("10.0.0.0/8:443", "10.1.1.1:443", "10.1.1.1:80"),
            ("0.0.0.0/0", "1.2.3.4 255.255.255.255", "[::1] h"),
            ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
            ("fd00::/8", "[fd00::1] [fdff:ffff::]", "[fc00::1] [fe00::] 253.0.0.1"),
            ("::1", "[::1] [0:0:0:0:0:0:0:1]", "[::2] localhost"),
            ("[::1]", "[::1]", "[::2]"),
            ("[::1]:8443", "[::1]:8443", "[::1]:443"),
            ("[fd00::]/8", "[fd00::1]", "[fc00::1]"),
            ("::/0", "[::1] [fd00::1]", "1.2.3.4"),
            ("a_b-c.test", "a_b-c.test", "b-c.test"),
        ] {
            let list = NoProxy::parse(entry);
            assert!(list.ignored.is_empty(), "{entry}");
            let has = |target| {
                let (host, port) = split(target).unwrap();
                list.has(host, port.unwrap_or(443))
            };
            for target in on_the_list.split(' ') {
                assert!(has(target), "{target} is on {entry}");
            }
            for target in others.split(' ').filter(|target| !target.is_empty()) {
                assert!(!has(target), "{target} is not on {entry}");
            }
        }
    }

    #[test]
    fn commas_and_white_space_separate() {
        let list = NoProxy::parse(" a, b\tc,,d ,");
        for host in ["a", "b", "c", "d"] {
            assert!(list.has(host, 443), "{host}");
        }
        assert!(!list.has("", 443));
        assert!(!NoProxy::parse("").has("h", 443));
    }

    #[test]
    fn what_means_nothing_is_kept_to_be_told() {
        for entry in [
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/",
            "h/8",
            "10.0.0.0/a",
            "h:0",
            "h:x",
            "h:65536",
            "a;b",
            "<local>",
            "192.168.",
            "10.*",
            "a*b",
            "**",
            "1.2.3",
            ".",
            ":443",
            "[h]",
            "b\u{fc}ro.test",
        ] {
            let list = NoProxy::parse(&format!("before,{entry},behind"));
            let problem = list.problem().unwrap();
            assert!(problem.contains(&format!("ignored {entry:?};")), "{problem}");
            assert!(list.has("before", 443) && list.has("behind", 443), "{entry}");
        }
    }

    #[test]
    fn nothing_is_told_of_a_good_list_and_no_password_of_a_bad_one() {
        assert_eq!(NoProxy::parse("a,.b,10.0.0.0/8").problem(), None);
        let problem = NoProxy::parse("http://user:hush@h,a;b").problem().unwrap();
        assert!(problem.starts_with("NO_PROXY: ignored \"http://h\", \"a;b\"; "), "{problem}");
    }

    proptest! {
        #[test]
        fn any_list_is_survived(text in ".{0,80}", host in "[a-z.:0-9\\[\\]/*]{0,20}", port: u16) {
            let _ = NoProxy::parse(&text).has(&host, port);
        }

        #[test]
        fn an_address_is_in_each_network_around_it(address: u32, bits in 0..=32_u32, other: u32) {
            let (own, other) = (IpAddr::from(address.to_be_bytes()), IpAddr::from(other.to_be_bytes()));
            let list = NoProxy::parse(&format!("{own}/{bits}"));
            prop_assert!(list.has(&own.to_string(), 1));
            let expected = first_bits(own, bits) == first_bits(other, bits);
            prop_assert_eq!(list.has(&other.to_string(), 1), expected);
        }
    }
}
