//! `logs_cancel`: ends a `logs_fetch` with `follow`.

use log::Level;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::requests::outcome::Answer;
use crate::wire::rpc::{self, Error, Id};

/// The id of the `logs_fetch` that is meant.
///
/// # Errors
/// [`rpc::Code::InvalidParams`].
pub fn target(params: Option<&RawValue>) -> Result<Id, Error> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let Members { id } = rpc::params(params)?;
    let invalid = |why| Error::new(rpc::Code::InvalidParams, format!("invalid params: {why}"));
    Id::from_raw(id).map_err(invalid)
}

/// The answer. `cancelled`: there was such a follow.
pub fn answer(id: Option<&Id>, cancelled: bool) -> Answer {
    let message = rpc::result_head(id) + &format!("{{\"cancelled\":{cancelled}}}") + rpc::TAIL;
    let summary = if cancelled { "cancelled" } else { "no such follow" };
    Answer {
        message: message.into(),
        summary: summary.to_owned(),
        detail: String::new(),
        level: Level::Info,
    }
}
