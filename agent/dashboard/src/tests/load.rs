//! Many requests at once, over few connections: nothing is mixed up and nothing leaks.

use http::{Request, StatusCode};
use http_body_util::Full;

use super::{AS, Stand, text};

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
