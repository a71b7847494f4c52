//! `POST /api/instances/{id}/upgrade`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Json, Path};
use super::identity::{May, Operate};
use super::problem::Problem;
use crate::agents::calls::UpgradeOrder;
use crate::agents::register::InstanceId;
use crate::agents::upgrade::Upgrade;
use crate::gateway::Gateway;

const URL_LIMIT: usize = 8192;
const VERSION_LIMIT: usize = 64;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    #[schema(pattern = "^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$", example = "1.1.0")]
    pub version: String,
    /// `https:`; `http:` to a loopback address only.
    #[schema(
        max_length = 8192,
        pattern = r"^(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\]))(:[0-9]{1,5})?(/[!-~]*)?$",
        example = "https://releases.example.com/vmkit-agent-linux-amd64"
    )]
    pub download_url: String,
    #[schema(
        pattern = "^[0-9A-Fa-f]{64}$",
        example = "1111111111111111111111111111111111111111111111111111111111111111"
    )]
    pub checksum_sha256: String,
}

impl UpgradeRequest {
    /// As a person pastes it.
    pub fn trimmed(self) -> UpgradeRequest {
        let trim = |text: String| text.trim().to_owned();
        UpgradeRequest {
            version: trim(self.version),
            download_url: trim(self.download_url),
            checksum_sha256: trim(self.checksum_sha256),
        }
    }
}

/// Asks the agent to replace itself. The answer comes at once; what becomes of it is in the instance's
/// `upgrade` and its events. Whoever may do this is as good as root on the VM.
#[utoipa::path(
    post, path = "/api/instances/{id}/upgrade", tag = "instances", security(("key" = ["operate"])),
    params(("id" = InstanceId, Path)),
    request_body = UpgradeRequest,
    responses((status = 202, body = Upgrade), (status = "default", response = crate::api::Failed)),
)]
pub async fn upgrade(
    May { identity, .. }: May<Operate>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
    Json(request): Json<UpgradeRequest>,
) -> Result<(StatusCode, axum::Json<Upgrade>), Problem> {
    check(&request).map_err(Problem::invalid)?;
    let UpgradeRequest { version, download_url, checksum_sha256 } = request;
    let order = UpgradeOrder { version, download_url, checksum_sha256 };
    let asked = gateway.upgrade(&id, order, identity.name)?;
    Ok((StatusCode::ACCEPTED, axum::Json(asked)))
}

/// As the agent does, which has the last word.
pub fn check(request: &UpgradeRequest) -> Result<(), &'static str> {
    let version = &request.version;
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".+-".contains(c);
    let starts = version.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || version.len() > VERSION_LIMIT || !version.chars().all(allowed) {
        return Err("version is not a version");
    }
    let checksum = &request.checksum_sha256;
    if checksum.len() != 64 || !checksum.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err("checksum_sha256 is not 64 hexadecimal digits");
    }
    match is_download(&request.download_url) {
        true => Ok(()),
        false => Err(
            "download_url is no URL of https: without a user (or of http: to a loopback address), of at most 8 KiB",
        ),
    }
}

/// As the pattern of the description says it: a URL without credentials, of printable ASCII.
fn is_download(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let of = |text: &str, allowed: fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
    let name_end = authority.rfind(']').map_or(0, |end| end + 1);
    let port = authority[name_end..].find(':').map(|colon| name_end + colon);
    let (host, port) = authority.split_at(port.unwrap_or(authority.len()));
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match address {
        Some(address) => of(address, |c| c.is_ascii_hexdigit() || ":.".contains(c)),
        None => of(host, |c| c.is_ascii_alphanumeric() || ".-".contains(c)),
    };
    let port = port.strip_prefix(':');
    let is_port = port.is_none_or(|port| port.len() <= 5 && of(port, |c| c.is_ascii_digit()));
    let fits = is_host && is_port && url.len() <= URL_LIMIT;
    let path_fits = path.is_empty() || of(path, |c| c.is_ascii_graphic());
    fits && path_fits && (scheme == "https" || scheme == "http" && is_loopback(host))
}

fn is_loopback(host: &str) -> bool {
    let numbers = host.strip_prefix("127.").map(|rest| rest.split('.').collect::<Vec<_>>());
    let is_number =
        |text: &&str| (1..=3).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
    let of_net = numbers.is_some_and(|all| all.len() == 3 && all.iter().all(is_number));
    host == "localhost" || host == "[::1]" || of_net
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_would_refuse_is_refused_here() {
        let check_with = |version: &str, url: &str, checksum: &str| {
            check(&UpgradeRequest {
                version: version.to_owned(),
                download_url: url.to_owned(),
                checksum_sha256: checksum.to_owned(),
            })
        };
        let (url, sum) = ("https://releases.example.com/agent", "a".repeat(64));
        assert_eq!(check_with("1.2.3-rc.1+b", url, &sum), Ok(()));
        for loopback in ["http://127.0.0.1:1/a", "http://[::1]/a", "http://localhost/a?b=c", url] {
            assert_eq!(check_with("1", loopback, &sum), Ok(()), "{loopback}");
        }
        for version in ["", "-1", "1 2", &"1".repeat(65)] {
            assert!(check_with(version, url, &sum).is_err(), "{version}");
        }
        for url in [
            "",
            "/a",
            "http://192.0.2.1/a",
            "ftp://a/b",
            "https:///a",
            "http://localhost.a/",
            "https://a:b@c/",
            "http://127.0.0.1.a/",
            "http://127.0.0.1:1@a/",
            "https://a/\n",
            "https://a:123456/",
            "https://a?b",
            "https://[::1/a",
            "http://127.1/",
            "https://a:/",
        ] {
            assert!(check_with("1", url, &sum).is_err(), "{url}");
        }
        assert!(check_with("1", url, &"g".repeat(64)).is_err());
    }
}
