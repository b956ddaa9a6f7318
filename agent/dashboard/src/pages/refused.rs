//! Refusals as pages: of the door before a page's handler is reached ([`Face`]), and of the handlers ([`Refused`], shown by [`layer`]). The
//! status stays; who is not logged in is led to the login, and on a box without accounts to the welcome.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::middleware::Next as Inner;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use super::frame::Frame;
use super::look::Look;
use super::next::Next;
use super::words::Said;
use super::{Pages, html, roles_of};
use crate::access::Fault;
use crate::answers::{Answer, problem, refusal};
use crate::body::{AnswerBody, Content};
use crate::face::{Face, Reader};
use crate::gate::{Peer, Refusal};

/// A refusal of a page's handler.
#[derive(Debug, Clone)]
pub(crate) struct Refused(Box<Refusal>);

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        refusal(status, code, detail).into()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(refusal))
    }
}

/// What handlers of pages return.
pub(crate) type Shown = Result<Response, Refused>;

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self(fault.0)
    }
}

impl IntoResponse for Refused {
    /// Bare, with the refusal beside it: [`layer`] knows who reads.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What a refusal looks like.
#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    look: Look,
    frame: Frame,
    /// What is wrong, in the reader's language where there are words for it.
    sentence: String,
    /// Whether the sentence is the English one that programs get.
    raw: bool,
    code: &'static str,
    correlation_id: String,
    retry_after: Option<String>,
}

/// Refusals that the pages have words for, by code. What is not here is shown as programs get it.
pub(super) const WORDS: [&str; 11] = [
    "accounts-unavailable",
    "body-too-large",
    "csrf",
    "daemon-down",
    "daemon-silent",
    "login-busy",
    "login-throttled",
    "method-not-allowed",
    "no-such-run",
    "not-found",
    "rate-limited",
];

fn sentence(look: &Look, path: &str, refusal: &Refusal) -> (String, bool) {
    if refusal.code == "not-permitted"
        && let Some(roles) = roles_of(path)
    {
        let names: Vec<_> = roles.iter().map(|role| look.word("role-", role)).collect();
        let roles = names.join(&look.say("or"));
        return (look.tell(&Said::new("refusal-not-permitted").and("roles", roles)).into_owned(), false);
    }
    if WORDS.contains(&refusal.code) {
        return (look.word("refusal-", refusal.code).into_owned(), false);
    }
    (refusal.detail.clone(), true)
}

/// Where a reader wants to after a login or a proof: to what was asked for, or to the page whose form was sent. What was sent to the API is not
/// a page.
fn way_back(reader: &Reader) -> Next {
    let (path, whole) = (reader.uri.path(), reader.uri.path_and_query());
    match reader.method {
        Method::GET | Method::HEAD => Next::after_login(whole.map_or("/", |it| it.as_str())),
        _ if path.starts_with("/api/") => Next::start(),
        _ => Next::after_login(path),
    }
}

impl Pages {
    async fn show(&self, reader: &Reader, refusal: Refusal) -> Response {
        let look = Look::of(&reader.headers);
        let back = way_back(reader);
        if refusal.code == "not-authenticated" {
            let to = match self.is_claimed().await {
                Ok(false) => "/welcome".to_owned(),
                Ok(true) => back.login(),
                Err(fault) => return self.page(reader, look, *Refused::from(fault).0).await,
            };
            return super::see_other(&to);
        }
        if refusal.code == "step-up-required" {
            // Pages that send something take the proof before they show their form. What is sent later than ten minutes after it waits in the
            // page that asks for it (`late.rs`); only what is too large for that is lost, where `assets/keep.js` does not keep it.
            return super::see_other(&back.step_up());
        }
        self.page(reader, look, refusal).await
    }

    async fn page(&self, reader: &Reader, look: Look, refusal: Refusal) -> Response {
        let (sentence, raw) = sentence(&look, reader.uri.path(), &refusal);
        let retry_after = refusal.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after =
            retry_after.map(|seconds| look.with("refusal-retry", "seconds", seconds.to_owned()).into_owned());
        let identity = match refusal.code {
            // Who it is could not be found out a moment ago.
            "accounts-unavailable" | "rate-limited" => None,
            _ => self.access.reader(&reader.headers, &reader.peer, &reader.correlation_id).await.ok().flatten(),
        };
        let title = look.say(match refusal.status {
            StatusCode::FORBIDDEN => "refusal-title-forbidden",
            StatusCode::NOT_FOUND => "refusal-title-not-found",
            status if status.is_server_error() => "refusal-title-server",
            _ => "refusal-title",
        });
        let frame = Frame::new(&look, &title, reader.uri.path()).of_identity(self, identity.as_ref());
        let (code, correlation_id) = (refusal.code, reader.correlation_id.clone());
        let mut response = html(&RefusalPage { look, frame, sentence, raw, code, correlation_id, retry_after });
        *response.status_mut() = refusal.status;
        response.headers_mut().extend(refusal.headers);
        response
    }
}

impl Face for Pages {
    fn refused(&self, mut reader: Reader, refusal: Refusal) -> BoxFuture<'_, Answer> {
        async move {
            self.set_default_look(&mut reader.headers).await;
            self.show(&reader, refusal).await.map(|body| AnswerBody::new(Content::Local(body)))
        }
        .boxed()
    }
}

/// Shows what handlers refuse.
pub(super) async fn layer(State(pages): State<Arc<Pages>>, request: Request, inner: Inner) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let id = request.headers().get(tbi_daemon::CORRELATION_HEADER).cloned().unwrap_or(HeaderValue::from_static("none"));
    let reader = peer.as_ref().and_then(|peer| Reader::of(&request, peer, &id));
    let mut response = inner.run(request).await;
    let Some(Refused(refusal)) = response.extensions_mut().remove() else { return response };
    match reader {
        Some(reader) => pages.show(&reader, *refusal).await,
        None => problem(*refusal).map(axum::body::Body::new),
    }
}
