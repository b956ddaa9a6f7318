//! Language and zone of the box, put beside each request for readers who chose none of their own. Asked of the agent now and then, never for
//! every page, and an agent that does not answer costs nobody a page: then a reader's browser decides, as before the box had a language.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::HeaderValue;
use tokio::time::{Instant, timeout};

use super::super::Pages;
use super::super::look::{self, DEFAULT_HEADER};

/// What was heard is believed so long.
const FRESH: Duration = Duration::from_secs(10);
/// Nobody waits longer for a default.
const PATIENCE: Duration = Duration::from_millis(500);

/// What was heard last, and when.
#[derive(Debug, Default)]
pub(in super::super) struct Heard(Mutex<Option<(Instant, Option<HeaderValue>)>>);

impl Heard {
    /// The next request asks again.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Pages {
    /// Puts the box's language and zone beside a request, and takes away what somebody outside put there.
    pub(in super::super) async fn set_default_look(&self, headers: &mut HeaderMap) {
        headers.remove(DEFAULT_HEADER);
        if look::is_chosen(headers) {
            return;
        }
        if let Some(value) = self.default_look().await {
            headers.insert(DEFAULT_HEADER, value);
        }
    }

    async fn default_look(&self) -> Option<HeaderValue> {
        let heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match heard {
            Some((at, value)) if at.elapsed() < FRESH => return value,
            Some(_) | None => {}
        }
        let setup = async {
            let (setup, locale) = tokio::join!(self.agent.setup(), self.agent.locale());
            let chosen = |name: &str, setup: &tbi_api::setup::Setup| {
                setup.steps.iter().any(|step| step.name == name && step.state == tbi_api::setup::StepState::Done)
            };
            setup.ok().filter(|setup| chosen("language", setup)).and(locale.ok())
        };
        let locale = timeout(PATIENCE, setup).await.ok().flatten();
        let value = locale.and_then(|locale| {
            let mut words = form_urlencoded::Serializer::new(String::new());
            words.append_pair("language", &locale.language).append_pair("zone", &locale.zone);
            HeaderValue::from_str(&words.finish()).ok()
        });
        *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value.clone()));
        value
    }
}

/// See the module.
pub(in super::super) async fn layer(State(pages): State<Arc<Pages>>, mut request: Request, next: Next) -> Response {
    pages.set_default_look(request.headers_mut()).await;
    next.run(request).await
}
