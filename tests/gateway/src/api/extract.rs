//! axum's extractors, whose rejections are problems.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;

/// For a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

/// No parameter of this API may be empty: one that is would be taken for one that is not there.
pub struct Query<T>(pub T);

/// What a page's form put into the URL. A field that was left empty is there too.
#[derive(FromRequestParts)]
#[from_request(via(axum_extra::extract::Query), rejection(Problem))]
pub struct FormQuery<T>(pub T);

pub struct Json<T>(pub T);

/// What a page's form sends.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let is_empty = |pair: &&str| pair.split_once('=').is_none_or(|(_, value)| value.is_empty());
        if let Some(pair) = pairs.filter(|pair| !pair.is_empty()).find(is_empty) {
            let name = pair.trim_end_matches('=');
            return Err(Problem::invalid(format!("the query parameter {name} has no value")));
        }
        let query = axum_extra::extract::Query::from_request_parts(parts, state).await?;
        Ok(Query(query.0))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let read = timeout(BODY_TIMEOUT, axum::Json::from_request(request, state)).await;
        let read = read.map_err(|_| Problem::slow_body())?;
        let axum::Json(body) = read?;
        Ok(Json(body))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Form<T>, Problem> {
        let read = timeout(BODY_TIMEOUT, axum::Form::from_request(request, state)).await;
        let read = read.map_err(|_| Problem::invalid("the form did not come in time"))?;
        let axum::Form(form) = read.map_err(|rejection| Problem::invalid(rejection.body_text()))?;
        Ok(Form(form))
    }
}
