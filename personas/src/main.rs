//! `tbi-personas --config FILE --socket PATH`: serves the sites of FILE until SIGTERM or SIGINT. Exit code 2 when the configuration, the CA
//! or the network does not allow it to start, 1 when it fails later.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::Parser;
use tbi_daemon::{DaemonArgs, Health, Listener, Shutdown};
use tbi_personas::config::Config;
use tbi_personas::control::{self, Slot};
use tbi_personas::{Personas, StartError};

/// A hundred web servers in one process
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// What to serve, JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tbi_daemon::init_tracing("tbi-personas", &args.daemon.log);
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            // What a person must correct before another start makes sense.
            let hopeless = error.is::<StartError>() || error.is::<tbi_personas::config::ConfigError>();
            ExitCode::from(if hopeless { 2 } else { 1 })
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    let listener = args.daemon.listener()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(config, listener))
}

async fn run(config: Config, listener: Listener) -> anyhow::Result<()> {
    let (health, shutdown) = (Health::new(), Shutdown::on_signals()?);
    let slot: Slot = Arc::new(OnceLock::new());
    let metrics = {
        let slot = Arc::clone(&slot);
        move || control::metrics(&slot)
    };
    let router = control::router(Arc::clone(&slot));
    let serving = tbi_daemon::serve(listener, router, health.clone(), control::openapi(), metrics, shutdown.clone());
    let starting = {
        let (slot, health, shutdown) = (Arc::clone(&slot), health.clone(), shutdown.clone());
        tokio::task::spawn_blocking(move || {
            let personas = Personas::start(&config, jiff::Timestamp::now().as_second(), &health, &shutdown)?;
            // Set once, here.
            let _only = slot.set(personas);
            health.set_ready(Ok(()));
            Ok::<_, StartError>(())
        })
    };
    let started = async {
        starting.await??;
        anyhow::Ok(())
    };
    // A failed start drops the control API; both go on until shutdown otherwise.
    tokio::try_join!(started, async { Ok(serving.await?) })?;
    tokio::task::spawn_blocking(move || slot.get().map(Personas::join)).await?;
    Ok(())
}
