//! What clients send that nobody should, the agent out of reach, and secrets that must not be shown.

use tbi_api::access::{AccountChange, Hidden, SecondFactorChange, Totp};

use super::*;

#[tokio::test]
async fn while_the_agent_is_out_of_reach_nobody_is_let_in() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "anna").await;
    this.down(true);
    let token = format!("tbi_aaaaaaaa_{}", "a".repeat(52));
    for asked in [
        login("anna", PASSWORD),
        ask("GET", "/whoami").bearer(&token),
        ask("GET", "/whoami").basic("anna", PASSWORD),
        browser.dress(ask("GET", "/whoami")),
        ask("POST", "/first-administrator").json(&json!({ "claim_code": CLAIM_CODE, "account": "a", "password": "b" })),
    ] {
        let reply = this.ask(asked).await.is(503, "accounts-unavailable");
        assert!(reply.seconds("retry-after") >= 1);
    }
    // Not counted as guesses: the owner gets in when the agent is back.
    for _ in 0..50 {
        this.ask(login("anna", PASSWORD)).await.is(503, "accounts-unavailable");
    }
    this.down(false);
    this.ask(login("anna", PASSWORD)).await.is(200, "");
    // A session that was looked at a moment ago is served for five seconds, and not longer.
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    this.down(true);
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    this.clock.pass(Duration::from_secs(5));
    browser.send(&this, ask("GET", "/whoami")).await.is(503, "accounts-unavailable");
}

#[tokio::test]
async fn bad_utf8_and_huge_headers_are_refused_and_break_nothing() {
    let this = TestBox::new().await;
    let huge = "a".repeat(1 << 20);
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    let mut values: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"Basic".to_vec(),
        b"Basic ".to_vec(),
        b"Basic !!!!".to_vec(),
        b"Bearer".to_vec(),
        b"Bearer \xff\xfe".to_vec(),
        b"\xff\xff \xff".to_vec(),
        b"Digest username=anna".to_vec(),
        format!("Basic {}", base64(b"no colon")).into_bytes(),
        format!("Basic {}", base64(b"\xff\xfe:\xff")).into_bytes(),
        format!("Basic {}", base64(huge.as_bytes())).into_bytes(),
        format!("Bearer {huge}").into_bytes(),
        format!("Bearer tbi_{huge}").into_bytes(),
    ];
    values.push([b"Basic ".as_slice(), &[b'='; 100]].concat());
    for value in values {
        let mut asked = ask("GET", "/whoami");
        asked.headers.insert("authorization", HeaderValue::from_bytes(&value).unwrap());
        this.ask(asked).await.is(401, "not-authenticated");
    }
    for value in [&b"__Host-tbi-session=\xff\xff"[..], b"__Host-tbi-session", b"=;=;;=", huge.as_bytes()] {
        let mut asked = ask("GET", "/whoami");
        asked.headers.insert("cookie", HeaderValue::from_bytes(value).unwrap());
        this.ask(asked).await.is(401, "not-authenticated");
    }
}

#[tokio::test]
async fn bodies_that_are_no_order_are_refused_with_a_client_error() {
    let this = TestBox::new().await;
    for (body, status) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"[]", 422),
        (b"\xff\xfe", 400),
        (b"{\"account\":\"anna\"}", 422),
        (b"{\"account\":\"anna\",\"password\":7}", 422),
        (b"{\"account\":\"anna\",\"password\":\"x\",\"role\":\"administrator\"}", 422),
        (&[b' '; 20_000], 413),
    ] {
        let mut asked = ask("POST", "/login").with("content-type", "application/json");
        asked.body = body.to_vec();
        let reply = this.ask(asked).await;
        assert_eq!(reply.status, status, "{}", String::from_utf8_lossy(body));
    }
    let plain = Ask { headers: ask("POST", "/login").headers, ..login("anna", PASSWORD) };
    assert_eq!(this.ask(plain).await.status, 415);
    // Names and passwords that only a fuzzer sends.
    for (name, password) in [("", ""), ("\0", "\0"), ("a\u{202e}b", "x"), (&"n".repeat(5000), &"p".repeat(8000))] {
        this.ask(login(name, password).from("127.0.0.1")).await.is(401, "login-refused");
    }
    // What was typed into the wrong field is not in the audit chain.
    let notes = &lock(&this.memory.rows).notes;
    assert!(!notes.is_empty() && notes.iter().all(|note| note.by.actor == "anonymous" && note.target.is_empty()));
}

#[tokio::test]
async fn too_many_passwords_at_once_are_told_to_come_again() {
    let this = TestBox::new().await;
    let line = this.access.passwords.whole_line().await;
    let reply = this.ask(login("anna", PASSWORD)).await.is(503, "login-busy");
    assert!(reply.seconds("retry-after") >= 1);
    for _ in 0..50 {
        this.ask(login("anna", PASSWORD)).await.is(503, "login-busy");
    }
    drop(line);
    this.ask(login("anna", PASSWORD)).await.is(200, "");
}

#[tokio::test]
async fn a_session_revoked_elsewhere_ends_within_five_seconds() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    lock(&this.memory.rows).sessions.clear();
    this.clock.pass(Duration::from_millis(4_999));
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    this.clock.pass(Duration::from_millis(1));
    browser.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    // And one whose account got another epoch there.
    let mut browser = Browser::log_in(&this, "olaf").await;
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    lock(&this.memory.rows).accounts.get_mut(&"olaf".parse().unwrap()).unwrap().account.epoch += 1;
    this.clock.pass(Duration::from_secs(5));
    browser.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
}

#[tokio::test]
async fn no_secret_is_shown_by_debug() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "anna").await;
    browser.step_up(&this).await;
    let offer = browser.send(&this, ask("POST", "/second-factor")).await.is(200, "");
    let secret = "THESECRET";
    let hidden = || Hidden::new(secret);
    let order = |text: &str| text.replace("SECRET", secret);
    let login: crate::access::login::Login =
        serde_json::from_str(&order(r#"{"account":"anna","password":"SECRET","code":"SECRET"}"#)).unwrap();
    let step_up: crate::access::login::StepUp =
        serde_json::from_str(&order(r#"{"password":"SECRET","code":"SECRET"}"#)).unwrap();
    let change: crate::access::own::PasswordChange =
        serde_json::from_str(&order(r#"{"old":"SECRET","new":"SECRET"}"#)).unwrap();
    let user: crate::access::users::NewUser =
        serde_json::from_str(&order(r#"{"name":"ben","role":"viewer","password":"SECRET"}"#)).unwrap();
    let user_change: crate::access::users::UserChange =
        serde_json::from_str(&order(r#"{"password":"SECRET"}"#)).unwrap();
    let claim: crate::access::first::Claim =
        serde_json::from_str(&order(r#"{"claim_code":"SECRET","account":"ben","password":"SECRET"}"#)).unwrap();
    let confirmation: crate::access::second_factor::Confirmation =
        serde_json::from_str(&order(r#"{"code":"SECRET"}"#)).unwrap();
    let totp = Totp { secret: hidden(), last_step: Some(1) };
    let account_change = AccountChange {
        password: Some(hidden()),
        rehashed: Some(hidden()),
        recovery: Some(vec![hidden()]),
        recovery_used: Some(hidden()),
        second_factor: Some(SecondFactorChange::Set { totp: totp.clone(), recovery: vec![hidden()] }),
        ..AccountChange::default()
    };
    let new = NewAccount { name: "ben".parse().unwrap(), role: Role::Viewer, password: hidden(), first: false };
    let shown = format!(
        "{login:?} {step_up:?} {change:?} {user:?} {user_change:?} {claim:?} {confirmation:?} {totp:?} {account_change:?} \
         {new:?} {:?} {:?} {:?} {:?}",
        this.access,
        this.access.keys,
        lock(&this.access.enrolments),
        lock(&this.memory.rows).accounts,
    );
    assert!(!shown.contains(secret), "{shown}");
    assert!(!shown.contains(offer.body["secret"].as_str().unwrap()), "{shown}");
    assert!(!shown.contains("argon2id"), "{shown}");
    let id = crate::access::cookie::SessionId::random().unwrap();
    assert_eq!(format!("{id:?}"), "SessionId(…)");
    let cookie = id.set_cookie(&this.access.keys).unwrap();
    assert_eq!(format!("{cookie:?}"), "Sensitive");
}
