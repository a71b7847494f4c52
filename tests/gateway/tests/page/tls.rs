//! Over TLS the cookie is a secure one that no other host can set.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::{Gateway, scratch};

async fn ask(gateway: &Gateway, request: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(gateway.folder().join("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = gateway.url.trim_start_matches("https://");
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_cookie_is_for_this_host_alone() {
    let folder = scratch();
    let ca = folder.path().join("ca.pem");
    let gateway = Gateway::start_in(folder, &["--ca-out", ca.to_str().unwrap()]);
    let host = gateway.url.trim_start_matches("https://");
    let body = format!("key={}", gateway.keys.api("read"));
    let post = |origin: &str| {
        format!(
            "POST /sign-in HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = ask(&gateway, &post(&gateway.url)).await;
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert!(cookie.starts_with("__Host-vmkit="));
    assert_eq!(attributes, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure");

    let get = |cookie: &str| {
        format!(
            "GET /api/instances HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
        )
    };
    assert!(ask(&gateway, &get(cookie)).await.starts_with("HTTP/1.1 200"));
    let plain = cookie.trim_start_matches("__Host-");
    assert!(ask(&gateway, &get(plain)).await.starts_with("HTTP/1.1 401"));
    let insecure = gateway.url.replace("https:", "http:");
    assert!(ask(&gateway, &post(&insecure)).await.starts_with("HTTP/1.1 403"));
}
