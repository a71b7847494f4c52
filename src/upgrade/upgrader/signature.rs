//! The release key's signature over the download, as minisign makes it.
//!
//! Only signatures of the file's hash are accepted, minisign's default since version 0.10. A legacy
//! signature is over the whole file, which would have to be in memory.
//!
//! The signature's trusted comment, which is signed too, says what the file is. Otherwise an
//! attacker with the gateway, but without the key, could replay the signature of an older release,
//! of another architecture, or of another program that has the same key.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};

use minisign_verify::{Error as MinisignError, Signature};

use crate::config::ReleaseKey;
use crate::host::version::ARCH;
use crate::upgrade::error::Error;
use crate::upgrade::request::{DownloadUrl, Version};

/// The longest signature file, in bytes. Real ones have about 300.
pub const LIMIT: u64 = 4096;

/// The release that a signature has to be for.
pub struct Signed<'a> {
    /// The URL of the signature.
    pub url: DownloadUrl,
    pub version: &'a Version,
}

impl Signed<'_> {
    /// Checks that `signature` is made with `key`, over `file`, for this version and architecture.
    /// Returns the version that follows `replaces` in the trusted comment, if any.
    ///
    /// # Errors
    /// [`crate::upgrade::error::Kind::Mismatch`].
    pub fn verify(
        &self,
        file: &mut File,
        signature: &str,
        key: &ReleaseKey,
    ) -> Result<Option<String>, Error> {
        let url = &self.url;
        let refuse = |error: MinisignError| {
            let why = match error {
                MinisignError::InvalidEncoding => "is not a minisign signature".to_owned(),
                MinisignError::InvalidSignature => "is not over this file".to_owned(),
                MinisignError::UnexpectedKeyId => "was made with another key".to_owned(),
                MinisignError::UnsupportedLegacyMode => {
                    let advice = "sign with minisign 0.10 or newer, or with -H";
                    format!("is of minisign's legacy kind ({advice})")
                }
                other => other.to_string(),
            };
            Error::mismatch(format!(
                "bad signature: {url} {why}; an upgrade needs a signature by {key}"
            ))
        };
        let signature = Signature::decode(signature).map_err(refuse)?;
        let mut verifier = key.verifier(&signature).map_err(refuse)?;
        let unread = |error| Error::download(format!("can't read the download again: {error}"));
        file.rewind().map_err(unread)?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match file.read(&mut buffer) {
                // Also checks the signature over the trusted comment.
                Ok(0) => break verifier.finalize().map_err(refuse)?,
                Ok(count) => verifier.update(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unread(error)),
            }
        }
        self.replaced(signature.trusted_comment())
    }

    /// The version that follows `replaces` in a trusted comment.
    fn replaced(&self, comment: &str) -> Result<Option<String>, Error> {
        let needed = trusted_comment(self.version);
        let replaced = match comment.strip_prefix(&needed) {
            Some("") => return Ok(None),
            rest => rest.and_then(|rest| rest.strip_prefix(" replaces ")).map(str::to_owned),
        };
        match replaced.map(Version::try_from) {
            Some(Ok(version)) => Ok(Some(version.into())),
            _ => {
                let comment: String = comment.chars().take(200).collect();
                Err(Error::mismatch(format!(
                    "bad signature: the trusted comment of {} is {comment:?}, not \
                     {needed:?}; is it this release, for this architecture?",
                    self.url
                )))
            }
        }
    }
}

/// The trusted comment of a release for this architecture.
fn trusted_comment(version: &Version) -> String {
    format!("vmkit-agent {version} linux/{ARCH}")
}

/// Checks whether a gateway may install `version` in the place of the `running` one. A lower version
/// is refused unless its signature says that it `replaces` the running one: a downgrade takes the
/// release key, the gateway alone can't order it.
///
/// # Errors
/// [`crate::upgrade::error::Kind::Forbidden`].
pub fn check_floor(version: &Version, running: &str, replaces: Option<&str>) -> Result<(), Error> {
    let is_lower = Version::try_from(running.to_owned())
        .is_ok_and(|running| version.order(&running) == Ordering::Less);
    if !is_lower || replaces == Some(running) {
        return Ok(());
    }
    let needed = trusted_comment(version);
    Err(Error::forbidden(format!(
        "version {version} is lower than the running {running}; sign it with the trusted comment \
         \"{needed} replaces {running}\", or run sudo vmkit-agent upgrade on the machine"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::tests::Folder;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    /// Signatures over the four bytes `test`, from minisign's own tests.
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
        // A download leaves the file at its end.
        file.seek(std::io::SeekFrom::End(0)).unwrap();
        let version = version("1.2.3");
        let signed = signed(&version);
        let key = ReleaseKey::choose(Some(KEY)).unwrap().unwrap();
        let outcome = signed.verify(&mut file, signature, &key);
        outcome.map(drop).map_err(|error| {
            assert_eq!(error.kind, crate::upgrade::error::Kind::Mismatch);
            error.to_string()
        })
    }

    fn signed(version: &Version) -> Signed<'_> {
        let url = DownloadUrl::check("https://host/file.minisig?key=secret").unwrap();
        Signed { url, version }
    }

    fn version(text: &str) -> Version {
        Version::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_good_signature_is_for_what_its_trusted_comment_says() {
        let error = check(b"test", HASHED).unwrap_err();
        for words in [r#"is "timestamp:1556193335\tfile:test""#, "vmkit-agent 1.2.3 linux/"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn trusted_comments_that_are_for_this_release_here() {
        let version = version("1.2.3");
        let replaced = |comment: String| signed(&version).replaced(&comment);
        assert_eq!(replaced(format!("vmkit-agent 1.2.3 linux/{ARCH}")), Ok(None));
        let back = format!("vmkit-agent 1.2.3 linux/{ARCH} replaces 1.3.0");
        assert_eq!(replaced(back), Ok(Some("1.3.0".to_owned())));
        for comment in [
            String::new(),
            "vmkit-agent 1.2.3 linux/mips".to_owned(),
            format!("vmkit-agent 1.2.30 linux/{ARCH}"),
            format!("other-agent 1.2.3 linux/{ARCH}"),
            format!("vmkit-agent 1.2.3 linux/{ARCH} "),
            format!("vmkit-agent 1.2.3 linux/{ARCH}64"),
            format!("vmkit-agent 1.2.3 linux/{ARCH} replaces "),
            format!("vmkit-agent 1.2.3 linux/{ARCH} replaces 1.3.0 1.2.0"),
            format!("vmkit-agent 1.2.3 linux/{ARCH}\treplaces 1.3.0"),
            format!("x vmkit-agent 1.2.3 linux/{ARCH}"),
        ] {
            let error = replaced(comment.clone()).unwrap_err();
            assert_eq!(error.kind, crate::upgrade::error::Kind::Mismatch, "{comment:?}");
            assert!(error.to_string().contains(&format!("{comment:?}")), "{error}");
        }
    }

    #[test]
    fn lower_versions_need_a_key_holders_word() {
        let check = |new: &str, replaces| check_floor(&version(new), "1.2.3", replaces).is_ok();
        assert!(check("1.2.3", None) && check("1.2.4", None) && check("1.2.3+b", None));
        assert!(check("1.2.4", Some("1.0.0")));
        assert!(!check("1.2.2", None) && !check("1.2.3-rc.1", None));
        assert!(check("1.2.2", Some("1.2.3")));
        assert!(!check("1.2.2", Some("1.2.4")) && !check("1.2.2", Some("1.2.3+b")));
        let error = check_floor(&version("1.2.2"), "1.2.3", None).unwrap_err();
        assert_eq!(error.kind, crate::upgrade::error::Kind::Forbidden);
        assert!(error.to_string().contains("replaces 1.2.3"), "{error}");
    }

    #[test]
    fn bad_signatures_are_refused_and_the_error_says_why() {
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
