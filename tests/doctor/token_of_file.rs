//! Variables that somebody has exported for another command, on a machine whose service has a token
//! of its own: each token goes to the gateway that it is for, or nowhere.

use crate::{gateway::Gateway, machine::Machine, support::TOKEN};

const OF_THE_SHELL: &str = "vmkit-test-token-of-the-shell";

/// A token once for people and once for programs.
fn twice(token: &str) -> Vec<String> {
    vec![token.to_owned(); 2]
}

#[test]
fn the_gateway_of_the_shell_never_gets_the_token_of_the_file() {
    let (gateway, other) = (Gateway::good("now"), Gateway::good("now"));
    let machine = || Machine::dialing(&gateway.url).env("VMKIT_GATEWAY_URL", &other.url);
    let findings = machine().examine();
    findings.assert_sound();
    findings.of("gateway-url").assert("PASS", &[&gateway.url]);
    findings.of("shell").assert("WARN", &["VMKIT_GATEWAY_URL", "the service's"]);
    assert_eq!(gateway.tokens(), twice(TOKEN));

    // The same where the file has no gateway. The default gateway can't be reached here.
    let token = format!("VMKIT_AGENT_TOKEN={TOKEN}");
    let findings = machine().env_file(Some(&[&token])).examine();
    findings.of("gateway-url").assert("PASS", &["wss://gateway.vmkit.dev/api/daemon"]);
    findings.assert_first_fail("dns", &[]);
    assert!(other.tokens().is_empty() && gateway.tokens().len() == 2);
}

/// The default stands in for much that is wrong, but not for this.
#[test]
fn a_wrong_gateway_is_not_replaced_by_the_default() {
    let token = format!("VMKIT_AGENT_TOKEN={TOKEN}");
    let lines = [&*token, "VMKIT_GATEWAY_URL=http://gateway.vmkit-test.example/"];
    let findings = Machine::dialing("").env_file(Some(&lines)).examine();
    findings.assert_first_fail("gateway-url", &["VMKIT_GATEWAY_URL"]);
    findings.of("dns").assert("SKIP", &["VMKIT_GATEWAY_URL"]);
    assert!(findings.checks.iter().all(|finding| finding.check != "http"));
}

#[test]
fn the_gateway_of_the_file_never_gets_the_token_of_the_shell() {
    let (gateway, other) = (Gateway::good("now"), Gateway::good("now"));
    let machine = || Machine::dialing(&gateway.url).env("VMKIT_AGENT_TOKEN", OF_THE_SHELL);
    let findings = machine().examine();
    findings.of("token").assert("PASS", &["/etc/vmkit/agent.env"]);
    findings.of("shell").assert("WARN", &["VMKIT_AGENT_TOKEN"]);
    assert_eq!(gateway.tokens(), twice(TOKEN));

    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let machine = machine().env_file(Some(&[&url])).env("VMKIT_GATEWAY_URL", &other.url);
    machine.examine().of("gateway-url").assert("PASS", &[&other.url]);
    assert_eq!(other.tokens(), twice(OF_THE_SHELL));
    assert_eq!(gateway.tokens().len(), 2);
}

#[test]
fn the_gateway_of_the_shell_never_gets_the_credential_of_the_service() {
    let (gateway, other) = (Gateway::good("now"), Gateway::good("now"));
    let url = format!("VMKIT_GATEWAY_URL={}", gateway.url);
    let machine = Machine::dialing(&gateway.url).env_file(Some(&[&url]));
    let of_the_service = "run/credentials/vmkit-agent.service/vmkit-agent-token";
    let machine = machine.spoil(|root| root.write(of_the_service, TOKEN));
    machine.env("VMKIT_GATEWAY_URL", &other.url).examine().assert_sound();
    assert_eq!(gateway.tokens(), twice(TOKEN));
    assert!(other.tokens().is_empty());
}
