//! The reference endpoint of usage reports, as a vendor would run one: HTTPS with a certificate of its own authority; takes each number of a
//! box once, and no number before the one below it; a lost tick takes its number, unless it has the number already. It can be told to misbehave. What it got is in memory; it outlives who reports to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tbi_api::usage::{LOST, Report, Tick};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::points::Points;

/// A thousand ticks have some 200 kB.
const MOST: usize = 4 << 20;

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub(crate) enum Manner {
    /// As it should.
    #[default]
    Right,
    /// Takes the first tick of each report and leaves the others.
    TakesOne,
    /// Answers this, having stored nothing.
    Says(u16, &'static str),
    /// Answers this many bytes, having stored nothing.
    Floods(usize),
    /// Takes the request and never answers.
    Hangs,
    /// Ends the connection without an answer.
    Cuts(When),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    BeforeStoring,
    AfterStoring,
}

/// What it got.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// Of each box, in the order in which they came; the first has number 1.
    pub(crate) ticks: BTreeMap<String, Vec<Tick>>,
    pub(crate) reports: u64,
    /// Ticks that it had already.
    pub(crate) duplicates: u64,
}

/// Certificate and key of an endpoint, and the authority.
pub(crate) struct Papers {
    pub(crate) ca_pem: String,
    config: Arc<ServerConfig>,
}

impl Papers {
    /// Good for `name`, unless `spoil` changes that.
    pub(crate) fn new(name: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        authority.distinguished_name.push(DnType::CommonName, "usage CA");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        spoil(&mut leaf);
        let leaf = leaf.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        Self { ca_pem: authority.pem(), config: Arc::new(config) }
    }
}

#[derive(Default)]
struct Shared {
    book: Mutex<Book>,
    manner: Mutex<Manner>,
    points: Arc<Points>,
}

pub(crate) struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// On a free port of the loopback, with what another one has got before.
    pub(crate) fn start(papers: &Papers, points: &Arc<Points>, book: Book) -> Self {
        let shared = Shared { book: Mutex::new(book), points: Arc::clone(points), ..Shared::default() };
        let shared = Arc::new(shared);
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (acceptor, served) = (TlsAcceptor::from(Arc::clone(&papers.config)), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let serving = async {
                let listener = TcpListener::from_std(listener).unwrap();
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&served)));
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _stopped = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    pub(crate) fn book(&self) -> Book {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _stopped = self.stop.take().map(|stop| stop.send(()));
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // A handshake that fails is the other side's to tell.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, &shared));
    let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An error ends the connection without an answer.
async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Full<Bytes>>, String> {
    let right = request.method() == Method::POST && request.uri().path() == "/api/usage/report";
    let body = Limited::new(request.into_body(), MOST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    shared.points.pass("report arrived");
    let manner = shared.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match manner {
        Manner::Right | Manner::TakesOne | Manner::Cuts(When::AfterStoring) => {}
        Manner::Says(status, text) => return Ok(reply(status, "application/json", text.to_owned())),
        Manner::Floods(bytes) => return Ok(reply(200, "application/json", " ".repeat(bytes))),
        Manner::Hangs => std::future::pending().await,
        Manner::Cuts(When::BeforeStoring) => return Err("cut".to_owned()),
    }
    let mut report = serde_json::from_slice::<Report>(&body).map_err(|error| error.to_string());
    if let (Ok(report), Manner::TakesOne) = (&mut report, &manner) {
        report.ticks.truncate(1);
    }
    let taken = match report {
        Ok(report) if right => shared.book.lock().unwrap_or_else(PoisonError::into_inner).take(report),
        Ok(_) => Err((StatusCode::NOT_FOUND, "reports are posted to /api/usage/report".to_owned())),
        Err(error) => Err((StatusCode::BAD_REQUEST, error)),
    };
    shared.points.pass("report taken");
    match (taken, manner) {
        (_, Manner::Cuts(_)) => Err("cut".to_owned()),
        (Ok(through), _) => Ok(reply(200, "application/json", json!({ "through": through }).to_string())),
        (Err((status, detail)), _) => {
            let problem = json!({ "type": "about:blank", "status": status.as_u16(), "detail": detail }).to_string();
            Ok(reply(status.as_u16(), "application/problem+json; charset=utf-8", problem))
        }
    }
}

fn reply(status: u16, kind: &str, text: String) -> Response<Full<Bytes>> {
    let location = (300..400).contains(&status).then_some((header::LOCATION, "https://127.0.0.1:1/"));
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    if let Some((name, value)) = location {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(text))).unwrap()
}

impl Book {
    /// All of a report or nothing; gives the number through which it has everything, as far as the report goes.
    fn take(&mut self, report: Report) -> Result<u64, (StatusCode, String)> {
        self.reports += 1;
        let had = self.ticks.entry(report.node_id).or_default();
        let conflict = |detail: String| Err((StatusCode::CONFLICT, detail));
        let Some(last) = report.ticks.last().map(|tick| tick.client_seq) else {
            return Err((StatusCode::UNPROCESSABLE_ENTITY, "the report is empty".to_owned()));
        };
        let (mut new, mut duplicates) = (Vec::new(), 0);
        for tick in report.ticks {
            let number = tick.client_seq;
            let next = (had.len() + new.len() + 1) as u64;
            if number > next {
                return conflict(format!("tick {next} is missing before {number}"));
            } else if number == next {
                new.push(tick);
            } else if usize::try_from(number)
                .ok()
                .and_then(|at| had.get(at.checked_sub(1)?))
                .is_some_and(|known| *known == tick || tick.kind == LOST)
            {
                // Lost on the box, and here all the same: the answer to the first report was lost, too.
                duplicates += 1;
            } else {
                return conflict(format!("tick {number} was another one before"));
            }
        }
        had.extend(new);
        self.duplicates += duplicates;
        Ok(last)
    }
}
