//! The files that upgrades leave on a machine, and their removal.

use std::path::{Path, PathBuf};

use super::guard::after_boot;
use super::paths::{download_paths, previous, staged, unfinished_previous};
use super::request::Version;
use super::store::Store;
use crate::host::files;
use crate::host::files::beside;
use crate::host::paths;

/// The paths of all files that upgrades of the binary at `installed` leave beside it, in `/tmp`
/// and among systemd's units, whether or not they exist. Upgrade state is not among them.
pub fn leftovers(installed: &Path) -> Vec<PathBuf> {
    let (path, state) = Store::look(installed).unzip();
    let state = state.and_then(Result::ok).unwrap_or_default();
    // A trial without its binary would refuse every upgrade of the next agent.
    let on_trial = path.clone().filter(|_| state.trial.is_some());
    let version = state.unfinished.or(state.trial.map(|trial| trial.version));
    let mut paths = after_boot::files().to_vec();
    paths.extend([previous(installed), unfinished_previous(installed), staged(installed)]);
    paths.extend(Store::locks(installed));
    paths.extend(on_trial.iter().map(|path| beside(path, ".reserve")));
    paths.extend(on_trial);
    if let (Some(path), Some(version)) = (path, version) {
        paths.extend(download_paths(Store::at(path).folder(), &version));
    }
    paths
}

/// The paths of all upgrade state of the binary at `installed`, whether or not it exists.
pub fn memories(installed: &Path) -> Vec<PathBuf> {
    let beside =
        [".upgrade.json", ".upgrade.json.tmp", ".upgrade.json.bad", ".upgrade.json.reserve"]
            .map(|suffix| beside(installed, suffix));
    [[paths::STATE.into()].as_slice(), &beside].concat()
}

/// Removes the files that an upgrade to `version` may have left. The previous binary stays.
pub fn clean(store: &Store, installed: &Path, version: &Version) {
    let [shared, private] = download_paths(store.folder(), version);
    // Another user may own the file in /tmp. It stays then.
    if let Err(error) = files::remove(&shared) {
        log::debug!("{}", files::on("remove", &shared, &error));
    }
    for path in [staged(installed), unfinished_previous(installed), private] {
        if let Err(error) = files::remove(&path) {
            log::warn!("{}", files::on("remove", &path, &error));
        }
    }
}
