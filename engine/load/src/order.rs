//! From an order as it came to a trial as it runs: every limit is checked here, at the door, and nowhere again.
//!
//! Refusals are problem documents with status 422 (what was asked makes no sense) or 400-class codes for unusable authorities; each
//! names the field and the remedy. Invariant: a [`Trial`] can be started.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tbi_bench::control::engine::{Arrivals, Load, Phases, Target, TlsProfile, TrialOrder, Trust};
use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::{Rate, Span};

use crate::conn::templates::Templates;
use crate::sources::Family;
use crate::tls::profile::{self, ProfileError};
use crate::tls::trust::{Authorities, Issuer, TrustError};

/// Longest trial, s; ticks are kept one per second.
const MAX_TRIAL_S: u64 = 24 * 3600;
/// Most targets of an order.
const MAX_TARGETS: usize = 4096;
/// Most source prefixes of an order.
const MAX_SOURCES: usize = 4096;
/// Most connections or arrivals in flight: the ports of sixteen source addresses to one target.
const MAX_CONNECTIONS: u32 = 1_000_000;
/// Most streams per connection; servers usually allow 100 to 256.
const MAX_STREAMS: u32 = 1000;

/// An order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No targets.
    #[error("the order names no target; give at least one")]
    NoTarget,
    /// Too many of something.
    #[error("the order has more than {limit} {what}; give fewer")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many are accepted.
        limit: u64,
    },
    /// A number that must not be zero.
    #[error("{0} is zero; give at least {1}")]
    Zero(&'static str, &'static str),
    /// Streams on h1.
    #[error("{0} streams per connection were asked of h1, which carries one request at a time; set streams to 1")]
    StreamsOnH1(u32),
    /// Endless connections in an open loop.
    #[error(
        "an open loop needs transactions_per_connection of at least 1, because each arrival is a connection that must end"
    )]
    EndlessArrivals,
    /// A target of a family without sources.
    #[error(
        "target '{persona}' has the {family} address {address} but sources names no {family} prefix; add one or leave sources empty"
    )]
    NoSource {
        /// Target.
        persona: String,
        /// IPv4 or IPv6.
        family: &'static str,
        /// Its address.
        address: std::net::IpAddr,
    },
    /// Port 0.
    #[error("target '{0}' has port 0; give the port of its TCP and UDP listener, usually 443")]
    PortZero(String),
    /// Not a host name.
    #[error("target '{persona}' has the server name '{name}', which is no DNS name; correct it")]
    ServerName {
        /// Target.
        persona: String,
        /// What was given.
        name: String,
    },
    /// Phases too long.
    #[error("the phases add up to more than 24 hours; make the trial shorter")]
    TooLong,
    /// Trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// ClientHello.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A request that cannot be put on the wire.
    #[error(transparent)]
    Request(#[from] crate::codec::request::RequestError),
}

impl OrderError {
    /// Stable code of the problem document.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            OrderError::Trust(TrustError::NotValidNow { .. }) => "ca-not-valid-now",
            OrderError::Trust(_) => "ca-unusable",
            OrderError::Profile(_) => "tls-profile-impossible",
            OrderError::NoSource { .. } => "no-source-of-family",
            _ => "order-impossible",
        }
    }
}

/// Load model with its numbers checked.
#[derive(Debug, Clone, Copy)]
pub enum Model {
    /// See [`Load::Open`].
    Open {
        /// Arrivals per second.
        rate: Rate,
        /// Gaps.
        arrivals: Arrivals,
        /// In flight at once.
        max_in_flight: u32,
        /// Transactions of each arrival, at least 1.
        transactions: u32,
    },
    /// See [`Load::Closed`].
    Closed {
        /// Held at once.
        connections: u32,
        /// In flight on each.
        streams: u32,
        /// Before a clean close; `None`: until the end.
        transactions: Option<u32>,
    },
}

/// Everything a connection needs besides load and phases; shared by trials and probes.
#[derive(Debug)]
pub struct Setup {
    /// Protocol.
    pub protocol: Protocol,
    /// Targets.
    pub targets: Vec<Target>,
    /// Their names as rustls wants them.
    names: Vec<ServerName<'static>>,
    /// Sources.
    pub sources: Vec<IpNet>,
    /// TLS over TCP.
    pub tls: Arc<ClientConfig>,
    /// Fingerprint of the hello.
    pub client_hello: String,
    authorities: Arc<Authorities>,
    several_authorities: bool,
}

/// A trial that can be started.
#[derive(Debug)]
pub struct Trial {
    /// Connections.
    pub setup: Setup,
    /// Object.
    pub object: Object,
    /// Prebuilt requests.
    pub templates: Templates,
    /// Load.
    pub model: Model,
    /// Phases.
    pub phases: Phases,
    /// Start to end of handshake.
    pub handshake_timeout: Duration,
    /// Request to last byte.
    pub request_timeout: Duration,
    /// Seed.
    pub seed: u64,
}

impl std::ops::Deref for Trial {
    type Target = Setup;

    fn deref(&self) -> &Setup {
        &self.setup
    }
}

impl Setup {
    /// Checks targets, sources, trust and profile.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn new(
        protocol: Protocol,
        targets: Vec<Target>,
        sources: Vec<IpNet>,
        trust: &Trust,
        tls: &TlsProfile,
    ) -> Result<Self, OrderError> {
        if targets.is_empty() {
            return Err(OrderError::NoTarget);
        }
        too_many("targets", targets.len() as u64, MAX_TARGETS as u64)?;
        too_many("source prefixes", sources.len() as u64, MAX_SOURCES as u64)?;
        for target in &targets {
            check_target(target, &sources)?;
        }
        let names = targets
            .iter()
            .map(|target| {
                ServerName::try_from(target.server_name.clone()).map_err(|_| OrderError::ServerName {
                    persona: target.persona.clone(),
                    name: clip(&target.server_name),
                })
            })
            .collect::<Result<_, _>>()?;
        let provider = profile::provider(tls, protocol)?;
        let authorities = Arc::new(Authorities::new(trust, &provider, tls.versions, unix_now())?);
        let client_hello = profile::fingerprint(&provider, &*authorities, protocol);
        let verifier: Arc<Authorities> = Arc::clone(&authorities);
        let config = profile::client_config(provider, tls.versions, verifier, protocol)?;
        Ok(Self {
            protocol,
            targets,
            names,
            sources,
            tls: Arc::new(config),
            client_hello,
            authorities,
            several_authorities: trust.dut_ca_pem.is_some(),
        })
    }

    /// Server name of a target.
    #[must_use]
    pub fn server_name(&self, target: usize) -> &ServerName<'static> {
        &self.names[target]
    }

    /// Authority of a verified chain.
    #[must_use]
    pub fn issuer_of(&self, chain: &[CertificateDer<'_>], target: usize) -> Option<Issuer> {
        self.authorities.issuer_of(chain, &self.names[target])
    }

    /// Whether the chain has to be looked at to know its authority.
    #[must_use]
    pub fn has_several_authorities(&self) -> bool {
        self.several_authorities
    }
}

impl Trial {
    /// Checks an order.
    ///
    /// # Errors
    /// [`OrderError`] names the field and the remedy.
    pub fn new(order: TrialOrder) -> Result<Self, OrderError> {
        let model = check_load(&order)?;
        check_phases(&order.phases)?;
        not_zero(order.handshake_timeout.as_micros(), "handshake_timeout", "1ms")?;
        not_zero(order.request_timeout.as_micros(), "request_timeout", "1ms")?;
        let setup = Setup::new(order.protocol, order.targets, order.sources, &order.trust, &order.tls)?;
        let templates = Templates::new(setup.protocol, order.object, &setup.targets)?;
        Ok(Self {
            setup,
            object: order.object,
            templates,
            model,
            phases: order.phases,
            handshake_timeout: order.handshake_timeout.duration(),
            request_timeout: order.request_timeout.duration(),
            seed: order.seed,
        })
    }
}

fn check_load(order: &TrialOrder) -> Result<Model, OrderError> {
    match order.load {
        Load::Open { rate, arrivals, max_in_flight } => {
            not_zero(max_in_flight.into(), "max_in_flight", "1")?;
            too_many("arrivals in flight", max_in_flight.into(), MAX_CONNECTIONS.into())?;
            if order.transactions_per_connection == 0 {
                return Err(OrderError::EndlessArrivals);
            }
            Ok(Model::Open { rate, arrivals, max_in_flight, transactions: order.transactions_per_connection })
        }
        Load::Closed { connections, streams } => {
            not_zero(connections.into(), "connections", "1")?;
            not_zero(streams.into(), "streams", "1")?;
            too_many("connections", connections.into(), MAX_CONNECTIONS.into())?;
            too_many("streams per connection", streams.into(), MAX_STREAMS.into())?;
            if order.protocol == Protocol::H1 && streams > 1 {
                return Err(OrderError::StreamsOnH1(streams));
            }
            let transactions = (order.transactions_per_connection > 0).then_some(order.transactions_per_connection);
            Ok(Model::Closed { connections, streams, transactions })
        }
    }
}

fn check_phases(phases: &Phases) -> Result<(), OrderError> {
    not_zero(phases.sustain.as_micros(), "the sustain phase", "1s")?;
    let total = [phases.init, phases.ramp_up, phases.sustain, phases.ramp_down]
        .into_iter()
        .map(Span::as_micros)
        .fold(0u64, u64::saturating_add);
    if total > Span::from_secs(MAX_TRIAL_S).as_micros() { Err(OrderError::TooLong) } else { Ok(()) }
}

fn check_target(target: &Target, sources: &[IpNet]) -> Result<(), OrderError> {
    if target.port == 0 {
        return Err(OrderError::PortZero(target.persona.clone()));
    }
    let family = Family::of(target.address);
    if !sources.is_empty() && !sources.iter().any(|source| Family::of(source.addr()) == family) {
        return Err(OrderError::NoSource {
            persona: target.persona.clone(),
            family: if family == Family::V4 { "IPv4" } else { "IPv6" },
            address: target.address,
        });
    }
    Ok(())
}

fn too_many(what: &'static str, count: u64, limit: u64) -> Result<(), OrderError> {
    if count > limit { Err(OrderError::TooMany { what, limit }) } else { Ok(()) }
}

fn not_zero(value: u64, what: &'static str, least: &'static str) -> Result<(), OrderError> {
    if value == 0 { Err(OrderError::Zero(what, least)) } else { Ok(()) }
}

fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
