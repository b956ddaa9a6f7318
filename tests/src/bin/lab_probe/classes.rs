//! The six QUIC classes of REQUIREMENTS A6, each made by the practice DUT and recognised from probes alone.

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tbi_bench::control::practice_dut::{AltSvcPolicy, Behaviour, QuicPolicy, Scope, TcpPolicy};
use tbi_bench::protocol::Protocol;
use tbi_bench::quic_class::{QuicClass, classify};

use super::world::World;

/// QUIC classes.
#[derive(Args)]
pub(crate) struct Classes {
    /// Probes per protocol.
    #[arg(long, default_value_t = 20)]
    probes: u32,
}

impl Classes {
    pub(crate) async fn ask(self) -> Result<Value> {
        let world = World::open()?;
        let route = Behaviour::default();
        let cases = [
            (QuicClass::Pass, route),
            (QuicClass::Decrypt, Behaviour { quic: QuicPolicy::Decrypt, tcp: TcpPolicy::Decrypt, ..route }),
            (QuicClass::BlockSilent, Behaviour { quic: QuicPolicy::BlockSilent, ..route }),
            (QuicClass::BlockActive, Behaviour { quic: QuicPolicy::BlockActive, ..route }),
            (QuicClass::Strip, Behaviour { tcp: TcpPolicy::Decrypt, alt_svc: AltSvcPolicy::Strip, ..route }),
            (QuicClass::Degrade, Behaviour { drop_per_mille: 100, drop_scope: Scope::Quic, ..route }),
        ];
        let mut rows = Vec::new();
        for (class, behaviour) in cases {
            world.behave(&behaviour).await?;
            let h3 = world.probe(Protocol::H3, self.probes).await?;
            let h2 = world.probe(Protocol::H2, self.probes).await?;
            let verdict = classify(&h3, &h2);
            ensure!(
                verdict.class == class,
                "{behaviour:?} was taken for {:?} instead of {class:?}: {}",
                verdict.class,
                verdict.evidence
            );
            // Blocked attempts all fall back. On a path that loses packets an attempt may fail as well, falls back, and is counted; nowhere else
            // does anything fail.
            let fell_back = verdict.fallback_penalty.map_or(0, |penalty| penalty.samples);
            let failed = h3.probes.iter().filter(|probe| probe.failure.is_some()).count() as u64;
            let expected = match class {
                QuicClass::BlockSilent | QuicClass::BlockActive => u64::from(self.probes),
                QuicClass::Degrade => failed,
                _ => 0,
            };
            ensure!(
                fell_back == expected && failed == expected,
                "{class:?}: {failed} attempts failed and {fell_back} fell back, {expected} were expected to; fallback penalty is {:?}",
                verdict.fallback_penalty
            );
            rows.push(json!({ "class": class, "verdict": verdict }));
        }
        Ok(json!({ "rows": rows }))
    }
}
