//! The gateway's control API: the words of `tbi_bench::control::practice_dut`, over HTTP. Holds no state.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use tbi_bench::control::Problem;
use tbi_bench::control::practice_dut::{Behaviour, Counters, Identity};
use tbi_daemon::{ApiError, ApiJson, MetricsText};
use utoipa::OpenApi;

use crate::gateway::{ChangeError, Gateway};
use crate::rules::apply::ApplyError;

/// Routes of the gateway.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/identity", get(identity))
        .route("/v1/behaviour", get(behaviour).put(change))
        .route("/v1/counters", get(counters))
        .route("/v1/ca.pem", get(ca_pem))
        .with_state(gateway)
}

/// OpenAPI 3.1 document of [`router`].
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "TLSStress.Art practice DUT",
        description = "A decrypting gateway whose behaviour is switched at run time."
    ),
    paths(identity, behaviour, change, counters, ca_pem),
    components(schemas(Problem))
)]
pub struct ApiDoc;

/// Prometheus text: what happened to connections and packets held back. Packet counters of the ruleset are in `/v1/counters`.
#[must_use]
pub fn metrics(gateway: &Gateway) -> String {
    let tally = &gateway.shared().tally;
    let mut text = MetricsText::new();
    let decrypted: [(&[(&str, &str)], u64); 2] =
        [(&[("protocol", "tcp")], tally.tcp_decrypted()), (&[("protocol", "quic")], tally.quic_decrypted())];
    text.counter("tbi_dut_decrypted_total", "Connections with TLS established on both legs.", &decrypted);
    let plain: [(&str, &str, u64); 6] = [
        ("tbi_dut_failed_total", "Connections given up on before both legs were established.", tally.failed()),
        (
            "tbi_dut_upstream_untrusted_total",
            "Connections refused because the server's chain did not verify.",
            tally.upstream_untrusted(),
        ),
        ("tbi_dut_leaves_forged_total", "Leaves signed.", tally.leaves_forged()),
        ("tbi_dut_packets_delayed_total", "Packets held back and released.", tally.packets_delayed()),
        (
            "tbi_dut_delay_lateness_microseconds_total",
            "How much later than wanted packets were released, together.",
            tally.lateness_us(),
        ),
        (
            "tbi_dut_delay_overrun_total",
            "Packets lost because their announcement found no room; a run during which there were any is void.",
            tally.packets_overrun(),
        ),
    ];
    for (name, help, value) in plain {
        text.counter(name, help, &[(&[], value)]);
    }
    let open = gateway.shared().epoch().connections.len();
    text.gauge("tbi_dut_open_connections", "Intercepted connections open now, with their streams.", &[(&[], open)]);
    text.into_text()
}

/// Who the device says it is.
#[utoipa::path(get, path = "/v1/identity", responses((status = 200, body = Identity)))]
async fn identity(State(gateway): State<Arc<Gateway>>) -> Json<Identity> {
    Json(gateway.identity())
}

/// The behaviour in force.
#[utoipa::path(get, path = "/v1/behaviour", responses((status = 200, body = Behaviour)))]
async fn behaviour(State(gateway): State<Arc<Gateway>>) -> Json<Behaviour> {
    Json(gateway.behaviour().await)
}

/// Puts a behaviour in force; answers when it is. Idempotent.
#[utoipa::path(put, path = "/v1/behaviour", request_body = Behaviour, responses(
    (status = 200, description = "In force", body = Behaviour),
    (status = 422, description = "Cannot be carried out", body = Problem),
    (status = 500, description = "The kernel does not take the rules; the behaviour of before is in force", body = Problem),
))]
async fn change(
    State(gateway): State<Arc<Gateway>>,
    ApiJson(wanted): ApiJson<Behaviour>,
) -> Result<Json<Behaviour>, ApiError> {
    // In a task of its own: a caller that hangs up must not leave half a behaviour in force.
    let changing = tokio::spawn(async move { gateway.change(wanted).await });
    match changing.await {
        Ok(changed) => changed.map(Json).map_err(refused),
        Err(_) => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "change-failed",
            "the change ended unexpectedly; ask again",
        )),
    }
}

/// Counts since start.
#[utoipa::path(get, path = "/v1/counters", responses((status = 200, body = Counters), (status = 500, body = Problem)))]
async fn counters(State(gateway): State<Arc<Gateway>>) -> Result<Json<Counters>, ApiError> {
    let unreadable =
        |error: ApplyError| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "counters-unreadable", error.to_string());
    gateway.counters().await.map(Json).map_err(unreadable)
}

/// CA certificate with which leaves are re-signed.
#[utoipa::path(get, path = "/v1/ca.pem", responses((status = 200, body = String, content_type = "application/x-pem-file")))]
async fn ca_pem(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], gateway.ca_pem())
}

fn refused(error: ChangeError) -> ApiError {
    let (status, code) = match &error {
        ChangeError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "behaviour-refused"),
        ChangeError::Rules(_) => (StatusCode::INTERNAL_SERVER_ERROR, "rules-not-in-force"),
        ChangeError::Delay(_) => (StatusCode::INTERNAL_SERVER_ERROR, "delay-not-possible"),
    };
    ApiError::new(status, code, error.to_string())
}
