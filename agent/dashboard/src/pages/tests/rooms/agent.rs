//! What the agent answers about books and machine, and what it was ordered.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use tbi_api::hardware::{Cpu, Disk, Hardware, Nic, Verdict};
use tbi_api::licence::{Installed, Licences};
use tbi_api::node::{Capabilities, Capability, Identity, KeyStorage};
use tbi_api::settings::Snapshot;
use tbi_api::usage::Usage;
use tbi_daemon::ApiError;

use super::super::agent::{Shared, locked};

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::pages::tests) struct Rooms {
    pub(in crate::pages::tests) licences: Licences,
    pub(in crate::pages::tests) usage: Usage,
    pub(in crate::pages::tests) snapshot: Snapshot,
    pub(in crate::pages::tests) hardware: Hardware,
    pub(in crate::pages::tests) identity: Identity,
    pub(in crate::pages::tests) capabilities: Capabilities,
    /// Status, code and sentence with which the next changes are refused.
    pub(in crate::pages::tests) refuse: Option<(u16, &'static str, String)>,
    /// What was ordered: what, and with which body or reason.
    pub(in crate::pages::tests) ordered: Vec<(&'static str, Value)>,
}

pub(in crate::pages::tests) fn licence(id: &str, standing: &str) -> Installed {
    Installed {
        id: id.to_owned(),
        customer: "Example Ltd".to_owned(),
        features: vec!["run".to_owned(), "compare".to_owned()],
        concurrency: 2,
        not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
        expires: "2027-01-01T00:00:00Z".parse().unwrap(),
        grace_days: 14,
        tsu: 100_000,
        standing: standing.to_owned(),
    }
}

pub(in crate::pages::tests) fn rooms() -> Rooms {
    Rooms {
        licences: Licences { enforced: true, balance: 98_800, installed: vec![licence("L-1.a", "grace")] },
        usage: Usage {
            last: 1204,
            acknowledged: 1200,
            url: Some("https://usage.example.net".to_owned()),
            sentence: String::new(),
            lost: 3,
            set_aside: 3,
        },
        snapshot: Snapshot {
            version: 7,
            changed: "2026-01-31T23:00:00Z".to_owned(),
            settings: serde_json::from_value(json!({
                "host_name": "tbi-c0ffee", "ntp_servers": ["ntp.example.net"],
                "usage": { "url": "https://usage.example.net", "ca_pem": "-----BEGIN CERTIFICATE-----" },
            }))
            .unwrap(),
        },
        hardware: Hardware {
            machine: "Example Corp. Box 9".to_owned(),
            virtualisation: None,
            cpu: Cpu {
                model: "Example CPU".to_owned(),
                threads: 16,
                aes_ni: true,
                avx2: true,
                avx512: false,
                vaes: false,
            },
            memory_bytes: 8 << 30,
            nics: vec![Nic {
                name: "eno1".to_owned(),
                mac: "52:54:00:12:34:56".to_owned(),
                driver: "ixgbe".to_owned(),
                speed_mbps: Some(10_000),
                carrier: true,
                rx_queues: 8,
                tx_queues: 8,
                sriov_vfs: 0,
                role: "trunk".to_owned(),
            }],
            disks: vec![Disk {
                name: "nvme0n1".to_owned(),
                model: "Example SSD".to_owned(),
                bytes: 256 << 30,
                rotational: false,
                system: true,
            }],
            tpm: Some("2.0".to_owned()),
            verdict: Verdict {
                handshakes_per_second: 9000,
                throughput_mbps: 9000,
                sentences: vec!["The trunk gives out first.".to_owned()],
            },
        },
        identity: Identity {
            node_id: "0123456789abcdef".to_owned(),
            certificate_pem: "PEM".to_owned(),
            certificate_sha256: "aa:bb".to_owned(),
            key_storage: KeyStorage::SealedToTpm,
        },
        capabilities: Capabilities {
            capabilities: vec![Capability {
                name: "boot.secure".to_owned(),
                available: false,
                sentence: "The firmware does not enforce Secure Boot.".to_owned(),
            }],
        },
        refuse: None,
        ordered: Vec::new(),
    }
}

/// Notes an order and refuses it when it is told to.
fn order(told: &Shared, what: &'static str, body: Value, answer: impl FnOnce(&mut Rooms) -> Response) -> Response {
    let rooms = &mut locked(told).rooms;
    rooms.ordered.push((what, body));
    match rooms.refuse.clone() {
        Some((status, code, sentence)) => {
            ApiError::new(StatusCode::from_u16(status).unwrap(), code, sentence).into_response()
        }
        None => answer(rooms),
    }
}

async fn change_settings(State(told): State<Shared>, Json(body): Json<Value>) -> Response {
    let based_on = body["based_on"].as_u64();
    order(&told, "settings", body.clone(), |rooms| {
        if based_on != Some(rooms.snapshot.version) {
            let sentence = "the settings were changed meanwhile; read them again";
            return ApiError::new(StatusCode::CONFLICT, "settings-changed", sentence).into_response();
        }
        rooms.snapshot.version += 1;
        rooms.snapshot.settings = serde_json::from_value(body["settings"].clone()).unwrap();
        Json(rooms.snapshot.clone()).into_response()
    })
}

async fn remove_licence(State(told): State<Shared>, Path(id): Path<String>, Query(query): Query<Value>) -> Response {
    order(&told, "remove", json!({ "id": id, "reason": query["reason"] }), |rooms| {
        rooms.licences.installed.retain(|licence| licence.id != id);
        StatusCode::NO_CONTENT.into_response()
    })
}

pub(in crate::pages::tests) fn routes() -> Router<Shared> {
    Router::new()
        .route(
            "/v1/hardware",
            get(|State(told): State<Shared>| async move { Json(locked(&told).rooms.hardware.clone()) }),
        )
        .route(
            "/v1/identity",
            get(|State(told): State<Shared>| async move { Json(locked(&told).rooms.identity.clone()) }),
        )
        .route(
            "/v1/capabilities",
            get(|State(told): State<Shared>| async move { Json(locked(&told).rooms.capabilities.clone()) }),
        )
        .route(
            "/v1/settings",
            get(|State(told): State<Shared>| async move { Json(locked(&told).rooms.snapshot.clone()) })
                .put(change_settings),
        )
        .route(
            "/v1/licences",
            get(|State(told): State<Shared>| async move { Json(locked(&told).rooms.licences.clone()) }).post(
                |State(told): State<Shared>, Json(body): Json<Value>| async move {
                    order(&told, "install", body, |rooms| {
                        let installed = licence("L-2", "valid");
                        rooms.licences.installed.push(installed.clone());
                        (StatusCode::CREATED, Json(installed)).into_response()
                    })
                },
            ),
        )
        .route("/v1/licences/{id}", delete(remove_licence))
        .route("/v1/usage", get(|State(told): State<Shared>| async move { Json(locked(&told).rooms.usage.clone()) }))
        .route(
            "/v1/usage/report",
            post(|State(told): State<Shared>| async move {
                order(&told, "report", Value::Null, |_rooms| {
                    let started = json!({ "look_at": "/v1/usage", "sentence": "under way" });
                    (StatusCode::ACCEPTED, Json(started)).into_response()
                })
            }),
        )
        .route(
            "/v1/power",
            post(|State(told): State<Shared>, Json(body): Json<Value>| async move {
                order(&told, "power", body.clone(), |_rooms| (StatusCode::ACCEPTED, Json(body)).into_response())
            }),
        )
}
