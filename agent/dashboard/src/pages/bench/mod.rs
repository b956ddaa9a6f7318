//! The bench's pages: what is measured with and through, and how the box was. They own nothing; see [`super`].
//!
//! | module | page |
//! |---|---|
//! | [`preflight`] | the five checks, made now, without a run |
//! | [`personas`] | the hundred personas and their certificates |
//! | [`agents`] | what load the box can generate |
//! | [`dut`] | what stands as device |
//! | [`network`] | management, trunk, ISP router, topology |
//! | [`history`], [`chart`] | the last thirty days, drawn and as a table |
//! | [`observability`] | metrics, and files for Prometheus and Grafana |

mod agents;
mod chart;
mod dut;
mod history;
mod network;
pub(super) mod observability;
mod personas;
pub(super) mod preflight;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tbi_api::access::Role;
use tbi_daemon::ClientError;

use super::look::Look;
use super::{ADMINISTRATORS, EVERYBODY, Page, Pages, Proof};

const OPERATORS: &[Role] = &[Role::Operator, Role::Administrator];
/// Largest form of these pages, bytes: a `config.boot` with every character written as three.
pub(super) const LIMIT: usize = 1 << 20;

/// See [`super::PAGES`].
pub(super) const PAGES: &[Page] = &[
    Page("/preflight", &["get"], EVERYBODY, Proof::Usual),
    Page("/preflight/begin", &["post"], OPERATORS, Proof::Usual),
    Page("/preflight/cancel", &["post"], OPERATORS, Proof::Usual),
    Page("/personas", &["get"], EVERYBODY, Proof::Usual),
    Page("/agents", &["get"], EVERYBODY, Proof::Usual),
    Page("/dut", &["get"], EVERYBODY, Proof::Usual),
    Page("/network", &["get"], EVERYBODY, Proof::Usual),
    Page("/network/topology", &["get", "post"], ADMINISTRATORS, Proof::Usual),
    Page("/network/config-boot", &["get", "post"], OPERATORS, Proof::Usual),
    Page("/history", &["get"], EVERYBODY, Proof::Usual),
    Page("/observability", &["get"], EVERYBODY, Proof::Usual),
    Page("/observability/grafana.json", &["get"], EVERYBODY, Proof::Usual),
    Page("/observability/prometheus.yaml", &["get"], EVERYBODY, Proof::Usual),
];

/// Largest form of a page, where it is another than that of most.
pub(super) fn limit(path: &str) -> Option<usize> {
    path.starts_with("/network/").then_some(LIMIT)
}

pub(super) fn router() -> Router<Arc<Pages>> {
    let large = DefaultBodyLimit::max(LIMIT);
    Router::new()
        .route("/preflight", get(preflight::show))
        .route("/preflight/begin", post(preflight::begin))
        .route("/preflight/cancel", post(preflight::cancel))
        .route("/personas", get(personas::show))
        .route("/agents", get(agents::show))
        .route("/dut", get(dut::show))
        .route("/network", get(network::show))
        .route("/network/topology", get(network::topology).post(network::change_topology).layer(large))
        .route("/network/config-boot", get(network::config_boot).post(network::check_config_boot).layer(large))
        .route("/history", get(history::show))
        .route("/observability", get(observability::show))
        .route("/observability/grafana.json", get(observability::grafana))
        .route("/observability/prometheus.yaml", get(observability::prometheus))
}

/// Unix seconds as a time of the reader's; nothing when it is none.
fn moment(look: &Look, seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|at| look.time(at)).unwrap_or_default()
}

/// A refusal that belongs to a field: its sentence. Everything else is a banner or a page of its own.
fn said_of<'a>(error: &'a ClientError, code: &str) -> Option<&'a str> {
    match error {
        ClientError::Problem(problem) if problem.code == code => Some(&problem.detail),
        _ => None,
    }
}
