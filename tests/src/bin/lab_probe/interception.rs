//! Every connection in its class, behaviour by behaviour; a connection in another class than the behaviour's is misclassified.

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tbi_bench::control::engine::TlsProfile;
use tbi_bench::control::practice_dut::{AltSvcPolicy, Behaviour, Forge, Mirror, QuicPolicy, Scope, TcpPolicy};
use tbi_bench::proof::{Interception as Class, InterceptionCounts};
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;

use super::world::World;

/// Longest single trial; totals are reached by repeating it.
const TRIAL: Span = Span::from_secs(5);
/// Trials after which a behaviour that does not reach its total is given up.
const MOST_TRIALS: u64 = 400;

/// Interception classes in every behaviour.
#[derive(Args)]
pub(crate) struct Interception {
    /// Connections per behaviour, over all its protocols.
    #[arg(long, default_value_t = 5000)]
    connections: u64,
    /// Only behaviours whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

struct Case {
    name: &'static str,
    behaviour: Behaviour,
    /// Protocols that come through, with their class.
    expected: Vec<(Protocol, Class)>,
}

fn cases() -> Vec<Case> {
    use Class::{EndToEnd, Intercepted};
    use Protocol::{H1, H2, H3};
    let route = Behaviour::default();
    let decrypt = Behaviour { tcp: TcpPolicy::Decrypt, quic: QuicPolicy::Decrypt, ..route };
    let all = |class: Class| vec![(H3, class), (H2, class), (H1, class)];
    let case = |name, behaviour, expected| Case { name, behaviour, expected };
    vec![
        case("route", route, all(EndToEnd)),
        case("decrypt-warm", decrypt, all(Intercepted)),
        case("decrypt-cold", Behaviour { forge: Forge::Cold, ..decrypt }, all(Intercepted)),
        case(
            "decrypt-tcp-only",
            Behaviour { tcp: TcpPolicy::Decrypt, ..route },
            vec![(H3, EndToEnd), (H2, Intercepted), (H1, Intercepted)],
        ),
        case(
            "decrypt-quic-only",
            Behaviour { quic: QuicPolicy::Decrypt, ..route },
            vec![(H3, Intercepted), (H2, EndToEnd), (H1, EndToEnd)],
        ),
        case(
            "block-silent",
            Behaviour { quic: QuicPolicy::BlockSilent, ..route },
            vec![(H2, EndToEnd), (H1, EndToEnd)],
        ),
        case(
            "block-active",
            Behaviour { quic: QuicPolicy::BlockActive, ..route },
            vec![(H2, EndToEnd), (H1, EndToEnd)],
        ),
        case("strip-alt-svc", Behaviour { alt_svc: AltSvcPolicy::Strip, ..decrypt }, all(Intercepted)),
        case(
            "downgrade",
            Behaviour { tcp: TcpPolicy::Decrypt, mirror: Mirror::Downgrade, ..route },
            // h2 does not come up through a device that insists on HTTP/1.1; h1 is asked with TLS 1.2, on which this device insists.
            vec![(H3, EndToEnd), (H1, Intercepted)],
        ),
        case("drop-route", Behaviour { drop_per_mille: 10, drop_scope: Scope::All, ..route }, all(EndToEnd)),
        case("drop-decrypt", Behaviour { drop_per_mille: 10, drop_scope: Scope::All, ..decrypt }, all(Intercepted)),
        case("delay-decrypt", Behaviour { delay: Span::from_millis(2), ..decrypt }, all(Intercepted)),
        case("delay-route", Behaviour { delay: Span::from_millis(2), ..route }, all(EndToEnd)),
    ]
}

impl Interception {
    pub(crate) async fn ask(self) -> Result<Value> {
        let mut world = World::open()?;
        let mut rows = Vec::new();
        for case in cases() {
            if self.only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) {
                continue;
            }
            world.behave(&case.behaviour).await?;
            let share = self.connections.div_ceil(case.expected.len() as u64);
            for &(protocol, class) in &case.expected {
                let tls = if case.behaviour.mirror == Mirror::Downgrade && !protocol.is_quic() {
                    World::tls12()
                } else {
                    TlsProfile::default()
                };
                let counts = collect(&mut world, protocol, tls, share).await?;
                let right = counts.of(class);
                let wrong = counts.intercepted + counts.end_to_end + counts.altered - right;
                ensure!(
                    wrong == 0,
                    "{}: {wrong} of {} {protocol} connections are misclassified: {counts:?}, expected {class:?}",
                    case.name,
                    counts.total()
                );
                ensure!(
                    right >= share,
                    "{}: only {right} of {share} {protocol} connections were classified: {counts:?}",
                    case.name
                );
                // Loss may cost a connection its answer; nothing else may.
                ensure!(
                    case.behaviour.drop_per_mille > 0 || counts.unknown * 10_000 <= counts.total(),
                    "{}: {} of {} {protocol} connections gave no answer",
                    case.name,
                    counts.unknown,
                    counts.total()
                );
                rows.push(json!({ "behaviour": case.name, "protocol": protocol, "counts": counts }));
            }
        }
        Ok(json!({ "rows": rows }))
    }
}

/// Opens connections until `wanted` of them gave an answer.
async fn collect(world: &mut World, protocol: Protocol, tls: TlsProfile, wanted: u64) -> Result<InterceptionCounts> {
    let mut counts = InterceptionCounts::default();
    let mut sustain = Span::from_millis(500);
    for round in 0..MOST_TRIALS {
        let report = world.connections(protocol, sustain, tls.clone(), round).await?;
        ensure!(
            report.attempts.succeeded > 0,
            "not one {protocol} connection came up; the engine says {:?}",
            report.errors
        );
        counts.merge(&report.proof);
        if counts.total() - counts.unknown >= wanted {
            break;
        }
        sustain = TRIAL;
    }
    Ok(counts)
}
