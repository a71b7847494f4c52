//! `vmkit-agent doctor`: checks everything that the agent needs, each check after the checks that
//! it depends on. So the first FAIL is to be mended first: later checks may fail because of it.
//!
//! Nothing is changed. The only thing that is sent is the agent's own dial, without `register`.

mod report;
mod instance;
mod settings;
mod network;
mod engine;
mod service;
mod disk;
mod upgrades;
mod machine;

use std::io;

use crate::config::Examined;
use machine::Machine;
use report::Report;
use service::Service;

/// Prints what the checks find: lines, or one JSON object. True where no check has failed.
///
/// # Errors
/// A signal that ends this process, or the operating system's own.
pub fn run(json: bool) -> io::Result<bool> {
    let mut examined = Examined::load();
    let machine = Machine::new(examined.config.as_mut())?;
    let mut report = Report::new(json, examined.config.as_ref());
    // Where an agent runs, its rights and its view of the disk count, not those of this process.
    let service = Service::find(&machine)?;
    let hidden = !examined.has_token && service::env_file_is_closed();
    if hidden || !service.has_agents_rights() {
        let seen = "only root sees all of this; some checks are skipped for this user";
        report.warn("user", seen, service.own_command("doctor"));
    }
    settings::check(&examined, hidden, &service, &mut report);
    match hidden {
        // Without the file this would dial the default gateway, which is not the agent's.
        true => report.skip("dns", "the gateway is not dialed: only root can read its URL"),
        false => network::check(&examined, &machine, &mut report)?,
    }
    let docker = examined.config.as_ref().map_or("docker".into(), |config| config.docker.clone());
    engine::check(&docker, &service, &machine, &mut report)?;
    service.check(&machine, &mut report)?;
    disk::check(&service, &mut report);
    upgrades::check(&service, &mut report);
    Ok(report.finish())
}
