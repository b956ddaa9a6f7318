//! The certificate that the door shows, for people: what it is, another one in its place, back to the door's own, a request to a CA.
//!
//! Invariants: what is not fit is refused with a sentence and changes nothing; each change is in the audit chain before it counts, with the
//! fingerprints before and after and never a key; a caller that hangs up leaves no half change.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRef, RawQuery, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tbi_api::access::{AuditNote, By, DoorCertificate, Hidden, Outcome};
use tbi_api::reason;
use tbi_daemon::{ApiJson, ReplaceError};
use utoipa::ToSchema;

use super::Access;
use super::answer::{Answer, Fault, reason};
use super::who::Who;
use crate::certs::{Candidate, CertError, Certificates, Names};

/// Largest body, bytes; in the document as `x-body-limit`. Ten certificates with keys of 4096 bits take less than 40 kB.
const BODY: usize = 64 << 10;
const CHANGE: &str = "door.certificate.change";
const REMOVE: &str = "door.certificate.remove";
const REQUEST: &str = "door.certificate.request";

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Desk {
    access: Arc<Access>,
    certificates: Arc<Certificates>,
}

impl FromRef<Desk> for Arc<Access> {
    fn from_ref(desk: &Desk) -> Self {
        Arc::clone(&desk.access)
    }
}

impl Desk {
    pub(crate) fn new(access: Arc<Access>, certificates: Arc<Certificates>) -> Self {
        Self { access, certificates }
    }
}

/// The routes; their paths are whole.
pub(crate) fn routes(access: Arc<Access>, certificates: Arc<Certificates>) -> Router {
    Router::new()
        .route("/api/v1/access/certificate", get(show).put(bring).delete(remove))
        .route("/api/v1/access/certificate/request", post(request))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(Desk::new(access, certificates))
}

/// What browsers are shown, and whether an answer is waited for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct View {
    /// What is shown.
    pub(crate) shown: DoorCertificate,
    /// Whether a request was made whose answer can be brought without a key.
    pub(crate) request_pending: bool,
}

/// Another certificate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateOrder {
    /// The certificate and its issuers, PEM, leaf first.
    pub(crate) chain: String,
    /// Its key, PEM, not encrypted; absent when the box made it for a request.
    #[schema(value_type = Option<String>)]
    pub(crate) key: Option<Hidden>,
}

/// Asks for a request to a CA.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestOrder {
    /// Host names and addresses; absent: those of the box.
    #[schema(min_items = 1, max_items = 64)]
    pub(crate) names: Option<Vec<String>>,
}

/// A request to a CA.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CertificateRequest {
    /// PKCS#10, PEM. Its key stays in the box.
    pub(crate) request_pem: String,
    /// Names in it.
    pub(crate) names: Vec<String>,
}

/// The certificate that the door shows.
#[utoipa::path(get, path = "/api/v1/access/certificate", tag = "access", operation_id = "door_certificate",
    security(("session" = ["viewer", "operator", "administrator", "auditor"])), responses((status = 200, body = View)))]
pub(crate) async fn show(State(desk): State<Desk>, _who: Who) -> Answer<Json<View>> {
    desk.view().await
}

/// Shows another certificate, from the next connection on. The key may be left out when the box made it for a request.
#[utoipa::path(put, path = "/api/v1/access/certificate", tag = "access", operation_id = "bring_door_certificate",
    request_body = CertificateOrder,
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true)), ("x-body-limit" = json!(65536))),
    responses(
        (status = 200, body = View),
        (status = 409, description = "`certificate-by-flags`: the door was started with one"),
        (status = 422, description = "`no-certificate`, `certificate-damaged`, `chain-too-long`, `no-key`, `key-encrypted`, `key-of-another`, `no-request`, `certificate-expired`, `certificate-not-yet-valid`, `chain-out-of-order`, `certificate-unusable`; nothing changed"),
        (status = 507, description = "`state-not-writable`: it cannot be kept"),
    ))]
pub(crate) async fn bring(
    State(desk): State<Desk>,
    who: Who,
    ApiJson(order): ApiJson<CertificateOrder>,
) -> Answer<Json<View>> {
    whole(async move {
        let _turn = desk.certificates.turn().await;
        let judged = desk.blocking(move |certificates| certificates.judge(&order.chain, order.key)).await?;
        let candidate: Candidate = desk.or_noted(judged, &who.by, CHANGE).await?;
        let before = desk.certificates.said();
        let detail =
            json!({ "before": fingerprint(&before), "after": { "leaf_sha256": candidate.leaf, "origin": "brought" } });
        desk.note(&who.by, CHANGE, Outcome::Done, detail).await?;
        let taken = desk.blocking(move |certificates| certificates.take(&candidate)).await?;
        desk.or_noted(taken, &who.by, CHANGE).await?;
        desk.view().await
    })
    .await
}

/// Shows the door's own certificate again, and forgets the one that was brought with its key.
#[utoipa::path(delete, path = "/api/v1/access/certificate", tag = "access", operation_id = "remove_door_certificate",
    params(("reason" = Option<String>, Query, description = "Why, for the audit chain", min_length = 1, max_length = 200, pattern = "^[ -~]*[!-~][ -~]*$")),
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true))),
    responses(
        (status = 200, body = View),
        (status = 409, description = "`certificate-by-flags`: the door was started with one"),
        (status = 422, description = "`reason-refused`, with the rule"),
        (status = 507, description = "`state-not-writable`: it cannot be removed"),
    ))]
pub(crate) async fn remove(State(desk): State<Desk>, who: Who, RawQuery(query): RawQuery) -> Answer<Json<View>> {
    let reason = reason(query.as_deref())?;
    whole(async move {
        let _turn = desk.certificates.turn().await;
        desk.or_noted(desk.certificates.may_change(), &who.by, REMOVE).await?;
        let (before, own) = (desk.certificates.said(), desk.certificates.own_leaf());
        let mut detail = json!({ "before": fingerprint(&before), "after": { "leaf_sha256": own, "origin": "own" } });
        if let Some(reason) = reason {
            detail[reason::NAME] = reason.as_str().into();
        }
        desk.note(&who.by, REMOVE, Outcome::Done, detail).await?;
        let forgotten = desk.blocking(Certificates::forget_brought).await?;
        desk.or_noted(forgotten, &who.by, REMOVE).await?;
        desk.view().await
    })
    .await
}

/// Makes a key that stays in the box, and a request with which a CA can make a certificate for it. An earlier request is void.
#[utoipa::path(post, path = "/api/v1/access/certificate/request", tag = "access", operation_id = "request_door_certificate",
    request_body = RequestOrder,
    security(("session" = ["administrator"])), extensions(("x-step-up" = json!(true)), ("x-body-limit" = json!(65536))),
    responses(
        (status = 201, body = CertificateRequest),
        (status = 409, description = "`certificate-by-flags`: the door was started with one"),
        (status = 422, description = "`names-not-taken`: with the name"),
        (status = 507, description = "`state-not-writable`: its key cannot be kept"),
    ))]
pub(crate) async fn request(
    State(desk): State<Desk>,
    who: Who,
    ApiJson(order): ApiJson<RequestOrder>,
) -> Answer<(StatusCode, Json<CertificateRequest>)> {
    let names = order.names.map(|names| Names::parse(&names)).transpose();
    let names = names.map_err(|error| Fault::unprocessable("names-not-taken", error.to_string()))?;
    whole(async move {
        let _turn = desk.certificates.turn().await;
        desk.or_noted(desk.certificates.may_change(), &who.by, REQUEST).await?;
        let wanted = names.unwrap_or_else(|| desk.certificates.names());
        let names = wanted.words();
        desk.note(&who.by, REQUEST, Outcome::Done, json!({ "names": names })).await?;
        let made = desk.blocking(move |certificates| certificates.request(&wanted)).await?;
        let request_pem = desk.or_noted(made, &who.by, REQUEST).await?;
        Ok((StatusCode::CREATED, Json(CertificateRequest { request_pem, names })))
    })
    .await
}

impl Desk {
    async fn view(&self) -> Answer<Json<View>> {
        let request_pending = self.blocking(Certificates::has_request).await?;
        Ok(Json(View { shown: self.certificates.said(), request_pending }))
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Certificates) -> T + Send + 'static) -> Answer<T> {
        let certificates = Arc::clone(&self.certificates);
        tokio::task::spawn_blocking(move || work(&certificates)).await.map_err(|_panicked| ended())
    }

    async fn note(&self, by: &By, action: &str, outcome: Outcome, detail: Value) -> Answer<()> {
        let note = AuditNote { by: by.clone(), action: action.to_owned(), target: "door".to_owned(), outcome, detail };
        Ok(self.access.accounts.audit(&note).await?)
    }

    /// A refusal is in the chain as well. That it cannot be written changes nothing about it.
    async fn or_noted<T>(&self, done: Result<T, CertError>, by: &By, action: &str) -> Answer<T> {
        match done {
            Ok(done) => Ok(done),
            Err(error) => {
                let detail = json!({ "why": error.to_string() });
                if self.note(by, action, Outcome::Refused, detail).await.is_err() {
                    tracing::warn!(action, "a refusal could not be written to the audit chain");
                }
                Err(error.into())
            }
        }
    }
}

/// Runs to its end, also when the caller hangs up.
async fn whole<T: Send + 'static>(work: impl Future<Output = Answer<T>> + Send + 'static) -> Answer<T> {
    tokio::spawn(work).await.unwrap_or_else(|_panicked| Err(ended()))
}

fn ended() -> Fault {
    let detail = "the change ended unexpectedly; look at what is shown and ask again";
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

fn fingerprint(shown: &DoorCertificate) -> Value {
    json!({ "leaf_sha256": shown.leaf_sha256, "origin": shown.origin })
}

impl From<CertError> for Fault {
    fn from(error: CertError) -> Self {
        let sentence = error.to_string();
        match error {
            CertError::Unfit(unfit) => Self::unprocessable(unfit.code(), sentence),
            CertError::NoRequest => Self::unprocessable("no-request", sentence),
            CertError::Make(_) => Self::unprocessable("names-not-taken", sentence),
            CertError::ByFlags => Self::new(StatusCode::CONFLICT, "certificate-by-flags", sentence),
            CertError::Keep(ReplaceError::Full { .. } | ReplaceError::Io { .. })
            | CertError::Read { .. }
            | CertError::Remove { .. }
            | CertError::Broken { .. }
            | CertError::Brought { .. } => Self::new(StatusCode::INSUFFICIENT_STORAGE, "state-not-writable", sentence),
        }
    }
}
