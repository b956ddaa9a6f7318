//! A daemon that costs next to nothing: what `cargo tbi bench door` puts behind the front door and behind nginx, and asks directly.
//!
//! It is served by the same library as every daemon, on one thread, and answers constants. Anybody who is logged in may ask.

use clap::Parser;
use tbi_daemon::{DaemonArgs, Health, Shutdown};
use utoipa::OpenApi as _;

/// Size of the large answer: what a page of a list has.
const LARGE: usize = 16 << 10;

/// Answers constants on a unix socket.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// A hundred bytes of JSON.
#[utoipa::path(get, path = "/v1/constant", security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 200, body = String, content_type = "application/json")))]
async fn constant() -> ([(&'static str, &'static str); 1], &'static str) {
    let body =
        r#"{"name":"constant","words":"the same hundred bytes in each answer, so that only the way here costs"}"#;
    ([("content-type", "application/json")], body)
}

/// The same with a parameter in its path.
#[utoipa::path(get, path = "/v1/items/{id}", params(("id" = u64, Path, description = "Any number")),
    security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn item(axum::extract::Path(id): axum::extract::Path<u64>) -> String {
    format!("item {id}")
}

/// 16 KiB.
#[utoipa::path(get, path = "/v1/large", security(("session" = ["viewer", "operator", "administrator", "auditor"])),
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn large() -> &'static str {
    const BODY: &[u8; LARGE] = &[b'x'; LARGE];
    std::str::from_utf8(BODY).unwrap_or_default()
}

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Constants"), paths(constant, item, large))]
struct Document;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    tbi_daemon::init_tracing("door-daemon", &options.daemon.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (listener, shutdown, health) = (options.daemon.listener()?, Shutdown::on_signals()?, Health::new());
        health.set_ready(Ok(()));
        let router = axum::Router::new()
            .route("/v1/constant", axum::routing::get(constant))
            .route("/v1/items/{id}", axum::routing::get(item))
            .route("/v1/large", axum::routing::get(large));
        Ok(tbi_daemon::serve(listener, router, health, Document::openapi(), String::new, shutdown).await?)
    })
}
