//! The request for an upgrade: a version, the URL of its binary, and the binary's checksum. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use ureq::http::Uri;
use ureq::http::uri::Scheme;

use crate::host::authority::is_loopback;

/// The longest URL, in bytes. The whole request is passed in one environment variable.
const URL_LIMIT: usize = 8192;

/// The parameters of `agent_upgrade`, checked.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(try_from = "Parameters", into = "Parameters")]
pub struct Request {
    pub version: Version,
    pub url: DownloadUrl,
    pub checksum: Checksum,
}

/// The version of a release, `[0-9A-Za-z][0-9A-Za-z.+-]{0,63}`. It can be part of a file's name.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// A SHA-256. Shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum([u8; 32]);

/// The URL of a file: `https:`, or `http:` to a loopback address. Shown without its user part and
/// its query, which may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct DownloadUrl(Uri);

/// The parameters with the names and types of the wire.
#[derive(Deserialize, Serialize)]
struct Parameters {
    version: String,
    download_url: String,
    checksum_sha256: String,
}

impl Request {
    /// # Errors
    /// Which parameter is wrong, and why. The message repeats no part of the URL.
    pub fn check(version: &str, url: &str, checksum: &str) -> Result<Request, String> {
        Ok(Request {
            version: Version::try_from(version.to_owned())?,
            url: DownloadUrl::check(url)?,
            checksum: Checksum::try_from(checksum.to_owned())?,
        })
    }
}

impl TryFrom<Parameters> for Request {
    type Error = String;

    fn try_from(parameters: Parameters) -> Result<Request, String> {
        let Parameters { version, download_url, checksum_sha256 } = parameters;
        Request::check(&version, &download_url, &checksum_sha256)
    }
}

impl From<Request> for Parameters {
    fn from(request: Request) -> Parameters {
        Parameters {
            version: request.version.into(),
            download_url: request.url.0.to_string(),
            checksum_sha256: request.checksum.into(),
        }
    }
}

impl Version {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Version, String> {
        let good = matches!(text.len(), 1..=64)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte));
        match good {
            true => Ok(Version(text)),
            false => Err("version: not [0-9A-Za-z][0-9A-Za-z.+-]{0,63}".to_owned()),
        }
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Checksum {
    pub fn new(digest: [u8; 32]) -> Checksum {
        Checksum(digest)
    }
}

impl TryFrom<String> for Checksum {
    type Error = String;

    fn try_from(text: String) -> Result<Checksum, String> {
        let digest = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let digest = digest.and_then(|digest| digest.try_into().ok());
        digest.map(Checksum).ok_or("checksum_sha256: not 64 hex digits".to_owned())
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> String {
        data_encoding::HEXLOWER.encode(&checksum.0)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&String::from(*self))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl DownloadUrl {
    pub fn check(text: &str) -> Result<DownloadUrl, String> {
        // The URL may hold a password, so no message repeats it.
        let refuse = |problem: &str| format!("download_url: {problem}");
        if text.len() > URL_LIMIT {
            return Err(refuse("over 8 KiB"));
        }
        let uri: Uri = text.parse().map_err(|error| refuse(&format!("not a URL: {error}")))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(refuse("it has no host"));
        }
        if uri.port_u16().is_none_or(|port| port == 0) && has_port(&uri) {
            return Err(refuse("its port is not a number from 1 to 65535"));
        }
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Ok(DownloadUrl(uri)),
            Some(scheme) if *scheme == Scheme::HTTP && is_loopback(host) => Ok(DownloadUrl(uri)),
            Some(scheme) if *scheme == Scheme::HTTP => {
                Err(refuse("http: is allowed to a loopback address only, use https:"))
            }
            _ => Err(refuse("it must start with https:")),
        }
    }

    /// The whole URL, secrets included.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether the URL has a user part or a query.
    pub fn may_hold_a_secret(&self) -> bool {
        self.0.query().is_some() || self.0.authority().is_some_and(|it| it.as_str().contains('@'))
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// The URL of the file's signature: `.minisig` after the path, before a query.
    pub fn signature(&self) -> DownloadUrl {
        let (path, query) = (self.0.path(), self.0.query());
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        let mut parts = self.0.clone().into_parts();
        // A URL stays valid with these eight characters in its path.
        parts.path_and_query = format!("{path}.minisig{query}").parse().ok();
        DownloadUrl(Uri::from_parts(parts).unwrap_or_else(|_| self.0.clone()))
    }

    /// The URL that a redirect with this `Location` leads to.
    ///
    /// # Errors
    /// Why the redirect is not followed; the words go on after "URL redirects".
    pub fn redirected(&self, location: &str) -> Result<DownloadUrl, String> {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        // A relative location is completed from this URL, without its user part.
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let scheme = if self.is_https() { "https" } else { "http" };
        let location = location.split('#').next().unwrap_or_default();
        let target = if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else if location.contains("://") {
            location.to_owned()
        } else {
            let folder = self.0.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        };
        let target = DownloadUrl::check(&target).map_err(|problem| {
            problem.replace("download_url: ", "to a URL that is not allowed: ")
        })?;
        match self.is_https() && !target.is_https() {
            true => Err(format!("from https: to {target}; every redirect has to be https:")),
            false => Ok(target),
        }
    }
}

/// Whether the URL has a port, valid or not.
fn has_port(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.rsplit(']').next().unwrap_or_default().contains(':')
}

impl fmt::Display for DownloadUrl {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let scheme = if self.is_https() { "https" } else { "http" };
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        // A server chooses where it redirects to: the URL may be long and hold anything.
        let shown: String = host.chars().take(260).chain(self.0.path().chars().take(200)).collect();
        write!(f, "{scheme}://{}", shown.escape_debug())
    }
}

impl fmt::Debug for DownloadUrl {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
