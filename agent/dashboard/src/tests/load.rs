//! Many requests at once, over few connections: nothing is mixed up and nothing leaks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{sleep, timeout};

use super::{AS, SOON, Stand, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_reach_those_who_asked() {
    let stand = Stand::start().await;
    let http2 = stand.http2().await;
    let asked = (0..500).map(|number| {
        let mut http2 = http2.clone();
        async move {
            let body = format!("{number}-").repeat(number % 50 + 1);
            let request = Request::post("https://localhost/api/v1/agent/echo/1").header(AS, "operator");
            let answer = http2.send_request(request.body(Full::from(body.clone())).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(text(answer).await, body);
        }
    });
    futures_util::future::join_all(asked).await;
    let metrics = text(stand.get("/metrics", Some("viewer")).await).await;
    let line = "tbi_door_requests_in_flight{daemon=\"agent\",method=\"POST\",route=\"/v1/echo/{id}\"} 0\n";
    assert!(metrics.contains(line), "{metrics}");
    stand.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_slows_the_daemon() {
    let stand = Stand::start().await;
    let mut http2 = stand.http2().await;
    let request =
        Request::get("https://localhost/api/v1/agent/flood").header(AS, "viewer").body(Full::default()).unwrap();
    let first = stand.get("/api/v1/agent/flood", Some("viewer")).await;
    let second = http2.send_request(request).await.unwrap();
    let taken = || stand.daemon.flooded.load(Ordering::Relaxed);
    let standstill = async {
        let mut before = 0;
        while taken() == 0 || taken() != before {
            before = taken();
            sleep(Duration::from_millis(300)).await;
        }
    };
    timeout(SOON, standstill).await.expect("the daemon was never slowed");
    // What fits into the sockets' buffers and windows, of two answers of a GiB each.
    assert!(taken() < 64, "{} MiB were taken", taken());
    let stopped_at = taken();
    let mut body = first.into_body();
    let reading = async {
        while taken() < stopped_at + 8 {
            body.frame().await.unwrap().unwrap();
        }
    };
    timeout(SOON, reading).await.expect("reading did not let the daemon go on");
    drop(second);
}
