//! What an operator wrote, and its way to a checked [`Plan`].

use serde::Deserialize;

use super::{Adapter, Capacity, DutPlan, Experiment, Family, Latency, PLAN_VERSION, Plan, Profile, Threshold, Workers};
use crate::control::engine::{Arrivals, Group, Phases, TlsProfile, TlsVersions};
use crate::control::personas::KeyKind;
use crate::control::practice_dut::{AltSvcPolicy, Behaviour, TcpPolicy};
use crate::mode_check::Expected::{Blocked, Class};
use crate::object::Object;
use crate::protocol::{Arm, Protocol};
use crate::record::TrialKind;
use crate::units::{Rate, Span};

/// Longest plan text that is read.
const MAX_BYTES: usize = 1 << 20;

/// Language of a plan file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFormat {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// Why a plan is refused. Every variant names the field and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Larger than any plan.
    #[error("the plan has {0} bytes; a plan has at most {MAX_BYTES}, so this is probably another file")]
    TooLarge(usize),
    /// Syntax, unknown field, wrong type, quantity without unit.
    #[error("the plan cannot be read: {0}")]
    Syntax(String),
    /// A version this program does not know.
    #[error(
        "the plan has version {0}, this program reads version {PLAN_VERSION}; set `version = {PLAN_VERSION}` and compare with the README's example"
    )]
    Version(u32),
    /// A value that cannot be.
    #[error("plan field `{field}` {problem}")]
    Field {
        /// Dotted path of the field.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// A plan as written. Absent fields take the profile's defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanFile {
    version: Option<u32>,
    name: Option<String>,
    profile: Option<Profile>,
    experiment: Option<Experiment>,
    seed: Option<u64>,
    pairs: Option<u32>,
    reference_blocks: Option<u32>,
    protocols: Option<Vec<Protocol>>,
    objects: Option<Vec<Object>>,
    loads: Option<Vec<TrialKind>>,
    connection_rate_object: Option<Object>,
    personas: Option<u32>,
    family: Option<Family>,
    key: Option<KeyKind>,
    tls: Option<TlsProfile>,
    phases: PhasesFile,
    latency: LatencyFile,
    capacity: CapacityFile,
    handshake_timeout: Option<Span>,
    request_timeout: Option<Span>,
    drift_limit_per_mille: Option<u32>,
    verify_probes: Option<u32>,
    dut: DutFile,
    workers: WorkersFile,
    thresholds: Option<Vec<Threshold>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PhasesFile {
    init: Option<Span>,
    ramp_up: Option<Span>,
    sustain: Option<Span>,
    ramp_down: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LatencyFile {
    rate: Option<Rate>,
    arrivals: Option<Arrivals>,
    max_in_flight: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CapacityFile {
    connections: Option<u32>,
    streams: Option<u32>,
    transactions_per_connection: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DutFile {
    adapter: Option<Adapter>,
    on: Option<Behaviour>,
    bypass: Option<Behaviour>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WorkersFile {
    engine: Option<u32>,
    personas: Option<u32>,
    dut: Option<u32>,
}

impl PlanFile {
    /// Parses a plan text.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`] or [`PlanError::Syntax`], the latter with line and column where the language gives them.
    pub fn parse(text: &str, format: PlanFormat) -> Result<Self, PlanError> {
        if text.len() > MAX_BYTES {
            return Err(PlanError::TooLarge(text.len()));
        }
        match format {
            PlanFormat::Toml => {
                toml::from_str(text).map_err(|error| PlanError::Syntax(error.to_string().trim().to_owned()))
            }
            PlanFormat::Json => serde_json::from_str(text).map_err(|error| PlanError::Syntax(error.to_string())),
        }
    }

    /// Fills in defaults and checks everything that can be checked without looking at the machine. `fallback` is the profile used
    /// when the file names none.
    ///
    /// # Errors
    /// [`PlanError::Version`] or [`PlanError::Field`].
    pub fn resolve(self, fallback: Profile) -> Result<Plan, PlanError> {
        if let Some(version) = self.version.filter(|version| *version != PLAN_VERSION) {
            return Err(PlanError::Version(version));
        }
        let base = Plan::of_profile(self.profile.unwrap_or(fallback));
        let objects = self.objects.unwrap_or(base.objects);
        // A connection rate of an object that is not measured would be asked for and silently left out.
        let usual = base.connection_rate_object.filter(|object| objects.contains(object));
        let connection_rate_object = self.connection_rate_object.or(usual).or(objects.iter().min().copied());
        let plan = Plan {
            version: PLAN_VERSION,
            name: self.name.unwrap_or(base.name),
            profile: base.profile,
            experiment: self.experiment.unwrap_or(base.experiment),
            seed: self.seed.unwrap_or(base.seed),
            pairs: self.pairs.unwrap_or(base.pairs),
            reference_blocks: self.reference_blocks.unwrap_or(base.reference_blocks),
            protocols: self.protocols.unwrap_or(base.protocols),
            objects,
            loads: self.loads.unwrap_or(base.loads),
            connection_rate_object,
            personas: self.personas.unwrap_or(base.personas),
            family: self.family.unwrap_or(base.family),
            key: self.key.unwrap_or(base.key),
            tls: self.tls.unwrap_or(base.tls),
            phases: Phases {
                init: self.phases.init.unwrap_or(base.phases.init),
                ramp_up: self.phases.ramp_up.unwrap_or(base.phases.ramp_up),
                sustain: self.phases.sustain.unwrap_or(base.phases.sustain),
                ramp_down: self.phases.ramp_down.unwrap_or(base.phases.ramp_down),
            },
            latency: Latency {
                rate: self.latency.rate.unwrap_or(base.latency.rate),
                arrivals: self.latency.arrivals.unwrap_or(base.latency.arrivals),
                max_in_flight: self.latency.max_in_flight.unwrap_or(base.latency.max_in_flight),
            },
            capacity: Capacity {
                connections: self.capacity.connections.unwrap_or(base.capacity.connections),
                streams: self.capacity.streams.unwrap_or(base.capacity.streams),
                transactions_per_connection: self
                    .capacity
                    .transactions_per_connection
                    .unwrap_or(base.capacity.transactions_per_connection),
            },
            handshake_timeout: self.handshake_timeout.unwrap_or(base.handshake_timeout),
            request_timeout: self.request_timeout.unwrap_or(base.request_timeout),
            drift_limit_per_mille: self.drift_limit_per_mille.unwrap_or(base.drift_limit_per_mille),
            verify_probes: self.verify_probes.unwrap_or(base.verify_probes),
            dut: DutPlan {
                adapter: self.dut.adapter.unwrap_or(base.dut.adapter),
                on: self.dut.on.unwrap_or(base.dut.on),
                bypass: self.dut.bypass.unwrap_or(base.dut.bypass),
            },
            workers: Workers {
                engine: self.workers.engine.unwrap_or(base.workers.engine),
                personas: self.workers.personas.unwrap_or(base.workers.personas),
                dut: self.workers.dut.unwrap_or(base.workers.dut),
            },
            thresholds: self.thresholds.unwrap_or(base.thresholds),
        };
        check(&plan)?;
        Ok(plan)
    }
}

fn check(plan: &Plan) -> Result<(), PlanError> {
    let refuse = |field, problem: String| Err(PlanError::Field { field, problem });
    let within = |field, value: u32, least: u32, most: u32| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            refuse(field, format!("is {value}; use {least} to {most}"))
        }
    };
    if plan.name.is_empty() || plan.name.chars().count() > 200 || plan.name.chars().any(char::is_control) {
        return refuse("name", "must be 1 to 200 printable characters".to_owned());
    }
    within("pairs", plan.pairs, 1, 1000)?;
    within("reference_blocks", plan.reference_blocks, 1, 100)?;
    within("personas", plan.personas, 1, 100)?;
    within("verify_probes", plan.verify_probes, 1, 1000)?;
    within("latency.max_in_flight", plan.latency.max_in_flight, 1, 100_000)?;
    within("capacity.connections", plan.capacity.connections, 1, 100_000)?;
    within("capacity.streams", plan.capacity.streams, 1, 100)?;
    within("capacity.transactions_per_connection", plan.capacity.transactions_per_connection, 1, 1_000_000)?;
    within("workers.engine", plan.workers.engine, 1, 256)?;
    within("workers.personas", plan.workers.personas, 1, 256)?;
    within("workers.dut", plan.workers.dut, 1, 256)?;
    within("drift_limit_per_mille", plan.drift_limit_per_mille, 1, 10_000)?;
    no_repeats("protocols", &plan.protocols)?;
    no_repeats("objects", &plan.objects)?;
    if plan.loads.is_empty() {
        return refuse("loads", "is empty; name at least one of latency, connection_rate, capacity".to_owned());
    }
    if let Some(object) = plan.connection_rate_object.filter(|object| !plan.objects.contains(object))
        && plan.loads.contains(&TrialKind::ConnectionRate)
    {
        return refuse("connection_rate_object", format!("is {object}, which is not measured; add it to objects"));
    }
    check_times(plan)?;
    check_tls(plan)?;
    check_behaviour("dut.on", &plan.dut.on)?;
    check_behaviour("dut.bypass", &plan.dut.bypass)?;
    check_experiment(plan)?;
    for threshold in &plan.thresholds {
        let (protocol, object, kpi) = threshold.subject();
        if !plan.measures(kpi.trial(), object) || !plan.protocols.contains(&protocol) {
            return refuse(
                "thresholds",
                format!("has '{threshold}', which this plan never measures; add it to protocols, objects and loads"),
            );
        }
        if threshold.looks_at_on() && plan.expectation(Arm::On, protocol) == Blocked {
            return refuse(
                "thresholds",
                format!("has '{threshold}', but dut.on blocks {protocol}, so there is no such number; remove it"),
            );
        }
    }
    Ok(())
}

fn no_repeats<T: PartialEq + std::fmt::Display>(field: &'static str, list: &[T]) -> Result<(), PlanError> {
    if list.is_empty() {
        return Err(PlanError::Field { field, problem: "is empty; name at least one".to_owned() });
    }
    match list.iter().enumerate().find(|(index, item)| list[..*index].contains(item)) {
        Some((_, item)) => Err(PlanError::Field { field, problem: format!("names {item} twice; name it once") }),
        None => Ok(()),
    }
}

fn check_times(plan: &Plan) -> Result<(), PlanError> {
    let refuse = |field, problem: String| Err(PlanError::Field { field, problem });
    let sustain = plan.phases.sustain;
    if sustain < Span::from_millis(200) || sustain > Span::from_secs(86_400) {
        return refuse("phases.sustain", format!("is {sustain}; use 200ms to 24h"));
    }
    for (field, span) in [
        ("phases.init", plan.phases.init),
        ("phases.ramp_up", plan.phases.ramp_up),
        ("phases.ramp_down", plan.phases.ramp_down),
    ] {
        if span > Span::from_secs(3600) {
            return refuse(field, format!("is {span}; use at most 1h"));
        }
    }
    for (field, span) in [("handshake_timeout", plan.handshake_timeout), ("request_timeout", plan.request_timeout)] {
        if span < Span::from_millis(10) || span > Span::from_secs(60) {
            return refuse(field, format!("is {span}; use 10ms to 60s, the range of the histograms"));
        }
    }
    // An impossible rate is one whose arrivals cannot even be told apart by the schedule's clock or that no box can bind ports for:
    // 64,512 ports per source and target and 60 s TIME_WAIT bound it far above one box; the engine's own bound is 1,000,000/s.
    const FASTEST: f64 = 1_000_000.0;
    let rate = plan.latency.rate.as_per_second();
    if rate > FASTEST {
        return refuse(
            "latency.rate",
            format!("is {rate}/s, which no engine of one box can open; use at most {FASTEST}/s"),
        );
    }
    if rate * sustain.as_secs_f64() < 10.0 {
        return refuse(
            "latency.rate",
            format!(
                "is {rate}/s, which gives fewer than 10 connections in a sustain phase of {sustain}; raise one of them"
            ),
        );
    }
    Ok(())
}

fn check_tls(plan: &Plan) -> Result<(), PlanError> {
    let refuse = |field, problem: String| Err(PlanError::Field { field, problem });
    if plan.tls.suites.is_empty() {
        return refuse(
            "tls.suites",
            "is empty; name at least one of aes128_gcm, aes256_gcm, chacha20_poly1305".to_owned(),
        );
    }
    if plan.tls.groups.is_empty() {
        return refuse("tls.groups", "is empty; name at least one of x25519, p256, p384, x25519mlkem768".to_owned());
    }
    let elliptic = [Group::P256, Group::P384];
    if plan.tls.versions == TlsVersions::Tls12 && !plan.tls.groups.iter().any(|group| elliptic.contains(group)) {
        // RFC 8422 §5.1.1: with TLS 1.2 the groups offered also say which certificate curves are understood.
        return refuse(
            "tls.groups",
            "has no curve a TLS 1.2 server may use for its certificate; add p256 (or p384)".to_owned(),
        );
    }
    if plan.tls.versions == TlsVersions::Tls12 && plan.protocols.contains(&Protocol::H3) {
        return refuse("tls.versions", "is 1.2, but h3 needs TLS 1.3 (RFC 9001 §4.2); drop h3 or use 1.3".to_owned());
    }
    Ok(())
}

fn check_behaviour(field: &'static str, behaviour: &Behaviour) -> Result<(), PlanError> {
    let refuse = |problem: String| Err(PlanError::Field { field, problem });
    if behaviour.alt_svc == AltSvcPolicy::Strip && behaviour.tcp != TcpPolicy::Decrypt {
        return refuse(
            "strips Alt-Svc without decrypting TCP, which no device can; add `tcp = \"decrypt\"`".to_owned(),
        );
    }
    if behaviour.drop_per_mille > 1000 {
        return refuse(format!("drops {} per mille; use 0 to 1000", behaviour.drop_per_mille));
    }
    if behaviour.delay > Span::from_secs(1) {
        return refuse(format!("delays {}; use at most 1s", behaviour.delay));
    }
    Ok(())
}

fn check_experiment(plan: &Plan) -> Result<(), PlanError> {
    use crate::proof::Interception::{EndToEnd, Intercepted};
    for &protocol in &plan.protocols {
        let on = plan.expectation(Arm::On, protocol);
        let bypass = plan.expectation(Arm::Bypass, protocol);
        if bypass == Class(Intercepted) {
            return Err(PlanError::Field {
                field: "dut.bypass",
                problem: format!("decrypts {protocol}, but BYPASS must not decrypt; set its policy to \"route\""),
            });
        }
        if bypass == Blocked {
            return Err(PlanError::Field {
                field: "dut.bypass",
                problem: format!("blocks {protocol}, so there is nothing to compare with; set its policy to \"route\""),
            });
        }
        let decrypts = on == Class(Intercepted);
        if plan.experiment == Experiment::DecryptionCost && on == Class(EndToEnd) {
            return Err(PlanError::Field {
                field: "dut.on",
                problem: format!(
                    "leaves {protocol} end to end, so there is no decryption to cost; decrypt it, drop {protocol} from protocols, \
                     or set `experiment = \"control\"`"
                ),
            });
        }
        if plan.experiment == Experiment::Control && decrypts {
            return Err(PlanError::Field {
                field: "experiment",
                problem: format!(
                    "is \"control\", but dut.on decrypts {protocol}; use \"decryption-cost\" or set the policy to \"route\""
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn refusal(toml: &str) -> String {
        match PlanFile::parse(toml, PlanFormat::Toml).and_then(|file| file.resolve(Profile::Short)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_empty_plan_is_the_profile() {
        for profile in [Profile::Quick, Profile::Short, Profile::Full] {
            let plan = PlanFile::default().resolve(profile).unwrap();
            assert_eq!(plan, Plan::of_profile(profile));
        }
    }

    #[test]
    fn a_resolved_plan_is_itself_a_plan_file() {
        for profile in [Profile::Quick, Profile::Short, Profile::Full] {
            let mut plan = Plan::of_profile(profile);
            plan.thresholds = vec!["h2 1KB time_to_first_byte cost_high <= 9.5".parse().unwrap()];
            let json = serde_json::to_string(&plan).unwrap();
            assert_eq!(PlanFile::parse(&json, PlanFormat::Json).unwrap().resolve(Profile::Short).unwrap(), plan);
            let toml = toml::to_string(&plan).unwrap();
            assert_eq!(PlanFile::parse(&toml, PlanFormat::Toml).unwrap().resolve(Profile::Short).unwrap(), plan);
        }
    }

    #[test]
    fn unknown_plan_fields_are_named() {
        assert!(refusal("colour = 1").contains("colour"));
        assert!(refusal("[latency]\nrat = \"1/s\"").contains("rat"));
        assert!(refusal("[dut.on]\nquick = \"route\"").contains("quick"));
    }

    #[test]
    fn quantities_without_unit_are_refused() {
        assert!(refusal("[phases]\nsustain = \"5\"").contains("unit"));
        assert!(refusal("[phases]\nsustain = 5").contains("string"));
        assert!(refusal("[latency]\nrate = \"100\"").contains("200/s"));
    }

    #[test]
    fn impossible_rates_are_refused() {
        assert!(refusal("[latency]\nrate = \"0/s\"").contains("rate"));
        assert!(refusal("[latency]\nrate = \"99000000/s\"").contains("latency.rate"));
        assert!(refusal("[latency]\nrate = \"1/s\"").contains("fewer than 10 connections"));
    }

    #[test]
    fn contradictions_are_refused_with_a_remedy() {
        for (toml, words) in [
            ("version = 2", "version 2"),
            ("pairs = 0", "`pairs` is 0; use 1 to 1000"),
            ("protocols = []", "`protocols` is empty"),
            ("protocols = [\"h2\", \"h2\"]", "h2 twice"),
            (
                "[tls]\nversions = \"1.2\"\nsuites = [\"aes128_gcm\"]\ngroups = [\"x25519\", \"p256\"]",
                "h3 needs TLS 1.3",
            ),
            (
                "protocols = [\"h2\"]\n[tls]\nversions = \"1.2\"\nsuites = [\"aes128_gcm\"]\ngroups = [\"x25519\"]",
                "add p256",
            ),
            ("[dut.on]\nalt_svc = \"strip\"", "add `tcp = \"decrypt\"`"),
            ("[dut.on]\ntcp = \"decrypt\"", "leaves h3 end to end"),
            ("[dut.bypass]\ntcp = \"decrypt\"", "BYPASS must not decrypt"),
            ("experiment = \"control\"", "dut.on decrypts h3"),
            ("thresholds = [\"h1 1KB throughput on >= 1\"]", "never measures"),
            ("[dut.on]\ndelay = \"2s\"", "at most 1s"),
            ("[dut.bypass]\nquic = \"block_silent\"", "blocks h3, so there is nothing to compare"),
            ("connection_rate_object = \"2KB\"", "is 2KB, which is not measured"),
            (
                "thresholds = [\"h3 1KB throughput on >= 1\"]\n[dut.on]\ntcp = \"decrypt\"\nquic = \"block_active\"",
                "dut.on blocks h3",
            ),
        ] {
            let refusal = refusal(toml);
            assert!(refusal.contains(words), "{toml}: {refusal}");
        }
    }

    #[test]
    fn a_connection_rate_is_measured_whatever_the_objects() {
        let resolve = |toml| PlanFile::parse(toml, PlanFormat::Toml).unwrap().resolve(Profile::Short).unwrap();
        assert_eq!(resolve("objects = [\"64KB\", \"16KB\"]").connection_rate_object, Some(Object::Kb16));
        assert_eq!(resolve("objects = [\"64KB\", \"1KB\"]").connection_rate_object, Some(Object::Kb1));
    }

    #[test]
    fn another_file_is_not_a_plan() {
        let large = "#".repeat(MAX_BYTES + 1);
        assert!(matches!(PlanFile::parse(&large, PlanFormat::Toml), Err(PlanError::TooLarge(_))));
        assert!(refusal("\0\u{1}").contains("cannot be read"));
    }
}
