//! `vmkit-agent doctor`: the questions of the reference's troubleshooting lists, put to this
//! machine in the order in which one thing rests on another. So the first FAIL is the cause, and
//! what fails after it may be its doing.
//!
//! It asks and looks, and changes nothing; the one thing it sends is the agent's own dial.

mod report;
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

/// Prints what it finds, for people or as one JSON object; true where nothing has failed.
///
/// # Errors
/// A signal, or an operating system that won't let the program wait.
pub fn run(json: bool) -> io::Result<bool> {
    let mut examined = Examined::load();
    let machine = Machine::new(examined.config.as_mut())?;
    let mut report = Report::new(json, examined.config.as_ref());
    // Whose rights and whose view of the disk count: those of the agent that runs, if one does.
    let service = Service::find(&machine)?;
    settings::check(&examined, &service, &mut report);
    network::check(&examined, &machine, &mut report)?;
    let docker = examined.config.as_ref().map_or("docker".into(), |config| config.docker.clone());
    engine::check(&docker, &service, &machine, &mut report)?;
    service.check(&machine, &mut report)?;
    disk::check(&service, &mut report);
    upgrades::check(&service, &mut report);
    Ok(report.finish())
}
