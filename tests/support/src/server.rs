//! The download server: plain or TLS on the loopback interface, good or bad at its job.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::RELEASE_FILE;

/// How a file is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    Whole,
    /// Spread over this time.
    Slow(Duration),
    /// Ends after half of what it promised.
    Truncated,
    /// Promises less than there is, and sends it all.
    Overlong,
    /// Redirected: the content is the URL to go to.
    Moved,
    /// Sends half, and then nothing, for as long as the other side waits.
    Stalled,
}

pub struct Server {
    base: String,
    /// The certificate of its authority; empty without TLS.
    pub ca: String,
    files: Files,
}

/// The files that are served, by their path.
type Files = Arc<Mutex<HashMap<String, File>>>;

struct File {
    content: Arc<[u8]>,
    how: Download,
    requests: usize,
}

/// A second name of a server with TLS, for clients that come through a proxy.
pub const PUBLIC_NAME: &str = "releases.example.com";
impl Server {
    pub fn plain() -> Server {
        Server::start(None, String::new())
    }

    pub fn tls() -> Server {
        let (config, ca) = identity().expect("certificates can be made");
        Server::start(Some(config), ca)
    }

    fn start(tls: Option<Arc<ServerConfig>>, ca: String) -> Server {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://localhost:{port}");
        let files = Files::default();
        let served = files.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (files, tls) = (served.clone(), tls.clone());
                // An agent that hangs up or is killed is what many tests are about.
                thread::spawn(move || drop(greet(stream, tls, &files)));
            }
        });
        Server { base, ca, files }
    }

    /// Offers a file, in a folder of its own; its URL.
    pub fn offer(&self, name: &str, content: impl Into<Arc<[u8]>>, how: Download) -> String {
        let mut files = self.files.lock().expect("no holder panics");
        let path = format!("/{}/{name}", files.len());
        files.insert(path.clone(), File { content: content.into(), how, requests: 0 });
        format!("{}{path}", self.base)
    }

    /// Offers another file in the folder of the one at `url`.
    pub fn offer_beside(&self, url: &str, name: &str, content: impl Into<Arc<[u8]>>) {
        let path = url.strip_prefix(&self.base).expect("one of ours");
        let (folder, _) = path.rsplit_once('/').expect("it has a folder");
        let file = File { content: content.into(), how: Download::Whole, requests: 0 };
        self.files.lock().expect("no holder panics").insert(format!("{folder}/{name}"), file);
    }

    /// Offers a program and its SHA-256 as `make dist` leaves them; the URL of their folder.
    pub fn offer_release(&self, program: Arc<[u8]>, sha256: &str) -> String {
        let url = self.offer(RELEASE_FILE, program, Download::Whole);
        self.offer_beside(&url, "SHA256SUMS", format!("{sha256}  {RELEASE_FILE}\n").into_bytes());
        url.strip_suffix(RELEASE_FILE).expect("it ends so").trim_end_matches('/').to_owned()
    }

    /// How often anybody asked for any of the files.
    pub fn requests(&self) -> usize {
        self.files.lock().expect("no holder panics").values().map(|file| file.requests).sum()
    }
}

fn greet(stream: TcpStream, tls: Option<Arc<ServerConfig>>, files: &Files) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => serve(stream, files),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            serve(StreamOwned::new(connection, stream), files)
        }
    }
}

fn serve(mut stream: impl Read + Write, files: &Files) -> io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = files.lock().expect("no holder panics").get_mut(path).map(|file| {
        file.requests += 1;
        (file.content.clone(), file.how)
    });
    let Some((content, how)) = found else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    if how == Download::Moved {
        stream.write_all(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ")?;
        stream.write_all(&content)?;
        return stream.write_all(b"\r\n\r\n");
    }
    let promised = if how == Download::Overlong { content.len() / 2 } else { content.len() };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {promised}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let half = &content[..content.len() / 2];
    match how {
        Download::Whole | Download::Overlong | Download::Moved => stream.write_all(&content)?,
        Download::Truncated => stream.write_all(half)?,
        Download::Stalled => {
            stream.write_all(half)?;
            stream.flush()?;
            stream.read_to_end(&mut Vec::new())?;
        }
        Download::Slow(time) => {
            const PIECES: usize = 50;
            for piece in content.chunks(content.len().div_ceil(PIECES)) {
                stream.write_all(piece)?;
                stream.flush()?;
                thread::sleep(time / PIECES as u32);
            }
        }
    }
    stream.flush()
}

/// A server's configuration for `localhost`, and the certificate of the authority behind it.
fn identity() -> Result<(Arc<ServerConfig>, String), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "vmkit test downloads");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let pem = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), PUBLIC_NAME.to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves them")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("the key is the certificate's");
    Ok((Arc::new(config), pem))
}
