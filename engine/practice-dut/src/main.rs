//! `tbi-practice-dut --config FILE --socket PATH`: the practice DUT as a daemon. Exit code 2 when it cannot start as configured.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use tbi_daemon::{DaemonArgs, Health, Shutdown};
use tbi_practice_dut::config::Place;
use tbi_practice_dut::counters::Tally;
use tbi_practice_dut::gateway::{Gateway, Shared};
use tbi_practice_dut::rules::apply::Kernel;
use tbi_practice_dut::tls::forge::Forger;
use tbi_practice_dut::tls::{Templates, ca, persona_roots};
use tbi_practice_dut::worker::{self, WorkerSockets};
use tbi_practice_dut::{api, config};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

/// The built-in decrypting gateway; run it as root of its own network namespace
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration in JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    daemon: DaemonArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tbi_daemon::init_tracing("tbi-practice-dut", &arguments.daemon.log);
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<()> {
    let place = config::read(&arguments.config)?;
    let roots = persona_roots(&place.persona_ca_file)?;
    let tally = Arc::new(Tally::default());
    let forger = Forger::new(ca::open(&place.ca_dir, place.key)?, place.key, tally.clone())?;
    let shared = Shared::new(forger, Templates::new(roots)?, tally);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; check the limits of this process")?;
    runtime.block_on(run(arguments, place, shared))
}

async fn run(arguments: &Arguments, place: Place, shared: Arc<Shared>) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("cannot catch signals; restart the daemon")?;
    let health = Health::new();
    let control = arguments.daemon.listener()?;
    let sockets = (0..place.workers).map(|_| WorkerSockets::open()).collect::<Result<Vec<_>, _>>()?;
    let kernel = Kernel::prepare(place).await?;
    let gateway = Arc::new(Gateway::open(shared.clone(), kernel, health.clone()).await?);
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    let mut start = |(index, sockets)| {
        worker::start(index, sockets, shared.clone(), &health, stop.clone()).map(|worker| workers.push(worker))
    };
    if let Err(error) = sockets.into_iter().enumerate().try_for_each(&mut start) {
        gateway.close().await?;
        return Err(error.into());
    }
    health.set_ready(Ok(()));
    let metrics = {
        let gateway = gateway.clone();
        move || api::metrics(&gateway)
    };
    let served =
        tbi_daemon::serve(control, api::router(gateway.clone()), health, api::ApiDoc::openapi(), metrics, shutdown)
            .await;
    let removed = gateway.close().await;
    stop.cancel();
    for worker in workers {
        // A worker that panicked has been logged and has made the daemon unhealthy.
        let _ended = tokio::task::spawn_blocking(move || worker.join().is_ok()).await;
    }
    served?;
    removed?;
    Ok(())
}

/// Every connection needs two descriptors; the soft limit of a shell is 1024.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files; few connections will fit");
    }
}
