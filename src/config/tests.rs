//! Right and wrong values of each variable.

use std::collections::BTreeMap;

use log::LevelFilter;

use super::gateway::Gateway;
use super::variables::Variables;
use super::*;

fn check(assignments: &[(&str, &str)]) -> Result<Config, String> {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let mut variables: BTreeMap<_, _> = assignments.iter().map(own).collect();
    variables.entry("VMKIT_AGENT_TOKEN".to_owned()).or_insert_with(|| "secret".to_owned());
    let variables = Variables(variables);
    Config::check(&variables, Vec::new(), TokenSource::Environment)
        .map_err(|error| error.to_string())
}

fn gateway(url: &str) -> Result<Gateway, String> {
    check(&[("VMKIT_GATEWAY_URL", url)]).map(|config| config.gateway)
}

#[test]
fn defaults_are_the_references() {
    let config = check(&[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.gateway.to_string(), "wss://gateway.vmkit.dev/api/daemon");
    assert_eq!(config.gateway.authority(), "gateway.vmkit.dev:443");
    assert_eq!(config.log_level, LevelFilter::Info);
    assert_eq!(config.docker, "docker");
    assert!(!config.instance_id.is_empty());
}

#[test]
fn an_empty_variable_counts_as_absent() {
    for empty in ["", " "] {
        let gateway = gateway(empty).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(gateway.to_string(), "wss://gateway.vmkit.dev/api/daemon");
    }
}

#[test]
fn the_token_is_never_shown() {
    let config =
        check(&[("VMKIT_AGENT_TOKEN", "s3cr3t")]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(format!("{:?}", config.token), "***");
    assert_eq!(config.token.authorization(), "Bearer s3cr3t");
    let error = check(&[("VMKIT_AGENT_TOKEN", "s3cr3t\u{e9}")]).err().unwrap_or_default();
    assert!(error.starts_with("VMKIT_AGENT_TOKEN: ") && !error.contains("s3cr3t"), "{error}");
}

#[test]
fn plain_text_is_for_loopback_only() {
    for url in ["ws://127.0.0.1:8080/x", "ws://127.9.9.9/x", "ws://[::1]:1/x", "ws://localhost/x"] {
        assert!(!gateway(url).expect(url).tls());
    }
    for url in
        ["ws://10.0.0.1/x", "ws://gateway.vmkit.dev/x", "ws://[::2]/x", "ws://127.0.0.1.evil/x"]
    {
        let error = gateway(url).expect_err(url);
        assert!(error.starts_with("VMKIT_GATEWAY_URL: ") && error.contains("wss:"), "{error}");
    }
}

#[test]
fn localhost_is_looked_up_as_the_hosts_file_writes_it() {
    for (url, host) in [
        ("ws://LOCALHOST:1/x", "localhost"),
        ("wss://LocalHost:1/x", "localhost"),
        ("wss://Gateway.Test:1/x", "Gateway.Test"),
    ] {
        let gateway = gateway(url).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((gateway.host(), &*gateway.authority()), (host, &*format!("{host}:1")), "{url}");
    }
}

#[test]
fn a_gateway_url_is_shown_without_its_query() {
    let gateway =
        gateway("wss://[2001:db8::1]:8443/x?key=secret").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(gateway.to_string(), "wss://[2001:db8::1]:8443/x");
    assert_eq!((gateway.host(), gateway.port()), ("2001:db8::1", 8443));
    assert_eq!(gateway.authority(), "[2001:db8::1]:8443");
}

#[test]
fn wrong_gateway_urls_are_refused_and_not_repeated() {
    for url in [
        "gateway",
        "http://h/",
        "wss://",
        "wss:///x",
        "wss://u:secret@h/",
        "wss://h:99999/",
        "wss://h:/",
        "ftp://secret/",
    ] {
        let error = gateway(url).expect_err(url);
        assert!(
            error.starts_with("VMKIT_GATEWAY_URL: ") && !error.contains("secret"),
            "{url}: {error}"
        );
    }
}

#[test]
fn each_wrong_variable_is_named() {
    for (variable, value) in [
        ("VMKIT_LOG_LEVEL", "loud"),
        ("VMKIT_CA_FILE", "/nonexistent"),
        ("VMKIT_CA_FILE", "/dev/null"),
        ("VMKIT_INSTANCE_ID", "a\tb"),
        ("HTTPS_PROXY", "https://proxy:1"),
        ("HTTPS_PROXY", "socks5://proxy:1"),
        ("HTTPS_PROXY", "::"),
        ("VMKIT_UPGRADE_PUBKEY", "RWQf6LRCGA9i53ml"),
        ("VMKIT_UPGRADES", "no"),
        ("VMKIT_UPGRADES", "OFF"),
        ("VMKIT_UPGRADE_PROBATION_SECS", "4"),
        ("VMKIT_UPGRADE_PROBATION_SECS", "3601"),
        ("VMKIT_UPGRADE_PROBATION_SECS", "2m"),
        ("HTTPS_PROXY", "http://proxy:99999"),
        ("HTTPS_PROXY", "http://proxy:0"),
    ] {
        let error = check(&[(variable, value)]).err().unwrap_or_default();
        assert!(error.starts_with(&format!("{variable}: ")), "{variable}={value}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn the_proxy_leads_to_what_no_proxy_does_not_have() {
    let config = check(&[
        ("HTTPS_PROXY", "http://u:p%40@proxy:3128"),
        ("no_proxy", "example.com, 10.0.0.0/8,h.test:8443"),
    ]);
    let upgrade = config.map(|config| config.upgrade).unwrap_or_else(|error| panic!("{error}"));
    let proxy = upgrade.proxy_to("gateway.test", 443).expect("a proxy");
    assert_eq!((proxy.host(), proxy.port(), proxy.password()), ("proxy", 3128, Some("p@")));
    assert!(upgrade.proxy_to("h.test", 443).is_some());
    for (host, port) in [("example.com", 443), ("10.2.3.4", 443), ("h.test", 8443)] {
        assert!(upgrade.proxy_to(host, port).is_none(), "{host}");
    }
}
