//! `tbi-agent serve`: the daemon of an appliance. Opens what it knows, serves the API, carries changes out, and notes its orderly end.
//!
//! Tasks: the API (`tbi_daemon::serve`, which also gives the life signs), the dashboard's socket beside it, one that carries changes out,
//! one that keeps house once a day, and one that samples the machine once a minute. All end with SIGTERM.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tbi_daemon::{DaemonArgs, Health, Listener, Shutdown};
use tokio::sync::mpsc;
use utoipa::OpenApi as _;

use crate::appliance::access;
use crate::appliance::api::{self, ApiDoc, Shared};
use crate::appliance::history;
use crate::appliance::node::{Appliance, Place, Seams};
use crate::appliance::permit::Permit;
use crate::appliance::seams::Changed;
use crate::appliance::sysfs::Root;
use crate::appliance::upkeep;
use crate::bench::Bench;
use crate::run::appliance::Directories;
use crate::systemd::{SYSTEM_BUS, Systemd};

/// Names of the sockets as systemd hands them over: those of their units.
const AGENT_UNIT: &str = "tbi-agent.socket";
const ACCESS_UNIT: &str = "tbi-access.socket";
/// Threads that wait for the disk and the database at most; one hangs with a disk that hangs.
const BLOCKING_THREADS: usize = 4;

/// The agent of an appliance, until SIGTERM.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Directory of everything that is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tlsstress")]
    state: PathBuf,
    /// Directory of sockets and of what is rendered for other daemons
    #[arg(long, value_name = "DIR", default_value = "/run/tlsstress")]
    run: PathBuf,
    /// Where /sys, /proc and /etc are
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
    /// Bus on which systemd answers
    #[arg(long, value_name = "ADDRESS", default_value = SYSTEM_BUS)]
    bus: String,
    /// Unix socket of the dashboard; not needed when systemd hands one over. Without either, nobody can log in
    #[arg(long, value_name = "PATH")]
    access_socket: Option<PathBuf>,
    #[command(flatten)]
    daemon: DaemonArgs,
}

impl ServeArgs {
    /// # Errors
    /// When there is no socket to answer on or no identity can be made; nothing else stops the agent from answering.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        tbi_daemon::init_tracing("tbi-agent", &self.daemon.log);
        // The socket first: whoever connects waits in its queue while the rest is opened.
        let [listener, access] = Listener::handed_over([AGENT_UNIT, ACCESS_UNIT])?;
        let listener = listener.map_or_else(|| self.daemon.listener(), Ok)?;
        let access = match access {
            Some(access) => Some(access),
            None => self.access_socket.as_deref().map(Listener::bind).transpose()?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .context("no runtime")?;
        runtime.block_on(async {
            let place = Place { root: Root::new(&self.root), state: self.state.clone(), run: self.run.clone() };
            tracing::debug!(run = %self.run.display(), state = %self.state.display(), "opening");
            let (health, shutdown) = (Health::new(), Shutdown::on_signals()?);
            let directories = Directories::of_the_image(&self.run);
            let systemd = Systemd::on(&self.bus);
            let permit = Arc::new(Permit::default());
            let runs = self.state.join("runs");
            let authorizer = Arc::clone(&permit) as _;
            let bench = Arc::new(Bench::new(systemd, directories, runs, authorizer, shutdown.clone()));
            let seams = Seams {
                runs: Arc::clone(&bench) as _,
                workloads: Arc::clone(&bench) as _,
                power: Arc::clone(&bench) as _,
                reapply: Arc::clone(&bench) as _,
                reporting: Arc::clone(&bench) as _,
                checks: bench,
            };
            let (appliance, waiting) = Appliance::open(place, seams).await?;
            permit.belongs_to(&appliance);
            answer(appliance, waiting, (listener, access), (health, shutdown)).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Everything an agent does beside its bench, until it is to stop; notes the orderly end.
///
/// # Errors
/// When a socket fails.
pub(crate) async fn answer(
    appliance: Arc<Appliance>,
    waiting: mpsc::Receiver<Changed>,
    (listener, access): (Listener, Option<Listener>),
    (health, shutdown): (Health, Shutdown),
) -> anyhow::Result<()> {
    let shared = Shared { appliance: Arc::clone(&appliance), shutdown: shutdown.clone() };
    let measured = Arc::clone(&appliance);
    let metrics = move || api::metrics(&measured);
    health.set_ready(Ok(()));
    let router = api::router(shared);
    let serving = tbi_daemon::serve(listener, router, health, ApiDoc::openapi(), metrics, shutdown.clone());
    let changing = appliance.carry_out(waiting, shutdown.clone());
    let keeping = upkeep::keep_house(Arc::clone(&appliance), shutdown.clone());
    let sampling = history::keep(Arc::clone(&appliance), shutdown.clone());
    let dashboard = async {
        match access {
            Some(access) => {
                let router = access::router(Arc::clone(&appliance));
                tbi_daemon::serve_beside(access, router, shutdown.clone()).await
            }
            None => Ok(()),
        }
    };
    let serving = async {
        let served = serving.await;
        // A socket that fails ends the other task as well.
        shutdown.request();
        served
    };
    let (served, (), answered, (), ()) = tokio::join!(serving, changing, dashboard, keeping, sampling);
    served?;
    answered?;
    appliance.end().await;
    Ok(())
}
