//! From a method's name to its handler, with typed parameters.

use std::rc::Rc;
use std::time::Instant;

use crate::config::Config;
use crate::requests::handlers::LogsFetch;
use crate::requests::handlers::agent_upgrade::Upgrade;
use crate::requests::handlers::metrics_collect::{self, Taken};
use crate::run::job::Children;
use crate::wire::rpc::{self, Error, Request};

/// What a request has set going.
pub enum Started {
    Flight(Work),
    /// Not among the flights: it outlives the session.
    Upgrade(Box<Upgrade>),
}

/// What ends with the session.
pub enum Work {
    Logs(Box<LogsFetch>),
    /// The next snapshot, which all who ask for one in the meantime share.
    Snapshot,
    /// One that is to be answered with.
    Taken(Rc<Taken>),
}

/// Starts what `request` asks for.
///
/// # Errors
/// What to answer at once instead.
pub fn dispatch(
    request: &Request,
    now: Instant,
    config: &Config,
    children: &Rc<Children>,
    upgrading: bool,
) -> Result<Started, Error> {
    let params = request.params.as_deref();
    match request.method.as_str() {
        "logs_fetch" => LogsFetch::start(params, request.id.as_ref(), now, config, children)
            .map(|logs| Started::Flight(Work::Logs(Box::new(logs)))),
        "metrics_collect" => {
            metrics_collect::check(params).map(|()| Started::Flight(Work::Snapshot))
        }
        "agent_upgrade" if !config.upgrade.by_gateway => {
            let message = "this machine's owner has turned upgrades off (VMKIT_UPGRADES=off); run \
                           vmkit-agent upgrade on the machine";
            Err(Error::new(rpc::FORBIDDEN, message.to_owned()))
        }
        "agent_upgrade" if upgrading => {
            let message = "busy: an upgrade is under way; ask again when it has ended";
            Err(Error::new(rpc::BUSY, message.to_owned()))
        }
        "agent_upgrade" => Upgrade::start(params, request.id.as_ref(), now, children)
            .map(|upgrade| Started::Upgrade(Box::new(upgrade))),
        unknown => Err(Error::unknown_method(unknown)),
    }
}
