//! Errors on the wire: RFC 9457 problem documents, also for what axum itself refuses.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request, rejection::JsonRejection};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use tbi_bench::control::Problem;

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A problem as a handler returns it: `Err(problem(…).into())` or `?` on anything that converts into [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError(Box<Problem>);

/// Makes a problem; `code` is kebab-case and stable, `title` follows from the status.
#[must_use]
pub fn problem(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
    Problem {
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail: detail.into(),
    }
}

impl ApiError {
    /// See [`problem`].
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        problem(status, code, detail).into()
    }

    /// What is said.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&*self.0)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

/// `axum::Json` for bodies whose refusal is a problem document with the parser's own words.
#[derive(Debug, Clone, Copy)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let refused = |rejection: JsonRejection| {
            let status = rejection.status();
            ApiError::new(status, code_of(status), rejection.body_text())
        };
        axum::Json::from_request(request, state).await.map(|axum::Json(value)| Self(value)).map_err(refused)
    }
}

/// Turns an error answer that is no problem document yet (axum's own 404, 405, 413, rejected bodies and paths) into one. Headers such as
/// `Allow` stay.
pub(crate) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    /// Longest text taken over from axum; its own sentences are far shorter.
    const LONGEST: usize = 4096;
    let (mut parts, body) = response.into_parts();
    let said = to_bytes(body, LONGEST).await.unwrap_or_default();
    let detail = match (status, String::from_utf8_lossy(&said)) {
        (StatusCode::NOT_FOUND, said) if said.is_empty() => {
            "there is nothing at this path; /openapi.json lists what there is".to_owned()
        }
        (StatusCode::METHOD_NOT_ALLOWED, said) if said.is_empty() => {
            "this path does not take this method; /openapi.json lists what there is".to_owned()
        }
        (_, said) if said.is_empty() => status.canonical_reason().unwrap_or("error").to_owned(),
        (_, said) => said.into_owned(),
    };
    let replaced = ApiError::new(status, code_of(status), detail).into_response();
    let (fresh, body) = replaced.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(fresh.headers);
    Response::from_parts(parts, Body::new(body))
}

fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "bad-request",
        StatusCode::NOT_FOUND => "not-found",
        StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "body-too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
        StatusCode::UNPROCESSABLE_ENTITY => "unprocessable",
        status if status.is_client_error() => "refused",
        _ => "internal",
    }
}
