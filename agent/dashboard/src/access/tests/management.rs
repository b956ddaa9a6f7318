//! What administrators do about others, what others may not, and the first administrator.

use super::*;

#[tokio::test]
async fn every_operation_is_refused_to_the_roles_it_does_not_name() {
    let this = TestBox::new().await;
    for (name, role) in
        [("vera", Role::Viewer), ("olaf", Role::Operator), ("anna", Role::Administrator), ("aura", Role::Auditor)]
    {
        let browser = Browser::log_in(&this, name).await;
        for (method, path, claims) in claims().into_iter().filter(|(.., claims)| !claims.public) {
            let asked = browser.dress(Ask { method: method.clone(), path: path.clone(), ..ask("GET", "") });
            let refused = this.admit(&claims, &asked).await.err().map(|refusal| refusal.code);
            let expected = match (claims.roles.contains(&role), claims.step_up) {
                (false, _) => Some("not-permitted"),
                (true, true) => Some("step-up-required"),
                (true, false) => None,
            };
            assert_eq!(refused, expected, "{name} {method} {path}");
        }
    }
}

#[tokio::test]
async fn accounts_are_made_changed_and_removed() {
    let this = TestBox::new().await;
    let mut anna = Browser::log_in(&this, "anna").await;
    anna.step_up(&this).await;
    let new = |name: &str, password: &str| {
        ask("POST", "/users").json(&json!({ "name": name, "role": "viewer", "password": password }))
    };
    anna.send(&this, new("ben", "Administrator")).await.is(422, "password-not-taken");
    anna.send(&this, new("Ben!", "a password of his")).await.is(422, "name-not-taken");
    let made = anna.send(&this, new("ben", "a password of his")).await.is(201, "");
    assert!(made.body.get("password").is_none());
    anna.send(&this, new("ben", "a password of his")).await.is(409, "account-exists");
    let mut ben = Browser::default();
    ben.send(&this, login("ben", "a password of his")).await.is(200, "");
    ben.send(&this, ask("GET", "/users")).await.is(403, "not-permitted");
    // Another role ends the sessions.
    let role = ask("PATCH", "/users/ben").json(&json!({ "role": "auditor" }));
    anna.send(&this, role).await.is(200, "");
    ben.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    ben.send(&this, login("ben", "a password of his")).await.is(200, "");
    ben.send(&this, ask("GET", "/users")).await.is(200, "");
    anna.send(&this, ask("DELETE", "/users/ben/sessions")).await.is(204, "");
    ben.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    anna.send(&this, ask("DELETE", "/users/ben")).await.is(204, "");
    for path in ["/users/ben", "/users/no%2Fname"] {
        anna.send(&this, ask("GET", path)).await.is(404, "no-such-account");
    }
    anna.send(&this, ask("DELETE", "/users/anna")).await.is(409, "last-administrator");
    anna.send(&this, ask("PATCH", "/users/anna").json(&json!({ "role": "viewer" })))
        .await
        .is(409, "last-administrator");
    let rows = lock(&this.memory.rows);
    let (_what, by) = rows.changes.iter().find(|(what, _by)| *what == "remove_account").unwrap();
    let expected = By {
        actor: "anna".to_owned(),
        role: Some(Role::Administrator),
        source: "192.0.2.1".to_owned(),
        correlation_id: "test-1".to_owned(),
    };
    assert_eq!(*by, expected, "the agent learns who did it");
}

#[tokio::test]
async fn sessions_and_tokens_of_others_do_not_exist_for_those_they_do_not_concern() {
    let this = TestBox::new().await;
    let mut anna = Browser::log_in(&this, "anna").await;
    let mut olaf = Browser::log_in(&this, "olaf").await;
    let mut vera = Browser::log_in(&this, "vera").await;
    let own = olaf.send(&this, ask("GET", "/sessions")).await.is(200, "");
    assert_eq!(own.body.as_array().unwrap().len(), 1);
    assert_eq!(anna.send(&this, ask("GET", "/sessions")).await.body.as_array().unwrap().len(), 3);
    let path = format!("/sessions/{}", own.body[0]["hash"].as_str().unwrap());
    vera.send(&this, ask("DELETE", &path)).await.is(404, "no-such-session");
    olaf.send(&this, ask("GET", "/whoami")).await.is(200, "");
    anna.send(&this, ask("DELETE", &path)).await.is(204, "");
    olaf.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    anna.send(&this, ask("DELETE", &path)).await.is(404, "no-such-session");
    anna.send(&this, ask("DELETE", "/sessions/not-a-hash")).await.is(404, "no-such-session");

    let expires = (this.clock.wall() + Duration::from_secs(86_400)).to_string();
    let order = json!({ "label": "x", "scopes": ["read"], "expires": expires });
    let made = anna.send(&this, ask("POST", "/tokens").json(&order)).await.is(201, "");
    let path = format!("/tokens/{}", made.body["token"]["id"].as_str().unwrap());
    assert_eq!(vera.send(&this, ask("GET", "/tokens")).await.body, json!([]));
    vera.send(&this, ask("DELETE", &path)).await.is(404, "no-such-token");
    anna.send(&this, ask("DELETE", &path)).await.is(204, "");
}

#[tokio::test]
async fn a_token_is_granted_within_role_and_year_and_by_a_person() {
    let this = TestBox::new().await;
    let mut anna = Browser::log_in(&this, "anna").await;
    let mut vera = Browser::log_in(&this, "vera").await;
    let day = Duration::from_secs(86_400);
    let order = |scopes: &[&str], days: u32, account: Option<&str>| {
        let expires = (this.clock.wall() + day * days).to_string();
        ask("POST", "/tokens").json(&json!({ "label": "x", "scopes": scopes, "expires": expires, "account": account }))
    };
    vera.send(&this, order(&["run"], 1, None)).await.is(422, "scopes-not-taken");
    vera.send(&this, order(&[], 1, None)).await.is(422, "scopes-not-taken");
    vera.send(&this, order(&["read"], 0, None)).await.is(422, "expiry-not-taken");
    vera.send(&this, order(&["read"], 367, None)).await.is(422, "expiry-not-taken");
    vera.send(&this, order(&["read"], 1, Some("anna"))).await.is(403, "not-permitted");
    let missing = ask("POST", "/tokens").json(&json!({ "label": "x", "scopes": ["read"] }));
    vera.send(&this, missing).await.is(422, "unprocessable");
    let made = anna.send(&this, order(&["read"], 365, Some("vera"))).await.is(201, "");
    assert_eq!(made.body["token"]["account"], "vera");
    anna.send(&this, order(&["run"], 1, Some("vera"))).await.is(422, "scopes-not-taken");
    anna.send(&this, order(&["administer"], 1, None)).await.is(403, "step-up-required");
    anna.step_up(&this).await;
    let administer = anna.send(&this, order(&["administer"], 1, None)).await.is(201, "");
    let secret = administer.body["secret"].as_str().unwrap();
    // A token breeds no tokens, and changes nobody's password.
    let bred = json!({ "label": "x", "scopes": ["read"], "expires": this.clock.wall().to_string() });
    this.ask(ask("POST", "/tokens").json(&bred).bearer(secret)).await.is(403, "needs-session");
    let password = json!({ "old": PASSWORD, "new": "a better password" });
    this.ask(ask("POST", "/password").json(&password).bearer(secret)).await.is(403, "needs-session");
    // What is stored of it is its hash.
    assert!(!format!("{:?}", lock(&this.memory.rows).tokens).contains(&secret[13..]));
}

fn claim(code: &str) -> Ask {
    ask("POST", "/first-administrator")
        .json(&json!({ "claim_code": code, "account": "root", "password": "a password of mine" }))
}

#[tokio::test]
async fn the_first_administrator_is_made_once_by_who_has_the_code() {
    let this = TestBox::empty().await;
    this.ask(claim("another code of this length")).await.is(403, "claim-code-wrong");
    let mut short = claim(CLAIM_CODE);
    short.body = String::from_utf8(short.body).unwrap().replace("a password of mine", "short").into_bytes();
    this.ask(short).await.is(422, "password-not-taken");
    let made = this.ask(claim(CLAIM_CODE)).await.is(201, "");
    assert_eq!(made.body["role"], "administrator");
    this.ask(claim(CLAIM_CODE)).await.is(409, "administrator-exists");
    this.ask(claim("another code of this length")).await.is(409, "administrator-exists");
    this.ask(login("root", "a password of mine")).await.is(200, "");
    let rows = lock(&this.memory.rows);
    assert_eq!(rows.notes.iter().map(|note| note.action.as_str()).collect::<Vec<_>>(), ["first-administrator.refused"]);
}

#[tokio::test]
async fn guesses_at_the_claim_code_are_delayed_and_the_console_is_not_locked_out() {
    let this = TestBox::empty().await;
    let mut judged = 0;
    for guess in 0..500_u32 {
        let reply =
            this.ask(claim(&format!("guess number {guess:04}")).from(&format!("198.51.100.{}", guess % 250))).await;
        judged += u32::from(reply.code() == "claim-code-wrong");
    }
    assert_eq!(judged, 6);
    this.ask(claim(CLAIM_CODE).from("198.51.100.251")).await.is(429, "login-throttled");
    this.ask(claim(CLAIM_CODE).from("127.0.0.1")).await.is(201, "");
}

#[tokio::test]
async fn a_claim_code_that_is_short_or_missing_lets_nobody_in() {
    let this = TestBox::empty().await;
    let file = this.state.path().join("claim");
    for code in ["", "short", "fifteen-letters"] {
        std::fs::write(&file, code).unwrap();
        this.ask(claim(code)).await.is(403, "no-claim-code");
    }
    std::fs::remove_file(&file).unwrap();
    this.ask(claim("")).await.is(403, "no-claim-code");
    this.restarted().ask(claim(CLAIM_CODE)).await.is(403, "no-claim-code");
}
