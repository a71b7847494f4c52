//! The download: HTTP, redirects and all, to a file that only we can open, its checksum taken
//! while it comes. The file is gone with the value that stands for it.

use crate::host::files;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, LOCATION};
use ureq::{Agent, Body};

use super::connect;
use super::reporter::Story;
use super::signature;
use crate::config::ReleaseKey;
use crate::upgrade::error::Error;
use crate::upgrade::request::{Checksum, DownloadUrl, Request};
use crate::wire::rpc;
use crate::wire::tls::Distrust;

/// No binary of ours will ever be this large.
const LIMIT: u64 = 256 * 1024 * 1024;
const REDIRECTS: usize = 5;
const BUFFER: usize = 256 * 1024;

/// A downloaded file, removed when dropped.
pub struct Download {
    pub file: File,
    path: PathBuf,
    pub bytes: u64,
    pub checksum: Checksum,
    pub took: Duration,
}

/// Downloads what `request` asks for, to the first of these places that can be had. Any user can
/// put something in the way at the first, or fill it up.
///
/// # Errors
/// [`crate::wire::rpc::DOWNLOAD_FAILED`].
pub fn download(
    client: &Agent,
    request: &Request,
    [usual, private]: &[PathBuf; 2],
    story: &Arc<Story>,
) -> Result<Download, Error> {
    match download_to(usual, client, request, story) {
        Err(Fault::Place(why)) => {
            let text = format!("{why}; downloading to {} instead", private.display());
            story.note(&text).map_err(|error| Error::download(error.to_string()))?;
        }
        Err(Fault::Download(error)) => return Err(error),
        Ok(download) => return Ok(download),
    }
    download_to(private, client, request, story).map_err(|fault| match fault {
        Fault::Place(why) => Error::download(why),
        Fault::Download(error) => error,
    })
}

/// Why a download came to nothing.
enum Fault {
    /// The file can't be made or written at this place.
    Place(String),
    /// No place could help.
    Download(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Download(error)
    }
}

fn download_to(
    path: &Path,
    client: &Agent,
    request: &Request,
    story: &Arc<Story>,
) -> Result<Download, Fault> {
    let started = Instant::now();
    let file = create(path)?;
    // From here on the file is removed whatever happens.
    let checksum = request.checksum;
    let mut download =
        Download { file, path: path.to_owned(), bytes: 0, checksum, took: Duration::ZERO };
    let seal = |error| story.seal(&request.url, error);
    let (url, mut response) = get(client, &request.url, story).map_err(seal)?;
    let total = length(&url, &response).map_err(seal)?;
    room(path.parent().unwrap_or(Path::new("/")), total.unwrap_or_default())?;
    let mut hash = Sha256::new();
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(seal(broken(&url, download.bytes, total, error)).into()),
        };
        download.bytes += count as u64;
        if download.bytes > LIMIT {
            return Err(seal(too_large(&url)).into());
        }
        hash.update(&buffer[..count]);
        download.file.write_all(&buffer[..count]).map_err(|error| unwritable(path, &error))?;
        // The reason is the story's own to tell.
        story
            .progress(download.bytes, total)
            .map_err(|error| Error::download(error.to_string()))?;
    }
    story.downloaded();
    download.checksum = Checksum::new(hash.finalize().into());
    download.took = started.elapsed();
    Ok(download)
}

/// The signature of what `url` has.
///
/// # Errors
/// [`crate::wire::rpc::CHECKSUM_MISMATCH`]: without one the file is as good as wrong.
pub fn signature_of(
    client: &Agent,
    url: &DownloadUrl,
    key: &ReleaseKey,
    story: &Story,
) -> Result<String, Error> {
    let url = url.signature();
    small_file(client, &url, story).map_err(|error| {
        let preface = format!("no signature, and an upgrade needs one by {key}");
        story.seal(&url, error).within(rpc::CHECKSUM_MISMATCH, &preface)
    })
}

fn small_file(client: &Agent, url: &DownloadUrl, story: &Story) -> Result<String, Error> {
    let (url, mut response) = get(client, url, story)?;
    let mut text = Vec::new();
    let body = response.body_mut().as_reader();
    body.take(signature::LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(|error| broken(&url, 0, None, error))?;
    if text.len() as u64 > signature::LIMIT {
        return Err(Error::download(format!("{url} is over 4 KiB; is it a signature?")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The answer to a GET, after redirects, and where it came from.
fn get(
    client: &Agent,
    url: &DownloadUrl,
    story: &Story,
) -> Result<(DownloadUrl, Response<Body>), Error> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        if connect::names_inside(url.uri()) {
            story.leads_inside();
        }
        // Without TLS a proxy would see it all, and its loopback is not ours.
        let proxy = client.config().proxy().filter(|_| url.is_https());
        let request = client.get(url.uri()).config().proxy(proxy.cloned()).build();
        let response = request.call().map_err(|error| {
            let error = failed(&url, error);
            match proxy.filter(|proxy| !proxy.is_no_proxy(url.uri())) {
                None => error,
                Some(proxy) => Error::download(format!(
                    "{error}; HTTPS_PROXY leads through {}:{}",
                    proxy.host(),
                    proxy.port()
                )),
            }
        })?;
        let status = response.status();
        match status.as_u16() {
            200 => return Ok((url, response)),
            301 | 302 | 303 | 307 | 308 => {
                let location = response.headers().get(LOCATION);
                let location = location.and_then(|value| value.to_str().ok());
                url = location
                    .ok_or("to nowhere".to_owned())
                    .and_then(|location| url.redirected(location))
                    .map_err(|why| {
                        Error::download(format!("{url} redirects ({}) {why}", status.as_u16()))
                    })?;
            }
            code => {
                let advice = match code {
                    401 | 403 | 407 => "is it open to this machine?",
                    404 | 410 => "is there such a release?",
                    _ => "try again later",
                };
                return Err(Error::download(format!(
                    "{url}: the server answered {code}; {advice}"
                )));
            }
        }
    }
    Err(Error::download(format!("more than {REDIRECTS} redirects, the last to {url}")))
}

fn length(url: &DownloadUrl, response: &Response<Body>) -> Result<Option<u64>, Error> {
    let header = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let total = header.and_then(|text| text.parse().ok());
    match total {
        Some(total) if total > LIMIT => Err(too_large(url)),
        total => Ok(total),
    }
}

fn too_large(url: &DownloadUrl) -> Error {
    Error::download(format!("{url} is over 256 MiB, which no vmkit-agent is; check the URL"))
}

fn room(folder: &Path, needed: u64) -> Result<(), Fault> {
    // A folder that can't be asked says why when it is written to.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let folder = folder.display();
    Err(Fault::Place(format!(
        "{folder} has {free} bytes free and the download needs {needed}; make room there"
    )))
}

fn create(path: &Path) -> Result<File, Fault> {
    // What a crash has left, or what somebody else has put there for us to fall for.
    files::remove(path).map_err(|error| Fault::Place(files::on("remove", path, &error)))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o700)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)
        .map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room there",
        _ => "",
    };
    Fault::Place(files::on("write", path, error) + advice)
}

/// A request that came to nothing.
fn failed(url: &DownloadUrl, error: ureq::Error) -> Error {
    let why = match error {
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => Distrust { error, named_by: "the URL" }.to_string(),
            None if error.kind() == ErrorKind::UnexpectedEof => {
                "the server hung up without an answer".to_owned()
            }
            // std's preface says nothing that the line does not.
            None => error.to_string().replace("failed to lookup address information: ", ""),
        },
        ureq::Error::HostNotFound => "the host's name has no address".to_owned(),
        ureq::Error::ConnectProxyFailed(why) => why,
        ureq::Error::Timeout(ureq::Timeout::Connect) => {
            "no connection within 20 s; is the way out open?".to_owned()
        }
        ureq::Error::Timeout(_) => "the server said nothing for 60 s".to_owned(),
        // Others may show the URL, which is ours to show.
        ureq::Error::Protocol(error) => format!("not HTTP: {error}"),
        ureq::Error::LargeResponseHeader(..) => "the answer's header is too large".to_owned(),
        ureq::Error::Tls(why) => why.to_owned(),
        _ => "the request failed".to_owned(),
    };
    Error::download(format!("{url}: {why}"))
}

/// A body that broke off.
fn broken(url: &DownloadUrl, bytes: u64, total: Option<u64>, error: io::Error) -> Error {
    let of = total.map_or(String::new(), |total| format!(" of {total}"));
    if error.kind() == ErrorKind::UnexpectedEof {
        return Error::download(format!("{url} broke off after {bytes}{of} bytes; try again"));
    }
    Error::download(format!("{}, after {bytes}{of} bytes", failed(url, error.into())))
}

impl Drop for Download {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
