//! One HTTP API on one unix socket: the daemon's own routes plus health, metrics and the OpenAPI document; correlation ids, problem
//! documents, body limit and draining for all of them.
//!
//! Tasks: the acceptor and its connections (axum's), and one that passes readiness on to systemd; both end with [`serve`].

use std::any::Any;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tracing::Instrument;

use crate::health::State;
use crate::notify::notify;
use crate::problem::as_problem;
use crate::watchdog::life_signs;
use crate::{ApiError, Health, Listener, MetricsText, Shutdown, cpu_time};

/// Largest request body, bytes. Plans and orders are far smaller.
pub const BODY_LIMIT: usize = 1 << 20;
/// How long open requests may go on after the wish to stop.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// Correlation id, taken over from the caller or made here, and always in the answer.
pub const CORRELATION_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// Why serving ended other than by wish.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be used in this runtime.
    #[error("cannot listen on the control socket: {0}; restart the daemon")]
    Socket(io::Error),
    /// Accepting failed for good.
    #[error("the control API stopped accepting: {0}; restart the daemon")]
    Accept(io::Error),
}

/// Serves until `shutdown` is requested, then drains for at most [`DRAIN_DEADLINE`].
///
/// Sends the service manager its life signs (`WATCHDOG=1`) when it asks for them.
///
/// Adds `/health/live`, `/health/ready`, `/health/startup`, `/metrics` (with `metrics()` in Prometheus text, see [`MetricsText`]) and
/// `/openapi.json`. Tells systemd `READY=1` when `health` first says ready, `STOPPING=1` when draining begins; from then on health says
/// not ready. A handler that panics answers 500 and harms nobody else.
///
/// # Errors
/// [`ServeError`] when the socket fails; never for what clients do.
pub async fn serve(
    listener: Listener,
    router: Router,
    health: Health,
    openapi: utoipa::openapi::OpenApi,
    metrics: impl Fn() -> String + Send + Sync + 'static,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let socket = listener.for_tokio().map_err(ServeError::Socket)?;
    let app = app(router, &health, openapi, metrics);
    let (stop, leaving) = (shutdown.clone(), health.clone());
    let stopping = async move {
        stop.requested().await;
        // Here, where it is said before the last request ends: with none open, serving is over at once.
        notify("STOPPING=1");
        leaving.set_ready(Err("the daemon is stopping; wait for its successor".to_owned()));
    };
    let serving = axum::serve(socket, app).with_graceful_shutdown(stopping).into_future();
    let drained_late = async {
        shutdown.requested().await;
        tokio::time::sleep(DRAIN_DEADLINE).await;
    };
    // Dropping an arm here ends the whole server, which is what each of them asks for; `tell_manager` and `life_signs` never complete.
    tokio::select! {
        served = serving => served.map_err(ServeError::Accept)?,
        () = drained_late => tracing::warn!(deadline_s = DRAIN_DEADLINE.as_secs(), "requests were still open at the drain deadline and are cut"),
        () = tell_manager(&health) => {}
        // Here, because a life sign means that this loop, which accepts requests and drains, really turns.
        () = life_signs() => {}
    }
    tracing::info!("control API stopped");
    Ok(())
}

/// Serves a second socket of the same daemon until `shutdown` is requested: the same frame around each request, nothing of the daemon's own
/// (health, metrics, document, life signs), because [`serve`] has them.
///
/// # Errors
/// [`ServeError`] when the socket fails.
pub async fn serve_beside(listener: Listener, router: Router, shutdown: Shutdown) -> Result<(), ServeError> {
    let socket = listener.for_tokio().map_err(ServeError::Socket)?;
    let app = router.layer(DefaultBodyLimit::max(BODY_LIMIT)).layer(from_fn(frame));
    let stop = shutdown.clone();
    let stopping = async move { stop.requested().await };
    let serving = axum::serve(socket, app).with_graceful_shutdown(stopping).into_future();
    let drained_late = async {
        shutdown.requested().await;
        tokio::time::sleep(DRAIN_DEADLINE).await;
    };
    // Dropping an arm ends the server, which is what both ask for.
    tokio::select! {
        served = serving => served.map_err(ServeError::Accept),
        () = drained_late => Ok(()),
    }
}

fn app(
    router: Router,
    health: &Health,
    openapi: utoipa::openapi::OpenApi,
    metrics: impl Fn() -> String + Send + Sync + 'static,
) -> Router {
    let openapi = Arc::new(openapi);
    let metrics = Arc::new(metrics);
    let probe = |health: &Health, judge: fn(&State) -> Result<(), String>| {
        let health = health.clone();
        get(move || async move { answer(judge(&health.state())) })
    };
    let scraped = health.clone();
    router
        .route("/health/live", probe(health, |state| state.failed.clone().map_or(Ok(()), Err)))
        .route("/health/ready", probe(health, State::readiness))
        .route(
            "/health/startup",
            probe(health, |state| {
                if state.started { Ok(()) } else { Err("the daemon is starting; wait until it is started".to_owned()) }
            }),
        )
        .route("/openapi.json", get(move || async move { axum::Json(openapi.as_ref()).into_response() }))
        .route(
            "/metrics",
            get(move || async move {
                let text = metrics() + &common_metrics(&scraped);
                ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))], text)
            }),
        )
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(frame))
}

fn answer(health: Result<(), String>) -> Response {
    match health {
        Ok(()) => axum::Json(serde_json::json!({ "status": "ok" })).into_response(),
        Err(reason) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", reason).into_response(),
    }
}

fn common_metrics(health: &Health) -> String {
    let cpu = cpu_time();
    let seconds = |us: u64| us as f64 / 1e6;
    let mut text = MetricsText::new();
    text.gauge("tbi_ready", "1 when the daemon says that it is ready.", &[(&[], u8::from(health.readiness().is_ok()))]);
    text.counter(
        "tbi_cpu_seconds_total",
        "Processor time of the process.",
        &[(&[("mode", "user")], seconds(cpu.user_us)), (&[("mode", "system")], seconds(cpu.system_us))],
    );
    text.into_text()
}

/// Around every request: correlation id in, span, panic to 500, problem documents, correlation id out.
async fn frame(mut request: Request, next: Next) -> Response {
    let id = correlation_id(request.headers().get(&CORRELATION_HEADER));
    // Handlers see the id that is in the log and in the answer, also when it was made here.
    if let Ok(id) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(CORRELATION_HEADER, id);
    }
    let span =
        tracing::info_span!("request", method = %request.method(), path = request.uri().path(), correlation_id = id);
    let answered = async move {
        let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                tracing::error!(panic = panic_text(panic.as_ref()), "a request handler panicked");
                ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the handler failed; look at the daemon's log and report it",
                )
                .into_response()
            }
        };
        let response = as_problem(response).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    };
    let mut response = answered.instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(CORRELATION_HEADER, id);
    }
    response
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// The caller's id when it is 1 to 64 characters that are safe in logs and headers, else a new one.
fn correlation_id(given: Option<&HeaderValue>) -> String {
    let safe = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match given.and_then(|value| value.to_str().ok()).filter(safe) {
        Some(id) => id.to_owned(),
        // Unique enough to find lines that belong together; it protects nothing. `RandomState` is seeded anew for each value.
        None => format!("{:016x}", RandomState::new().build_hasher().finish()),
    }
}

/// Passes readiness on to systemd: `READY=1` once, `STATUS=` whenever the words change.
async fn tell_manager(health: &Health) {
    let mut changes = health.subscribe();
    let mut told_ready = false;
    loop {
        let readiness = changes.borrow_and_update().readiness();
        match readiness {
            Ok(()) if !told_ready => {
                told_ready = true;
                notify("READY=1\nSTATUS=ready");
            }
            Ok(()) => notify("STATUS=ready"),
            Err(reason) => notify(&format!("STATUS={}", reason.replace('\n', " "))),
        }
        if changes.changed().await.is_err() {
            // Every `Health` is gone; `serve` holds one, so this cannot come before its end.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_ids_are_safe_in_logs() {
        assert_eq!(correlation_id(Some(&HeaderValue::from_static("run-7.a_b"))), "run-7.a_b");
        let long = HeaderValue::from_str(&"a".repeat(65)).ok();
        for bad in [None, Some(&HeaderValue::from_static("")), Some(&HeaderValue::from_static("a b")), long.as_ref()] {
            assert_eq!(correlation_id(bad).len(), 16);
        }
        assert_ne!(correlation_id(None), correlation_id(None));
    }
}
