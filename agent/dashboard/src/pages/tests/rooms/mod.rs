//! The rooms around measuring: own account, tokens, certificates, licence, support, system, about.

mod about;
pub(super) mod agent;
mod certificates;
mod licence;
mod own;
mod roles;
mod session;
mod tokens;

use super::{Browser, Page, Stand};
use crate::access::tests::PASSWORD;

/// Every page of the rooms that an administrator sees without knowing an id.
const SEEN: [&str; 14] = [
    "/account",
    "/account/second-factor",
    "/tokens",
    "/tokens/new",
    "/certificates",
    "/certificates/door",
    "/certificates/client/new",
    "/licence",
    "/licence/install",
    "/licence/settings",
    "/about",
    "/about/licences",
    "/support",
    "/system",
];

/// Somebody who was proven a moment ago, and the token of the session.
async fn proven(stand: &Stand, name: &str) -> (Browser, String) {
    let mut browser = Browser::log_in(stand, name).await;
    let token = browser.get(stand, "/step-up").await.is(200).token();
    let fields = [("csrf", token.as_str()), ("password", PASSWORD), ("next", "/account")];
    browser.post(stand, "/step-up", &fields).await.leads_to("/account");
    let token = browser.get(stand, "/account").await.is(200).token();
    (browser, token)
}

/// A form with the token of its session.
async fn send(browser: &mut Browser, stand: &Stand, token: &str, path: &str, fields: &[(&str, &str)]) -> Page {
    let all: Vec<_> = [("csrf", token)].into_iter().chain(fields.iter().copied()).collect();
    browser.post(stand, path, &all).await
}
