//! A release server on loopback: what it serves is up to the test, and it counts who asks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};
use vmkit_test_support::RELEASE_FILE as NAME;

/// Says its version as the agent does, and writes down how else it was called: its arguments, then
/// its token. `$RECORD` names the file; `$FATE` is what becomes of it.
const PROGRAM: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "vmkit-agent 1.2.3 (0123456789ab)"; exit; fi
printf '%s\n' "$@" "token=${VMKIT_AGENT_TOKEN-}" >"$RECORD"
if [ "${FATE-0}" -ne 0 ]; then echo "vmkit-agent: why it failed" >&2; fi
exit "${FATE-0}"
"#;

/// Path to status and content.
type Files = HashMap<String, (u16, Vec<u8>)>;

pub struct Release {
    address: SocketAddr,
    files: Arc<Mutex<Files>>,
    requests: Arc<AtomicUsize>,
}

impl Release {
    /// A good one, with its checksums.
    pub fn serve() -> Release {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let release = Release { address, files: Arc::default(), requests: Arc::default() };
        let (files, requests) = (Arc::clone(&release.files), Arc::clone(&release.requests));
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                requests.fetch_add(1, Ordering::SeqCst);
                let _ = answer(&stream, &files.lock().expect("no test panics with it"));
            }
        });
        release.put(&format!("/{NAME}"), 200, PROGRAM);
        release.put("/SHA256SUMS", 200, sums(PROGRAM.as_bytes()));
        release
    }

    pub fn put(&self, path: &str, status: u16, content: impl AsRef<[u8]>) {
        let content = (status, content.as_ref().to_vec());
        self.files.lock().expect("no test panics with it").insert(path.to_owned(), content);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often anybody asked for anything.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn program() -> &'static str {
        PROGRAM
    }
}

/// The SHA256SUMS of a release whose program this is.
pub fn sums(program: &[u8]) -> String {
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(program));
    format!("{}  vmkit-agent-linux-other\n{digest}  {NAME}\n", "0".repeat(64))
}

fn answer(mut stream: &TcpStream, files: &Files) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let not_found = (404, b"not found".to_vec());
    let (status, content) = files.get(path).unwrap_or(&not_found);
    write!(stream, "HTTP/1.1 {status} as asked\r\nContent-Length: {}\r\n", content.len())?;
    write!(stream, "Connection: close\r\n\r\n")?;
    stream.write_all(content)
}
