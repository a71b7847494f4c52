//! The way to the gateway: the agent's own dial, phase by phase, and this machine's clock beside
//! the gateway's. `register` is not sent, so the agent that runs keeps its session.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;

use super::machine::Machine;
use super::report::Report;
use crate::config::{Config, ENV_FILE, Examined, TokenSource};
use crate::host::init::Init;
use crate::host::timestamp::Timestamp;
use crate::wire::dial::{self, Attempt, Dialed, Failure, Passed, Phase};
use crate::wire::session::Session;

/// A larger difference between the clocks, in seconds, is a warning.
const SKEW: u64 = 60;

/// The dial, of which each phase becomes a line.
struct Way<'a> {
    report: RefCell<&'a mut Report>,
    config: &'a Config,
    /// The first phase that has no line yet; none at the end.
    next: Cell<Option<Phase>>,
    since: Cell<Instant>,
}

/// # Errors
/// A signal that ends this process.
pub fn check(examined: &Examined, machine: &Machine, report: &mut Report) -> io::Result<()> {
    let Some(config) = &examined.config else {
        report.skip("dns", "skipped: the configuration is invalid");
        return Ok(());
    };
    if examined.problems.iter().any(|problem| problem.variable() == "VMKIT_GATEWAY_URL") {
        // The default gateway stands in for it, and the token is not for the default gateway.
        report.skip("dns", "skipped: VMKIT_GATEWAY_URL is invalid");
        return Ok(());
    }
    let way = Way {
        report: RefCell::new(&mut *report),
        config,
        next: Cell::new(Some(Phase::Dns)),
        since: Cell::new(Instant::now()),
    };
    let passed = |step: Passed| way.passed(&step);
    let attempt = Attempt::new(&machine.waiter, &machine.children, &passed);
    let dialed = dial::reach(&attempt, config).and_then(|reached| match examined.has_token {
        true => dial::ask(&attempt, reached, config).map(Some),
        false => Ok(None),
    });
    match dialed {
        Ok(Some(dialed)) => {
            let took = way.took();
            way.pass(Phase::Http, &format!("the gateway accepts the token, {took}"));
            clock(dialed.date, false, report);
            leave(dialed, machine)
        }
        Ok(None) => {
            way.go_to(Phase::Http);
            way.skip_the_rest("skipped: no token");
            clock(None, false, report);
            Ok(())
        }
        Err(dial::Error::Failed(failure)) => {
            way.fail(&failure);
            clock(failure.date, failure.is_untimely(), report);
            Ok(())
        }
        Err(dial::Error::Stopped) => machine.go_on(),
    }
}

impl Way<'_> {
    fn passed(&self, step: &Passed) {
        let took = self.took();
        match step {
            Passed::Dns { host, addresses } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                let addresses = addresses.join(", ");
                match addresses == *host {
                    true => self.pass(Phase::Dns, &format!("{host} is an address")),
                    false => self.pass(Phase::Dns, &format!("{host} is {addresses}, {took}")),
                }
            }
            Passed::Tcp(address) => {
                self.pass(Phase::Tcp, &format!("connected to {address}, {took}"))
            }
            Passed::Proxy(proxy) => {
                let (host, port) = (proxy.host(), proxy.port());
                self.pass(Phase::Proxy, &format!("{host}:{port} connects to the gateway, {took}"));
            }
            Passed::Tls(version) => {
                self.pass(Phase::Tls, &format!("{version}, the certificate is good, {took}"));
            }
        }
    }

    /// How long the phase that has just ended took.
    fn took(&self) -> String {
        let now = Instant::now();
        format!("{} ms", now.saturating_duration_since(self.since.replace(now)).as_millis())
    }

    fn pass(&self, phase: Phase, seen: &str) {
        self.go_to(phase);
        self.report.borrow_mut().pass(phase.name(), seen);
        self.next.set(after(phase));
    }

    fn fail(&self, failure: &Failure) {
        let phase = failure.cause.phase();
        self.go_to(phase);
        let next = advice(failure, self.config);
        self.report.borrow_mut().fail(phase.name(), failure.cause.to_string(), next);
        self.next.set(after(phase));
        self.skip_the_rest("skipped: an earlier check failed");
    }

    fn skip_the_rest(&self, why: &str) {
        while let Some(phase) = self.next.get() {
            self.report.borrow_mut().skip(phase.name(), why);
            self.next.set(after(phase));
        }
    }

    /// A SKIP line for each phase before this one that the dial did not need.
    fn go_to(&self, phase: Phase) {
        while let Some(skipped) = self.next.get().filter(|next| *next < phase) {
            let why = match skipped {
                Phase::Proxy => "no proxy configured",
                _ => "no TLS: ws:// stays on this machine",
            };
            self.report.borrow_mut().skip(skipped.name(), why);
            self.next.set(after(skipped));
        }
    }
}

fn after(phase: Phase) -> Option<Phase> {
    match phase {
        Phase::Dns => Some(Phase::Tcp),
        Phase::Tcp => Some(Phase::Proxy),
        Phase::Proxy => Some(Phase::Tls),
        Phase::Tls => Some(Phase::Http),
        Phase::Http => None,
    }
}

/// The command to type next.
fn advice(failure: &Failure, config: &Config) -> String {
    let (host, authority) = (config.gateway.host(), config.gateway.authority());
    // The dial went to the proxy, so the proxy's address is what has to be checked.
    let by_proxy = failure.cause.is_proxys();
    // Not grep: its output, with the token, would be pasted into a ticket.
    let edit = format!("sudo vi {ENV_FILE}");
    match failure.cause.phase() {
        _ if failure.is_untimely() => clock_command().to_owned(),
        Phase::Dns if !by_proxy => format!("getent ahosts {host}; cat /etc/resolv.conf"),
        Phase::Tcp if !by_proxy => format!("nc -vz {host} {}", config.gateway.port()),
        Phase::Tls => {
            let by = config.gateway_proxy().map_or(String::new(), |proxy| {
                format!(" -proxy {}:{}", proxy.host(), proxy.port())
            });
            format!("openssl s_client -connect {authority} -servername {host}{by} </dev/null")
        }
        Phase::Http if failure.unauthorized => match config.token_source {
            TokenSource::Credential(_) => "systemctl cat vmkit-agent".to_owned(),
            _ => "sudo vmkit-agent install --token-stdin".to_owned(),
        },
        Phase::Http if failure.cause.is_passing() => "sleep 60; sudo vmkit-agent doctor".to_owned(),
        Phase::Dns | Phase::Tcp | Phase::Proxy | Phase::Http => edit,
    }
}

/// Compares this machine's clock with the gateway's.
fn clock(gateway: Option<Timestamp>, untimely: bool, report: &mut Report) {
    let own = Timestamp::now();
    let Some(gateway) = gateway else {
        return match untimely {
            true => {
                let seen =
                    format!("this machine's clock is {own}: outside the certificate's validity");
                report.fail("clock", seen, clock_command());
            }
            false => report.skip("clock", "unknown: no time from the gateway"),
        };
    };
    let ahead = own.unix().saturating_sub(gateway.unix());
    match ahead.unsigned_abs() {
        skew @ 0..=SKEW => report.pass("clock", format!("within {skew} s of the gateway's clock")),
        skew => {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let seen = format!("{own}: {skew} s {side} the gateway's clock");
            report.warn("clock", seen, clock_command());
        }
    }
}

/// The command that shows the clock, and whether it is synchronized.
fn clock_command() -> &'static str {
    if Init::find() == Init::OpenRc { "date -u" } else { "timedatectl" }
}

/// Closes the connection as a session would.
fn leave(dialed: Dialed, machine: &Machine) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_millis(500);
    let now = Instant::now();
    let mut session = Session::new(dialed.websocket, now);
    session.close(now, CloseCode::Normal, "vmkit-agent doctor".to_owned(), PATIENCE);
    machine.waiter.set_deadline(Some(session.deadline()));
    // The session ends with an error, which tells how it ended.
    while session.turn(Instant::now()).is_ok() {
        machine.go_on()?;
        machine.waiter.set_deadline(Some(session.deadline()));
    }
    Ok(())
}
