//! Sessions from login to their end, and guesses at passwords.

use super::*;
use crate::access::alive::{ABSOLUTE, IDLE};

#[tokio::test]
async fn a_login_gives_a_session_and_logout_ends_it() {
    let this = TestBox::new().await;
    let mut browser = Browser::default();
    let reply = browser.send(&this, login("olaf", PASSWORD)).await.is(200, "");
    assert_eq!((reply.body["account"].as_str(), reply.body["role"].as_str()), (Some("olaf"), Some("operator")));
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("__Host-tbi-session=") && cookies[0].ends_with("Secure; HttpOnly; SameSite=Strict"));
    assert!(cookies[1].starts_with("__Host-tbi-device="));
    let whoami = browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    assert_eq!(whoami.body["csrf"], reply.body["csrf"]);
    let stolen = browser.clone();
    browser.send(&this, ask("POST", "/logout")).await.is(204, "");
    assert!(!browser.cookies.contains_key("__Host-tbi-session"));
    this.ask(stolen.dress(ask("GET", "/whoami"))).await.is(401, "not-authenticated");
}

#[tokio::test]
async fn an_unknown_account_a_disabled_one_and_a_wrong_password_get_the_same_answer() {
    let this = TestBox::new().await;
    lock(&this.memory.rows).accounts.get_mut(&"vera".parse().unwrap()).unwrap().account.enabled = false;
    let mut answers = Vec::new();
    for (name, password) in
        [("olaf", "wrong wrong wrong"), ("nobody", PASSWORD), ("vera", PASSWORD), ("no/name", PASSWORD)]
    {
        let asked = this.questions();
        let reply = this.ask(login(name, password).from("198.51.100.7")).await.is(401, "login-refused");
        let mut headers = reply.headers.clone();
        headers.remove("x-ratelimit-remaining");
        // A name that cannot be one is not looked up; no account can have it, so that tells nothing.
        let asked = this.questions() - asked;
        answers.push((reply.status, reply.body["detail"].clone(), headers, asked.max(2)));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let notes = &lock(&this.memory.rows).notes;
    assert_eq!(notes.len(), 4);
    assert!(notes.iter().all(|note| note.action == "login.refused" && note.by.source == "198.51.100.7"));
}

#[tokio::test]
async fn a_session_survives_a_restart_of_the_door() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    let this = this.restarted();
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    browser.send(&this, ask("POST", "/logout")).await.is(204, "");
}

#[tokio::test]
async fn a_forged_an_ended_and_a_replayed_cookie_let_nobody_in() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    let asked = this.questions();
    let mut forged = browser.clone();
    let cookie = forged.cookies.get_mut("__Host-tbi-session").unwrap();
    let last = if cookie.ends_with('A') { "E" } else { "A" };
    cookie.replace_range(cookie.len() - 1.., last);
    this.ask(forged.dress(ask("GET", "/whoami"))).await.is(401, "not-authenticated");
    assert_eq!(this.questions(), asked, "a forged cookie is refused without asking the agent");
    // Expired: idle, then absolute.
    this.clock.pass(IDLE);
    browser.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    let mut browser = Browser::log_in(&this, "olaf").await;
    for _ in 0..(ABSOLUTE.as_secs() / 1200 - 1) {
        this.clock.pass(Duration::from_secs(1200));
        browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    }
    this.clock.pass(Duration::from_secs(1200));
    browser.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    // Replayed after another login took its place.
    let mut browser = Browser::log_in(&this, "olaf").await;
    let before = browser.clone();
    browser.send(&this, login("olaf", PASSWORD)).await.is(200, "");
    assert_ne!(before.session(), browser.session());
    this.ask(before.dress(ask("GET", "/whoami"))).await.is(401, "not-authenticated");
}

#[tokio::test]
async fn a_clock_set_back_prolongs_no_session_also_not_through_a_step_up() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    let start = this.clock.wall();
    for round in 0..(ABSOLUTE.as_secs() / 1200 - 1) {
        this.clock.pass(Duration::from_secs(1200));
        this.clock.set_wall(start);
        browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
        if round == 5 {
            browser.step_up(&this).await;
        }
    }
    this.clock.pass(Duration::from_secs(1200));
    this.clock.set_wall(start);
    browser.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
}

#[tokio::test]
async fn a_step_up_gives_a_new_id_and_counts_for_ten_minutes() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "anna").await;
    let new = json!({ "name": "new", "role": "viewer", "password": "another good one" });
    browser.send(&this, ask("POST", "/users").json(&new)).await.is(403, "step-up-required");
    browser.send(&this, ask("POST", "/step-up").json(&json!({ "password": "wrong" }))).await.is(403, "step-up-refused");
    let before = browser.clone();
    browser.step_up(&this).await;
    assert_ne!(before.session(), browser.session());
    this.ask(before.dress(ask("GET", "/whoami"))).await.is(401, "not-authenticated");
    browser.send(&this, ask("POST", "/users").json(&new)).await.is(201, "");
    this.clock.pass(Duration::from_secs(600));
    browser.send(&this, ask("DELETE", "/users/new")).await.is(403, "step-up-required");
    let notes: Vec<String> = lock(&this.memory.rows).notes.iter().map(|note| note.action.clone()).collect();
    assert_eq!(notes, ["step-up.refused"]);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_keeps_this_one() {
    let this = TestBox::new().await;
    let mut elsewhere = Browser::log_in(&this, "olaf").await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    let change = |old: &str, new: &str| ask("POST", "/password").json(&json!({ "old": old, "new": new }));
    browser.send(&this, change("wrong", "a better password")).await.is(403, "password-wrong");
    browser.send(&this, change(PASSWORD, "short")).await.is(422, "password-not-taken");
    elsewhere.send(&this, ask("GET", "/whoami")).await.is(200, "");
    let before = browser.clone();
    browser.send(&this, change(PASSWORD, "a better password")).await.is(200, "");
    assert_ne!(before.session(), browser.session());
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    elsewhere.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    this.ask(login("olaf", PASSWORD)).await.is(401, "login-refused");
    this.ask(login("olaf", "a better password")).await.is(200, "");
}

#[tokio::test]
async fn guesses_are_delayed_and_neither_console_nor_known_device_waits() {
    let this = TestBox::new().await;
    // A device of anna's, from the address that is attacked from later.
    let mut known = Browser { address: Some("203.0.113.9".to_owned()), ..Browser::default() };
    known.send(&this, login("anna", PASSWORD)).await.is(200, "");
    let mut throttled = 0;
    for attempt in 0..300 {
        let reply = this.ask(login("anna", "a wrong password").from(&format!("203.0.113.{}", attempt % 20))).await;
        if reply.code() == "login-throttled" {
            throttled += 1;
            assert!(reply.seconds("retry-after") >= 1);
        } else {
            reply.is(401, "login-refused");
        }
    }
    assert_eq!(throttled, 294, "five free ones, and the one that sets the first delay");
    // The right password waits as well where strangers are.
    this.ask(login("anna", PASSWORD).from("203.0.113.200")).await.is(429, "login-throttled");
    this.ask(login("anna", PASSWORD).from("127.0.0.1")).await.is(200, "");
    this.ask(login("anna", PASSWORD).from("::1")).await.is(200, "");
    known.send(&this, login("anna", PASSWORD)).await.is(200, "");
    // Its cookie is no way to another account, and a forged one no way to this.
    let mut other = known.clone();
    for _ in 0..20 {
        let _reply = other.send(&this, login("olaf", "a wrong password")).await;
    }
    other.send(&this, login("olaf", PASSWORD)).await.is(429, "login-throttled");
    let mut forged = known.clone();
    forged.cookies.get_mut("__Host-tbi-device").unwrap().replace_range(..4, "AAAA");
    forged.send(&this, login("anna", PASSWORD)).await.is(429, "login-throttled");
}

#[tokio::test]
async fn a_weakly_hashed_password_is_hashed_anew_at_login() {
    let this = TestBox::new().await;
    // The same parameters with fewer passes cannot be had below one; so the box asks for more from now on.
    let stronger = Passwords::new().unwrap();
    let access = Access::with_passwords(
        Config {
            state: this.state.path().to_owned(),
            claim_code: None,
            per_address: Limits::PER_ADDRESS,
            per_identity: Limits::PER_ADDRESS.times(2),
            delays: Delays::default(),
        },
        Arc::<Memory>::clone(&this.memory),
        Arc::<TestClock>::clone(&this.clock),
        stronger,
    );
    let access = access.unwrap();
    let this = TestBox { router: routes(Arc::clone(&access), Arc::clone(&this.certificates)), access, ..this };
    let stored = |this: &TestBox| {
        let rows = lock(&this.memory.rows);
        let secrets = &rows.accounts[&"olaf".parse().unwrap()];
        (secrets.password.reveal().contains("m=19456,t=2,p=1"), secrets.account.epoch)
    };
    let (strong, epoch) = stored(&this);
    assert!(!strong);
    let mut browser = Browser::log_in(&this, "olaf").await;
    assert_eq!(stored(&this), (true, epoch), "no session ends over it");
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
}
