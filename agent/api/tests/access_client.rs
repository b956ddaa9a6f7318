//! The access client against a real daemon's socket: what arrives there of methods, paths, bodies and of who did it, and what comes back.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tbi_api::access::{
    AccessClient, AccountChange, AuditNote, By, Digest, Hidden, NewCertificate, Outcome, Refusal, RefusalKind,
    Refusals, Role, TokenId, TotpStep, Used,
};
use tbi_daemon::{ApiError, ClientError, Health, Listener, Shutdown, UnixClient, serve};

/// Answers every request with what it was, or as the path asks.
async fn echo(request: Request) -> axum::response::Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path.ends_with("/taken") {
        return ApiError::new(StatusCode::CONFLICT, "account-changed", "somebody was faster").into_response();
    }
    if path.ends_with("/silent") {
        std::future::pending::<()>().await;
    }
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let said = json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map(ToString::to_string),
        "actor": header("x-tlsstress-actor"),
        "role": header("x-tlsstress-role"),
        "source": header("x-tlsstress-source"),
        "correlation": header("x-correlation-id"),
        "body": serde_json::from_slice::<Value>(&body).ok(),
    });
    // The client reads an account, a token and so on; what was said travels in the problem.
    ApiError::new(StatusCode::CONFLICT, "echo", said.to_string()).into_response()
}

struct Socket {
    client: AccessClient,
    stop: Shutdown,
    served: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

async fn socket() -> Socket {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.sock");
    let (listener, stop, health) = (Listener::bind(&path).unwrap(), Shutdown::new(), Health::new());
    health.set_ready(Ok(()));
    let router = Router::new().fallback(echo);
    let serving = serve(listener, router, health, utoipa::openapi::OpenApi::default(), String::new, stop.clone());
    let served = tokio::spawn(async move { serving.await.unwrap() });
    UnixClient::new(&path).wait_ready(Duration::from_secs(20)).await.unwrap();
    Socket { client: AccessClient::new(&path), stop, served, _dir: dir }
}

fn by() -> By {
    By {
        actor: "anna".to_owned(),
        role: Some(Role::Administrator),
        source: "2001:db8::1".to_owned(),
        correlation_id: "c-7".to_owned(),
    }
}

#[track_caller]
fn echoed<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Value {
    let ClientError::Problem(problem) = answer.unwrap_err() else { unreachable!("no problem document") };
    assert_eq!(problem.code, "echo");
    serde_json::from_str(&problem.detail).unwrap()
}

#[tokio::test]
async fn changes_say_who_and_what_and_where() {
    let socket = socket().await;
    let (client, by) = (&socket.client, by());
    let name = "olaf".parse().unwrap();
    let hash = Digest::of_bytes(&[7; 32]);
    let token: TokenId = "abcdefgh".parse().unwrap();
    let change = AccountChange { password: Some(Hidden::new("$argon2id$x")), ..AccountChange::default() };
    let reason = "left & gone".parse().unwrap();
    let used = Used { at: jiff::Timestamp::UNIX_EPOCH };
    let certificate =
        NewCertificate { fingerprint: hash.clone(), account: "olaf".parse().unwrap(), label: "x".to_owned() };
    let said = [
        (echoed(client.change_account(&name, &change, &by).await), "PATCH", "/v1/accounts/olaf".to_owned()),
        (
            echoed(client.remove_account(&name, Some(&reason), &by).await),
            "DELETE",
            "/v1/accounts/olaf?reason=left+%26+gone".to_owned(),
        ),
        (
            echoed(client.use_totp_step(&name, TotpStep { step: 5 }, &by).await),
            "POST",
            "/v1/accounts/olaf/totp-step".to_owned(),
        ),
        (
            echoed(client.end_session(&hash, Some(&reason), &by).await),
            "DELETE",
            format!("/v1/sessions/{hash}?reason=left+%26+gone"),
        ),
        (echoed(client.token_used(&token, used, &by).await), "POST", "/v1/tokens/abcdefgh/used".to_owned()),
        (echoed(client.remove_token(&token, None, &by).await), "DELETE", "/v1/tokens/abcdefgh".to_owned()),
        (echoed(client.create_certificate(&certificate, &by).await), "POST", "/v1/certificates".to_owned()),
    ];
    for (said, method, path) in &said {
        assert_eq!((said["method"].as_str(), said["path"].as_str()), (Some(*method), Some(path.as_str())));
        let who = ["actor", "role", "source", "correlation"].map(|name| said[name].as_str().unwrap());
        assert_eq!(who, ["anna", "administrator", "2001:db8::1", "c-7"], "{path}");
    }
    assert_eq!(said[0].0["body"]["password"], "$argon2id$x");
    assert_eq!(said[2].0["body"], json!({ "step": 5 }));
    let note = AuditNote {
        by,
        action: "login.refused".to_owned(),
        target: "account/olaf".to_owned(),
        outcome: Outcome::Refused,
        detail: json!({ "why": "password" }),
    };
    let said = echoed(client.audit(&note).await);
    assert_eq!((said["path"].as_str(), &said["body"]["outcome"]), (Some("/v1/audit"), &json!("refused")));
    let refused = Refusal {
        minute: jiff::Timestamp::UNIX_EPOCH,
        source: "2001:db8::1".to_owned(),
        account: "anonymous".to_owned(),
        kind: RefusalKind::ForgedCredentials,
        count: 7,
    };
    let said = echoed(client.report_refusals(&Refusals { refusals: vec![refused] }).await);
    assert_eq!((said["method"].as_str(), said["path"].as_str()), (Some("POST"), Some("/v1/audit/refusals")));
    let group = &said["body"]["refusals"][0];
    assert_eq!((&group["kind"], &group["count"]), (&"forged_credentials".into(), &7.into()));
    assert_eq!(group["kind"], RefusalKind::ForgedCredentials.as_str());
    assert_eq!(echoed(client.account(&name).await)["path"], "/v1/accounts/olaf");
    socket.stop.request();
    socket.served.await.unwrap();
}

#[tokio::test]
async fn refusals_silence_and_absence_are_told_apart() {
    let socket = socket().await;
    let client = &socket.client;
    let change = AccountChange::default();
    let taken = client.change_account(&"taken".parse().unwrap(), &change, &by()).await;
    assert_eq!(taken.unwrap_err().code(), Some("account-changed"));
    let hasty = client.clone().with_timeout(Duration::from_millis(50));
    let silent = hasty.change_account(&"silent".parse().unwrap(), &change, &by()).await;
    assert!(matches!(silent, Err(ClientError::Timeout { .. })), "{silent:?}");
    let absent = AccessClient::new(std::path::Path::new("/nonexistent/access.sock"));
    let absent = absent.change_account(&"olaf".parse().unwrap(), &change, &by()).await;
    assert!(matches!(absent, Err(ClientError::Unreachable { .. })), "{absent:?}");
    // What cannot stand in a header is refused here, before it could become another header there.
    let split = By { actor: "anna\r\nx-tlsstress-role: administrator".to_owned(), ..by() };
    let split = client.change_account(&"olaf".parse().unwrap(), &change, &split).await;
    assert!(matches!(split, Err(ClientError::Malformed { .. })), "{split:?}");
    socket.stop.request();
    socket.served.await.unwrap();
}
