//! Access as a whole, over accounts in memory and a clock that the tests turn: the gate with the claims of the routes' own document, then the
//! routes, in the order in which the door asks them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod certificate;
mod document;
mod faults;
mod gate;
mod logins;
mod management;
pub(crate) mod memory;
mod programs;
mod second_factor;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde_json::{Value, json};
use tbi_api::access::{By, NewAccount, Role};

use self::memory::Memory;
use super::accounts::Accounts;
use super::clock::{Clock, lock};
use super::password::Passwords;
use super::{Access, Config, openapi, routes};
use crate::certs::{Certificates, Names};
use crate::gate::{Asked, ChangeToken, Claims, Gate, Peer};
use crate::limits::{Delays, Limits};

pub(crate) const PASSWORD: &str = "four plain words here";
const HOST: &str = "tbi.local";
pub(crate) const CLAIM_CODE: &str = "a-claim-code-of-a-new-box";

pub(crate) struct TestClock(Mutex<(Duration, Timestamp)>);

impl TestClock {
    fn pass(&self, time: Duration) {
        let mut now = lock(&self.0);
        now.0 += time;
        now.1 += time;
    }

    fn set_wall(&self, wall: Timestamp) {
        lock(&self.0).1 = wall;
    }
}

impl Clock for TestClock {
    fn steady(&self) -> Duration {
        lock(&self.0).0
    }

    fn wall(&self) -> Timestamp {
        lock(&self.0).1
    }
}

/// A box with accounts `anna` (administrator), `olaf` (operator), `vera` (viewer), `aura` (auditor).
pub(crate) struct TestBox {
    pub(crate) access: Arc<Access>,
    certificates: Arc<Certificates>,
    router: Router,
    pub(crate) memory: Arc<Memory>,
    clock: Arc<TestClock>,
    state: tempfile::TempDir,
    claims: Vec<(Method, String, Claims)>,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    fn seconds(&self, header: &str) -> u64 {
        self.headers.get(header).unwrap().to_str().unwrap().parse().unwrap()
    }

    #[track_caller]
    fn is(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        self
    }
}

fn by() -> By {
    By { actor: "test".to_owned(), role: None, source: "local".to_owned(), correlation_id: "t".to_owned() }
}

impl TestBox {
    pub(crate) async fn empty() -> Self {
        let generous = Limits::PER_ADDRESS.times(1000);
        Self::with_limits(generous, generous).await
    }

    async fn with_limits(per_address: Limits, per_identity: Limits) -> Self {
        let state = tempfile::tempdir().unwrap();
        let claim_code = state.path().join("claim");
        std::fs::write(&claim_code, format!("{CLAIM_CODE}\n")).unwrap();
        let start = (Duration::from_secs(1), Timestamp::from_second(1_800_000_000).unwrap());
        let clock = Arc::new(TestClock(Mutex::new(start)));
        let memory = Arc::new(Memory::default());
        let config = Config {
            state: state.path().to_owned(),
            claim_code: Some(claim_code),
            per_address,
            per_identity,
            delays: Delays::default(),
        };
        let accounts: Arc<dyn Accounts> = Arc::<Memory>::clone(&memory);
        let time: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let access = Access::with_passwords(config, accounts, time, Passwords::quick()).unwrap();
        let certificates = shown(state.path());
        let router = routes(Arc::clone(&access), Arc::clone(&certificates));
        Self { router, access, certificates, memory, clock, state, claims: claims() }
    }

    pub(crate) async fn new() -> Self {
        let this = Self::empty().await;
        this.people().await;
        this
    }

    async fn people(&self) {
        let password = self.access.passwords.hash(&tbi_api::access::Hidden::new(PASSWORD)).await.unwrap();
        for (name, role) in
            [("anna", Role::Administrator), ("olaf", Role::Operator), ("vera", Role::Viewer), ("aura", Role::Auditor)]
        {
            let new = NewAccount { name: name.parse().unwrap(), role, password: password.clone(), first: false };
            self.memory.create_account(&new, &by()).await.unwrap();
        }
    }

    /// The door after a restart: the same accounts, clock and state directory.
    fn restarted(self) -> Self {
        let config = Config {
            state: self.state.path().to_owned(),
            claim_code: None,
            per_address: Limits::PER_ADDRESS.times(1000),
            per_identity: Limits::PER_ADDRESS.times(1000),
            delays: Delays::default(),
        };
        let accounts: Arc<dyn Accounts> = Arc::<Memory>::clone(&self.memory);
        let time: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        let access = Access::with_passwords(config, accounts, time, Passwords::quick()).unwrap();
        let certificates = shown(self.state.path());
        Self { router: routes(Arc::clone(&access), Arc::clone(&certificates)), access, certificates, ..self }
    }

    fn claims_of(&self, method: &Method, path: &str) -> Claims {
        let fits = |template: &str| {
            template.split('/').count() == path.split('/').count()
                && template.split('/').zip(path.split('/')).all(|(part, given)| part == given || part.starts_with('{'))
        };
        let found = self.claims.iter().find(|(verb, template, _claims)| verb == method && fits(template));
        found.map_or_else(|| panic!("no operation {method} {path}"), |(_verb, _template, claims)| claims.clone())
    }

    /// Asks the gate alone.
    async fn admit(&self, claims: &Claims, ask: &Ask) -> Result<crate::gate::Caller, crate::gate::Refusal> {
        let asked = Asked {
            method: &ask.method,
            headers: &ask.headers,
            peer: &ask.peer,
            claims,
            token: ChangeToken::Header,
            correlation_id: "test-1",
        };
        self.access.admit(&asked).await
    }

    /// Asks gate and routes, as the door does.
    async fn ask(&self, ask: Ask) -> Reply {
        let claims = self.claims_of(&ask.method, &ask.path);
        let caller = match self.admit(&claims, &ask).await {
            Ok(caller) => caller,
            Err(refusal) => {
                return Reply {
                    status: refusal.status,
                    headers: refusal.headers,
                    body: json!({ "code": refusal.code }),
                };
            }
        };
        let mut request = Request::builder().method(ask.method).uri(ask.path).body(Body::from(ask.body)).unwrap();
        *request.headers_mut() = ask.headers;
        request.headers_mut().insert("x-correlation-id", HeaderValue::from_static("test-1"));
        let mut more = HeaderMap::new();
        caller.standing.put_into(&mut more);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(ask.peer);
        let response = TowerToHyperService::new(self.router.clone()).call(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let mut headers = head.headers;
        headers.extend(more);
        Reply { status: head.status, headers, body }
    }

    pub(crate) fn down(&self, down: bool) {
        self.memory.down.store(down, Ordering::Relaxed);
    }

    fn questions(&self) -> u32 {
        self.memory.asked.load(Ordering::Relaxed)
    }
}

/// A request.
#[derive(Debug, Clone)]
struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    peer: Peer,
}

fn ask(method: &str, path: &str) -> Ask {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static(HOST))]);
    let peer = Peer { address: IpAddr::from([192, 0, 2, 1]), certificate: None };
    let path = format!("/api/v1/access{path}");
    Ask { method: method.parse().unwrap(), path, headers, body: Vec::new(), peer }
}

impl Ask {
    fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.with("content-type", "application/json")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    fn from(mut self, address: &str) -> Self {
        self.peer.address = address.parse().unwrap();
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    fn basic(self, name: &str, password: &str) -> Self {
        let pair = data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes());
        self.with("authorization", &format!("Basic {pair}"))
    }
}

/// A browser: keeps cookies, sends origin and token.
#[derive(Debug, Clone, Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
    csrf: Option<String>,
    address: Option<String>,
}

impl Browser {
    fn dress(&self, mut ask: Ask) -> Ask {
        if let Some(address) = &self.address {
            ask = ask.from(address);
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            ask = ask.with("cookie", &pairs.join("; "));
        }
        if let Some(token) = &self.csrf {
            ask = ask.with("x-tbi-csrf", token);
        }
        ask.with("origin", &format!("https://{HOST}")).with("sec-fetch-site", "same-origin")
    }

    async fn send(&mut self, to: &TestBox, ask: Ask) -> Reply {
        let reply = to.ask(self.dress(ask)).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(token) = reply.body["csrf"].as_str() {
            self.csrf = Some(token.to_owned());
        }
        reply
    }

    async fn log_in(to: &TestBox, name: &str) -> Self {
        let mut browser = Self::default();
        browser.send(to, login(name, PASSWORD)).await.is(200, "");
        browser
    }

    async fn step_up(&mut self, to: &TestBox) {
        self.send(to, ask("POST", "/step-up").json(&json!({ "password": PASSWORD }))).await.is(200, "");
    }

    fn session(&self) -> &str {
        &self.cookies["__Host-tbi-session"]
    }
}

fn shown(state: &std::path::Path) -> Arc<Certificates> {
    let names = Names { hosts: [HOST.to_owned()].into(), ..Names::default() };
    Certificates::load(&state.join("door"), names, None, crate::tls::provider()).unwrap()
}

fn login(name: &str, password: &str) -> Ask {
    ask("POST", "/login").json(&json!({ "account": name, "password": password }))
}

/// The claims as the door reads them from the document.
fn claims() -> Vec<(Method, String, Claims)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut claims = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            let roles = security.iter().filter_map(|one| one["session"].as_array()).flatten();
            let roles = roles.map(|role| role.as_str().unwrap().parse().unwrap()).collect();
            let step_up = operation["x-step-up"].as_bool().unwrap_or(false);
            let claim = Claims { public: security.is_empty(), roles, step_up };
            claims.push((method.to_uppercase().parse().unwrap(), path.clone(), claim));
        }
    }
    claims
}

const EVERYBODY: [Role; 4] = Role::ALL;

fn anybody_known() -> Claims {
    Claims { public: false, roles: EVERYBODY.to_vec(), step_up: false }
}
