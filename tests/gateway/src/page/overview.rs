//! All instances at a glance.
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{Shell, page};
use super::visitor::Allowed;
use super::words;
use crate::api::identity::Read;
use crate::gateway::Gateway;

pub async fn show(
    Allowed { visitor, .. }: Allowed<Read>,
    State(gateway): State<Arc<Gateway>>,
) -> Result<Markup, Response> {
    let warnings = gateway.live.warnings();
    let shell = Shell {
        title: "Instances",
        visitor: Some(&visitor),
        warnings: Some(&warnings),
        scripts: &[],
    };
    let ids: Vec<String> = gateway.agents.read(|fleet| {
        fleet.iter().take(50).map(|record| record.register.instance_id.to_string()).collect()
    });
    Ok(page(
        &shell,
        html! {
            h1 { "Instances" }
            section data-live #instances { ul { @for id in &ids { li { a href=(words::instance_path(id)) { (id) } } } } }
        },
    ))
}
