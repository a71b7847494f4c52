//! From a method's name to its handler, with typed parameters.

use super::context::Context;
use super::handlers::agent_upgrade::Upgrade;
use super::handlers::logs_fetch::{LogsFetch, LogsFollow, Params};
use super::handlers::{logs_cancel, metrics_collect};
use super::in_flight::{InFlight, Work};
use super::outcome::Answer;
use crate::wire::rpc::{self, Error, Request};

/// What a request has started.
pub enum Started {
    /// It ends with the session.
    Work(Work),
    /// It outlives the session.
    Upgrade(Box<Upgrade>),
    /// It ends with the session, and is not counted as a request in flight.
    Follow(Box<LogsFollow>),
    /// It is done.
    Done(Answer),
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
    let (id, params) = (request.id.as_ref(), request.params.as_deref());
    let room = in_flight.check_room(upgrading);
    match request.method.as_str() {
        "logs_cancel" => {
            let cancelled = in_flight.followers.cancel(&logs_cancel::target(params)?);
            Ok(Started::Done(logs_cancel::answer(id, cancelled)))
        }
        "logs_fetch" => {
            let params = Params::parse(params)?;
            if params.range.follow {
                in_flight.followers.check_room()?;
                let follow = LogsFollow::start(params, id, context)?;
                return Ok(Started::Follow(Box::new(follow)));
            }
            room?;
            let logs = LogsFetch::start(params, id, context)?;
            Ok(Started::Work(Work::Logs(Box::new(logs))))
        }
        "metrics_collect" => {
            room?;
            metrics_collect::check(params)?;
            Ok(Started::Work(Work::Snapshot(in_flight.snapshots.start(context))))
        }
        "agent_upgrade" => {
            room?;
            check_upgrade(context, upgrading)?;
            let upgrade = Upgrade::start(params, id, context)?;
            Ok(Started::Upgrade(Box::new(upgrade)))
        }
        unknown => {
            room?;
            Err(Error::unknown_method(unknown))
        }
    }
}

/// # Errors
/// Upgrades are off on this machine, or an upgrade is under way.
fn check_upgrade(context: Context, upgrading: bool) -> Result<(), Error> {
    if !context.config.upgrade.by_gateway {
        let message = "this machine's owner has turned upgrades off (VMKIT_UPGRADES=off); run sudo \
                       vmkit-agent upgrade on the machine";
        return Err(Error::new(rpc::Code::Forbidden, message.to_owned()));
    }
    if upgrading {
        let message = "busy: an upgrade is under way; ask again when it has ended";
        return Err(Error::new(rpc::Code::Busy, message.to_owned()));
    }
    Ok(())
}
