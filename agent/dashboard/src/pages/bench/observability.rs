//! What other programs can see of the box: its metrics as documented, a scrape configuration for Prometheus and a dashboard for Grafana, both
//! made for this box and to be downloaded.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::{Value, json};
use tbi_daemon::exposition::documented;

use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html};

/// The document that tests hold to the real exposition.
pub(in crate::pages) const DOCUMENT: &str = include_str!("../../../../../docs/metrics.md");
/// Of these the door gives numbers.
const SHOWN: [&str; 3] = ["every", "door", "agent"];

#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    kind: String,
    labels: String,
    help: String,
}

#[derive(Template)]
#[template(path = "bench/observability.html")]
struct ObservabilityPage {
    look: Look,
    frame: Frame,
    scrape: String,
    rows: Vec<Row>,
}

/// Title, unit of Grafana, queries with their legends.
type Panel = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// `$box` is the box that is looked at.
const PANELS: [Panel; 8] = [
    ("Runs under way", "short", &[("tbi_agent_runs_under_way{instance=~\"$box\"}", "{{instance}}")]),
    ("Daemons ready", "short", &[("tbi_door_daemon_healthy{instance=~\"$box\"}", "{{instance}} {{to}}")]),
    (
        "Processor time",
        "percentunit",
        &[(
            "sum by (instance, daemon, mode) (rate(tbi_cpu_seconds_total{instance=~\"$box\"}[5m]))",
            "{{daemon}} {{mode}}",
        )],
    ),
    (
        "Requests",
        "reqps",
        &[(
            "sum by (instance, daemon, status) (rate(tbi_door_requests_total{instance=~\"$box\"}[5m]))",
            "{{daemon}} {{status}}",
        )],
    ),
    (
        "Time to the answer, 95th percentile",
        "s",
        &[(
            "histogram_quantile(0.95, sum by (instance, daemon, le) (rate(tbi_door_request_duration_seconds_bucket{instance=~\"$box\"}[5m])))",
            "{{daemon}}",
        )],
    ),
    (
        "Bytes sent",
        "Bps",
        &[("sum by (instance) (rate(tbi_door_sent_bytes_total{instance=~\"$box\"}[5m]))", "{{instance}}")],
    ),
    (
        "Connections",
        "short",
        &[
            ("tbi_door_connections_open{instance=~\"$box\"}", "{{instance}} open"),
            ("rate(tbi_door_connections_refused_total{instance=~\"$box\"}[5m])", "{{instance}} refused per second"),
            (
                "rate(tbi_door_handshakes_failed_total{instance=~\"$box\"}[5m])",
                "{{instance}} failed handshakes per second",
            ),
        ],
    ),
    (
        "Usage ticks",
        "short",
        &[
            ("tbi_agent_usage_ticks_pending{instance=~\"$box\"}", "{{instance}} pending"),
            ("tbi_agent_usage_ticks_lost{instance=~\"$box\"}", "{{instance}} lost"),
        ],
    ),
];

/// All queries of the dashboard, with that of its variable.
#[cfg(test)]
pub(in crate::pages) fn queries() -> Vec<&'static str> {
    PANELS.iter().flat_map(|(_, _, queries)| queries.iter().map(|(query, _)| *query)).chain([BOXES]).collect()
}

const BOXES: &str = "label_values(tbi_ready, instance)";

fn dashboard() -> Value {
    let source = json!({"type": "prometheus", "uid": "${source}"});
    let panel = |(place, (title, unit, queries)): (usize, &Panel)| {
        let targets: Vec<Value> = queries
            .iter()
            .zip('A'..)
            .map(|((query, legend), id)| {
                json!({"refId": id.to_string(), "expr": query, "legendFormat": legend, "datasource": source})
            })
            .collect();
        json!({
            "id": place + 1, "type": "timeseries", "title": title, "datasource": source,
            "gridPos": {"x": (place % 2) * 12, "y": (place / 2) * 8, "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": targets,
        })
    };
    json!({
        "title": "TLSStress.Art TBI", "uid": "tlsstress-art-tbi", "schemaVersion": 39, "version": 1, "editable": true,
        "timezone": "browser", "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "tags": ["tlsstress"],
        "templating": {"list": [
            {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
            {"name": "box", "type": "query", "label": "Box", "datasource": source, "query": BOXES, "refresh": 2,
             "multi": true, "includeAll": true, "allValue": ".*"},
        ]},
        "panels": PANELS.iter().enumerate().map(panel).collect::<Vec<_>>(),
    })
}

/// The scrape configuration for a box that is reached as `host`.
fn scrape(host: &str) -> String {
    format!(
        "# For prometheus.yml. Make a token with the scope \"read\" and put it into tlsstress-token;\n\
         # fetch https://{host}/ca.pem, compare its fingerprint with the console, and put it into tlsstress-ca.pem.\n\
         scrape_configs:\n  - job_name: tlsstress\n    scheme: https\n    metrics_path: /metrics\n    scrape_interval: 15s\n    \
         authorization:\n      type: Bearer\n      credentials_file: /etc/prometheus/tlsstress-token\n    \
         tls_config:\n      ca_file: /etc/prometheus/tlsstress-ca.pem\n    static_configs:\n      - targets: [\"{host}\"]\n"
    )
}

/// As the reader reached the box, when that is a name or an address and nothing else: it becomes part of a file.
fn host(visit: &Visit) -> String {
    let given = visit.who.visitor.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let plain = |host: &&str| {
        (1..=255).contains(&host.len())
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'))
    };
    given.filter(plain).unwrap_or("tbi.local").to_owned()
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let rows = documented(DOCUMENT).into_iter().filter(|(_, family)| SHOWN.contains(&family.source.as_str()));
    let row = |(name, family): (String, tbi_daemon::exposition::Family)| Row {
        name,
        kind: family.kind,
        labels: family.labels.into_iter().collect::<Vec<_>>().join(", "),
        help: family.help,
    };
    Ok(html(&ObservabilityPage {
        frame: visit.frame("observability-title", &visit.agent.status().await),
        look: visit.look.clone(),
        scrape: scrape(&host(&visit)),
        rows: rows.map(row).collect(),
    }))
}

fn file(kind: &'static str, name: &str, body: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], body).into_response()
}

/// The dashboard.
pub(in crate::pages) async fn grafana(State(_pages): State<Arc<Pages>>, _visit: Visit) -> Shown {
    let body = serde_json::to_string_pretty(&dashboard()).unwrap_or_default();
    Ok(file("application/json", "tlsstress-grafana.json", body))
}

/// The scrape configuration.
pub(in crate::pages) async fn prometheus(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(file("application/yaml", "tlsstress-prometheus.yaml", scrape(&host(&visit))))
}
