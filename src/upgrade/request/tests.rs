//! Which requests, URLs and checksums are accepted, and how they are shown.

use super::*;

const CHECKSUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn check(version: &str, url: &str, checksum: &str) -> Result<Request, String> {
    Request::check(version, url, checksum)
}

fn url(text: &str) -> DownloadUrl {
    DownloadUrl::check(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_request_comes_from_json_and_goes_back_to_it() {
    let json = format!(
        r#"{{"version":"1.2.3-rc.1+b","download_url":"https://u:p@h/f?q=1","checksum_sha256":"{CHECKSUM}"}}"#
    );
    let request: Request = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&request).unwrap(), json);
    let upper = json.replace(CHECKSUM, &CHECKSUM.to_uppercase());
    assert_eq!(serde_json::from_str::<Request>(&upper).unwrap(), request);
}

#[test]
fn versions_are_good_file_names() {
    let long = "1".repeat(64);
    for version in ["1", "1.2.3", "2026.01-x+y", &long] {
        check(version, "https://h/", CHECKSUM).expect(version);
    }
    let longer = "1".repeat(65);
    for version in ["", ".", "..", "-1", "+1", "1/2", "../1", "1 2", "1\n", "1é", "1_2", &longer] {
        let error = check(version, "https://h/", CHECKSUM).expect_err(version);
        assert!(error.starts_with("version: "), "{error}");
    }
}

#[test]
fn urls_are_https_or_loopback() {
    for good in [
        "https://h/f",
        "HTTPS://h/f",
        "https://u:p@h:8443/f?q#x",
        "http://127.0.0.1:1/f",
        "http://[::1]/f",
        "http://localhost:80/f",
    ] {
        check("1", good, CHECKSUM).expect(good);
    }
    for bad in [
        "",
        "/f",
        "h",
        "https:",
        "https:///secret",
        "https://h:0/secret",
        "https://h:99999/secret",
        "http://h/secret",
        "http://10.0.0.1/secret",
        "http://127.0.0.1@h/secret",
        "http://127.0.0.1.evil/secret",
        "ftp://h/secret",
        "file:///secret",
        "https://h/secret one",
    ] {
        let error = check("1", bad, CHECKSUM).expect_err(bad);
        assert!(error.starts_with("download_url: ") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn checksums_are_64_hex_digits() {
    for bad in ["", &CHECKSUM[1..], &format!("{CHECKSUM}0"), &CHECKSUM.replace('e', "g")] {
        assert!(check("1", "https://h/", bad).unwrap_err().starts_with("checksum_sha256: "));
    }
}

#[test]
fn a_url_is_shown_without_secrets() {
    let shown = url("https://user:secret@h:1/f?key=secret").to_string();
    assert_eq!(shown, "https://h:1/f");
    assert_eq!(format!("{:?}", url("https://user:secret@h/f?secret")), "https://h/f");
}

#[test]
fn the_signature_is_beside_the_file() {
    assert_eq!(url("https://h/d/f").signature().uri(), "https://h/d/f.minisig");
    assert_eq!(url("https://h/d/f?q=1").signature().uri(), "https://h/d/f.minisig?q=1");
}

#[test]
fn redirects_stay_where_they_may_lead() {
    let from = url("https://u:p@h:1/a/b?q");
    for (location, to) in [
        ("https://other/c", "https://other/c"),
        ("//other/c", "https://other/c"),
        ("/c?x=1", "https://h:1/c?x=1"),
        ("c", "https://h:1/a/c"),
    ] {
        assert_eq!(from.redirected(location).unwrap().uri(), to);
    }
    for bad in ["http://h/c", "http://127.0.0.1/c", "ftp://h/c", "https://"] {
        from.redirected(bad).expect_err(bad);
    }
    let plain = url("http://127.0.0.1:1/a");
    assert_eq!(plain.redirected("https://h/c").unwrap().uri(), "https://h/c");
    assert_eq!(plain.redirected("/c").unwrap().uri(), "http://127.0.0.1:1/c");
    plain.redirected("http://h/c").expect_err("http: to anywhere");
}
