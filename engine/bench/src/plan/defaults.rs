//! Defaults of each profile, with their reasons.

use super::{Adapter, Capacity, DutPlan, Experiment, Family, Latency, PLAN_VERSION, Plan, Profile, Workers};
use crate::control::engine::{Arrivals, Phases, TlsProfile};
use crate::control::personas::KeyKind;
use crate::control::practice_dut::{Behaviour, QuicPolicy, TcpPolicy};
use crate::object::Object;
use crate::protocol::Protocol;
use crate::record::TrialKind;
use crate::units::{Rate, Span};

impl Plan {
    /// The plan a profile stands for when nothing else is said.
    #[must_use]
    pub fn of_profile(profile: Profile) -> Self {
        let short = Self::short();
        match profile {
            Profile::Short => short,
            // Half a minute of measuring: enough to see that everything works and roughly what decryption costs.
            Profile::Quick => Self {
                name: "decryption cost, quick profile".to_owned(),
                profile,
                pairs: 2,
                reference_blocks: 2,
                objects: vec![Object::Kb1],
                ..short
            },
            // RFC 9411 §4.3.4: at least 300 s of sustain; §7.7: 1, 16, 64, 256 KB and mix.
            Profile::Full => Self {
                name: "decryption cost, full profile".to_owned(),
                profile,
                reference_blocks: 3,
                objects: vec![Object::Kb1, Object::Kb16, Object::Kb64, Object::Kb256, Object::Mix],
                phases: Phases {
                    init: Span::from_secs(5),
                    ramp_up: Span::from_secs(10),
                    sustain: Span::from_secs(300),
                    ramp_down: Span::from_secs(10),
                },
                handshake_timeout: Span::from_secs(10),
                request_timeout: Span::from_secs(30),
                // facts/bench.md §5.5: a drift of the dead control above 2 % voids a campaign.
                drift_limit_per_mille: 20,
                ..short
            },
        }
    }

    fn short() -> Self {
        // A rate far below what two cores can open, so that latency is not queueing in the bench.
        #[expect(clippy::expect_used, reason = "constant within Rate's bounds")]
        let rate = Rate::per_second(100).expect("100/s is a rate");
        Self {
            version: PLAN_VERSION,
            name: "decryption cost, short profile".to_owned(),
            profile: Profile::Short,
            experiment: Experiment::DecryptionCost,
            seed: 1,
            // Six pairs are the least for which an interval is called one (facts/bench.md §5.5).
            pairs: 6,
            reference_blocks: 2,
            protocols: vec![Protocol::H3, Protocol::H2],
            objects: vec![Object::Kb1, Object::Kb64],
            connection_rate_object: Some(Object::Kb1),
            loads: vec![TrialKind::Latency, TrialKind::ConnectionRate, TrialKind::Capacity],
            personas: 100,
            family: Family::Both,
            key: KeyKind::EcdsaP256,
            tls: TlsProfile::default(),
            phases: Phases {
                init: Span::ZERO,
                ramp_up: Span::from_millis(150),
                sustain: Span::from_millis(700),
                ramp_down: Span::from_millis(50),
            },
            latency: Latency { rate, arrivals: Arrivals::Poisson, max_in_flight: 1000 },
            // Ten transactions per connection: RFC 9411 §7.7.
            capacity: Capacity { connections: 16, streams: 4, transactions_per_connection: 10 },
            handshake_timeout: Span::from_secs(3),
            request_timeout: Span::from_secs(5),
            // Sub-second trials on a shared machine drift by tens of per cent. Pairs cancel that and the interval carries what is left, so
            // drift is told as a caution and voids the run only where the bench cannot have been the same one: a factor of six.
            drift_limit_per_mille: 5000,
            verify_probes: 20,
            dut: DutPlan {
                adapter: Adapter::Practice,
                on: Behaviour { tcp: TcpPolicy::Decrypt, quic: QuicPolicy::Decrypt, ..Behaviour::default() },
                bypass: Behaviour::default(),
            },
            workers: Workers { engine: 1, personas: 1, dut: 1 },
            thresholds: Vec::new(),
        }
    }
}
