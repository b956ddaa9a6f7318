//! `tbi-agent network await-routes`: waits until an ISP router has done its work. For a router that cannot be asked (`tbi-isp-own.service`,
//! as its `ExecStartPost=`): whoever it is, its routes are what counts. Its words become the unit's status, and so the health's.

use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tbi_bench::netplan::{Namespace, Path};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{LayError, missing_route, plan};
use crate::network::NetworkHost;

/// A whole system takes tens of seconds to start; asking costs two dumps of a small table.
const EVERY: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug, Args)]
pub(crate) struct AwaitRoutesArgs {
    /// What the network is laid on (`network.json`)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS")]
    within: u64,
    /// Gives up when this process is gone
    #[arg(long, value_name = "PID")]
    while_process: u32,
}

impl AwaitRoutesArgs {
    #[expect(clippy::print_stderr, reason = "the unit's last line in the journal")]
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Err(error) = self.wait().await else { return Ok(ExitCode::SUCCESS) };
        eprintln!("{error}");
        tbi_daemon::notify(&format!("STATUS={error}"));
        Ok(ExitCode::FAILURE)
    }

    async fn wait(&self) -> Result<(), LayError> {
        // Either path may be laid while the router starts; each is known by its routes.
        let plans = [plan(&self.config, Path::Reference)?, plan(&self.config, Path::ThroughDut)?];
        let mut host = NetworkHost::default();
        host.join(Namespace::Isp).await?;
        let process = FilePath::new("/proc").join(self.while_process.to_string());
        let within = Duration::from_secs(self.within);
        let deadline = Instant::now() + within;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut lacking = None;
            for plan in &plans {
                match host.missing_routes(&plan.expected, Duration::ZERO).await?.into_iter().next() {
                    None => return Ok(()),
                    Some(route) => lacking = Some(route),
                }
            }
            if !process.exists() {
                return Err(LayError::Ended);
            }
            if let Some(route) = lacking.filter(|_| Instant::now() >= deadline) {
                return Err(missing_route(&route, within));
            }
        }
    }
}
