//! Probes: a few connections of which everything is wanted. Each fetches one object with a token, then asks the persona on the same
//! connection what it saw.
//!
//! Probes run on a thread of their own with its own runtime, so that a slow parse of theirs never delays the API. They count
//! nothing in any trial.

mod fetch;
mod icmp_socket;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use quinn::{Endpoint, EndpointConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rustls::pki_types::CertificateDer;
use tbi_bench::control::engine::{Cause, Fallback, Probe, ProbeFailure, ProbeOrder, ProbeReport};
use tbi_bench::control::personas::Saw;
use tbi_bench::object::Object;
use tbi_bench::proof::{Answer, Echo, Interception, Token};
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;
use tbi_bench::wire::SAW_PATH;

use crate::attempt::judge;
use crate::codec::h2_client::{H2Client, Settings};
use crate::codec::request::Request;
use crate::conn::tcp::{READ_BUFFER, ReadBuffer, TlsStream};
use crate::conn::{h3, quic};
use crate::failure::Failure;
use crate::order::{OrderError, Setup};
use crate::sources::{Family, Sources};
use fetch::Fetched;
use icmp_socket::IcmpSocket;

/// Most probes of one order.
const MAX_PROBES: u64 = 200_000;
/// Most probes under way at once.
const MAX_PARALLEL: u32 = 4096;

/// Probes that can be run.
pub struct Plan {
    setup: Setup,
    /// For the attempt after a failed h3 probe.
    fallback: Option<Setup>,
    per_target: u32,
    parallel: u32,
    timeout: Duration,
    seed: u64,
}

/// Probes could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No thread or runtime.
    #[error("probes cannot start: {0}; raise the limits of threads and open files")]
    Start(std::io::Error),
    /// A bug.
    #[error("the probes' thread ended without a report; this is a bug, please report it with the engine's log")]
    Lost,
}

impl Plan {
    /// Checks an order.
    ///
    /// # Errors
    /// [`OrderError`] names the field and the remedy.
    pub fn new(order: ProbeOrder) -> Result<Self, OrderError> {
        for (value, what) in [
            (u64::from(order.per_target), "per_target"),
            (order.parallel.into(), "parallel"),
            (order.timeout.as_micros(), "timeout"),
        ] {
            if value == 0 {
                return Err(OrderError::Zero(what, "1"));
            }
        }
        if order.targets.len() as u64 * u64::from(order.per_target) > MAX_PROBES {
            return Err(OrderError::TooMany { what: "probes", limit: MAX_PROBES });
        }
        let setup =
            |protocol| Setup::new(protocol, order.targets.clone(), order.sources.clone(), &order.trust, &order.tls);
        for target in &order.targets {
            Request::new(SAW_PATH, &target.server_name)?;
        }
        Ok(Self {
            setup: setup(order.protocol)?,
            fallback: if order.fall_back && order.protocol.is_quic() { Some(setup(Protocol::H2)?) } else { None },
            per_target: order.per_target,
            parallel: order.parallel.min(MAX_PARALLEL),
            timeout: order.timeout.duration(),
            seed: order.seed,
        })
    }
}

/// Runs all probes and reports when the last has ended, at the latest after its timeout. Dropping the future ends those under way;
/// `hold` is dropped when none is any more, whatever became of the caller.
///
/// # Errors
/// [`ProbeError`]; what a probe runs into is in the report instead.
pub async fn run(plan: Plan, hold: impl Send + 'static) -> Result<ProbeReport, ProbeError> {
    let (mut sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("probes".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ProbeError::Start);
            let report = runtime.map(|runtime| {
                runtime.block_on(async {
                    // Probes nobody waits for must not disturb what comes next: their connections go with the arm that is dropped.
                    tokio::select! {
                        report = run_all(&plan) => Some(report),
                        () = sender.closed() => None,
                    }
                })
            });
            drop(hold);
            if let Some(report) = report.transpose() {
                // Nobody waits any more when the caller hung up just now.
                let _unwanted = sender.send(report);
            }
        })
        .map_err(ProbeError::Start)?;
    receiver.await.map_err(|_| ProbeError::Lost)?
}

/// What the probes of an order share.
struct Prober<'a> {
    plan: &'a Plan,
    sources: RefCell<Sources>,
    rng: RefCell<ChaCha8Rng>,
    buffer: Rc<ReadBuffer>,
}

async fn run_all(plan: &Plan) -> ProbeReport {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
    seed[8..].copy_from_slice(b"tlsstress engine probes ");
    let prober = Prober {
        plan,
        sources: RefCell::new(Sources::new(&plan.setup.sources, 0, 1)),
        rng: RefCell::new(ChaCha8Rng::from_seed(seed)),
        buffer: Rc::new(RefCell::new(vec![0; READ_BUFFER].into_boxed_slice())),
    };
    let targets = (0..plan.per_target).flat_map(|_| 0..plan.setup.targets.len());
    let probes = futures_util::stream::iter(targets)
        .map(|target| prober.probe(target))
        .buffer_unordered(plan.parallel as usize)
        .collect()
        .await;
    ProbeReport { probes }
}

/// What one connection showed so far; survives a timeout.
#[derive(Default)]
struct Findings {
    interception: Option<Interception>,
    handshake: Option<Instant>,
    first_byte: Option<Instant>,
    issuer: Option<String>,
    alt_svc: Option<bool>,
    saw: Option<Saw>,
    quic_packets: Option<(u64, u64)>,
}

impl Prober<'_> {
    async fn probe(&self, target: usize) -> Probe {
        let setup = &self.plan.setup;
        let start = Instant::now();
        let (findings, failure) = self.connect(setup, target, start).await;
        let fallback = match (&failure, &self.plan.fallback) {
            (Some(_), Some(setup)) => Some(self.fall_back(setup, target, start).await),
            _ => None,
        };
        let since = |at: Option<Instant>| at.map(|at| span(at.saturating_duration_since(start)));
        Probe {
            persona: setup.targets[target].persona.clone(),
            interception: findings.interception.unwrap_or(Interception::Unknown),
            failure,
            handshake: since(findings.handshake),
            ttfb: since(findings.first_byte),
            issuer: findings.issuer,
            alt_svc: findings.alt_svc,
            saw: findings.saw,
            client_hello: setup.client_hello.clone(),
            quic_packets: findings.quic_packets,
            fallback,
        }
    }

    async fn fall_back(&self, setup: &Setup, target: usize, quic_start: Instant) -> Fallback {
        let start = Instant::now();
        let (findings, failure) = self.connect(setup, target, start).await;
        let first_byte = findings.first_byte.filter(|_| failure.is_none());
        let since = |from: Instant| first_byte.map(|at| span(at.saturating_duration_since(from)));
        Fallback {
            interception: findings.interception.unwrap_or(Interception::Unknown),
            ttfb_from_quic_start: since(quic_start),
            ttfb: since(start),
        }
    }

    /// One connection, bounded by the order's timeout.
    async fn connect(&self, setup: &Setup, target: usize, start: Instant) -> (Findings, Option<ProbeFailure>) {
        let mut findings = Findings::default();
        let deadline = start + self.plan.timeout;
        let result = {
            let work = async {
                match setup.protocol {
                    Protocol::H3 => self.over_quic(setup, target, &mut findings).await,
                    Protocol::H1 | Protocol::H2 => self.over_tcp(setup, target, &mut findings).await,
                }
            };
            tokio::time::timeout_at(deadline.into(), Box::pin(work)).await
        };
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_elapsed) if findings.handshake.is_some() => Some(Failure::request_timeout()),
            Err(_elapsed) => Some(Failure::handshake_timeout()),
        };
        let failure = failure.map(|Failure { cause, fault, active, detail }| ProbeFailure {
            cause,
            fault,
            active,
            after: span(start.elapsed()),
            detail: format!("{}: {detail}", setup.targets[target].persona),
        });
        (findings, failure)
    }

    async fn over_tcp(&self, setup: &Setup, target: usize, findings: &mut Findings) -> Result<(), Failure> {
        let to = &setup.targets[target];
        let source = self.sources.borrow_mut().next(Family::of(to.address))?;
        let address = SocketAddr::new(to.address, to.port);
        let name = setup.server_name(target).clone();
        let (mut stream, _connected) =
            TlsStream::connect(source, address, Arc::clone(&setup.tls), name, Rc::clone(&self.buffer)).await?;
        stream.handshake(setup.protocol).await?;
        findings.handshake = Some(Instant::now());
        findings.issuer = issuer(stream.session().peer_certificates().unwrap_or_default());
        let token = self.token();
        let own = stream.echo(&token)?;
        let (object, saw) = requests(&to.server_name)?;
        if setup.protocol == Protocol::H1 {
            let fetched = fetch::h1(&mut stream, &object, Some(&token.to_hex())).await?;
            findings.take(own, &fetched, true)?;
            findings.take_saw(&fetch::h1(&mut stream, &saw, None).await?)?;
        } else {
            let mut client = H2Client::new(Settings::default());
            let fetched = fetch::h2(&mut stream, &mut client, &object, Some(&token.to_hex())).await?;
            findings.take(own, &fetched, true)?;
            findings.take_saw(&fetch::h2(&mut stream, &mut client, &saw, None).await?)?;
            client.close();
            stream.write(client.output())?;
        }
        stream.close().await;
        Ok(())
    }

    async fn over_quic(&self, setup: &Setup, target: usize, findings: &mut Findings) -> Result<(), Failure> {
        let to = &setup.targets[target];
        let family = Family::of(to.address);
        let source = self.sources.borrow_mut().next(family)?;
        let address = SocketAddr::new(to.address, to.port);
        let socket = IcmpSocket::connect(source, address)?;
        let local = |error: &dyn std::fmt::Display| {
            Failure::local(Cause::LocalResource, format!("cannot start a QUIC probe: {error}"))
        };
        let endpoint = Endpoint::new_with_abstract_socket(
            EndpointConfig::default(),
            None,
            Arc::clone(&socket) as Arc<dyn quinn::AsyncUdpSocket>,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(|error| local(&error))?;
        let config = quic::client_config(setup, family, self.plan.timeout)?;
        let connecting = endpoint.connect_with(config, address, &to.server_name).map_err(|error| local(&error))?;
        // Either the path refuses or the probe ends; the loser only waited.
        let result = tokio::select! {
            biased;
            failure = socket.refused() => Err(failure),
            result = self.talk_quic(connecting, &to.server_name, findings) => result,
        };
        endpoint.close(h3::H3_NO_ERROR, b"");
        result
    }

    async fn talk_quic(
        &self,
        connecting: quinn::Connecting,
        host: &str,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let connection = connecting.await.map_err(|error| Failure::quic(&error, false))?;
        findings.handshake = Some(Instant::now());
        findings.issuer = issuer(&h3::peer_chain(&connection));
        let token = self.token();
        let own = h3::echo(&connection, &token)?;
        let _control = h3::open_control(&connection).await?;
        let (object, saw) = requests(host)?;
        let packets = |findings: &mut Findings| {
            let path = connection.stats().path;
            findings.quic_packets = Some((path.sent_packets, path.lost_packets));
        };
        packets(findings);
        let fetched = fetch::h3(&connection, &object, Some(&token.to_hex())).await?;
        packets(findings);
        findings.take(own, &fetched, false)?;
        let saw = fetch::h3(&connection, &saw, None).await?;
        packets(findings);
        findings.take_saw(&saw)
    }

    fn token(&self) -> Token {
        let mut bytes = [0; 16];
        self.rng.borrow_mut().fill_bytes(&mut bytes);
        Token::new(bytes)
    }
}

impl Findings {
    /// The object's response.
    fn take(&mut self, own: Echo, fetched: &Fetched, tcp: bool) -> Result<(), Failure> {
        self.first_byte = Some(fetched.first_byte);
        self.interception = Some(Interception::classify(own, Answer::Response(fetched.head.echo.as_bytes())));
        self.alt_svc = tcp.then_some(fetched.head.alt_svc);
        judge(&fetched.head, fetched.length, Object::Kb1.bytes())
    }

    /// The persona's account. A server that does not know the path is no persona; that is for the caller to judge.
    fn take_saw(&mut self, fetched: &Fetched) -> Result<(), Failure> {
        if fetched.head.status == 200 {
            let parsed = serde_json::from_slice(&fetched.body);
            self.saw = Some(parsed.map_err(|error| {
                Failure::peer(Cause::ProtocolViolation, format!("the answer to {SAW_PATH} is not understood: {error}"))
            })?);
        }
        Ok(())
    }
}

fn requests(host: &str) -> Result<(Request, Request), Failure> {
    // Checked with the order.
    let request =
        |path| Request::new(path, host).map_err(|error| Failure::local(Cause::LocalResource, error.to_string()));
    Ok((request(Object::Kb1.request(0).0)?, request(SAW_PATH)?))
}

/// Common name of the leaf's issuer.
fn issuer(chain: &[CertificateDer<'_>]) -> Option<String> {
    let (_rest, leaf) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let name = leaf.issuer().iter_common_name().next()?.as_str().ok()?;
    Some(name.chars().take(128).collect())
}

fn span(duration: Duration) -> Span {
    Span::from_micros(duration.as_micros() as u64)
}
