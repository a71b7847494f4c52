//! The secrets that are made here: `vmk_<id>_<secret>` is an API key, `vma_<id>_<secret>` an agent
//! token. The id is no secret: by it a key is named, found and revoked. The secret has 256 random bits,
//! so a plain SHA-256 keeps it: nobody can try all of them.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const ID_BYTES: usize = 5;
const SECRET_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Api,
    Agent,
}

/// Neither printed by accident nor compared byte by byte.
#[derive(Clone)]
pub struct Hash([u8; 32]);

pub struct New {
    pub id: String,
    /// Shown once.
    pub secret: String,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Api => "api",
            Kind::Agent => "agent",
        }
    }

    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Api => "vmk_",
            Kind::Agent => "vma_",
        }
    }
}

impl New {
    pub fn make(kind: Kind) -> Result<New, getrandom::Error> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let text = |bytes| BASE32_NOPAD.encode(bytes).to_lowercase();
        let id = text(id);
        let secret = format!("{}{id}_{}", kind.prefix(), text(secret));
        Ok(New { id, secret })
    }
}

/// A secret without an id: a session's, or that of a sign-in link.
pub fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(BASE32_NOPAD.encode(&bytes).to_lowercase())
}

/// Of a secret of this kind; `None`: it is none.
pub fn id_of(kind: Kind, presented: &str) -> Option<&str> {
    let (id, secret) = presented.strip_prefix(kind.prefix())?.split_once('_')?;
    (id.len() == BASE32_NOPAD.encode_len(ID_BYTES) && !secret.is_empty()).then_some(id)
}

impl Hash {
    pub fn of(secret: &str) -> Hash {
        Hash(Sha256::digest(secret.as_bytes()).into())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// In a time that does not depend on what is in them.
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_and_of_one_kind() {
        let (one, other) = (New::make(Kind::Api).unwrap(), New::make(Kind::Api).unwrap());
        assert_ne!(one.secret, other.secret);
        assert_eq!(id_of(Kind::Api, &one.secret), Some(one.id.as_str()));
        assert_eq!(id_of(Kind::Agent, &one.secret), None);
        assert_eq!(one.secret.len(), "vmk_".len() + 8 + 1 + 52);
    }

    #[test]
    fn a_hash_is_equal_to_its_own_bytes_alone() {
        let hash = Hash::of("a");
        assert!(hash.is(Hash::of("a").bytes()));
        assert!(!hash.is(Hash::of("b").bytes()) && !hash.is(&[]));
    }
}
