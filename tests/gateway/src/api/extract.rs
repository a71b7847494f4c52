//! axum's extractors, whose rejections are problems.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;

/// For a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

#[derive(FromRequestParts)]
#[from_request(via(axum_extra::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

pub struct Json<T>(pub T);

/// What a page's form sends.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let read = timeout(BODY_TIMEOUT, axum::Json::from_request(request, state)).await;
        let read = read.map_err(|_| Problem::invalid("the body did not come in time"))?;
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
