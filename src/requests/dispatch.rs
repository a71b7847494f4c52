//! From a method's name to its handler, with typed parameters.

use super::context::Context;
use super::handlers::agent_upgrade::Upgrade;
use super::handlers::logs_fetch::LogsFetch;
use super::handlers::metrics_collect;
use super::in_flight::{InFlight, Work};
use crate::wire::rpc::{self, Error, Request};

/// What a request has started.
pub enum Started {
    /// It ends with the session.
    Work(Work),
    /// It outlives the session.
    Upgrade(Box<Upgrade>),
}

/// Starts what `request` asks for. `upgrading`: an upgrade is under way, which counts as a request
/// in flight.
///
/// # Errors
/// What to answer at once.
pub fn dispatch(
    request: &Request,
    context: Context,
    in_flight: &mut InFlight,
    upgrading: bool,
) -> Result<Started, Error> {
    in_flight.check_room(upgrading)?;
    let (id, params) = (request.id.as_ref(), request.params.as_deref());
    match request.method.as_str() {
        "logs_fetch" => {
            let logs = LogsFetch::start(params, id, context)?;
            Ok(Started::Work(Work::Logs(Box::new(logs))))
        }
        "metrics_collect" => {
            metrics_collect::check(params)?;
            Ok(Started::Work(Work::Snapshot(in_flight.snapshots.start(context))))
        }
        "agent_upgrade" if !context.config.upgrade.by_gateway => {
            let message = "this machine's owner has turned upgrades off (VMKIT_UPGRADES=off); run \
                           sudo vmkit-agent upgrade on the machine";
            Err(Error::new(rpc::Code::Forbidden, message.to_owned()))
        }
        "agent_upgrade" if upgrading => {
            let message = "busy: an upgrade is under way; ask again when it has ended";
            Err(Error::new(rpc::Code::Busy, message.to_owned()))
        }
        "agent_upgrade" => {
            let upgrade = Upgrade::start(params, id, context)?;
            Ok(Started::Upgrade(Box::new(upgrade)))
        }
        unknown => Err(Error::unknown_method(unknown)),
    }
}
