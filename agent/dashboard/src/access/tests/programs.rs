//! What programs prove themselves with: tokens, Basic, client certificates.

use std::sync::Arc;

use super::*;
use crate::digest::sha256;

impl TestBox {
    /// A token of `name`.
    async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let mut browser = Browser::log_in(self, name).await;
        browser.step_up(self).await;
        let expires = (self.clock.wall() + Duration::from_secs(30 * 86_400)).to_string();
        let order = json!({ "label": "test", "scopes": scopes, "expires": expires });
        let made = browser.send(self, ask("POST", "/tokens").json(&order)).await.is(201, "");
        made.body["secret"].as_str().unwrap().to_owned()
    }
}

fn for_roles(roles: &[Role], step_up: bool) -> Claims {
    Claims { public: false, roles: roles.to_vec(), step_up }
}

#[tokio::test]
async fn a_token_may_what_its_scopes_say_and_no_more() {
    let this = TestBox::new().await;
    let everybody = for_roles(&Role::ALL, false);
    let operators = for_roles(&[Role::Operator, Role::Administrator], false);
    let administrators = for_roles(&[Role::Administrator], false);
    let dangerous = for_roles(&[Role::Administrator], true);
    let auditors = for_roles(&[Role::Auditor, Role::Administrator], false);
    // Reads, a change by operators, by administrators, a dangerous one, a read of the audit chain.
    let operations = [
        ("GET", &everybody),
        ("POST", &everybody),
        ("POST", &operators),
        ("PUT", &administrators),
        ("PUT", &dangerous),
        ("GET", &auditors),
    ];
    for (owner, scopes, may) in [
        ("anna", &["read"][..], [true, false, false, false, false, false]),
        ("anna", &["run"], [true, true, true, false, false, false]),
        ("anna", &["configure"], [true, true, true, true, false, true]),
        ("anna", &["administer"], [true, true, true, true, true, true]),
        ("anna", &["audit"], [true, false, false, false, false, true]),
        ("aura", &["audit"], [true, false, false, false, false, true]),
        ("aura", &["read"], [true, false, false, false, false, false]),
        ("vera", &["read"], [true, false, false, false, false, false]),
        ("olaf", &["read", "run"], [true, true, true, false, false, false]),
    ] {
        let token = this.token(owner, scopes).await;
        for ((method, claims), expected) in operations.iter().zip(may) {
            let admitted = this.admit(claims, &ask(method, "/x").bearer(&token)).await;
            assert_eq!(admitted.is_ok(), expected, "{owner} {scopes:?} {method} {claims:?}: {admitted:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_never_more_than_its_owner_is_now() {
    let this = TestBox::new().await;
    let token = this.token("anna", &["run", "read"]).await;
    let operators = for_roles(&[Role::Operator, Role::Administrator], false);
    let everybody = for_roles(&Role::ALL, false);
    let caller = this.admit(&operators, &ask("POST", "/x").bearer(&token)).await.unwrap();
    assert_eq!(caller.account, Some(("anna".parse().unwrap(), Role::Operator)), "under the least role that is enough");
    lock(&this.memory.rows).accounts.get_mut(&"anna".parse().unwrap()).unwrap().account.role = Role::Viewer;
    this.clock.pass(Duration::from_secs(5));
    assert_eq!(this.admit(&operators, &ask("POST", "/x").bearer(&token)).await.unwrap_err().code, "not-permitted");
    assert!(this.admit(&everybody, &ask("GET", "/x").bearer(&token)).await.is_ok());
    lock(&this.memory.rows).accounts.get_mut(&"anna".parse().unwrap()).unwrap().account.enabled = false;
    this.clock.pass(Duration::from_secs(5));
    assert_eq!(this.admit(&everybody, &ask("GET", "/x").bearer(&token)).await.unwrap_err().code, "not-authenticated");
}

#[tokio::test]
async fn forged_expired_and_revoked_tokens_let_nobody_in() {
    let this = TestBox::new().await;
    let token = this.token("olaf", &["read"]).await;
    let whoami = |token: &str| ask("GET", "/whoami").bearer(token);
    assert_eq!(this.ask(whoami(&token)).await.is(200, "").body["proof"], "token");
    let mut forged = token.clone();
    forged.replace_range(token.len() - 1.., if token.ends_with('a') { "b" } else { "a" });
    for bad in [&forged[..], "tbi_", "", &token[1..], &token.to_uppercase(), &format!("{token}{token}")] {
        this.ask(whoami(bad)).await.is(401, "not-authenticated");
    }
    // Revoked through this door: at once.
    let mut browser = Browser::log_in(&this, "olaf").await;
    browser.send(&this, ask("DELETE", &format!("/tokens/{}", &token[4..12]))).await.is(204, "");
    this.ask(whoami(&token)).await.is(401, "not-authenticated");
    // Revoked elsewhere: within five seconds.
    let token = this.token("olaf", &["read"]).await;
    this.ask(whoami(&token)).await.is(200, "");
    lock(&this.memory.rows).tokens.clear();
    this.clock.pass(Duration::from_secs(5));
    this.ask(whoami(&token)).await.is(401, "not-authenticated");
    // Expired, also while the answer of the agent is fresh; and a clock set back by days does not revive it.
    let token = this.token("olaf", &["read"]).await;
    let made = this.clock.wall();
    this.clock.pass(Duration::from_secs(30 * 86_400) - Duration::from_secs(1));
    this.ask(whoami(&token)).await.is(200, "");
    this.clock.pass(Duration::from_secs(1));
    this.ask(whoami(&token)).await.is(401, "not-authenticated");
    this.clock.set_wall(made - Duration::from_secs(2 * 86_400));
    this.ask(whoami(&token)).await.is(401, "not-authenticated");
}

#[tokio::test]
async fn the_request_path_does_not_ask_the_agent_each_time() {
    let this = TestBox::new().await;
    let token = this.token("olaf", &["read"]).await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    let (before, whoami) = (this.questions(), ask("GET", "/whoami"));
    for _ in 0..500 {
        this.ask(whoami.clone().bearer(&token)).await.is(200, "");
        browser.send(&this, whoami.clone()).await.is(200, "");
    }
    // One for each, and that the token is in use.
    assert_eq!(this.questions() - before, 3);
    // Last use is told once a minute.
    for _ in 0..120 {
        this.clock.pass(Duration::from_secs(1));
        this.ask(whoami.clone().bearer(&token)).await.is(200, "");
    }
    let told = lock(&this.memory.rows).changes.iter().filter(|(what, _by)| *what == "token_used").count();
    assert_eq!(told, 3);
}

#[tokio::test]
async fn basic_costs_one_hash_a_minute_and_not_one_each_request() {
    let this = TestBox::new().await;
    this.ask(ask("GET", "/whoami").basic("olaf", PASSWORD)).await.is(200, "");
    // With no hash to be had, only what is remembered answers.
    let turns = this.access.passwords.all_turns().await;
    for _ in 0..100 {
        this.ask(ask("GET", "/whoami").basic("olaf", PASSWORD)).await.is(200, "");
    }
    drop(turns);
    this.ask(ask("GET", "/whoami").basic("olaf", "a wrong password")).await.is(401, "login-refused");
    // A new password counts at once.
    let mut browser = Browser::log_in(&this, "olaf").await;
    let change = json!({ "old": PASSWORD, "new": "a better password" });
    browser.send(&this, ask("POST", "/password").json(&change)).await.is(200, "");
    this.ask(ask("GET", "/whoami").basic("olaf", PASSWORD)).await.is(401, "login-refused");
    this.ask(ask("GET", "/whoami").basic("olaf", "a better password")).await.is(200, "");
}

#[tokio::test]
async fn guesses_by_basic_are_delayed_as_well() {
    let this = TestBox::new().await;
    let mut judged = 0;
    for _ in 0..100 {
        let reply = this.ask(ask("GET", "/whoami").basic("anna", "a wrong password")).await;
        judged += u32::from(reply.code() == "login-refused");
    }
    assert_eq!(judged, 6);
}

#[tokio::test]
async fn a_client_certificate_stands_for_its_account() {
    let this = TestBox::new().await;
    let leaf: Arc<[u8]> = b"DER of a certificate that the listener verified".as_slice().into();
    let mut with = ask("GET", "/whoami");
    with.peer.certificate = Some(Arc::clone(&leaf));
    this.ask(with.clone()).await.is(401, "not-authenticated");
    let mut browser = Browser::log_in(&this, "anna").await;
    browser.step_up(&this).await;
    let entry = json!({ "fingerprint": sha256(&leaf), "account": "olaf", "label": "build server" });
    browser.send(&this, ask("POST", "/certificates").json(&entry)).await.is(201, "");
    let whoami = this.ask(with.clone()).await.is(200, "");
    assert_eq!((whoami.body["account"].as_str(), whoami.body["proof"].as_str()), (Some("olaf"), Some("certificate")));
    let dangerous = for_roles(&[Role::Operator], true);
    assert_eq!(this.admit(&dangerous, &with).await.unwrap_err().code, "step-up-required");
    this.ask(with.clone().basic("olaf", PASSWORD)).await.is(400, "ambiguous-credentials");
    browser.send(&this, ask("DELETE", &format!("/certificates/{}", sha256(&leaf)))).await.is(204, "");
    this.ask(with).await.is(401, "not-authenticated");
}
