//! Draining with open streams: it takes under five seconds, and event streams end with `bye`.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;

use super::{AS, SOON, Stand, http3, text};

#[tokio::test]
async fn drain_with_open_streams_is_under_five_seconds_and_says_goodbye() {
    let stand = Stand::start().await;
    let events = "https://localhost/api/v1/agent/events";
    let first = stand.get("/api/v1/agent/events", Some("viewer")).await;
    let mut http2 = stand.http2().await;
    let request = || Request::get(events).header(AS, "viewer");
    let second = http2.send_request(request().body(Full::default()).unwrap()).await.unwrap();
    let (_endpoint, _quic, mut sender) = http3::connect(&stand).await;
    let third = http3::ask(&mut sender, request().body(()).unwrap(), b"");
    // One that will never end by itself, and a connection that is idle.
    let mut hanging = stand.http1().await;
    let hang =
        Request::get("/api/v1/agent/hang").header("host", "a").header(AS, "viewer").body(Full::default()).unwrap();
    let hang = tokio::spawn(hanging.send_request(hang));
    let idle = stand.http1().await;
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));

    let third = async {
        let (answer, body) = third.await;
        (answer.status(), String::from_utf8(body).unwrap())
    };
    let stopping = async {
        // Three event streams and the one that hangs.
        stand.daemon.until_working(4).await;
        let began = Instant::now();
        let daemon_stays = stand.daemon.working.subscribe();
        stand.shutdown.request();
        (began, daemon_stays)
    };
    let ((status, third), first, second, (began, _daemon)) = tokio::join!(third, text(first), text(second), stopping);
    assert_eq!(status, StatusCode::OK);
    for said in [first, second, third] {
        assert!(
            said.contains("event: tick") && said.ends_with("event: bye\ndata: {\"reason\":\"stopping\"}\n\n"),
            "{said}"
        );
    }
    let mut stand = stand;
    timeout(SOON, &mut stand.serving).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "draining took {:?}", began.elapsed());
    assert!(timeout(SOON, hang).await.unwrap().unwrap().is_err(), "what hangs is cut");
    assert!(
        timeout(SOON, async {
            while !idle.is_closed() {
                tokio::task::yield_now().await
            }
        })
        .await
        .is_ok()
    );
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_its_connection_closed() {
    let stand = Stand::start().await;
    let events = stand.get("/api/v1/agent/events", Some("viewer")).await;
    stand.daemon.until_working(1).await;
    stand.shutdown.request();
    let mut said = events.into_body();
    let mut all = Vec::new();
    while let Some(frame) = timeout(SOON, said.frame()).await.unwrap() {
        all.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert!(String::from_utf8(all).unwrap().contains("event: bye"));
    stand.stop().await.unwrap();
}
