//! Who may ask what, what a daemon is told, and what the door says of itself.

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use tokio::time::timeout;

use super::{AS, SOON, Stand, code, text};

fn request(method: Method, path: &str, role: &str) -> Request<Full<bytes::Bytes>> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "a").header(AS, role);
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn claims_of_the_document_are_enforced() {
    let stand = Stand::start().await;
    for (method, path, role, status) in [
        (Method::GET, "/api/v1/agent/headers", "viewer", 200),
        (Method::GET, "/api/v1/agent/headers", "nobody", 401),
        (Method::POST, "/api/v1/agent/echo/1", "viewer", 403),
        (Method::POST, "/api/v1/agent/echo/1", "operator", 200),
        (Method::GET, "/api/v1/agent/open", "nobody", 200),
        (Method::GET, "/api/v1/agent/strict", "operator", 403),
        (Method::GET, "/api/v1/agent/strict", "administrator", 200),
        (Method::POST, "/api/v1/agent/power", "administrator", 403),
        (Method::GET, "/metrics", "nobody", 401),
        (Method::GET, "/openapi.json", "nobody", 401),
        (Method::GET, "/api/v1/routes", "auditor", 200),
        (Method::GET, "/health/live", "nobody", 200),
        (Method::GET, "/health/startup", "nobody", 200),
    ] {
        let answer = stand.send(request(method.clone(), path, role)).await;
        assert_eq!(answer.status(), status, "{method} {path} as {role}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart_and_limited() {
    let stand = Stand::start().await;
    for path in [
        "/",
        "/api/v1/agent/none",
        "/api/v1/other/headers",
        "/v1/headers",
        "/api/v1/agent/v1/headers",
        "/api/v1/agent/",
    ] {
        assert_eq!(code(stand.get(path, Some("viewer")).await).await, (404, "not-found".to_owned()), "{path}");
    }
    let answer = stand.send(request(Method::DELETE, "/api/v1/agent/headers", "viewer")).await;
    assert_eq!(answer.headers()[header::ALLOW], "GET, HEAD");
    assert_eq!(code(answer).await, (405, "method-not-allowed".to_owned()));
    let mut limited = request(Method::GET, "/none", "viewer");
    limited.headers_mut().insert("x-test-limited", "1".parse().unwrap());
    assert_eq!(stand.send(limited).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_daemon_is_told_who_asks_by_the_door_alone() {
    let stand = Stand::start().await;
    let mut asked = request(Method::GET, "/api/v1/agent/headers?x=%20y", "operator");
    for (name, value) in [
        ("x-tlsstress-actor", "root"),
        ("x-tlsstress-role", "administrator"),
        ("x-tlsstress-source", "203.0.113.9"),
        ("x-correlation-id", "run-7"),
        ("cookie", "secret"),
        ("authorization", "Bearer secret"),
        ("connection", "x-named"),
        ("x-named", "for one hop"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("x-other", "stays"),
    ] {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = stand.send(asked).await;
    assert_eq!(answer.headers()["x-correlation-id"], "run-7");
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "199", "where the caller stands");
    let seen: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(seen["x-tlsstress-actor"], "tester");
    assert_eq!(seen["x-tlsstress-role"], "operator");
    assert_eq!(seen["x-tlsstress-source"], "local", "as the access routes call it in the same audit chain");
    assert_eq!(seen["x-correlation-id"], "run-7");
    assert_eq!(seen["x-other"], "stays");
    for gone in ["cookie", "authorization", "connection", "x-named", "keep-alive", "te"] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn every_answer_is_dressed() {
    let stand = Stand::start().await;
    for path in ["/health/live", "/none", "/api/v1/agent/headers", "/api/v1/agent/open", "/api/v1/agent/page"] {
        let answer = stand.get(path, Some("viewer")).await;
        let headers = answer.headers();
        let document = path.ends_with("page");
        for (name, expected) in [
            ("strict-transport-security", true),
            ("x-content-type-options", true),
            ("cross-origin-resource-policy", true),
            ("x-correlation-id", true),
            ("alt-svc", true),
            // These only mean something to a browser that shows a document.
            ("referrer-policy", document),
            ("cross-origin-opener-policy", document),
            ("permissions-policy", document),
        ] {
            assert_eq!(headers.get_all(name).iter().count(), usize::from(expected), "{path}: {name}");
        }
        let content = headers["content-security-policy"].to_str().unwrap();
        assert!(content.starts_with("default-src 'none'") && content.contains("frame-ancestors 'none'"), "{content}");
        assert_eq!(content.contains("script-src 'self'"), document, "{path}: {content}");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers["alt-svc"], format!("h3=\":{}\"; ma=86400", stand.address.port()));
    }
}

#[tokio::test]
async fn http3_is_offered_once_for_each_connection() {
    let stand = Stand::start().await;
    let mut connection = stand.http1().await;
    for offered in [true, false, false] {
        let request = Request::get("/health/live").header(header::HOST, "localhost").body(Full::default()).unwrap();
        let answer = timeout(SOON, connection.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.headers().contains_key("alt-svc"), offered);
        answer.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn http3_is_offered_once_also_when_the_first_requests_come_together() {
    let stand = Stand::start().await;
    let connection = stand.http2().await;
    let asked = (0..5).map(|_| {
        let mut connection = connection.clone();
        let uri = "https://localhost/api/v1/agent/headers";
        let request = Request::get(uri).header(AS, "viewer").body(Full::default()).unwrap();
        async move { timeout(SOON, connection.send_request(request)).await.unwrap().unwrap() }
    });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.headers().contains_key("alt-svc")).count(), 1);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let stand = Stand::start().await;
    for path in ["/health/live", "/api/v1/agent/headers"] {
        let answer = stand.send(request(Method::HEAD, path, "viewer")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(text(answer).await, "");
    }
}

#[tokio::test]
async fn documents_metrics_and_routes_are_of_everything() {
    let stand = Stand::start().await;
    let whole: Value = serde_json::from_str(&text(stand.get("/openapi.json", Some("viewer")).await).await).unwrap();
    assert_eq!(whole["openapi"], "3.1.0");
    assert_eq!(whole["paths"]["/api/v1/agent/power"]["post"]["x-step-up"], json!(true));
    assert!(whole["paths"]["/health/live"].is_object() && whole["components"]["schemas"]["agent.Thing"].is_object());
    let yaml = text(stand.get("/openapi.yaml", Some("viewer")).await).await;
    assert_eq!(serde_yaml_ng::from_str::<Value>(&yaml).unwrap(), whole);
    let metrics = text(stand.get("/metrics", Some("viewer")).await).await;
    for line in [
        "tbi_test_total{daemon=\"agent\"} 1\n",
        "tbi_ready{daemon=\"agent\"} 1\n",
        "tbi_door_requests_total{daemon=\"door\",method=\"GET\",route=\"/openapi.json\",status=\"2xx\"} 1\n",
        "tbi_door_daemon_healthy{daemon=\"door\",to=\"agent\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    let routes: Value = serde_json::from_str(&text(stand.get("/api/v1/routes", Some("viewer")).await).await).unwrap();
    let agent = &routes["daemons"][0];
    assert_eq!((agent["state"].as_str(), agent["version"].as_str()), (Some("healthy"), Some("7")));
}

#[tokio::test]
async fn the_ca_is_public() {
    let stand = Stand::start().await;
    assert!(text(stand.get("/ca.pem", None).await).await.starts_with("-----BEGIN CERTIFICATE-----"));
    let der = stand.get("/ca.der", None).await;
    let der = http_body_util::BodyExt::collect(der.into_body()).await.unwrap().to_bytes();
    assert_eq!(&der[..], &stand.ca[..]);
}

#[tokio::test]
async fn bodies_go_both_ways_over_both_versions() {
    let stand = Stand::start().await;
    let body = bytes::Bytes::from((0..=255).cycle().take(1 << 20).collect::<Vec<u8>>());
    let echo = |uri: &str| {
        Request::post(uri)
            .header(header::HOST, "localhost")
            .header(AS, "operator")
            .body(Full::new(body.clone()))
            .unwrap()
    };
    let mut http2 = stand.http2().await;
    for _again in 0..3 {
        let answer = stand.send(echo("/api/v1/agent/echo/1")).await;
        let back = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert!(back == body, "HTTP/1.1 changed the body");
        let answer = http2.send_request(echo("https://localhost/api/v1/agent/echo/1")).await.unwrap();
        let back = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert!(back == body, "HTTP/2 changed the body");
    }
}
