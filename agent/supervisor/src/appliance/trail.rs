//! Around every change that is asked of the agent: who asks and why, the idempotency key, and the entry in the audit chain.
//!
//! ```text
//!  request ─▶ who (headers the door sets) ─▶ key: new? ─▶ handler ─▶ answer kept under the key ─▶ audit entry ─▶ answer
//!                                              └─▶ answer of the first time, or a refusal
//! ```
//!
//! Handlers know nothing of it, but that a [`Detail`] among the extensions of their answer is what changed, with before and after.
//! Invariants: a change without an entry is an error in the log and a sentence in the health, and the next change is refused until entries
//! can be made again, so that at most one change ever goes unseen; what cannot be kept under a key is never done twice under it.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use tbi_api::access::{ACTOR_HEADER, By, LOCAL, ROLE_HEADER, Role, SOURCE_HEADER};
use tbi_api::reason::{self, NoReason, Reason};
use tbi_daemon::{ApiError, BODY_LIMIT, CORRELATION_HEADER};
use tbi_ledger::audit::NewEntry;
use tbi_ledger::{Answer, Begun, Hash, LARGEST_ANSWER, LedgerError, NewRequest};

use super::node::Appliance;

/// Names a request, so that it is done once (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, characters.
pub(crate) const LONGEST_KEY: usize = 255;
/// Says that an answer is that of the first time.
const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Paths whose bodies are too large to be held; they replace a whole thing, so doing them twice is doing them once.
pub(crate) const STREAMED: [&str; 1] = ["/v1/isp/root"];

/// What a handler changed, for the audit chain: usually `{"before": …, "after": …}`.
#[derive(Debug, Clone)]
pub(crate) struct Detail(pub(crate) Value);

/// Who asks, from the headers that the door sets; without them it is somebody on the box.
pub(crate) fn by(headers: &HeaderMap) -> By {
    let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let role = word(ROLE_HEADER).and_then(|role| role.parse::<Role>().ok());
    By {
        actor: word(ACTOR_HEADER).unwrap_or_else(|| LOCAL.to_owned()),
        role,
        source: word(SOURCE_HEADER).unwrap_or_else(|| LOCAL.to_owned()),
        correlation_id: word(CORRELATION_HEADER.as_str()).unwrap_or_default(),
    }
}

/// An entry of what somebody did.
pub(crate) fn entry<'a>(
    by: &'a By,
    action: &'a str,
    target: &'a str,
    outcome: &'a str,
    detail: &'a Value,
) -> NewEntry<'a> {
    NewEntry {
        actor: &by.actor,
        role: by.role.map_or("none", Role::as_str),
        source: &by.source,
        action,
        target,
        outcome,
        detail,
        correlation: &by.correlation_id,
    }
}

/// The problem of a database that failed.
pub(crate) fn database(error: &LedgerError) -> ApiError {
    let (status, code) = match error {
        LedgerError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "state-not-writable"),
        LedgerError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "database-locked"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "database-failed"),
    };
    ApiError::new(status, code, error.to_string())
}

/// See the module. A layer of the agent's routes.
pub(crate) async fn trail(State(appliance): State<Arc<Appliance>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let Some(template) = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()) else {
        return next.run(request).await;
    };
    // In a task of its own: a caller that hangs up leaves neither half a change nor a key that nobody finishes.
    let followed = tokio::spawn(async move { follow(&appliance, &template, request, next).await });
    match followed.await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_panicked) => ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the change ended unexpectedly; look at what is in force and ask again",
        )
        .into_response(),
    }
}

async fn follow(appliance: &Appliance, template: &str, request: Request, next: Next) -> Result<Response, ApiError> {
    let by = by(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let reason = reason(request.uri().query())?;
    appliance.audit_works().await.map_err(|error| unauditable(&error))?;
    let key = key(request.headers())?.filter(|_| !STREAMED.contains(&template));
    let response = match key {
        None => next.run(request).await,
        Some(key) => once(appliance, &by, key, request, next).await?,
    };
    if response.headers().contains_key(REPLAYED_HEADER) {
        return Ok(response);
    }
    let (action, outcome) = (action(&method, template), outcome(response.status()));
    let mut detail = response.extensions().get::<Detail>().map_or_else(|| json!({}), |detail| detail.0.clone());
    detail["status"] = response.status().as_u16().into();
    if let Some(reason) = reason {
        detail[reason::NAME] = reason.as_str().into();
    }
    let noted = appliance.ledger(move |ledger, key| {
        let entry = entry(&by, &action, &path, outcome, &detail);
        ledger.append(&entry, key, Timestamp::now())
    });
    let noted = noted.await;
    if let Err(error) = &noted {
        tracing::error!(%error, "a change is not in the audit chain");
    }
    appliance.note_audit(noted.err().map(|error| error.to_string()));
    Ok(response)
}

/// Why something is asked for, from its query.
pub(crate) fn reason(query: Option<&str>) -> Result<Option<Reason>, ApiError> {
    let refused =
        |error: NoReason| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "reason-refused", error.to_string());
    Reason::of_query(query).map_err(refused)
}

fn unauditable(error: &str) -> ApiError {
    let sentence = format!("nothing is changed while the audit chain cannot be written: {error}");
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "audit-unavailable", sentence)
}

/// Does it, or gives the answer of the first time.
async fn once(appliance: &Appliance, by: &By, key: String, request: Request, next: Next) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let too_large = |_| {
        let sentence = format!("a body has at most {} kB", BODY_LIMIT / 1024);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", sentence)
    };
    let body = to_bytes(body, BODY_LIMIT).await.map_err(too_large)?;
    let whose = format!("{}/{}", by.source_of_keys(), by.actor);
    let operation = format!("{} {}", parts.method, parts.uri);
    let sha256 = Hash::of(&body);
    let begun = {
        let (whose, key) = (whose.clone(), key.clone());
        appliance.ledger(move |ledger, _| {
            let new = NewRequest { key: &key, account: &whose, operation: &operation, body_sha256: sha256 };
            ledger.begin_request(&new, Timestamp::now())
        })
    };
    match begun.await.map_err(|error| database(&error))? {
        Begun::Fresh => {}
        Begun::Replay(answer) => return Ok(replayed(answer)),
        Begun::InProgress => {
            let sentence = "the first request with this key is still under way; ask again in a moment";
            return Err(ApiError::new(StatusCode::CONFLICT, "idempotency-key-in-progress", sentence));
        }
        Begun::Reused => {
            let sentence = "this key was used for another request; use a new key for each change";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", sentence));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LARGEST_ANSWER).await.unwrap_or_default();
    let kept = keep(appliance, whose, key, &parts, body.clone());
    if let Err(error) = kept.await {
        tracing::error!(%error, "an answer cannot be kept under its idempotency key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// A failure of ours frees the key: the same request may be sent again.
async fn keep(
    appliance: &Appliance,
    whose: String,
    key: String,
    parts: &http::response::Parts,
    body: Bytes,
) -> Result<(), LedgerError> {
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let answer = Answer {
        status: parts.status.as_u16(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: body.to_vec(),
    };
    let failed = parts.status.is_server_error();
    appliance
        .ledger(move |ledger, _| match failed {
            true => ledger.abandon_request(&whose, &key),
            false => ledger.finish_request(&whose, &key, &answer),
        })
        .await
}

fn replayed(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    if let Ok(value) = HeaderValue::from_str(&answer.content_type)
        && !value.is_empty()
    {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response.headers_mut().insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    response
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let refused = || {
        let sentence = format!("an idempotency key has 1 to {LONGEST_KEY} visible ASCII characters and is given once");
        ApiError::new(StatusCode::BAD_REQUEST, "idempotency-key-refused", sentence)
    };
    let mut given = headers.get_all(&KEY_HEADER).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let text = first.to_str().map_err(|_| refused())?;
    let good = (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !good || given.next().is_some() {
        return Err(refused());
    }
    Ok(Some(text.to_owned()))
}

/// `settings.change`, from what was asked for.
fn action(method: &Method, template: &str) -> String {
    let noun = template.trim_start_matches("/v1/").split('/').filter(|word| !word.starts_with('{'));
    let noun = noun.collect::<Vec<_>>().join(".");
    let verb = match *method {
        Method::POST => "order",
        Method::PUT | Method::PATCH => "change",
        Method::DELETE => "remove",
        _ => "ask",
    };
    format!("{noun}.{verb}")
}

fn outcome(status: StatusCode) -> &'static str {
    match status {
        status if status.is_success() => "done",
        status if status.is_client_error() => "refused",
        _ => "failed",
    }
}

/// Keys of the door and of the box itself never meet.
trait Keys {
    fn source_of_keys(&self) -> &'static str;
}

impl Keys for By {
    fn source_of_keys(&self) -> &'static str {
        if self.role.is_some() { "door" } else { LOCAL }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn actions_are_named_after_what_they_change() {
        for (method, template, name) in [
            (Method::PUT, "/v1/settings", "settings.change"),
            (Method::POST, "/v1/runs", "runs.order"),
            (Method::DELETE, "/v1/runs/{id}", "runs.remove"),
            (Method::PUT, "/v1/isp/root", "isp.root.change"),
        ] {
            assert_eq!(action(&method, template), name);
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(KEY_HEADER, HeaderValue::from_static(value));
            }
            key(&headers)
        };
        assert_eq!(with(&[]).unwrap(), None);
        assert_eq!(with(&["a-1"]).unwrap().as_deref(), Some("a-1"));
        for wrong in [&["" as &str] as &[_], &["a b"], &["a", "b"]] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn without_the_doors_headers_it_is_somebody_on_the_box() {
        let mut headers = HeaderMap::new();
        assert_eq!((by(&headers).actor.as_str(), by(&headers).role), ("local", None));
        headers.insert(ACTOR_HEADER, HeaderValue::from_static("ada"));
        headers.insert(ROLE_HEADER, HeaderValue::from_static("operator"));
        headers.insert(SOURCE_HEADER, HeaderValue::from_static("192.0.2.7"));
        let by = by(&headers);
        assert_eq!((by.actor.as_str(), by.role, by.source.as_str()), ("ada", Some(Role::Operator), "192.0.2.7"));
    }
}
