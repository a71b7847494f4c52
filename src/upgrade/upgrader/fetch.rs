//! The download over HTTP, with redirects, to a file with mode 0700. The checksum is computed
//! on the way.
//!
//! ureq could follow redirects itself. The checks of each target would all have to move into the
//! resolver and the connector, which a proxy bypasses, and the errors would no longer name the URL that
//! redirects. What it would save is 20 lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, LOCATION};

use super::connect::{self, Client};
use super::reporter::Reporter;
use super::signature;
use crate::config::ReleaseKey;
use crate::host::files;
use crate::upgrade::error::{Error, Kind};
use crate::upgrade::request::{Checksum, DownloadUrl, Request};
use crate::wire::tls::Distrust;

/// The largest download, in bytes.
const LIMIT: u64 = 256 * 1024 * 1024;
const REDIRECTS: usize = 5;
/// How many bytes are read at once.
const BUFFER: usize = 256 * 1024;

/// A downloaded file. It is removed when this value is dropped.
pub struct Download {
    pub file: File,
    path: PathBuf,
    pub bytes: u64,
    pub checksum: Checksum,
    pub took: Duration,
}

/// Downloads the binary of `request` to the `usual` path, or to the `private` one where the usual
/// folder is full or the file there can't be replaced: any user can do both to `/tmp`.
///
/// # Errors
/// [`Kind::Download`], or why the upgrade has to end.
pub fn download(
    client: &Client,
    request: &Request,
    [usual, private]: &[PathBuf; 2],
    reporter: &Reporter,
) -> Result<Download, Error> {
    match download_to(usual, client, request, reporter) {
        Err(Fault::Place(why)) => {
            let text = format!("{why}; downloading to {} instead", private.display());
            reporter.note(text)?;
        }
        Err(Fault::Download(error)) => return Err(error),
        Ok(download) => return Ok(download),
    }
    download_to(private, client, request, reporter).map_err(|fault| match fault {
        Fault::Place(why) => Error::download(why),
        Fault::Download(error) => error,
    })
}

/// Why a download failed.
enum Fault {
    /// The file can't be written in this folder.
    Place(String),
    /// Another folder would not help.
    Download(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Download(error)
    }
}

fn download_to(
    path: &Path,
    client: &Client,
    request: &Request,
    reporter: &Reporter,
) -> Result<Download, Fault> {
    let started = Instant::now();
    let file = create(path)?;
    // From here on the file is removed on every way out.
    let checksum = request.checksum;
    let mut download =
        Download { file, path: path.to_owned(), bytes: 0, checksum, took: Duration::ZERO };
    let seal = |error| reporter.seal(&request.url, error);
    let (url, mut response) = get(client, &request.url, reporter).map_err(seal)?;
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
        reporter.progress(download.bytes, total)?;
    }
    reporter.downloaded();
    download.checksum = Checksum::new(hash.finalize().into());
    download.took = started.elapsed();
    Ok(download)
}

/// The text of the signature file beside `url`.
///
/// # Errors
/// [`Kind::Mismatch`]: a file without a signature is refused like a wrong file.
pub fn signature_of(
    client: &Client,
    url: &DownloadUrl,
    key: &ReleaseKey,
    reporter: &Reporter,
) -> Result<String, Error> {
    let url = url.signature();
    small_file(client, &url, reporter).map_err(|error| {
        let preface = format!("no signature, and an upgrade needs a signature by {key}");
        reporter.seal(&url, error).within(Kind::Mismatch, &preface)
    })
}

fn small_file(client: &Client, url: &DownloadUrl, reporter: &Reporter) -> Result<String, Error> {
    let (url, mut response) = get(client, url, reporter)?;
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

/// The response to a GET after redirects, and the URL that it came from.
fn get(
    client: &Client,
    url: &DownloadUrl,
    reporter: &Reporter,
) -> Result<(DownloadUrl, Response<Body>), Error> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        if connect::names_inside(url.uri()) {
            reporter.leads_inside();
        }
        let response = client.get(url.uri()).map_err(|error| match client.proxy_to(url.uri()) {
            // A proxy that refuses is named by its words.
            Some(proxy) if !matches!(error, ureq::Error::ConnectProxyFailed(_)) => {
                Error::download(format!(
                    "{} (through the proxy {}:{}; HTTPS_PROXY may be wrong)",
                    failed(&url, error),
                    proxy.host(),
                    proxy.port()
                ))
            }
            _ => failed(&url, error),
        })?;
        let status = response.status();
        match status.as_u16() {
            200 => return Ok((url, response)),
            301 | 302 | 303 | 307 | 308 => {
                let location = response.headers().get(LOCATION);
                let location = location.and_then(|value| value.to_str().ok());
                url = location
                    .ok_or("without a Location".to_owned())
                    .and_then(|location| url.redirected(location))
                    .map_err(|why| {
                        Error::download(format!("{url} redirects ({}) {why}", status.as_u16()))
                    })?;
            }
            code => {
                let advice = match code {
                    401 | 403 | 407 => "check that this machine may download it",
                    404 | 410 => "check that this release exists",
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
    Error::download(format!("{url} is larger than 256 MiB; is it a vmkit-agent? check the URL"))
}

fn room(folder: &Path, needed: u64) -> Result<(), Fault> {
    // If this fails, the write will say why.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    // Root may use the blocks that are kept from other users.
    let blocks = if geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
    let free = blocks.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let folder = folder.display();
    Err(Fault::Place(format!(
        "{folder} has {free} bytes free and the download needs {needed}; make room there"
    )))
}

fn create(path: &Path) -> Result<File, Fault> {
    // A crash may have left the file, or another user may have put a file or link there.
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

/// A request that failed.
fn failed(url: &DownloadUrl, error: ureq::Error) -> Error {
    let why = match error {
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => Distrust { error, named_by: "the URL" }.to_string(),
            None if error.kind() == ErrorKind::UnexpectedEof => {
                "the server hung up without an answer".to_owned()
            }
            // std's preface repeats what the line says.
            None => error.to_string().replace("failed to lookup address information: ", ""),
        },
        ureq::Error::HostNotFound => "the host's name has no address".to_owned(),
        ureq::Error::ConnectProxyFailed(why) => why,
        ureq::Error::Timeout(ureq::Timeout::Connect) => {
            format!(
                "no connection within {} s; a firewall may block the way out",
                connect::CONNECT.as_secs()
            )
        }
        ureq::Error::Timeout(_) => {
            format!("the server sent nothing for {} s", connect::STALL.as_secs())
        }
        // ureq's other errors may show the whole URL, secrets included.
        ureq::Error::Protocol(error) => format!("not HTTP: {error}"),
        ureq::Error::LargeResponseHeader(..) => "the answer's header is too large".to_owned(),
        ureq::Error::Tls(why) => why.to_owned(),
        _ => "the request failed".to_owned(),
    };
    Error::download(format!("{url}: {why}"))
}

/// A response that broke off in its body.
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
