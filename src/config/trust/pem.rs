//! The certificates of `VMKIT_CA_FILE`, in the forms in which such files are found. What is wrong
//! with a file is told without its contents: it may hold a private key.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};

use super::der::{self, Elements};

/// The certificates of a PEM file. A byte order mark, indentation and text round the certificates
/// are no matter.
///
/// # Errors
/// What is wrong with the file.
pub fn roots(file: &[u8]) -> Result<RootCertStore, String> {
    let text = plain_text(file)?;
    let mut roots = RootCertStore::empty();
    let mut others = 0;
    for (certificate, number) in CertificateDer::pem_slice_iter(text.as_bytes()).zip(1..) {
        let damaged = |what| format!("certificate {number} {what}; copy the file again");
        let certificate = certificate.map_err(|error| damaged(what_is_wrong(&error)))?;
        let (certificate, settings) =
            der::first(&certificate).ok_or_else(|| damaged("is cut off"))?;
        if !is_for_servers(settings) {
            others += 1;
            continue;
        }
        roots
            .add(certificate.into())
            .map_err(|_| damaged("is no X.509 certificate, or is damaged"))?;
    }
    match roots.is_empty() {
        true => Err(what_instead(&text, others).to_owned()),
        false => Ok(roots),
    }
}

/// What a file holds that has no certificate for us.
fn what_instead(text: &str, others: u32) -> &'static str {
    if others > 0 {
        "it trusts its certificates for other uses than TLS servers"
    } else if text.contains("PRIVATE KEY-----") {
        "it holds a private key and no certificate"
    } else if text.contains("PKCS7-----") {
        "it is PKCS #7; convert it: openssl pkcs7 -print_certs -in FILE -out FILE.pem"
    } else {
        "no line is -----BEGIN CERTIFICATE-----; name a PEM file"
    }
}

/// The text in the form that the parser knows.
fn plain_text(file: &[u8]) -> Result<String, &'static str> {
    match file {
        [] => return Err("it is empty"),
        [der::SEQUENCE, 0x80..=0xff, ..] => {
            return Err("it is DER; convert it: openssl x509 -inform DER -in FILE -out FILE.pem");
        }
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => return Err("it is UTF-16; save it as UTF-8"),
        _ => {}
    }
    let text = String::from_utf8_lossy(file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file));
    let mut plain = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        plain.push_str(line.trim());
        plain.push('\n');
    }
    // OpenSSL's other names for it.
    for name in ["TRUSTED CERTIFICATE-----", "X509 CERTIFICATE-----"] {
        plain = plain.replace(name, "CERTIFICATE-----");
    }
    Ok(plain)
}

/// Whether OpenSSL would trust a certificate for a TLS server. `settings` is what follows the
/// certificate in its `TRUSTED CERTIFICATE`, and nothing elsewhere. Bundles of distributions list
/// the CAs that are not to be trusted in this form too.
fn is_for_servers(settings: &[u8]) -> bool {
    const TRUSTED: u8 = der::SEQUENCE;
    const REJECTED: u8 = 0xa0;
    const SERVER_AUTH: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x01";
    const ANY: &[u8] = b"\x55\x1d\x25\x00";
    let has_it = |uses| Elements(uses).any(|(_, usage)| usage == SERVER_AUTH || usage == ANY);
    let settings = Elements(settings).expect(der::SEQUENCE).unwrap_or_default();
    Elements(settings).all(|(tag, uses)| match tag {
        TRUSTED => has_it(uses),
        REJECTED => !has_it(uses),
        _ => true,
    })
}

fn what_is_wrong(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "is cut off: it has no END line",
        Error::IllegalSectionStart { .. } => "has a BEGIN line that is damaged",
        _ => "is damaged: it is not base64",
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn key_and_certificate() -> (String, Vec<u8>, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        (key.serialize_pem(), certificate.der().to_vec(), certificate.pem())
    }

    fn count(file: impl AsRef<[u8]>) -> usize {
        roots(file.as_ref()).map(|roots| roots.len()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_forms_in_which_a_file_may_be() {
        let (key, der, pem) = key_and_certificate();
        assert_eq!(count(format!("\u{feff}{pem}")), 1);
        assert_eq!(count(format!("# a comment\n{pem}\n{key}{pem}")), 2);
        assert_eq!(count(pem.replace('\n', "\r\n")), 1);
        assert_eq!(count(pem.replace('\n', "\r")), 1);
        let indented: String = pem.lines().map(|line| format!("  \t{line} \n")).collect();
        assert_eq!(count(&indented), 1);
        assert_eq!(count(pem.replace(" CERTIFICATE", " X509 CERTIFICATE")), 1);
        assert_eq!(count(trusted(&der, b"\x30\x0c\x30\x0a\x06\x08", SERVER_AUTH)), 1);
        assert_eq!(count(trusted(&der, b"", b"")), 1);
        assert_eq!(count([b"caf\xe9\n", pem.as_bytes()].concat()), 1);
    }

    const SERVER_AUTH: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x01";
    const CLIENT_AUTH: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x02";

    /// A certificate as `openssl x509 -trustout` writes it, with one use set.
    fn trusted(der: &[u8], head: &[u8], usage: &[u8]) -> String {
        let body = BASE64.encode(&[der, head, usage].concat());
        format!("-----BEGIN TRUSTED CERTIFICATE-----\n{body}\n-----END TRUSTED CERTIFICATE-----")
    }

    #[test]
    fn a_certificate_that_openssl_would_not_trust_for_servers_is_left_out() {
        let (_, der, pem) = key_and_certificate();
        let rejected = trusted(&der, b"\x30\x0c\xa0\x0a\x06\x08", SERVER_AUTH);
        let for_clients = trusted(&der, b"\x30\x0c\x30\x0a\x06\x08", CLIENT_AUTH);
        for file in [&rejected, &for_clients] {
            let problem = roots(file.as_bytes()).expect_err("nothing is trusted");
            assert!(problem.starts_with("it trusts its certificates for other uses"), "{problem}");
            assert_eq!(count(format!("{file}\n{pem}")), 1);
        }
        assert_eq!(count(trusted(&der, b"\x30\x0c\xa0\x0a\x06\x08", CLIENT_AUTH)), 1);
    }

    #[test]
    fn what_is_wrong_is_one_line_without_contents() {
        let (key, der, pem) = key_and_certificate();
        let lines: Vec<&str> = pem.lines().collect();
        let cut = lines[..lines.len() - 2].join("\n");
        let short = [lines[0], lines[1], lines[lines.len() - 1]].join("\n");
        let utf16: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (file, words) in [
            (b"".to_vec(), "it is empty"),
            (b"hello\n".to_vec(), "no line is -----BEGIN CERTIFICATE-----"),
            (key.clone().into_bytes(), "it holds a private key and no certificate"),
            (key.replace("PRIVATE", "RSA PRIVATE").into_bytes(), "it holds a private key"),
            (der, "it is DER; convert it: openssl x509"),
            ([&[0xff, 0xfe], &utf16[..]].concat(), "it is UTF-16"),
            (cut.into_bytes(), "certificate 1 is cut off"),
            (short.into_bytes(), "certificate 1 is cut off"),
            (format!("{pem}{}", pem.replace('M', "?")).into_bytes(), "certificate 2 is damaged"),
            (pem.replace("E-----", "E----").into_bytes(), "certificate 1 has a BEGIN line"),
            (pem.replace("CERTIFICATE-", "PKCS7-").into_bytes(), "it is PKCS #7"),
        ] {
            let problem = roots(&file).expect_err(words);
            assert!(problem.starts_with(words), "{problem}");
            assert_eq!(problem.lines().count(), 1, "{problem}");
            assert!(!lines[1..].iter().any(|line| problem.contains(line)), "{problem}");
        }
    }
}
