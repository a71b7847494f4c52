//! All instances at a glance: `/`. What is wrong comes first.
//!
//! - `query` which of them, as the URL says; `sight` finds them in the fleet and sorts them; `table` shows
//!   them

mod query;
mod sight;
mod table;

use std::sync::Arc;

use axum::extract::State;
use maud::Markup;

use super::layout::{self, Shell};
use super::visitor::Allowed;
use crate::api::extract::FormQuery;
use crate::api::identity::Read;
use crate::api::problem::Problem;
use crate::clock::Moment;
use crate::gateway::Gateway;
use query::Query;

pub async fn show(
    Allowed { visitor, .. }: Allowed<Read>,
    State(gateway): State<Arc<Gateway>>,
    FormQuery(query): FormQuery<Query>,
) -> Result<Markup, Problem> {
    let filter = query.filter()?;
    let now = Moment::now();
    let sight = gateway.agents.read(|fleet| sight::look(fleet, &filter, now));
    let warnings = gateway.live.warnings();
    let shell = Shell {
        title: "Instances",
        visitor: Some(&visitor),
        warnings: Some(&warnings),
        scripts: &[],
    };
    Ok(layout::page(&shell, table::page(&sight, &filter, now)))
}
