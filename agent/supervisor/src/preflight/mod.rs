//! Makes the five pre-flight checks (REQUIREMENTS A10) at what a run stands on: the machine, its clock, the floor with the device.
//!
//! | module | looks at |
//! |---|---|
//! | [`machine`] | addresses and routes of this machine |
//! | [`device`] | the device: its path, its decrypt modes, its API |
//! | [`pki`] | certificates and who trusts them |
//! | [`clock`] | the clock and what it cannot be behind of |
//!
//! It only looks; [`tbi_bench::preflight`] and [`tbi_bench::mode_check`] judge, and [`crate::run`] decides what follows. Nothing is measured
//! here and the modes are verified again before every block, so a few probes are enough. Invariants: all five are made, at once and each
//! with a limit, whatever the others say; a check that cannot be made says so and has not passed.

pub(crate) mod clock;
mod device;
mod machine;
mod pki;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tbi_bench::catalogue::Catalogue;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::{Check, CheckName, Finding, device as device_api, subnets};
use tbi_bench::topology::Topology;

use crate::run::clock::Clocks;
use crate::run::floor::Floor;
use clock::Sources;

/// Time a check may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What the checks look at.
pub(crate) struct Ground<'a> {
    /// What is about to be run.
    pub plan: &'a Plan,
    /// Ranges of the bench.
    pub topology: &'a Topology,
    /// Everything that is up, or why it is not.
    pub floor: Result<&'a Floor, &'a Absent>,
    /// Where the past can be seen.
    pub sources: &'a Sources,
    /// Both clocks when the order came.
    pub since: Clocks,
}

/// There is no floor to look at.
#[derive(Debug)]
pub(crate) struct Absent {
    /// The sentence that the run ends with.
    pub why: String,
    /// Because nobody can speak to the device.
    pub no_adapter: bool,
}

impl Absent {
    fn finding(&self) -> Finding {
        let why = self.why.trim_end_matches('.');
        Finding::skipped(format!("the bench did not come up, so this was not looked at ({why})"), "mend that first")
    }
}

/// Makes all five.
pub(crate) async fn check(ground: &Ground<'_>) -> Vec<Check> {
    check_each(ground, |_check| ()).await
}

/// The same, telling each as soon as it is made.
pub(crate) async fn check_each(ground: &Ground<'_>, tell: impl Fn(&Check)) -> Vec<Check> {
    let tell = &tell;
    let Ground { plan, topology, floor, sources, since } = ground;
    let ranges = subnets::ranges(topology, &Catalogue::builtin());
    let subnets = async {
        match machine::look().await {
            Ok(machine) => subnets::judge(&ranges, &machine),
            Err(why) => Finding::failed(
                format!("this machine's addresses and routes cannot be listed ({why})"),
                "restart the box; if that does not help, report this with its journal",
            ),
        }
    };
    let clock = async { tbi_bench::preflight::clock::judge(&clock::read(sources, *since, Clocks::now())) };
    let mode = async {
        match floor {
            // Laying a path has a limit of its own, longer than that of a check.
            Ok(floor) => device::modes(plan, floor, WITHIN).await,
            Err(absent) => absent.finding(),
        }
    };
    let certificates = async {
        match floor {
            Ok(floor) => pki::look(plan, floor, Clocks::now().unix()).await,
            Err(absent) => absent.finding(),
        }
    };
    let api = async {
        match floor {
            Ok(floor) => device::api(floor).await,
            Err(absent) if absent.no_adapter => device_api::no_adapter(),
            Err(absent) => absent.finding(),
        }
    };
    let (subnets, mode, certificates, clock, api) = tokio::join!(
        told(timed(CheckName::Subnets, bounded(WITHIN, Box::pin(subnets))), tell),
        told(timed(CheckName::DecryptMode, Box::pin(mode)), tell),
        told(timed(CheckName::PersonaPki, bounded(WITHIN, Box::pin(certificates))), tell),
        told(timed(CheckName::Clock, bounded(WITHIN, clock)), tell),
        told(timed(CheckName::DeviceApi, bounded(WITHIN, Box::pin(api))), tell),
    );
    vec![subnets, mode, certificates, clock, api]
}

async fn told(check: impl Future<Output = Check>, tell: impl Fn(&Check)) -> Check {
    let check = check.await;
    tell(&check);
    check
}

async fn timed(name: CheckName, finding: impl Future<Output = Finding>) -> Check {
    let began = Instant::now();
    let finding = finding.await;
    Check::new(name, finding, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

async fn bounded(limit: Duration, finding: impl Future<Output = Finding>) -> Finding {
    tokio::time::timeout(limit, finding).await.unwrap_or_else(|_elapsed| late(limit))
}

fn late(limit: Duration) -> Finding {
    Finding::failed(
        format!("there was no answer within {} s", limit.as_secs_f64()),
        "see that the programs of the bench and the device under test are up and answer, then run again",
    )
}
