//! What upgrades leave on a machine, for those who remove it.

use std::path::{Path, PathBuf};

use super::guard::after_boot;
use super::paths::{download_paths, previous, staged};
use super::store::Store;
use crate::host::files::beside;
use crate::host::paths;

/// All that upgrades of the binary at `installed` leave beside it, in `/tmp` or for the next boot,
/// whether it is there or not; the upgrade state is not among it.
pub fn leftovers(installed: &Path) -> Vec<PathBuf> {
    let (path, state) = Store::look(installed).unzip();
    let state = state.and_then(Result::ok).unwrap_or_default();
    let version = state.unfinished.or(state.trial.map(|trial| trial.version));
    let mut paths = after_boot::files().to_vec();
    paths.extend([previous(installed), beside(installed, ".prev.new"), staged(installed)]);
    paths.extend(Store::locks(installed));
    if let (Some(path), Some(version)) = (path, version) {
        paths.extend(download_paths(Store::at(path).folder(), &version));
    }
    paths
}

/// All that upgrades of the binary at `installed` remember.
pub fn memories(installed: &Path) -> Vec<PathBuf> {
    let beside = [".upgrade.json", ".upgrade.json.tmp", ".upgrade.json.bad"]
        .map(|suffix| beside(installed, suffix));
    [[paths::STATE.into()].as_slice(), &beside].concat()
}
