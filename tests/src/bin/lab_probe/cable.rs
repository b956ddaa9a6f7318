//! Unplugging the device: with its link deleted there must be no path at all (REQUIREMENTS B2).

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tbi_bench::control::engine::TlsProfile;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;

use super::world::World;

/// Cable pull.
#[derive(Args)]
pub(crate) struct Cable {
    /// Which of the device's interfaces lose their cable.
    #[arg(long, default_values_t = [String::from("vlan2001")])]
    interface: Vec<String>,
}

impl Cable {
    pub(crate) async fn ask(self) -> Result<Value> {
        let mut world = World::open()?;
        let mut before = 0;
        for protocol in Protocol::ALL {
            let report = world.connections(protocol, Span::from_millis(300), TlsProfile::default(), 1).await?;
            ensure!(report.attempts.succeeded > 0, "{protocol} does not work with the cable in: {:?}", report.errors);
            before += report.attempts.succeeded;
        }
        for interface in &self.interface {
            let status = Command::new("ip")
                .args(["-netns", "dut", "link", "delete", interface])
                .status()
                .context("cannot start ip; install iproute2")?;
            ensure!(status.success(), "ip could not delete {interface} in namespace dut");
        }
        let mut after = 0;
        for protocol in Protocol::ALL {
            let report = world.connections(protocol, Span::from_millis(300), TlsProfile::default(), 2).await?;
            ensure!(report.attempts.scheduled > 0, "nothing was tried over {protocol}, so nothing is shown");
            after += report.attempts.succeeded;
        }
        ensure!(after == 0, "{after} transactions succeeded with the device's cable pulled");
        Ok(json!({ "succeeded_before": before, "succeeded_after": after }))
    }
}
