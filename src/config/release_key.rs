//! Whose signature a new binary must have: the key of `agent.env`, else the key of this build.

use std::fmt;

use minisign_verify::{PublicKey, Signature, StreamVerifier};

use super::error::Error;
use super::variables::UPGRADE_PUBKEY;

/// The value that turns the key of this build off.
const NONE: &str = "none";
/// The key of this build, which `build.rs` has checked; empty where it was built without.
const BUILT_IN: &str = env!("RELEASE_PUBKEY");

/// A minisign public key. Shown as its text and where the text stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleaseKey {
    key: PublicKey,
    text: String,
    built_in: bool,
}

impl ReleaseKey {
    /// The key in force where the variable is `set`; none where signatures are not needed.
    ///
    /// # Errors
    /// The value is not a minisign key.
    pub fn choose(set: Option<&str>) -> Result<Option<ReleaseKey>, Error> {
        ReleaseKey::of(set, BUILT_IN)
    }

    fn of(set: Option<&str>, built_in: &str) -> Result<Option<ReleaseKey>, Error> {
        let text = set.unwrap_or(built_in);
        if text.is_empty() || set == Some(NONE) {
            return Ok(None);
        }
        let key = PublicKey::from_base64(text).map_err(|error| {
            let problem = format!("{error}; write the second line of a minisign.pub file, or none");
            Error::new(UPGRADE_PUBKEY, problem)
        })?;
        Ok(Some(ReleaseKey { key, text: text.to_owned(), built_in: set.is_none() }))
    }

    /// Takes the bytes that `signature` was made for, piece by piece.
    ///
    /// # Errors
    /// The signature was made with another key, or is of the legacy kind.
    pub fn verifier<'a>(
        &'a self,
        signature: &'a Signature,
    ) -> Result<StreamVerifier<'a>, minisign_verify::Error> {
        self.key.verify_stream(signature)
    }
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let place = if self.built_in { "this build" } else { UPGRADE_PUBKEY };
        write!(f, "the key of {place} ({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO4";

    #[test]
    fn what_is_set_goes_before_what_was_built_in() {
        let shown = |set, built_in| {
            let key = ReleaseKey::of(set, built_in).unwrap_or_else(|error| panic!("{error}"));
            key.map(|key| key.to_string())
        };
        assert_eq!(shown(None, ""), None);
        assert_eq!(shown(Some("none"), ""), None);
        assert_eq!(shown(Some("none"), ONE), None);
        assert_eq!(shown(None, ONE), Some(format!("the key of this build ({ONE})")));
        let other = format!("the key of VMKIT_UPGRADE_PUBKEY ({OTHER})");
        assert_eq!(shown(Some(OTHER), ONE), Some(other));
        for wrong in ["None", "off", "RWQ", "untrusted comment: minisign public key"] {
            assert!(ReleaseKey::of(Some(wrong), ONE).is_err(), "{wrong}");
        }
    }
}
