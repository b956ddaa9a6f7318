//! The daemon's words on its socket ([`tbi_bench::control::engine`]): one trial at a time, probes beside it only when none runs.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use http::StatusCode;
use tbi_bench::control::Problem;
use tbi_bench::control::engine::{ProbeOrder, ProbeReport, Tick, TrialOrder, TrialStatus};
use tbi_daemon::{ApiError, ApiJson, MetricsText, Shutdown, sse};
use utoipa::OpenApi;

use crate::order::{OrderError, Trial};
use crate::probe;
use crate::trial::Running;

/// Longest trial id.
const MAX_ID: usize = 64;

/// The engine as its API sees it.
#[derive(Debug, Clone)]
pub struct Engine {
    workers: u32,
    shutdown: Shutdown,
    /// The trial that runs or ran last; earlier ones are forgotten.
    current: Arc<Mutex<Option<Arc<Running>>>>,
    /// Held while probes run, also when their caller has hung up.
    probing: Arc<tokio::sync::Semaphore>,
}

/// Document of the API.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "TLSStress.Art TBI load engine"),
    paths(put_trial, get_trial, get_ticks, delete_trial, post_probes),
    components(schemas(TrialOrder, TrialStatus, Tick, ProbeOrder, ProbeReport, Problem))
)]
pub struct Document;

impl Engine {
    /// An engine with `workers` threads per trial.
    #[must_use]
    pub fn new(workers: u32, shutdown: Shutdown) -> Self {
        Self { workers, shutdown, current: Arc::default(), probing: Arc::new(tokio::sync::Semaphore::new(1)) }
    }

    /// Routes under `/v1`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/trials/{id}", get(get_trial).put(put_trial).delete(delete_trial))
            .route("/v1/trials/{id}/ticks", get(get_ticks))
            .route("/v1/probes", post(post_probes))
            .with_state(self)
    }

    /// Prometheus text.
    #[must_use]
    pub fn metrics(&self) -> String {
        let running = self.current().is_some_and(|trial| !trial.has_ended());
        let mut text = MetricsText::new();
        text.gauge("tbi_engine_workers", "Worker threads per trial.", &[(&[], self.workers)]);
        text.gauge("tbi_engine_trial_running", "Whether a trial runs.", &[(&[], u8::from(running))]);
        text.into_text()
    }

    /// Stops what runs; for the daemon's end.
    pub fn stop(&self) {
        if let Some(trial) = self.current() {
            trial.stop();
        }
    }

    fn current(&self) -> Option<Arc<Running>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn trial(&self, id: &str) -> Result<Arc<Running>, ApiError> {
        self.current().filter(|trial| trial.id() == id).ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "no-such-trial",
                format!(
                    "there is no trial '{}'; the engine keeps the last one only, so ask before the next begins",
                    clip(id)
                ),
            )
        })
    }
}

#[utoipa::path(put, path = "/v1/trials/{id}", request_body = TrialOrder, responses((status = 202, body = TrialStatus), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn put_trial(
    State(engine): State<Engine>,
    Path(id): Path<String>,
    ApiJson(order): ApiJson<TrialOrder>,
) -> Result<(StatusCode, Json<TrialStatus>), ApiError> {
    check_id(&id)?;
    let mut current = engine.current.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(trial) = current.as_ref() {
        if trial.id() == id {
            return Ok((StatusCode::ACCEPTED, Json(status_of(trial)?)));
        }
        if !trial.has_ended() {
            return Err(busy(&format!("trial '{}' runs", trial.id())));
        }
    }
    if engine.probing.available_permits() == 0 {
        return Err(busy("probes are under way"));
    }
    let trial = Trial::new(order).map_err(|error| refuse(&error))?;
    let running = Running::start(id, trial, engine.workers);
    let status = status_of(&running)?;
    *current = Some(running);
    Ok((StatusCode::ACCEPTED, Json(status)))
}

#[utoipa::path(get, path = "/v1/trials/{id}", responses((status = 200, body = TrialStatus), (status = 404, body = Problem), (status = 500, body = Problem)))]
async fn get_trial(State(engine): State<Engine>, Path(id): Path<String>) -> Result<Json<TrialStatus>, ApiError> {
    Ok(Json(status_of(&*engine.trial(&id)?)?))
}

#[utoipa::path(get, path = "/v1/trials/{id}/ticks", responses((status = 200, description = "SSE: `tick` once a second, `bye` at the end", body = Tick), (status = 404, body = Problem)))]
async fn get_ticks(State(engine): State<Engine>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let trial = engine.trial(&id)?;
    let progress = trial.progress();
    let ticks = stream::unfold((trial, progress, 0), |(trial, mut progress, index)| async move {
        loop {
            let ended = progress.borrow_and_update().ended;
            if let Some(tick) = trial.tick(index) {
                return Some((("tick", tick), (trial, progress, index + 1)));
            }
            if ended || progress.changed().await.is_err() {
                return None;
            }
        }
    });
    Ok(sse(0, ticks, engine.shutdown.clone()))
}

#[utoipa::path(delete, path = "/v1/trials/{id}", responses((status = 202, description = "Will stop; the report says `stopped`"), (status = 404, body = Problem)))]
async fn delete_trial(State(engine): State<Engine>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    engine.trial(&id)?.stop();
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(post, path = "/v1/probes", request_body = ProbeOrder, responses((status = 200, body = ProbeReport), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn post_probes(
    State(engine): State<Engine>,
    ApiJson(order): ApiJson<ProbeOrder>,
) -> Result<Json<ProbeReport>, ApiError> {
    if let Some(trial) = engine.current().filter(|trial| !trial.has_ended()) {
        return Err(busy(&format!("trial '{}' runs", trial.id())));
    }
    let Ok(permit) = Arc::clone(&engine.probing).try_acquire_owned() else {
        return Err(busy("other probes are under way"));
    };
    let plan = probe::Plan::new(order).map_err(|error| refuse(&error))?;
    probe::run(plan, permit)
        .await
        .map(Json)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "probes-failed", error.to_string()))
}

fn status_of(trial: &Running) -> Result<TrialStatus, ApiError> {
    trial.status().map_err(|reason| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "trial-failed", reason))
}

fn busy(what: &str) -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "busy",
        format!("the engine is busy: {what}; wait for its end or stop it first"),
    )
}

fn refuse(error: &OrderError) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error.to_string())
}

fn check_id(id: &str) -> Result<(), ApiError> {
    let fine = (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fine {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "bad-trial-id",
        format!("'{}' is no trial id; use 1 to 64 letters, digits, '-', '_' or '.'", clip(id)),
    ))
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_ID).collect()
}
