//! The pages: what people see of the appliance. Rendered here, complete without JavaScript, behind the same gate and limits as the API
//! (docs/decisions/0011). They own nothing and decide nothing: what they show is the agent's, asked in the reader's name; what they change
//! goes the ways of the API.
//!
//! | module | job |
//! |---|---|
//! | [`words`], [`number`], [`look`] | language, numbers, times, colours, as the reader wants them |
//! | [`frame`] | what is around every page |
//! | [`visit`], [`form`], [`next`] | who reads, what they send, where they go then |
//! | [`refused`] | refusals as pages |
//! | [`api_call`] | what a form does, as a line for a shell |
//! | [`assets`] | style and pictures |
//! | [`welcome`], [`login`], [`step_up`], [`preferences`] | before and around the login |
//! | [`late`] | forms that come without the proof that they take |
//! | [`setup`] | the first-boot wizard |
//! | [`live`] | runs ordered, followed, stopped, compared |
//! | [`rooms`] | own account, tokens, certificates, licence, support, system, about |
//! | [`bench`] | what is measured with, and how the box was |
//! | [`overview`], [`runs`], [`run`], [`audit`], [`users`], [`new_user`], [`user`], [`sessions`] | one page each |
//! | [`why`] | the page that asks why something is to end |
//!
//! A page is a view made by a pure function from the agent's words, a template that only places it, and a handler that asks for both. What
//! comes from outside is escaped by the templates; none of them marks anything as safe, which a test holds them to.

mod api_call;
mod assets;
mod audit;
mod bench;
mod cookie;
mod form;
mod frame;
mod late;
mod live;
mod login;
mod look;
mod new_user;
mod next;
mod number;
mod overview;
mod preferences;
mod refused;
mod rooms;
mod run;
mod runs;
mod sessions;
mod setup;
mod step_up;
#[cfg(test)]
mod tests;
mod user;
mod users;
mod visit;
mod welcome;
mod why;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::{Map, Value, json};
use tbi_api::access::Role;
use tbi_api::client::AgentClient;

use crate::access::{Access, Desk, Fault};
use crate::certs::Certificates;
use crate::local::{Local, Mount};

/// How long a page waits for the agent before it says that it does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

const EVERYBODY: &[Role] = &Role::ALL;
const ADMINISTRATORS: &[Role] = &[Role::Administrator];
const AUDITORS: &[Role] = &[Role::Administrator, Role::Auditor];

/// Whether a page takes a fresh proof of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Usual,
    Fresh,
}

/// A page: its path, its methods, who may, and what proof it takes. No roles: anybody, also without a login.
#[derive(Clone, Copy)]
struct Page(&'static str, &'static [&'static str], &'static [Role], Proof);

/// All pages, with the claims that the gate holds readers to.
const PAGES: &[Page] = &[
    Page("/assets/{hash}/{name}", &["get"], &[], Proof::Usual),
    Page("/welcome", &["get", "post"], &[], Proof::Usual),
    Page("/login", &["get", "post"], &[], Proof::Usual),
    Page("/preferences", &["get", "post"], &[], Proof::Usual),
    Page("/logout", &["post"], EVERYBODY, Proof::Usual),
    Page("/step-up", &["get", "post"], EVERYBODY, Proof::Usual),
    Page("/", &["get"], EVERYBODY, Proof::Usual),
    Page("/runs", &["get"], EVERYBODY, Proof::Usual),
    Page("/runs/{id}", &["get"], EVERYBODY, Proof::Usual),
    Page("/audit", &["get"], AUDITORS, Proof::Usual),
    Page("/users", &["get"], AUDITORS, Proof::Usual),
    Page("/users/new", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/users/account/{name}", &["get", "post"], ADMINISTRATORS, Proof::Fresh),
    Page("/sessions", &["get", "post"], EVERYBODY, Proof::Usual),
    Page("/sessions/end/{hash}", &["get", "post"], EVERYBODY, Proof::Usual),
];

/// Those of every part; what fits two paths is the first one's.
fn all_pages() -> impl Iterator<Item = &'static Page> {
    [live::PAGES, PAGES, rooms::PAGES, setup::PAGES, bench::PAGES].into_iter().flatten()
}

/// What the pages have in common.
pub(crate) struct Pages {
    access: Arc<Access>,
    /// What is done about the door's certificate.
    desk: Desk,
    agent: AgentClient,
    /// Whether there is an account. Once there is one there always is, because the last administrator stays.
    claimed: AtomicBool,
    heard: setup::locale::Heard,
}

impl Pages {
    /// Pages that ask the agent at `agent`, or where it is on an appliance.
    pub(crate) fn new(access: Arc<Access>, certificates: Arc<Certificates>, agent: Option<&Path>) -> Arc<Self> {
        let desk = Desk::new(Arc::clone(&access), certificates);
        let socket = agent.unwrap_or(Path::new(tbi_api::AGENT_SOCKET));
        let agent = AgentClient::new(socket).with_timeout(PATIENCE);
        Arc::new(Self { access, desk, agent, claimed: AtomicBool::new(false), heard: Default::default() })
    }

    /// Whether there is an account.
    async fn is_claimed(&self) -> Result<bool, Fault> {
        if self.claimed.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let claimed = self.access.is_claimed().await?;
        self.claimed.store(claimed, Ordering::Relaxed);
        Ok(claimed)
    }
}

/// The pages as the door has them.
pub(crate) fn local(pages: &Arc<Pages>) -> Local {
    Local { name: "pages", place: Mount::Pages, document: document(), router: router(Arc::clone(pages)) }
}

fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/assets/{hash}/{name}", get(assets::serve))
        .route("/welcome", get(welcome::show).post(welcome::claim))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/preferences", get(preferences::show).post(preferences::choose))
        .route("/", get(overview::show))
        .route("/runs", get(runs::show))
        .route("/runs/{id}", get(run::show))
        .route("/audit", get(audit::show))
        .route("/users", get(users::show))
        .route("/users/new", get(new_user::show).post(new_user::make))
        .route("/users/account/{name}", get(user::show).post(user::change))
        .route("/step-up", get(step_up::show).post(step_up::prove))
        .route("/sessions", get(sessions::show).post(sessions::end))
        .route("/sessions/end/{hash}", get(sessions::ask).post(sessions::end_for))
        .merge(live::router())
        .merge(rooms::routes())
        .merge(setup::routes())
        .merge(bench::router())
        .layer(from_fn_with_state(Arc::clone(&pages), late::layer))
        .layer(DefaultBodyLimit::max(form::LIMIT))
        .layer(from_fn_with_state(Arc::clone(&pages), refused::layer))
        .layer(from_fn_with_state(Arc::clone(&pages), setup::locale::layer))
        .with_state(pages)
}

/// The claims in the words of a daemon's document.
fn document() -> Value {
    let mut paths = Map::new();
    for Page(path, methods, roles, proof) in all_pages() {
        let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let security = if roles.is_empty() { json!([]) } else { json!([{ "session": names }]) };
        let limit = bench::limit(path).unwrap_or(form::LIMIT);
        let operation = json!({"security": security, "x-step-up": *proof == Proof::Fresh, "x-body-limit": limit});
        let operations: Map<_, _> = methods.iter().map(|method| ((*method).to_owned(), operation.clone())).collect();
        paths.insert((*path).to_owned(), Value::Object(operations));
    }
    json!({ "paths": paths })
}

/// Who may see the page at a path; `None` when there is none that is only for some.
fn roles_of(path: &str) -> Option<&'static [Role]> {
    let fits = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template.split('/').zip(path.split('/')).all(|(part, given)| part == given || part.starts_with('{'))
    };
    all_pages()
        .find(|Page(template, _, roles, _)| !roles.is_empty() && fits(template))
        .map(|Page(_, _, roles, _)| *roles)
}

/// A template as an answer.
fn html<T: Template>(template: &T) -> Response {
    match template.render() {
        Ok(text) => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                // Within the box only, and there because a browser that sends none calls a form's origin `null`.
                (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
                (header::VARY, HeaderValue::from_static("cookie, accept-language")),
            ];
            (headers, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page that a form is shown on again, because something in it is not right.
fn unprocessable<T: Template>(template: &T) -> Response {
    let mut response = html(template);
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response
}

/// To another page, which is then read with `GET`.
fn see_other(to: &str) -> Response {
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}
