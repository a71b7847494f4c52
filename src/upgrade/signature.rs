//! Whose file it is: a minisign signature over the download.
//!
//! Only signatures of the file's hash are taken, minisign's own default for years: those of the
//! legacy kind are over the whole file, which would have to be in memory.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};

use minisign_verify::{Error as MinisignError, PublicKey, Signature};

use super::{DownloadUrl, Error};

/// A signature file, and a bit more than one ever is.
pub const LIMIT: u64 = 4096;

/// Whether `signature`, which came from `url`, is `key`'s over `file`.
///
/// # Errors
/// [`crate::wire::rpc::CHECKSUM_MISMATCH`]: it is not.
pub fn verify(
    file: &mut File,
    signature: &str,
    url: &DownloadUrl,
    key: &PublicKey,
) -> Result<(), Error> {
    let refuse = |error: MinisignError| {
        let why = match error {
            MinisignError::InvalidEncoding => "is not a minisign signature",
            MinisignError::InvalidSignature => "is not over this file",
            MinisignError::UnexpectedKeyId => "was made with another key",
            MinisignError::UnsupportedLegacyMode => {
                "is of minisign's legacy kind; sign with minisign 0.10 or newer, or with -H"
            }
            other => return Error::mismatch(format!("bad signature: {url}: {other}")),
        };
        Error::mismatch(format!("bad signature: {url} {why}; VMKIT_UPGRADE_PUBKEY is set"))
    };
    let signature = Signature::decode(signature).map_err(refuse)?;
    let mut verifier = key.verify_stream(&signature).map_err(refuse)?;
    let unread = |error| Error::download(format!("can't read the download again: {error}"));
    file.rewind().map_err(unread)?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return verifier.finalize().map_err(refuse),
            Ok(count) => verifier.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::tests::Folder;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    /// Both over the four bytes `test`, from minisign's own tests.
    const HASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==";

    fn check(content: &[u8], signature: &str) -> Result<(), String> {
        let folder = Folder::new();
        let mut file = File::open(folder.file("download", content)).unwrap();
        // Where streaming has left it.
        file.seek(std::io::SeekFrom::End(0)).unwrap();
        let url = DownloadUrl::check("https://host/file.minisig?key=secret").unwrap();
        let key = PublicKey::from_base64(KEY).unwrap();
        verify(&mut file, signature, &url, &key).map_err(|error| {
            assert_eq!(error.code, crate::wire::rpc::CHECKSUM_MISMATCH);
            error.to_string()
        })
    }

    #[test]
    fn the_keys_own_signature_is_good() {
        assert_eq!(check(b"test", HASHED), Ok(()));
    }

    #[test]
    fn others_are_not_and_the_error_says_why() {
        let other_key = HASHED.replace("RUQf6LRC", "RUQf7LRC");
        let other_comment = HASHED.replace("file:test", "file:tess");
        for (content, signature, why) in [
            ("Test", HASHED, "not over this file"),
            ("test", &other_comment, "not over this file"),
            ("test", &other_key, "another key"),
            ("test", LEGACY, "legacy"),
            ("test", "<html>", "not a minisign signature"),
        ] {
            let error = check(content.as_bytes(), signature).unwrap_err();
            assert!(error.contains(why) && error.contains("https://host/file.minisig"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
