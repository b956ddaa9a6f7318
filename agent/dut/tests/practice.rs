//! The practice adapter against an API that behaves, lies, refuses or is not there.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::routing::get;
use tbi_bench::control::practice_dut::{Behaviour, TcpPolicy};
use tbi_daemon::{ApiError, Health, Listener, Shutdown, UnixClient};
use tbi_dut::practice::PracticeDut;
use tbi_dut::{DecryptMode, DutAdapter, DutError};

fn decrypting() -> Behaviour {
    Behaviour { tcp: TcpPolicy::Decrypt, ..Behaviour::default() }
}

/// Serves `/v1/behaviour`; `obeys` decides whether a PUT changes anything.
async fn device(dir: &tempfile::TempDir, obeys: bool) -> (PracticeDut, Shutdown) {
    let socket = dir.path().join("dut.sock");
    let state = Arc::new(Mutex::new(Behaviour::default()));
    let (reader, writer) = (Arc::clone(&state), state);
    let router = axum::Router::new().route(
        "/v1/behaviour",
        get(move || async move { Json(*reader.lock().unwrap()) }).put(
            move |Json(wanted): Json<Behaviour>| async move {
                if wanted.drop_per_mille > 1000 {
                    return Err(ApiError::new(
                        axum::http::StatusCode::UNPROCESSABLE_ENTITY,
                        "drop-too-large",
                        "the practice DUT cannot drop more than everything; use 0 to 1000",
                    ));
                }
                if obeys {
                    *writer.lock().unwrap() = wanted;
                }
                Ok(Json(wanted))
            },
        ),
    );
    let shutdown = Shutdown::new();
    let health = Health::new();
    health.set_started();
    health.set_ready(Ok(()));
    let listener = Listener::bind(&socket).unwrap();
    let openapi = utoipa::openapi::OpenApi::default();
    tokio::spawn(tbi_daemon::serve(listener, router, health, openapi, String::new, shutdown.clone()));
    let client = UnixClient::new(&socket);
    client.wait_ready(Duration::from_secs(5)).await.unwrap();
    (PracticeDut::new(client, decrypting(), Behaviour::default()), shutdown)
}

#[tokio::test]
async fn a_switch_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (dut, shutdown) = device(&dir, true).await;
    assert_eq!(dut.mode().await.unwrap(), Some(DecryptMode::Bypass));
    let before = dut.snapshot().await.unwrap();
    dut.switch_mode(DecryptMode::On).await.unwrap();
    assert_eq!(dut.mode().await.unwrap(), Some(DecryptMode::On));
    let after = dut.snapshot().await.unwrap();
    assert_ne!(before.sha256, after.sha256);
    shutdown.request();
}

#[tokio::test]
async fn a_device_that_says_yes_and_does_nothing_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let (dut, shutdown) = device(&dir, false).await;
    let error = dut.switch_mode(DecryptMode::On).await.unwrap_err();
    assert!(matches!(error, DutError::NotInForce { wanted: "on" }), "{error}");
    shutdown.request();
}

#[tokio::test]
async fn a_refusal_is_told_in_the_devices_words() {
    let dir = tempfile::tempdir().unwrap();
    let (_, shutdown) = device(&dir, true).await;
    let impossible = Behaviour { drop_per_mille: 2000, ..Behaviour::default() };
    let dut = PracticeDut::new(UnixClient::new(dir.path().join("dut.sock")), impossible, Behaviour::default());
    let error = dut.switch_mode(DecryptMode::On).await.unwrap_err().to_string();
    assert!(error.contains("refused to switch its mode") && error.contains("use 0 to 1000"), "{error}");
    shutdown.request();
}

#[tokio::test]
async fn a_device_that_is_not_there_is_named() {
    let dut = PracticeDut::new(UnixClient::new("/nonexistent/dut.sock"), decrypting(), Behaviour::default());
    let error = dut.identity().await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/dut.sock") && error.contains("check that it is up"), "{error}");
}
