//! The second factor from its offer to the last recovery code.

use tbi_api::access::Hidden;

use super::*;
use crate::access::totp::code_at;

fn with_code(name: &str, code: &str) -> Ask {
    ask("POST", "/login").json(&json!({ "account": name, "password": PASSWORD, "code": code }))
}

impl TestBox {
    pub(crate) fn code(&self, secret: &str) -> String {
        code_at(&Hidden::new(secret), self.clock.wall().as_second()).reveal().to_owned()
    }
}

/// Sets a second factor up; gives the browser, the secret and the recovery codes. The code of the running step is used then.
async fn enrolled(this: &TestBox, name: &str) -> (Browser, String, Vec<String>) {
    let mut browser = Browser::log_in(this, name).await;
    browser.send(this, ask("POST", "/second-factor")).await.is(403, "step-up-required");
    browser.step_up(this).await;
    let offer = browser.send(this, ask("POST", "/second-factor")).await.is(200, "");
    let secret = offer.body["secret"].as_str().unwrap().to_owned();
    assert!(offer.body["uri"].as_str().unwrap().contains(&format!("secret={secret}&")));
    let confirm = |code: &str| ask("POST", "/second-factor/confirm").json(&json!({ "code": code }));
    let wrong = if this.code(&secret) == "000000" { "000001" } else { "000000" };
    browser.send(this, confirm(wrong)).await.is(422, "code-wrong");
    let codes = browser.send(this, confirm(&this.code(&secret))).await.is(200, "");
    let codes: Vec<String> = serde_json::from_value(codes.body["recovery_codes"].clone()).unwrap();
    assert_eq!(codes.len(), 10);
    (browser, secret, codes)
}

#[tokio::test]
async fn a_code_counts_once_and_a_login_needs_one() {
    let this = TestBox::new().await;
    let (mut browser, secret, _codes) = enrolled(&this, "anna").await;
    browser.send(&this, ask("GET", "/whoami")).await.is(200, "");
    this.ask(login("anna", PASSWORD)).await.is(401, "second-factor-required");
    this.ask(login("anna", "a wrong password")).await.is(401, "login-refused");
    // The code that confirmed is used up.
    this.ask(with_code("anna", &this.code(&secret))).await.is(401, "login-refused");
    this.clock.pass(Duration::from_secs(30));
    let code = this.code(&secret);
    this.ask(with_code("anna", &code)).await.is(200, "");
    this.ask(with_code("anna", &code)).await.is(401, "login-refused");
    // The step-up takes a code as well, and the password is not enough any more.
    this.clock.pass(Duration::from_secs(600));
    browser
        .send(&this, ask("POST", "/step-up").json(&json!({ "password": PASSWORD })))
        .await
        .is(403, "step-up-refused");
    let code = this.code(&secret);
    browser.send(&this, ask("POST", "/step-up").json(&json!({ "code": code }))).await.is(200, "");
}

#[tokio::test]
async fn a_recovery_code_counts_once_and_new_ones_replace_the_old() {
    let this = TestBox::new().await;
    let (mut browser, _secret, codes) = enrolled(&this, "anna").await;
    this.ask(with_code("anna", &codes[0])).await.is(200, "");
    this.ask(with_code("anna", &codes[0])).await.is(401, "login-refused");
    this.ask(with_code("anna", &codes[1].to_uppercase().replace('-', ""))).await.is(200, "");
    let fresh = browser.send(&this, ask("POST", "/second-factor/recovery-codes")).await.is(200, "");
    this.ask(with_code("anna", &codes[2])).await.is(401, "login-refused");
    this.ask(with_code("anna", fresh.body["recovery_codes"][0].as_str().unwrap())).await.is(200, "");
    assert!(!format!("{:?}", lock(&this.memory.rows).accounts).contains(&codes[3]));
}

#[tokio::test]
async fn a_second_factor_ends_other_sessions_and_can_be_removed() {
    let this = TestBox::new().await;
    let mut elsewhere = Browser::log_in(&this, "anna").await;
    let (mut browser, ..) = enrolled(&this, "anna").await;
    elsewhere.send(&this, ask("GET", "/whoami")).await.is(401, "not-authenticated");
    browser.send(&this, ask("POST", "/second-factor")).await.is(409, "second-factor-exists");
    browser.send(&this, ask("DELETE", "/second-factor")).await.is(200, "");
    browser.send(&this, ask("DELETE", "/second-factor")).await.is(409, "no-second-factor");
    this.ask(login("anna", PASSWORD)).await.is(200, "");
}

#[tokio::test]
async fn an_offer_is_forgotten_after_ten_minutes() {
    let this = TestBox::new().await;
    let mut browser = Browser::log_in(&this, "olaf").await;
    browser.step_up(&this).await;
    let offer = browser.send(&this, ask("POST", "/second-factor")).await.is(200, "");
    this.clock.pass(Duration::from_secs(601));
    browser.step_up(&this).await;
    let code = this.code(offer.body["secret"].as_str().unwrap());
    let confirm = ask("POST", "/second-factor/confirm").json(&json!({ "code": code }));
    browser.send(&this, confirm).await.is(409, "no-second-factor-offered");
}

#[tokio::test]
async fn guesses_at_the_code_are_delayed_like_guesses_at_the_password() {
    let this = TestBox::new().await;
    let (_browser, secret, _codes) = enrolled(&this, "anna").await;
    this.clock.pass(Duration::from_secs(60));
    let right = this.code(&secret);
    let mut judged = 0;
    for guess in 0..200_u32 {
        let guess = format!("{guess:06}");
        if guess != right {
            judged += u32::from(this.ask(with_code("anna", &guess)).await.code() == "login-refused");
        }
    }
    assert_eq!(judged, 6);
}

#[tokio::test]
async fn basic_is_no_way_around_the_second_factor() {
    let this = TestBox::new().await;
    this.ask(ask("GET", "/whoami").basic("anna", PASSWORD)).await.is(200, "");
    let _enrolled = enrolled(&this, "anna").await;
    this.ask(ask("GET", "/whoami").basic("anna", PASSWORD)).await.is(403, "second-factor-needs-token");
    this.ask(ask("GET", "/whoami").basic("anna", "a wrong password")).await.is(401, "login-refused");
}
