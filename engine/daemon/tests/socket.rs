//! The whole daemon shell over a real unix socket: what a supervisor, a scraper and another daemon see of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tbi_daemon::{ApiError, ApiJson, ClientError, Health, Listener, ServeError, Shutdown, UnixClient, sse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    rate: u32,
}

struct Daemon {
    client: UnixClient,
    health: Health,
    shutdown: Shutdown,
    socket: PathBuf,
    serving: JoinHandle<Result<(), ServeError>>,
    _dir: tempfile::TempDir,
}

fn start() -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let listener = Listener::bind(&socket).unwrap();
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let stop = shutdown.clone();
    let router = Router::new()
        .route("/v1/echo", post(|ApiJson(order): ApiJson<Order>| async move { axum::Json(order) }))
        .route("/v1/empty", post(|ApiJson(_): ApiJson<Order>| async { http::StatusCode::ACCEPTED }))
        .route("/v1/number/{n}", get(|axum::extract::Path(n): axum::extract::Path<u32>| async move { n.to_string() }))
        .route(
            "/v1/busy",
            get(|| async { ApiError::new(http::StatusCode::CONFLICT, "busy", "trial 7 runs; wait for its end") }),
        )
        .route(
            "/v1/panic",
            get(|| async {
                if std::hint::black_box(true) {
                    panic!("deliberate")
                }
            }),
        )
        .route("/v1/hang", get(std::future::pending::<()>))
        .route("/v1/ticks", get(move || async move { sse(5, stream::iter([("tick", 1), ("tick", 2)]), stop) }));
    let router = {
        let stop = shutdown.clone();
        router.route(
            "/v1/endless",
            get(move || async move { sse(0, stream::iter([("tick", 0)]).chain(stream::pending()), stop) }),
        )
    };
    let openapi = utoipa::openapi::OpenApi::default();
    let serving = tokio::spawn(tbi_daemon::serve(
        listener,
        router,
        health.clone(),
        openapi,
        || "example_total 3\n".to_owned(),
        shutdown.clone(),
    ));
    Daemon { client: UnixClient::new(&socket), health, shutdown, socket, serving, _dir: dir }
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, String) {
    match result.unwrap_err() {
        ClientError::Problem(problem) => (problem.status, problem.code),
        other => panic!("{other}"),
    }
}

async fn raw(daemon: &Daemon, request: &str) -> String {
    let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_follows_what_is_said() {
    let daemon = start();
    let health = async |path: &str| daemon.client.get_json::<serde_json::Value>(path).await;
    health("/health/live").await.unwrap();
    assert_eq!(code(health("/health/startup").await), (503, "not-ready".to_owned()));
    assert_eq!(code(health("/health/ready").await), (503, "not-ready".to_owned()));
    daemon.health.set_started();
    health("/health/startup").await.unwrap();
    daemon.health.set_ready(Err("the CA is being made; wait".to_owned()));
    let refused = daemon.client.wait_ready(Duration::from_millis(50)).await.unwrap_err();
    assert!(refused.to_string().contains("the CA is being made; wait"), "{refused}");
    daemon.health.set_ready(Ok(()));
    daemon.client.wait_ready(SOON).await.unwrap();
    let task = daemon.health.critical("worker 0");
    let panicked = tokio::spawn(async move {
        let _alive = task;
        panic!("deliberate");
    });
    assert!(panicked.await.is_err());
    assert_eq!(code(health("/health/ready").await).0, 503);
    assert_eq!(code(health("/health/live").await).0, 503);
}

#[tokio::test]
async fn metrics_and_openapi_are_there() {
    let daemon = start();
    let metrics = daemon.client.get_text("/metrics").await.unwrap();
    assert!(metrics.starts_with("example_total 3\n") && metrics.contains("\ntbi_ready 0\n"), "{metrics}");
    let openapi: serde_json::Value = daemon.client.get_json("/openapi.json").await.unwrap();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let daemon = start();
    let get = async |path: &str| daemon.client.get_json::<serde_json::Value>(path).await;
    assert_eq!(code(get("/v1/nothing").await), (404, "not-found".to_owned()));
    assert_eq!(code(get("/v1/echo").await), (405, "method-not-allowed".to_owned()));
    assert_eq!(code(get("/v1/number/x").await), (400, "bad-request".to_owned()));
    assert_eq!(code(get("/v1/busy").await), (409, "busy".to_owned()));
    assert_eq!(code(get("/v1/panic").await), (500, "internal".to_owned()));
    let post = async |body: serde_json::Value| daemon.client.post_json::<_, serde_json::Value>("/v1/echo", &body).await;
    assert_eq!(code(post(serde_json::json!({ "rate": -1 })).await), (422, "unprocessable".to_owned()));
    let unknown = post(serde_json::json!({ "rate": 1, "ratte": 2 })).await.unwrap_err();
    assert!(unknown.to_string().contains("ratte"), "{unknown}");
    assert_eq!(code(post(serde_json::json!("x".repeat(1 << 20))).await), (413, "body-too-large".to_owned()));
    let bad = raw(&daemon, "POST /v1/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{").await;
    assert!(bad.starts_with("HTTP/1.1 400") && bad.contains("application/problem+json"), "{bad}");
    let missing =
        raw(&daemon, "POST /v1/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await;
    assert!(missing.starts_with("HTTP/1.1 415") && missing.contains("unsupported-media-type"), "{missing}");
}

#[tokio::test]
async fn bodies_go_both_ways() {
    let daemon = start();
    let order = Order { rate: 7 };
    assert_eq!(daemon.client.post_json::<_, Order>("/v1/echo", &order).await.unwrap(), order);
    daemon.client.post_json::<_, ()>("/v1/empty", &order).await.unwrap();
    assert_eq!(daemon.client.get_text("/v1/number/12").await.unwrap(), "12");
    assert!(matches!(daemon.client.get_json::<Order>("/v1/number/12").await, Err(ClientError::Malformed { .. })));
}

#[tokio::test]
async fn correlation_ids_come_back() {
    let daemon = start();
    let request = |id: &str| {
        format!("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-correlation-id: {id}\r\n\r\n")
    };
    assert!(raw(&daemon, &request("run-7")).await.contains("x-correlation-id: run-7\r\n"));
    let replaced = raw(&daemon, &request("not safe {}")).await;
    assert!(replaced.contains("x-correlation-id: ") && !replaced.contains("not safe"), "{replaced}");
}

#[tokio::test]
async fn event_streams_are_numbered_and_say_goodbye() {
    let daemon = start();
    let events: Vec<_> = daemon.client.events("/v1/ticks").await.unwrap().map(Result::unwrap).collect().await;
    let seen: Vec<_> =
        events.iter().map(|event| (event.name.as_str(), event.id.as_str(), event.data.as_str())).collect();
    assert_eq!(seen, [("tick", "5", "1"), ("tick", "6", "2"), ("bye", "7", "{\"reason\":\"end\"}")]);
    assert_eq!(code(daemon.client.events("/v1/nothing").await.map(|_stream| ())), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn shutdown_ends_streams_and_serving() {
    let daemon = start();
    let mut events = daemon.client.events("/v1/endless").await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().name, "tick");
    daemon.shutdown.request();
    let bye = events.next().await.unwrap().unwrap();
    assert_eq!((bye.name.as_str(), bye.data.as_str()), ("bye", "{\"reason\":\"stopping\"}"));
    assert!(events.next().await.is_none());
    tokio::time::timeout(SOON, daemon.serving).await.unwrap().unwrap().unwrap();
    assert!(!daemon.socket.exists());
    assert!(matches!(daemon.client.get_text("/metrics").await, Err(ClientError::Unreachable { .. })));
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_at_the_drain_deadline() {
    let daemon = start();
    let client = daemon.client.clone().with_timeout(Duration::from_millis(100));
    assert!(matches!(client.get_text("/v1/hang").await, Err(ClientError::Timeout { .. })));
    let hanging = tokio::spawn({
        let client = daemon.client.clone();
        async move { client.get_text("/v1/hang").await }
    });
    daemon.client.get_text("/metrics").await.unwrap();
    daemon.shutdown.request();
    tokio::time::timeout(tbi_daemon::DRAIN_DEADLINE + SOON, daemon.serving).await.unwrap().unwrap().unwrap();
    hanging.abort();
}
