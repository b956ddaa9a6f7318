//! What happens to each request, whichever protocol it came by: a correlation id, the checks of its form, the operation it means, the gate's
//! word, then the door's own answer, a router of this process, or a daemon. Everything that goes out is dressed, counted and logged here.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use data_encoding::HEXLOWER;
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Version};
use http_body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tbi_daemon::CORRELATION_HEADER;
use tokio_util::sync::CancellationToken;

use crate::answers::{Answer, dress, later, problem, refusal};
use crate::body::{AnswerBody, BodyError, Content, RequestBody};
use crate::caps::Caps;
use crate::certs::Certificates;
use crate::face::{Face, Reader};
use crate::gate::{Asked, Caller, ChangeToken, Claims, Gate, Peer, Refusal};
use crate::guard::head::{FIELD_LIMIT, HEAD_LIMIT, is_host};
use crate::guard::{self, Refused, Verdict};
use crate::limits::place;
use crate::local::{Local, Mount, Table};
use crate::measure::{Connections, Meter};
use crate::own::{self, Documents};
use crate::paths;
use crate::proxy::{Asking, ProxyError, forward};
use crate::registry::{Daemon, Found, MeterShelf, Operation, State, path_of};

/// Everything the request path needs.
pub(crate) struct Door {
    gate: Arc<dyn Gate>,
    pub(crate) daemons: Vec<Arc<Daemon>>,
    pub(crate) locals: Vec<(Local, Table)>,
    /// Shows refusals to people.
    face: Option<Arc<dyn Face>>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) documents: Documents,
    pub(crate) connections: Connections,
    pub(crate) caps: Arc<Caps>,
    /// Cancelled when the door drains.
    pub(crate) stop: CancellationToken,
    alt_svc: Option<HeaderValue>,
    own: Table,
    nowhere: Arc<Meter>,
}

/// Who is at the other end of a connection, and how it speaks.
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) verdict: Option<Verdict>,
    source: Option<HeaderValue>,
    requests: AtomicU64,
}

impl Client {
    pub(crate) fn new(peer: Peer, verdict: Option<Verdict>) -> Self {
        let source = HeaderValue::from_str(&place::source(peer.address)).ok();
        Self { peer, verdict, source, requests: AtomicU64::new(0) }
    }

    /// How many requests it has made.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

/// Where a request goes.
enum Way<'a> {
    Own,
    Local(&'a Local),
    /// With where in the path the daemon's part begins.
    Daemon(&'a Arc<Daemon>, usize),
}

impl Door {
    pub(crate) fn new(
        gate: Arc<dyn Gate>,
        daemons: Vec<Arc<Daemon>>,
        (locals, face): (Vec<Local>, Option<Arc<dyn Face>>),
        certificates: Arc<Certificates>,
        caps: Arc<Caps>,
        http3_port: Option<u16>,
    ) -> Self {
        Self {
            gate,
            daemons,
            certificates,
            documents: Documents::default(),
            connections: Connections::default(),
            caps,
            stop: CancellationToken::new(),
            alt_svc: http3_port.and_then(|port| HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400")).ok()),
            own: Table::new(own::NAME, &own::document()),
            locals: locals.into_iter().map(Table::beside).collect(),
            face,
            nowhere: Meter::new(own::NAME, "", ""),
        }
    }

    /// Numbers of all operations, and of what was none.
    pub(crate) fn meters(&self) -> Vec<Arc<Meter>> {
        let own = [&self.own].into_iter().chain(self.locals.iter().map(|(_, table)| table)).map(|table| &table.meters);
        let shelves = own.chain(self.daemons.iter().map(|daemon| &daemon.meters));
        shelves.flat_map(MeterShelf::all).chain([Arc::clone(&self.nowhere)]).collect()
    }

    /// Answers a request. Never fails: what goes wrong is an answer.
    pub(crate) async fn answer(&self, mut request: Request<RequestBody>, client: &Client) -> Answer {
        name_host(&mut request);
        let began = Instant::now();
        let is_first = client.requests.fetch_add(1, Relaxed) == 0;
        let id = correlation_id(request.headers().get(&CORRELATION_HEADER));
        let (method, version) = (request.method().clone(), request.version());
        // Kept for the log; the request itself goes on to wherever it goes.
        let uri = request.uri().clone();
        let reader = self.face.as_ref().and_then(|face| Some((face, Reader::of(&request, &client.peer, &id)?)));
        let mut meter = &self.nowhere;
        let found;
        let outcome = match self.find(&request, client) {
            Ok((way, operation)) => {
                found = operation;
                meter = &found.meter;
                let in_flight = meter.begin();
                let answered = self.admitted(&mut request, client, &way, &found, &id).await;
                answered.map(|answer| answer.map(|body| body.counted(in_flight)))
            }
            Err(refusal) => Err(self.counted_by_gate(&request, client, &id, *refusal).await),
        };
        let mut answer = match (outcome, reader) {
            (Ok(answer), _) => answer,
            (Err(refusal), Some((face, reader))) => face.refused(reader, refusal).await,
            (Err(refusal), None) => problem(refusal),
        };
        self.finish(&mut answer, &id, is_first && version != Version::HTTP_3);
        if method == Method::HEAD {
            *answer.body_mut() = AnswerBody::new(Content::Whole(None));
        }
        let after = began.elapsed();
        meter.answered(answer.status(), after);
        log(&method, uri.path(), answer.status(), after, &id, client);
        answer
    }

    fn finish(&self, answer: &mut Answer, id: &HeaderValue, offers_http3: bool) {
        let headers = answer.headers_mut();
        dress(headers);
        let mut id = id.clone();
        // Never the same twice: keeps it out of HTTP/2's table of fields that come again.
        id.set_sensitive(true);
        headers.insert(CORRELATION_HEADER, id);
        // Once for each connection: it holds for a day (RFC 7838 section 3.1).
        if let Some(alt_svc) = &self.alt_svc
            && offers_http3
        {
            headers.insert(header::ALT_SVC, alt_svc.clone());
        }
        if let Content::Relay(relay) = answer.body_mut().content_mut() {
            relay.ends_with(&self.stop);
        }
    }

    /// Checks the form and finds the operation.
    fn find(&self, request: &Request<RequestBody>, client: &Client) -> Result<(Way<'_>, Arc<Operation>), Box<Refusal>> {
        form(request, client)?;
        let (path, method) = (request.uri().path(), request.method());
        let (way, found) = match path_of(path).map(|(name, rest)| (self.named(name), name, rest)) {
            Some((Some(daemon), _, rest)) => {
                let view = daemon.view();
                if view.document.is_none() {
                    return Err(down(daemon, "it was not heard yet").into());
                }
                let found = view.routes.find_v1(rest, method);
                (Way::Daemon(daemon, path.len() - rest.len()), found)
            }
            Some((None, name, _)) => self.local(Mount::Api, Some(name), path, method),
            None => match self.own.routes.find(path, method) {
                Found::Nothing => self.local(Mount::Pages, None, path, method),
                found => (Way::Own, found),
            },
        };
        match found {
            Found::Operation(operation) => Ok((way, operation)),
            Found::OtherMethod(allow) => {
                let detail = format!("this path takes {allow}, not {method}; /openapi.json lists what there is");
                let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
                if let Ok(allow) = HeaderValue::from_str(&allow) {
                    refused.headers.insert(header::ALLOW, allow);
                }
                Err(refused.into())
            }
            Found::Nothing => {
                let detail = "there is nothing at this path; /openapi.json lists what there is";
                Err(refusal(StatusCode::NOT_FOUND, "not-found", detail).into())
            }
        }
    }

    fn local(&self, place: Mount, name: Option<&str>, path: &str, method: &Method) -> (Way<'_>, Found) {
        let meant = |(local, _): &&(Local, Table)| local.place == place && name.is_none_or(|name| local.name == name);
        match self.locals.iter().find(meant) {
            Some((local, table)) => (Way::Local(local), table.routes.find(path, method)),
            None => (Way::Own, Found::Nothing),
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<Daemon>> {
        self.daemons.iter().find(|daemon| daemon.name == name)
    }

    /// A request that means nothing still counts against its sender's limits.
    async fn counted_by_gate(
        &self,
        request: &Request<RequestBody>,
        client: &Client,
        id: &HeaderValue,
        refusal: Refusal,
    ) -> Refusal {
        let claims = Claims { public: true, roles: Vec::new(), step_up: false };
        match self.admit(request, client, &claims, ChangeToken::Header, id).await {
            Err(limited) if limited.status == StatusCode::TOO_MANY_REQUESTS => limited,
            Ok(_) | Err(_) => refusal,
        }
    }

    async fn admit(
        &self,
        request: &Request<RequestBody>,
        client: &Client,
        claims: &Claims,
        token: ChangeToken,
        id: &HeaderValue,
    ) -> Result<Caller, Refusal> {
        let asked = Asked {
            method: request.method(),
            headers: request.headers(),
            peer: &client.peer,
            claims,
            token,
            correlation_id: id.to_str().unwrap_or_default(),
        };
        self.gate.admit(&asked).await
    }

    async fn admitted(
        &self,
        request: &mut Request<RequestBody>,
        client: &Client,
        way: &Way<'_>,
        operation: &Operation,
        id: &HeaderValue,
    ) -> Result<Answer, Refusal> {
        let token = match way {
            Way::Local(local) if local.place == Mount::Pages => ChangeToken::Form,
            Way::Local(_) | Way::Own | Way::Daemon(..) => ChangeToken::Header,
        };
        let caller = self.admit(request, client, &operation.claims, token, id).await?;
        let standing = caller.standing;
        let mut answered = self.dispatch(request, client, way, operation, id, caller).await;
        standing.put_into(match &mut answered {
            Ok(answer) => answer.headers_mut(),
            Err(refusal) => &mut refusal.headers,
        });
        answered
    }

    async fn dispatch(
        &self,
        request: &mut Request<RequestBody>,
        client: &Client,
        way: &Way<'_>,
        operation: &Operation,
        id: &HeaderValue,
        caller: Caller,
    ) -> Result<Answer, Refusal> {
        let limit = operation.body_limit;
        if request.body().size_hint().lower() > limit {
            return Err(too_large(limit));
        }
        let limited = |request: &mut Request<RequestBody>| {
            let empty = Request::new(RequestBody::new(crate::body::Source::Empty));
            std::mem::replace(request, empty).map(|body| body.limited(limit))
        };
        match way {
            Way::Own => Ok(own::answer(self, &operation.template).await),
            Way::Local(local) => {
                let mut request = limited(request).map(axum::body::Body::new);
                request.headers_mut().insert(CORRELATION_HEADER, id.clone());
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(client.peer.clone());
                let Ok(answer) = TowerToHyperService::new(local.router.clone()).call(request).await;
                Ok(answer.map(|body| AnswerBody::new(Content::Local(body))))
            }
            Way::Daemon(daemon, begins) => {
                match daemon.view().heart.state {
                    State::Healthy | State::Degraded | State::Starting => {}
                    State::Draining => return Err(down(daemon, "it is stopping")),
                    State::Down => return Err(down(daemon, "it is down")),
                }
                let target =
                    target(&request.uri().path()[*begins..], request.uri().query()).map_err(|refused| *refused)?;
                let asking = asking(&caller, client, id);
                let request = limited(request);
                forward(&daemon.pool, request, target, asking).await.map_err(|error| failed(daemon, error))
            }
        }
    }
}

fn asking(caller: &Caller, client: &Client, id: &HeaderValue) -> Asking {
    let (actor, role) = match &caller.account {
        Some((name, role)) => {
            (HeaderValue::from_str(name.as_str()).ok(), Some(HeaderValue::from_static(role.as_str())))
        }
        // Not `local`, which is what a daemon takes an absent actor for.
        None => (Some(HeaderValue::from_static("anonymous")), None),
    };
    Asking { actor, role, source: client.source.clone(), correlation_id: id.clone() }
}

fn target(rest: &str, query: Option<&str>) -> Result<PathAndQuery, Box<Refusal>> {
    let mut target = String::with_capacity(4 + rest.len() + query.map_or(0, str::len));
    target.push_str("/v1");
    target.push_str(rest);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|error| {
        refusal(StatusCode::BAD_REQUEST, "malformed-request", format!("the target is malformed: {error}")).into()
    })
}

/// The form of a request, as far as its protocol did not see to it.
fn form(request: &Request<RequestBody>, client: &Client) -> Result<(), Box<Refusal>> {
    let malformed = |detail: &str| Err(refusal(StatusCode::BAD_REQUEST, "malformed-request", detail).into());
    if request.method().as_str() == guard::METHOD
        && let Some(refused) = client.verdict.as_ref().and_then(Verdict::read)
    {
        return Err(refusal(refused.status(), refused.code(), refused.sentence()).into());
    }
    if *request.method() == Method::CONNECT {
        return malformed(Refused::Connect.sentence());
    }
    let (headers, uri) = (request.headers(), request.uri());
    if headers.len() > FIELD_LIMIT {
        let refused = Refused::TooManyFields;
        return Err(refusal(refused.status(), refused.code(), refused.sentence()).into());
    }
    if request.version() > Version::HTTP_11 {
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        if size > HEAD_LIMIT {
            let refused = Refused::HeadTooLarge;
            return Err(refusal(refused.status(), refused.code(), refused.sentence()).into());
        }
        // Of these, h2 refuses some and h3 none. HTTP/1.1 went through the guard.
        if headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::CONNECTION) {
            return malformed(
                "the request has a field that belongs to HTTP/1.1; leave out Connection and Transfer-Encoding",
            );
        }
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let plain = |length: &HeaderValue| !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if lengths.next().is_some_and(|length| !plain(length) || length.len() > 18) || lengths.next().is_some() {
            return malformed(Refused::Length.sentence());
        }
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().map(HeaderValue::as_bytes);
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        if hosts.next().is_some() {
            return malformed(Refused::Host.sentence());
        }
        match (authority, host) {
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
                return malformed(":authority and Host name different hosts; send one of them");
            }
            (Some(one), _) | (None, Some(one)) if is_host(one) => {}
            _ => return malformed("the request names no valid host; send :authority"),
        }
    }
    paths::check(uri.path()).or_else(|error| malformed(&error.to_string()))
}

fn too_large(limit: u64) -> Refusal {
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", BodyError::TooLarge(limit).to_string())
}

fn down(daemon: &Daemon, reason: &str) -> Refusal {
    let detail =
        format!("the daemon {} does not serve: {reason}; try again, and look at its log if it stays so", daemon.name);
    later(StatusCode::SERVICE_UNAVAILABLE, "daemon-down", detail, 5)
}

fn failed(daemon: &Daemon, error: ProxyError) -> Refusal {
    let name = &daemon.name;
    match error {
        ProxyError::NoConnection(crate::proxy::PoolError::Busy) => {
            let detail = format!("the daemon {name} is busy: {error}; try again");
            later(StatusCode::SERVICE_UNAVAILABLE, "daemon-busy", detail, 1)
        }
        ProxyError::NoConnection(error) => down(daemon, &error.to_string()),
        ProxyError::Body(BodyError::TooLarge(limit)) => too_large(limit),
        ProxyError::Body(error @ BodyError::Silent) => {
            refusal(StatusCode::REQUEST_TIMEOUT, "request-timeout", error.to_string())
        }
        ProxyError::Body(error @ BodyError::Broken(_)) => {
            refusal(StatusCode::BAD_REQUEST, "malformed-request", error.to_string())
        }
        ProxyError::Broke(_) => {
            let detail = format!("the daemon {name} broke off: {error}; look at its log");
            refusal(StatusCode::BAD_GATEWAY, "daemon-broke", detail)
        }
        ProxyError::Silent => {
            let detail = format!("the daemon {name} is silent: {error}; look at its log");
            refusal(StatusCode::GATEWAY_TIMEOUT, "daemon-silent", detail)
        }
    }
}

/// HTTP/2 and HTTP/3 name the host in `:authority` (RFC 9113 section 8.3.1); whoever looks at headers finds it where HTTP/1.1 has it.
fn name_host(request: &mut Request<RequestBody>) {
    if !request.headers().contains_key(header::HOST)
        && let Some(host) = request.uri().authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// The caller's id when it is 1 to 64 characters that are safe in logs and headers, else a new one. As in `tbi_daemon::serve`.
fn correlation_id(given: Option<&HeaderValue>) -> HeaderValue {
    let safe = |id: &&HeaderValue| {
        (1..=64).contains(&id.len())
            && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    if let Some(id) = given.filter(safe) {
        return id.clone();
    }
    let mut id = [0; 16];
    HEXLOWER.encode_mut(&RandomState::new().build_hasher().finish().to_be_bytes(), &mut id);
    HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("none"))
}

/// One line per request. What changed something or went wrong is told at the usual level; what was only read, at `debug`.
fn log(method: &Method, path: &str, status: StatusCode, after: std::time::Duration, id: &HeaderValue, client: &Client) {
    let (us, id) = (u64::try_from(after.as_micros()).unwrap_or(u64::MAX), id.to_str().unwrap_or_default());
    let (status, source) = (status.as_u16(), client.peer.address);
    if status >= 400 || !method.is_safe() {
        tracing::info!(target: "tbi_dashboard::request", %method, path, status, us, correlation_id = id, %source, "answered");
    } else {
        tracing::debug!(target: "tbi_dashboard::request", %method, path, status, us, correlation_id = id, %source, "answered");
    }
}
