//! One instance.
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{Shell, message, page};
use super::visitor::Allowed;
use crate::agents::register::InstanceId;
use crate::agents::view::Instance;
use crate::api::identity::Read;
use crate::clock::Moment;
use crate::gateway::Gateway;

pub async fn show(
    Allowed { visitor, .. }: Allowed<Read>,
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<InstanceId>,
) -> Result<Markup, Response> {
    let now = Moment::now();
    let found = gateway.agents.read(|fleet| fleet.get(&id).map(|record| Instance::of(record, now)));
    let Some(instance) = found else {
        return Err(message(
            StatusCode::NOT_FOUND,
            "Not found",
            "No instance has this id.",
            Some(&visitor),
        ));
    };
    let warnings = gateway.live.warnings();
    let shell = Shell {
        title: id.as_str(),
        visitor: Some(&visitor),
        warnings: Some(&warnings),
        scripts: &[],
    };
    Ok(page(&shell, html! { h1 { (instance.common.id) } }))
}
