//! How a session opens: the upgrade request, and `register` as its first message.

use std::{net::SocketAddr, process::Command};

use serde_json::json;

use crate::support::{Agent, Authority, Peer, TOKEN, agent_program, architecture};

fn version() -> String {
    let output = Command::new(agent_program()).arg("--version").env_clear().output();
    let output = String::from_utf8(output.expect("the agent was built").stdout).expect("UTF-8");
    let version = output.strip_prefix("vmkit-agent ").expect("its name comes first");
    version.split_whitespace().next().expect("a version").to_owned()
}

#[test]
fn upgrade_request_names_endpoint_token_and_agent() {
    let peer = Peer::plain();
    let _agent = Agent::dialing(&peer).start();
    let session = peer.accept_upgraded();
    let upgrade = session.upgrade.clone();

    assert_eq!(upgrade.request_line, "GET /api/daemon HTTP/1.1");
    let header =
        |name| upgrade.header(name).unwrap_or_else(|| panic!("{name} is not in {upgrade:?}"));
    assert_eq!(header("Host"), format!("127.0.0.1:{}", peer.port()));
    assert_eq!(header("Authorization"), format!("Bearer {TOKEN}"));
    let user_agent = format!("vmkit-agent/{} (linux; {})", version(), architecture());
    assert_eq!(header("User-Agent"), user_agent);
    assert_eq!(header("Upgrade").to_lowercase(), "websocket");
    assert!(header("Connection").to_lowercase().contains("upgrade"));
    assert_eq!(header("Sec-WebSocket-Version"), "13");
    assert_eq!(upgrade.header("Sec-WebSocket-Extensions"), None);
    let key = data_encoding::BASE64.decode(header("Sec-WebSocket-Key").as_bytes());
    assert_eq!(key.expect("base64").len(), 16);
}

#[test]
fn each_dial_has_a_key_of_its_own() {
    let peer = Peer::plain();
    let _agent = Agent::dialing(&peer).start();
    let first = peer.accept_upgraded().upgrade;
    let second = peer.accept_upgraded().upgrade;
    assert_ne!(first.header("Sec-WebSocket-Key"), second.header("Sec-WebSocket-Key"));
}

#[test]
fn path_and_query_of_the_url_are_kept() {
    let peer = Peer::plain();
    let url = format!("ws://127.0.0.1:{}/a/b?zone=1", peer.port());
    let _agent = Agent::dialing(&peer).env("VMKIT_GATEWAY_URL", url).start();
    assert_eq!(peer.accept_upgraded().upgrade.request_line, "GET /a/b?zone=1 HTTP/1.1");
}

#[test]
fn register_is_first_with_the_five_members_of_every_version() {
    let peer = Peer::plain();
    let _agent = Agent::dialing(&peer).start();
    let mut session = peer.accept_upgraded();
    let params = session.read_register();
    let expected = json!({
        "version": version(),
        "instance_id": "vmkit-test-instance",
        "ip": "127.0.0.1",
        "os": "linux",
        "arch": architecture(),
    });
    for (member, value) in expected.as_object().expect("an object") {
        assert_eq!(params[member], *value, "{member}");
    }
}

/// `127.0.0.1` might be a constant, or a guess; here only the socket knows.
#[test]
fn ip_is_the_local_address_of_the_socket() {
    let listener = std::net::TcpListener::bind("[::1]:0").expect("IPv6 on loopback");
    let address: SocketAddr = listener.local_addr().expect("it is bound");
    let peer = Peer::on(listener);
    let _agent = Agent::dialing(&peer).env("VMKIT_GATEWAY_URL", format!("ws://{address}/")).start();
    let mut session = peer.accept_upgraded();
    assert_eq!(session.upgrade.header("Host"), Some(&*address.to_string()));
    assert_eq!(session.read_register()["ip"], "::1");
}

#[test]
fn register_over_tls() {
    let authority = Authority::new();
    let peer = Peer::tls(&authority.good());
    let _agent = Agent::dialing(&peer).trusting(&authority).start();
    let mut session = peer.accept_registered();
    session.assert_quiet();
    assert_eq!(session.upgrade.header("Authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn instance_id_is_found_where_the_environment_has_none() {
    let found = |prepare: &dyn Fn(&crate::support::PrivateRoot)| {
        let peer = Peer::plain();
        let setup = Agent::dialing(&peer).without("VMKIT_INSTANCE_ID").in_private_root(prepare);
        let _agent = setup.start();
        peer.accept_upgraded().read_register()["instance_id"].take()
    };
    let cloud = "var/lib/cloud/data/instance-id";
    let both = found(&|root| {
        root.write(cloud, "i-0abc\n");
        root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    });
    assert_eq!(both, "i-0abc");
    let machine = found(&|root| root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n"));
    assert_eq!(machine, "0123456789abcdef0123456789abcdef");
    let empty = found(&|root| {
        root.write(cloud, "\n");
        root.write("etc/machine-id", "");
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has one");
    assert_eq!(empty, host.trim());
}
