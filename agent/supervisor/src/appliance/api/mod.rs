//! The agent's API over HTTP: the paths of `tbi_api`, each a few lines around [`Appliance`]. Decides nothing but which status an error has.

mod audit;
mod bench;
mod device;
mod document;
mod exports;
mod isp;
mod licences;
mod machine;
mod runs;
mod setup;
mod support;
mod trial;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use tbi_api::runs::Progress;
use tbi_bench::control::Problem;
use tbi_daemon::{ApiError, MetricsText, Shutdown};
use utoipa::OpenApi;

use self::document::{Changes, Problems};
use super::node::Appliance;
use super::trail::trail;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) appliance: Arc<Appliance>,
    pub(crate) shutdown: Shutdown,
}

type Answer<T> = Result<T, ApiError>;

/// Routes of the agent.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(machine::status))
        .route("/v1/health", get(machine::health))
        .route("/v1/identity", get(machine::identity))
        .route("/v1/hardware", get(machine::hardware))
        .route("/v1/capabilities", get(machine::capabilities))
        .route("/v1/settings", get(machine::settings).put(machine::change_settings))
        .route("/v1/settings/trial", get(trial::trials).post(trial::begin_trial).delete(trial::withdraw_trial))
        .route("/v1/settings/trial/confirm", post(trial::confirm_trial))
        .route("/v1/setup", get(setup::setup))
        .route("/v1/setup/steps/{step}", put(setup::mark_step))
        .route("/v1/setup/finish", post(setup::finish_setup))
        .route("/v1/locale", get(setup::locale).put(setup::change_locale))
        .route("/v1/time", get(setup::time))
        .route("/v1/trunk/check", get(setup::check_trunk))
        .route("/v1/trunk/probe", post(setup::probe_trunk))
        .route("/v1/device", get(device::device).put(device::change_device))
        .route("/v1/device/authorities", get(device::authorities).post(device::add_authorities))
        .route("/v1/device/authorities/{sha256}", delete(device::remove_authority))
        .route("/v1/topology", get(machine::topology).put(machine::change_topology))
        .route("/v1/isp", get(isp::isp))
        // Bounded by the slot, which knows how large a root file system may be and what the disk has left.
        .route("/v1/isp/root", put(isp::import_root).delete(isp::remove_root).layer(DefaultBodyLimit::disable()))
        .route("/v1/isp/config.boot", get(isp::config_boot))
        .route("/v1/isp/config.boot/check", post(isp::check_config_boot))
        .route("/v1/preflight", get(bench::preflight).post(bench::start_preflight).delete(bench::cancel_preflight))
        .route("/v1/personas", get(bench::personas))
        .route("/v1/personas/ca.pem", get(bench::persona_ca))
        .route("/v1/dut", get(bench::dut))
        .route("/v1/evidence", get(bench::evidence))
        .route("/v1/links", get(bench::links))
        .route("/v1/history", get(bench::history))
        .route("/v1/runs", get(runs::runs).post(runs::start_run))
        .route("/v1/runs/compare", get(runs::compare_runs))
        .route("/v1/runs/{id}", get(runs::run).delete(runs::stop_run))
        .route("/v1/runs/{id}/events", get(runs::run_events))
        .route("/v1/runs/{id}/series", get(exports::run_series))
        .route("/v1/runs/{id}/csv", get(exports::run_csv))
        .route("/v1/runs/{id}/histograms", get(exports::run_histograms))
        .route("/v1/runs/{id}/outline", get(runs::run_outline))
        .route("/v1/runs/{id}/record", get(runs::run_record))
        .route("/v1/runs/{id}/report", get(runs::run_report))
        .route("/v1/audit", get(audit::audit))
        .route("/v1/audit/export", get(audit::export))
        .route("/v1/audit/verification", get(audit::verification))
        .route("/v1/licences", get(licences::licences).post(licences::install_licence))
        .route("/v1/licences/{id}", delete(licences::remove_licence))
        .route("/v1/usage", get(usage::usage))
        .route("/v1/usage/pending", get(usage::pending))
        .route("/v1/usage/acknowledgement", post(usage::acknowledge))
        .route("/v1/usage/report", post(usage::report))
        .route("/v1/support/bundle", get(support::bundle))
        .route("/v1/power", post(machine::order_power))
        .route_layer(from_fn_with_state(Arc::clone(&shared.appliance), trail))
        .with_state(shared)
}

/// OpenAPI 3.1 document of [`router`].
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "TLSStress.Art agent", description = "One box: what it is, how it is, what it does, and runs on it."),
    paths(
        machine::status,
        machine::health,
        machine::identity,
        machine::hardware,
        machine::capabilities,
        machine::settings,
        machine::change_settings,
        trial::trials,
        trial::begin_trial,
        trial::confirm_trial,
        trial::withdraw_trial,
        setup::setup,
        setup::mark_step,
        setup::finish_setup,
        setup::locale,
        setup::change_locale,
        setup::time,
        setup::check_trunk,
        setup::probe_trunk,
        device::device,
        device::change_device,
        device::authorities,
        device::add_authorities,
        device::remove_authority,
        machine::topology,
        machine::change_topology,
        isp::isp,
        isp::import_root,
        isp::remove_root,
        isp::config_boot,
        isp::check_config_boot,
        bench::preflight,
        bench::start_preflight,
        bench::cancel_preflight,
        bench::personas,
        bench::persona_ca,
        bench::dut,
        bench::evidence,
        bench::links,
        bench::history,
        runs::runs,
        runs::compare_runs,
        runs::start_run,
        runs::run,
        runs::stop_run,
        runs::run_events,
        exports::run_series,
        exports::run_csv,
        exports::run_histograms,
        runs::run_outline,
        runs::run_record,
        runs::run_report,
        audit::audit,
        audit::export,
        audit::verification,
        licences::licences,
        licences::install_licence,
        licences::remove_licence,
        usage::usage,
        usage::pending,
        usage::acknowledge,
        usage::report,
        support::bundle,
        machine::order_power
    ),
    components(schemas(Problem, Progress)),
    modifiers(&Changes, &Problems)
)]
pub(crate) struct ApiDoc;

/// Prometheus text: how many parts are in which state.
pub(crate) fn metrics(appliance: &Appliance) -> String {
    let mut text = MetricsText::new();
    let under_way = appliance.runs().list().iter().filter(|run| !run.state.is_over()).count();
    text.gauge("tbi_agent_runs_under_way", "Runs that have not ended yet.", &[(&[], under_way)]);
    text.gauge(
        "tbi_agent_settings_version",
        "Version of the settings in force.",
        &[(&[], appliance.in_force().snapshot.version)],
    );
    let usage = appliance.meter().standing(None);
    text.gauge(
        "tbi_agent_usage_ticks_pending",
        "Usage ticks that the endpoint does not have.",
        &[(&[], usage.last - usage.acknowledged)],
    );
    text.gauge(
        "tbi_agent_usage_ticks_lost",
        "Usage ticks that were damaged and of which the endpoint does not know yet.",
        &[(&[], usage.lost)],
    );
    text.counter(
        "tbi_agent_usage_lines_set_aside_total",
        "Damaged lines of the usage spool that were ever set aside.",
        &[(&[], usage.set_aside)],
    );
    text.into_text()
}
