//! `tbi-engine`: the load daemon. Table of contents only; everything is in the library.

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tbi_daemon::{DaemonArgs, Health, Shutdown};
use tbi_engine::api::{Document, Engine};
use utoipa::OpenApi;

/// Load engine of TLSStress.Art TBI.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Worker threads per trial; 0 means one per core.
    #[arg(long, default_value_t = 0)]
    workers: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tbi_daemon::init_tracing("tbi-engine", &args.daemon.log);
    raise_descriptor_limit();
    let listener = args.daemon.listener()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        let engine = Engine::new(workers(args.workers), shutdown.clone());
        let health = Health::new();
        health.set_started();
        health.set_ready(Ok(()));
        let metrics = engine.clone();
        let api = engine.clone().router();
        tbi_daemon::serve(listener, api, health, Document::openapi(), move || metrics.metrics(), shutdown).await?;
        engine.stop();
        Ok(())
    })
}

/// Every connection is a descriptor; the usual soft limit of 1024 is for programs that use `select`.
fn raise_descriptor_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is; large trials may run out of it");
    }
}

fn workers(asked: u32) -> u32 {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
        some => some.min(1024),
    }
}
