//! After an upgrader that was ended from outside: everything is put back as it was.

use crate::host::files;
use crate::run::job::Children;
use crate::run::wait::Waiter;
use crate::upgrade::binary;
use crate::upgrade::error::Error;
use crate::upgrade::guard;
use crate::upgrade::leftovers;
use crate::upgrade::paths;
use crate::upgrade::store::Store;

/// `vmkit-agent upgrade --clean-up`. Also takes a new binary out again that is in place already.
///
/// # Errors
/// What could not be put back.
pub fn clean_up() -> Result<(), Error> {
    let installed = paths::started_from()?;
    let store = Store::open(&installed);
    let _lock = store.inherit_upgrade()?;
    let state = store.read();
    let trial = state.trial.filter(|trial| trial.installed == installed);
    for version in state.unfinished.iter().chain(trial.as_ref().map(|trial| &trial.version)) {
        leftovers::clean(&store, &installed, version);
    }
    if let Some(trial) = trial {
        if binary::checksum(&installed).is_ok_and(|there| there == trial.checksum) {
            binary::put_back(&trial.previous(), &installed).map_err(|error| {
                Error::not_replaced(files::on("put back", &trial.previous(), &error))
            })?;
        }
        store.change_or_fail(|state| state.trial = None)?;
        let waiter = Waiter::new().map_err(Error::internal)?;
        guard::call_off_now(&Children::new(waiter, Vec::new()));
    }
    store.change_or_fail(|state| state.unfinished = None)
}
