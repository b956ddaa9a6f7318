//! The operations of the door itself: health, metrics, the route table, the documents, the CA. They have claims like every other operation,
//! from a document like every other one.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use tbi_daemon::{MetricsText, UnixClient, cpu_time};

use crate::answers::{self, Answer, later, problem, refusal};
use crate::door::Door;
use crate::local::Mount;
use crate::measure;
use crate::openapi::{Part, merged};
use crate::registry::{Daemon, State};

/// Name under which the door appears beside its daemons.
pub(crate) const NAME: &str = "door";
/// How long a daemon may take for its metrics.
const SCRAPE: Duration = Duration::from_secs(2);
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The door's own document.
pub(crate) fn document() -> Value {
    let everybody = json!([{"session": ["viewer", "operator", "administrator", "auditor"]}]);
    let operation = |id: &str, summary: &str, kind: &str, security: &Value| {
        json!({"get": {
            "operationId": id, "summary": summary, "security": security,
            "responses": {"200": {"description": summary, "content": {kind: {"schema": {}}}}},
        }})
    };
    let public = json!([]);
    let json = "application/json";
    json!({"paths": {
        "/health/live": operation("live", "The door runs", json, &public),
        "/health/ready": operation("ready", "Every daemon behind the door is ready", json, &public),
        "/health/startup": operation("startup", "Every daemon was heard once", json, &public),
        "/ca.pem": operation("ca_pem", "The CA of this device, PEM", "application/x-pem-file", &public),
        "/ca.der": operation("ca_der", "The CA of this device, DER", "application/pkix-cert", &public),
        "/metrics": operation("metrics", "Numbers of the door and of all daemons", "text/plain", &everybody),
        "/openapi.json": operation("openapi_json", "This document", json, &everybody),
        "/openapi.yaml": operation("openapi_yaml", "This document", "application/yaml", &everybody),
        "/api/v1/routes": operation("routes", "The daemons and how they are", json, &everybody),
    }})
}

/// The merged document in both forms, until a daemon's document changes.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    made: Mutex<Option<(Bytes, Bytes)>>,
}

impl Documents {
    /// A daemon's document is another one.
    pub(crate) fn forget(&self) {
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn both(&self, door: &Door) -> (Bytes, Bytes) {
        // Made while the lock is held: fifty readers who come at once wait for one making, not for fifty.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get_or_insert_with(|| make(door)).clone()
    }
}

fn make(door: &Door) -> (Bytes, Bytes) {
    let views: Vec<_> = door.daemons.iter().map(|daemon| (&daemon.name, daemon.view().document.clone())).collect();
    let own = document();
    let mut parts = vec![Part { name: NAME, behind: false, document: &own }];
    let documented = door.locals.iter().map(|(local, _)| local).filter(|local| local.place == Mount::Api);
    parts.extend(documented.map(|local| Part { name: local.name, behind: false, document: &local.document }));
    for (name, document) in &views {
        parts.extend(document.iter().map(|document| Part { name, behind: true, document }));
    }
    let whole = merged(env!("CARGO_PKG_VERSION"), &parts);
    // A JSON value has only what YAML has, too.
    let yaml = serde_yaml_ng::to_string(&whole).unwrap_or_default();
    (whole.to_string().into(), yaml.into())
}

/// Answers an operation of [`document`].
pub(crate) async fn answer(door: &Door, template: &str) -> Answer {
    match template {
        "/health/live" => answers::json(&json!({"status": "ok"})),
        "/health/ready" => readiness(door),
        "/health/startup" => startup(door),
        "/ca.pem" => answers::text("application/x-pem-file", door.certificates.ca_pem()),
        "/ca.der" => answers::text("application/pkix-cert", door.certificates.ca_der()),
        "/metrics" => answers::text(METRICS, metrics(door).await),
        "/openapi.json" => answers::text("application/json", door.documents.both(door).0),
        "/openapi.yaml" => answers::text("application/yaml", door.documents.both(door).1),
        "/api/v1/routes" => answers::json(&routes(door)),
        _ => problem(refusal(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")),
    }
}

fn readiness(door: &Door) -> Answer {
    if door.stop.is_cancelled() {
        let detail = "the door is stopping; wait for its successor";
        return problem(later(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail, 5));
    }
    let troubles: Vec<String> = door.daemons.iter().filter_map(|daemon| trouble(daemon)).collect();
    if troubles.is_empty() {
        return answers::json(&json!({"status": "ok"}));
    }
    problem(later(StatusCode::SERVICE_UNAVAILABLE, "not-ready", troubles.join("; "), 5))
}

fn trouble(daemon: &Daemon) -> Option<String> {
    let view = daemon.view();
    if view.heart.state == State::Healthy {
        return None;
    }
    let reason = view.heart.reason.as_deref().unwrap_or("it does not say why");
    Some(format!("the daemon {} is {}: {reason}", daemon.name, view.heart.state.as_str()))
}

fn startup(door: &Door) -> Answer {
    let silent = door.daemons.iter().find(|daemon| daemon.view().document.is_none());
    match silent {
        None => answers::json(&json!({"status": "ok"})),
        Some(daemon) => {
            let detail = format!("the daemon {} was not heard yet; wait until it is started", daemon.name);
            problem(later(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail, 5))
        }
    }
}

fn routes(door: &Door) -> Value {
    let daemons: Vec<Value> = door
        .daemons
        .iter()
        .map(|daemon| {
            let view = daemon.view();
            json!({
                "name": daemon.name,
                "prefix": format!("/api/v1/{}/", daemon.name),
                "state": view.heart.state.as_str(),
                "reason": view.heart.reason,
                "version": view.version,
                "latency_us": view.heart.latency_us,
                "missed_heartbeats": view.heart.misses,
            })
        })
        .collect();
    json!({ "daemons": daemons })
}

async fn metrics(door: &Door) -> String {
    let mut text = MetricsText::new();
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Relaxed);
    let connections = &door.connections;
    text.counter(
        "tbi_door_connections_total",
        "Connections by protocol.",
        &[
            (&[("protocol", "h1")], count(&connections.http1)),
            (&[("protocol", "h2")], count(&connections.http2)),
            (&[("protocol", "h3")], count(&connections.http3)),
        ],
    );
    text.counter(
        "tbi_door_connections_refused_total",
        "Connections above a cap.",
        &[(&[], count(&connections.refused))],
    );
    text.counter(
        "tbi_door_handshakes_failed_total",
        "TLS handshakes that failed.",
        &[(&[], count(&connections.handshakes_failed))],
    );
    text.gauge("tbi_door_connections_open", "Connections open now.", &[(&[], door.caps.open())]);
    let states: Vec<_> =
        door.daemons.iter().map(|daemon| (daemon.name.as_str(), daemon.view().heart.clone())).collect();
    let labels: Vec<_> = states.iter().map(|(name, _)| [("to", *name)]).collect();
    let up: Vec<_> = labels
        .iter()
        .zip(&states)
        .map(|(label, (_, heart))| (&label[..], u8::from(heart.state == State::Healthy)))
        .collect();
    text.gauge("tbi_door_daemon_healthy", "1 when the daemon says that it is ready.", &up);
    let latency: Vec<_> = labels
        .iter()
        .zip(&states)
        .filter_map(|(label, (_, heart))| Some((&label[..], heart.latency_us? as f64 / 1e6)))
        .collect();
    text.gauge("tbi_door_heartbeat_seconds", "Time a heartbeat takes, smoothed.", &latency);
    let cpu = cpu_time();
    let seconds = |us: u64| us as f64 / 1e6;
    text.counter(
        "tbi_cpu_seconds_total",
        "Processor time of the process.",
        &[(&[("mode", "user")], seconds(cpu.user_us)), (&[("mode", "system")], seconds(cpu.system_us))],
    );
    let mut described = HashSet::new();
    let mut whole = measure::labelled(&text.into_text(), NAME, &mut described);
    // These carry the label already: it says which daemon the request was for.
    whole.push_str(&measure::text(door.meters().iter()));
    let scrapes = door.daemons.iter().map(scrape);
    for (name, scraped) in join_all(scrapes).await {
        whole.push_str(&measure::labelled(&scraped, &name, &mut described));
    }
    whole
}

/// A daemon that does not answer has no numbers; that it does not is a number of the door's.
async fn scrape(daemon: &Arc<Daemon>) -> (String, String) {
    let client = UnixClient::new(daemon.pool.socket()).with_timeout(SCRAPE);
    (daemon.name.clone(), client.get_text("/metrics").await.unwrap_or_default())
}
