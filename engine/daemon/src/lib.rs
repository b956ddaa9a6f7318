//! What every daemon of the bench shares: one HTTP API on a unix socket, health that is said and never implied, metrics, tracing,
//! correlation ids, problem documents, draining — and the client that speaks to such a socket.
//!
//! It knows no daemon: words and meanings live in `tbi_bench::control`. A daemon's `main` reads like this:
//!
//! ```no_run
//! # use tbi_daemon::{DaemonArgs, Health, Shutdown};
//! # async fn run(args: DaemonArgs, router: axum::Router, openapi: utoipa::openapi::OpenApi) -> Result<(), Box<dyn std::error::Error>> {
//! tbi_daemon::init_tracing("tbi-example", &args.log);
//! let listener = args.listener()?;
//! let shutdown = Shutdown::on_signals()?;
//! let health = Health::new();
//! health.set_ready(Ok(()));
//! tbi_daemon::serve(listener, router, health, openapi, || String::new(), shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: every answer that is an error is an RFC 9457 problem document; every body in either direction is bounded; the socket
//! is never reachable for others than owner and group.

mod args;
mod client;
mod cpu;
pub mod exposition;
mod files;
mod health;
mod listener;
mod metrics;
mod notify;
mod problem;
mod server;
mod shutdown;
mod sse;
mod watchdog;

pub use args::{DaemonArgs, init_tracing};
pub use client::events::{Event, EventParser, EventsMalformed};
pub use client::{ClientError, UnixClient};
pub use cpu::cpu_time;
pub use files::{Access, ReplaceError, replace_file};
pub use health::{CriticalTask, Health};
pub use listener::{ListenError, Listener};
pub use metrics::MetricsText;
pub use notify::notify;
pub use problem::{ApiError, ApiJson, problem};
pub use server::{BODY_LIMIT, CORRELATION_HEADER, DRAIN_DEADLINE, ServeError, serve, serve_beside};
pub use shutdown::Shutdown;
pub use sse::{BYE, HEARTBEAT, sse};
pub use watchdog::life_signs;
