//! The way to the gateway: the agent's own dial, phase by phase, and this machine's clock beside
//! the gateway's. `register` is not sent: whatever agent the gateway knows stays the one it knows.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;

use super::machine::Machine;
use super::report::Report;
use crate::config::{Config, ENV_FILE, Examined, TokenSource};
use crate::host::init::Init;
use crate::host::timestamp::Timestamp;
use crate::wire::dial::{self, Attempt, Cause, Dialed, Failure, Http, Passed, Phase};
use crate::wire::session::Session;

/// Clocks further apart are worth a warning, in seconds.
const SKEW: u64 = 60;

/// The phases so far, each with a line.
struct Way<'a> {
    report: RefCell<&'a mut Report>,
    config: &'a Config,
    /// The first phase that has no line yet.
    next: Cell<Option<Phase>>,
    since: Cell<Instant>,
}

/// # Errors
/// A signal that asks this process to end.
pub fn check(examined: &Examined, machine: &Machine, report: &mut Report) -> io::Result<()> {
    let Some(config) = &examined.config else {
        report.skip("dns", "the configuration is no good");
        return Ok(());
    };
    if examined.problems.iter().any(|problem| problem.variable() == "VMKIT_GATEWAY_URL") {
        // The default that stands in for it is not the gateway that the token is for.
        report.skip("dns", "no gateway to go to: VMKIT_GATEWAY_URL is no good");
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
            way.pass(Phase::Http, &format!("the gateway takes the token, {took}"));
            clock(dialed.date, false, report);
            leave(dialed, machine)
        }
        Ok(None) => {
            way.go_to(Phase::Http);
            way.skip_the_rest("no token to ask with");
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
                    true => self.pass(Phase::Dns, &format!("{host} needs none")),
                    false => self.pass(Phase::Dns, &format!("{host} is {addresses}, {took}")),
                }
            }
            Passed::Tcp(address) => {
                self.pass(Phase::Tcp, &format!("connected to {address}, {took}"))
            }
            Passed::Proxy(proxy) => {
                let (host, port) = (proxy.host(), proxy.port());
                self.pass(Phase::Proxy, &format!("{host}:{port} lets us through, {took}"));
            }
            Passed::Tls(version) => {
                self.pass(Phase::Tls, &format!("{version}, the certificate is good, {took}"));
            }
        }
    }

    /// How long the phase has taken that is over now.
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
        self.skip_the_rest("not reached");
    }

    fn skip_the_rest(&self, why: &str) {
        while let Some(phase) = self.next.get() {
            self.report.borrow_mut().skip(phase.name(), why);
            self.next.set(after(phase));
        }
    }

    /// A line for each phase that this dial did without.
    fn go_to(&self, phase: Phase) {
        while let Some(skipped) = self.next.get().filter(|next| *next < phase) {
            let why = match skipped {
                Phase::Proxy => "none on this way",
                _ => "none: ws: stays on this machine",
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

/// What to type next.
fn advice(failure: &Failure, config: &Config) -> String {
    let (host, authority) = (config.gateway.host(), config.gateway.authority());
    let scheme = if config.gateway.tls() { "https" } else { "http" };
    // Where the proxy is the one that was dialed, its name has to be looked at.
    let by_proxy = failure.cause.is_proxys();
    // No grep: what it prints of these lines would end up in the ticket.
    let edit = format!("sudo vi {ENV_FILE}");
    match failure.cause.phase() {
        _ if failure.is_untimely() => clock_command().to_owned(),
        Phase::Dns if !by_proxy => format!("getent ahosts {host}; cat /etc/resolv.conf"),
        Phase::Tcp if !by_proxy => format!("curl -I {scheme}://{authority}/health"),
        Phase::Tls => {
            let by = config.gateway_proxy().map_or(String::new(), |proxy| {
                format!(" -proxy {}:{}", proxy.host(), proxy.port())
            });
            format!("openssl s_client -connect {authority} -servername {host}{by}")
        }
        Phase::Http if failure.unauthorized => match config.token_source {
            TokenSource::Credential(_) => "systemctl cat vmkit-agent".to_owned(),
            _ => "sudo vmkit-agent install --token-stdin".to_owned(),
        },
        // It is no matter of the configuration.
        Phase::Http if matches!(*failure.cause, Cause::Http { why: Http::Busy { .. }, .. }) => {
            "sleep 60; vmkit-agent doctor".to_owned()
        }
        Phase::Dns | Phase::Tcp | Phase::Proxy | Phase::Http => edit,
    }
}

/// This machine's clock beside the gateway's.
fn clock(gateway: Option<Timestamp>, untimely: bool, report: &mut Report) {
    let own = Timestamp::now();
    let Some(gateway) = gateway else {
        return match untimely {
            true => {
                let seen = format!("it says {own}, and the certificate is not valid then");
                report.fail("clock", seen, clock_command());
            }
            false => report.skip("clock", "the gateway has not said what time it is"),
        };
    };
    let ahead = own.unix().saturating_sub(gateway.unix());
    match ahead.unsigned_abs() {
        skew @ 0..=SKEW => report.pass("clock", format!("within {skew} s of the gateway's")),
        skew => {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let seen = format!("{own}: {skew} s {side} the gateway's");
            report.warn("clock", seen, clock_command());
        }
    }
}

/// What shows the clock, and who keeps it right.
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
    // It ends with what ended it.
    while session.turn(Instant::now()).is_ok() {
        machine.go_on()?;
        machine.waiter.set_deadline(Some(session.deadline()));
    }
    Ok(())
}
