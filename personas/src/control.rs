//! What the process says of itself on its control socket: `GET /v1/status`, `GET /v1/certificates`, `GET /v1/ca.pem`, and the metrics.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{StatusCode, header};
use sha2::{Digest, Sha256};
use tbi_bench::control::CpuTime;
use tbi_bench::control::Problem;
use tbi_bench::control::personas::{PersonasStatus, SiteCertificate};
use tbi_bench::protocol::Protocol;
use tbi_daemon::{ApiError, MetricsText, cpu_time};
use utoipa::OpenApi;

use crate::counters::index;
use crate::personas::Personas;

/// The personas once they run; empty while keys are made.
pub type Slot = Arc<OnceLock<Personas>>;

#[derive(OpenApi)]
#[openapi(
    info(title = "TLSStress.Art TBI personas", description = "A hundred web servers in one process."),
    paths(status, certificates, ca_pem),
    components(schemas(PersonasStatus, SiteCertificate, CpuTime, Problem))
)]
struct Document;

/// The OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Routes of this daemon.
pub fn router(slot: Slot) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/certificates", get(certificates))
        .route("/v1/ca.pem", get(ca_pem))
        .with_state(slot)
}

/// State of the process.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = PersonasStatus), (status = 503, body = Problem)))]
async fn status(State(slot): State<Slot>) -> Result<axum::Json<PersonasStatus>, ApiError> {
    let personas = running(&slot)?;
    let totals = personas.totals();
    let digest = Sha256::digest(personas.authority().der());
    Ok(axum::Json(PersonasStatus {
        sites: u32::try_from(personas.sites()).unwrap_or(u32::MAX),
        ca_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        ca_not_after: personas.authority().not_after(),
        leaves_valid: personas.leaves_valid(),
        cpu: cpu_time(),
        handshakes: totals.handshakes.iter().sum(),
        handshake_failures: totals.failures.iter().sum(),
        sni_mismatches: totals.sni_mismatches.iter().sum(),
        requests: totals.requests.iter().sum(),
    }))
}

/// Certificates of the sites, in the order of the configuration.
#[utoipa::path(get, path = "/v1/certificates", responses((status = 200, body = Vec<SiteCertificate>), (status = 503, body = Problem)))]
async fn certificates(State(slot): State<Slot>) -> Result<axum::Json<Vec<SiteCertificate>>, ApiError> {
    Ok(axum::Json(running(&slot)?.certificates().to_vec()))
}

/// Certificate of the persona CA.
#[utoipa::path(get, path = "/v1/ca.pem", responses((status = 200, body = String), (status = 503, body = Problem)))]
async fn ca_pem(State(slot): State<Slot>) -> Result<impl IntoResponse, ApiError> {
    let pem = running(&slot)?.authority().pem().to_owned();
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], pem))
}

fn running(slot: &Slot) -> Result<&Personas, ApiError> {
    slot.get().ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "keys and certificates are being made; wait until /health/ready says yes",
        )
    })
}

/// Metrics in Prometheus text; empty until the personas run.
#[must_use]
pub fn metrics(slot: &Slot) -> String {
    let Some(personas) = slot.get() else { return String::new() };
    let totals = personas.totals();
    let by_transport = |values: [u64; 2]| [(TCP, values[0]), (QUIC, values[1])];
    let mut text = MetricsText::new();
    text.counter("tbi_personas_handshakes_total", "Handshakes completed.", &by_transport(totals.handshakes))
        .counter("tbi_personas_handshake_failures_total", "Handshakes that failed.", &by_transport(totals.failures))
        .counter(
            "tbi_personas_sni_mismatches_total",
            "Connections refused because SNI did not match the address.",
            &by_transport(totals.sni_mismatches),
        );
    let labels = Protocol::ALL.map(|protocol| [("protocol", protocol.as_str())]);
    let by_protocol = |values: [u64; 3]| [0, 1, 2].map(|i| (labels[i].as_slice(), values[index(Protocol::ALL[i])]));
    text.counter("tbi_personas_requests_total", "Requests answered.", &by_protocol(totals.requests))
        .counter("tbi_personas_body_bytes_total", "Body bytes handed to the stack.", &by_protocol(totals.body_bytes))
        .counter("tbi_personas_panics_total", "Connection tasks that panicked.", &[(&[], totals.panics)])
        .gauge("tbi_personas_sites", "Sites that listen.", &[(&[], personas.sites())])
        .gauge("tbi_personas_port", "Port of all sites, TCP and UDP.", &[(&[], personas.port())])
        .gauge(
            "tbi_personas_ca_not_after_seconds",
            "End of the CA's validity, Unix seconds.",
            &[(&[], personas.authority().not_after())],
        );
    text.into_text()
}

const TCP: &[(&str, &str)] = &[("transport", "tcp")];
const QUIC: &[(&str, &str)] = &[("transport", "quic")];
