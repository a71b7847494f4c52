//! What a certificate says of itself, for the words of a refusal. It is a stranger's: all that is
//! shown is printable and bounded, and what can't be read is left out. Nothing is decided by it.

use std::net::IpAddr;

use super::der::{Elements, SEQUENCE};

/// The most characters of a text that are shown.
const SHOWN: usize = 64;

/// A certificate that is looked into.
pub struct Certificate<'a> {
    /// X.509 version 1, which has no extensions.
    pub is_version_1: bool,
    /// The contents of the name, as [`rustls::pki_types::TrustAnchor::subject`] has them.
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        const VERSION: u8 = 0xa0;
        const EXTENSIONS: u8 = 0xa3;
        let certificate = Elements(der).expect(SEQUENCE)?;
        let mut fields = Elements(Elements(certificate).expect(SEQUENCE)?);
        let is_version_1 = fields.next()?.0 != VERSION;
        if !is_version_1 {
            let _serial_number = fields.next()?;
        }
        let _algorithm = fields.next()?;
        let issuer = fields.expect(SEQUENCE)?;
        let _validity = fields.next()?;
        let subject = fields.expect(SEQUENCE)?;
        let extensions = fields.find(|(tag, _)| *tag == EXTENSIONS);
        let extensions = extensions.and_then(|(_, list)| Elements(list).expect(SEQUENCE));
        Some(Certificate {
            is_version_1,
            issuer,
            subject,
            extensions: extensions.unwrap_or_default(),
        })
    }

    pub fn is_self_signed(&self) -> bool {
        self.issuer == self.subject
    }

    pub fn is_ca(&self) -> bool {
        const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
        const BOOLEAN: u8 = 0x01;
        let is_ca = self.extension(BASIC_CONSTRAINTS).next();
        is_ca.is_some_and(|(tag, value)| tag == BOOLEAN && value != [0])
    }

    /// The hosts that the certificate is for.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";
        const DNS_NAME: u8 = 0x82;
        const IP_ADDRESS: u8 = 0x87;
        self.extension(SUBJECT_ALT_NAME).filter_map(|(tag, name)| match tag {
            DNS_NAME => Some(printable(name)),
            IP_ADDRESS => address(name).map(|address| address.to_string()),
            _ => None,
        })
    }

    /// What is in an extension whose value is a sequence.
    fn extension(&self, id: &[u8]) -> Elements<'a> {
        let mut all = Elements(self.extensions).map(|(_, extension)| Elements(extension));
        let found = all.find_map(|mut fields| {
            let (_, value) = fields.next().filter(|(_, found)| *found == id).and(fields.last())?;
            Elements(value).expect(SEQUENCE)
        });
        Elements(found.unwrap_or_default())
    }
}

/// A name such as `CN=Example CA, O=Example`: of its parts those that people know a CA by.
pub fn shown(name: &[u8]) -> String {
    const PARTS: [(&str, &[u8]); 3] =
        [("CN=", b"\x55\x04\x03"), ("O=", b"\x55\x04\x0a"), ("OU=", b"\x55\x04\x0b")];
    let mut shown = String::new();
    for (key, id) in PARTS {
        for (_, set) in Elements(name) {
            let mut part = Elements(Elements(set).expect(SEQUENCE).unwrap_or_default());
            if part.next().is_some_and(|(_, found)| found == id) && shown.len() < SHOWN {
                if !shown.is_empty() {
                    shown.push_str(", ");
                }
                shown.push_str(key);
                shown.push_str(&printable(part.next().unwrap_or_default().1));
            }
        }
    }
    shown
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).escape_debug().take(SHOWN).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyPair,
    };

    use super::*;

    fn name(parts: &[(DnType, DnValue)]) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        parts.iter().for_each(|(key, value)| name.push(key.clone(), value.clone()));
        name
    }

    fn certificate(name: DistinguishedName, hosts: &[&str], is_ca: IsCa) -> Vec<u8> {
        let hosts: Vec<String> = hosts.iter().copied().map(String::from).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = name;
        params.is_ca = is_ca;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn common(text: &str) -> DistinguishedName {
        name(&[(DnType::CommonName, text.into())])
    }

    fn shown_issuer(name: DistinguishedName) -> String {
        let der = certificate(name, &[], IsCa::NoCa);
        shown(Certificate::read(&der).unwrap().issuer)
    }

    #[test]
    fn issuers_are_shown_by_their_usual_parts() {
        let full = name(&[
            (DnType::CountryName, "DE".into()),
            (DnType::OrganizationName, "Acme".into()),
            (DnType::CommonName, "Acme CA".into()),
        ]);
        assert_eq!(shown_issuer(full), "CN=Acme CA, O=Acme");
        assert_eq!(shown_issuer(name(&[])), "");
        let unit = name(&[(DnType::OrganizationalUnitName, "Ökonomie".into())]);
        assert_eq!(shown_issuer(unit), "OU=Ökonomie");
    }

    #[test]
    fn a_strangers_name_is_printable_and_bounded() {
        assert_eq!(
            shown_issuer(common("a\n<3>b\x1b[31m\"\u{202e}")),
            r#"CN=a\n<3>b\u{1b}[31m\"\u{202e}"#
        );
        let long = shown_issuer(common(&"x".repeat(5000)));
        assert_eq!(long, format!("CN={}", "x".repeat(SHOWN)));
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        let der = certificate(common("x"), &["a.test", "*.b.test", "10.0.0.1", "::1"], IsCa::NoCa);
        let read = Certificate::read(&der).unwrap();
        assert!(read.hosts().eq(["a.test", "*.b.test", "10.0.0.1", "::1"]));
        assert!(!read.is_ca() && !read.is_version_1 && read.is_self_signed());
        let der = certificate(common("x"), &[], IsCa::Ca(BasicConstraints::Unconstrained));
        let read = Certificate::read(&der).unwrap();
        assert!(read.is_ca() && read.hosts().next().is_none());
    }

    fn look(der: &[u8]) {
        let Some(read) = Certificate::read(der) else { return };
        assert!(shown(read.issuer).chars().count() < 3 * SHOWN);
        assert!(read.hosts().all(|host| host.chars().count() <= SHOWN));
        let _ = read.is_ca();
    }

    proptest! {
        #[test]
        fn whatever_a_peer_sends_is_looked_into(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            look(&bytes);
            let mut der = certificate(common("x"), &["a.test", "::1"], IsCa::ExplicitNoCa);
            for (index, byte) in at {
                let index = index.index(der.len());
                der[index] = byte;
                look(&der);
                look(&der[..index]);
            }
        }
    }
}
