//! `POST /api/instances/{id}/upgrade`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{Json, Path};
use super::identity::{May, Operate};
use super::problem::Problem;
use crate::agents::calls::UpgradeOrder;
use crate::agents::register::InstanceId;
use crate::agents::upgrade::Upgrade;
use crate::gateway::Gateway;

const URL_LIMIT: usize = 2048;
const VERSION_LIMIT: usize = 64;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    #[schema(pattern = "^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    pub version: String,
    /// `https:`; `http:` to a loopback address only.
    #[schema(max_length = 2048)]
    pub download_url: String,
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
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
    let url: Option<Uri> = request.download_url.parse().ok();
    let url = url.filter(|_| request.download_url.len() <= URL_LIMIT);
    let host = url.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.as_ref().and_then(Uri::scheme_str) {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if loopback => Ok(()),
        _ => Err("download_url is not https: (http: to a loopback address only)"),
    }
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
        for loopback in ["http://127.0.0.1:1/a", "http://[::1]/a", "http://localhost/a"] {
            assert_eq!(check_with("1", loopback, &sum), Ok(()), "{loopback}");
        }
        for version in ["", "-1", "1 2", &"1".repeat(65)] {
            assert!(check_with(version, url, &sum).is_err(), "{version}");
        }
        for url in
            ["", "/a", "http://192.0.2.1/a", "ftp://a/b", "https:///a", "http://localhost.a/"]
        {
            assert!(check_with("1", url, &sum).is_err(), "{url}");
        }
        assert!(check_with("1", url, &"g".repeat(64)).is_err());
    }
}
