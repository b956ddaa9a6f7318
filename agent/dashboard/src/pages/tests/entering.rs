//! Before and around the login: the first visit, logging in with and without a second factor, logging out, and where one is led.

use serde_json::json;

use super::{Browser, Stand};
use crate::access::tests::{CLAIM_CODE, PASSWORD};

#[tokio::test]
async fn a_new_box_leads_to_the_welcome_and_its_first_administrator_is_logged_in() {
    let stand = Stand::unclaimed().await;
    let mut browser = Browser::default();
    browser.get(&stand, "/").await.leads_to("/welcome");
    browser.get(&stand, "/login").await.leads_to("/welcome");
    browser.get(&stand, "/welcome").await.is(200).has("Claim code").has_not("claim-code-that-is-the-consoles");
    let fields = [("claim_code", CLAIM_CODE), ("account", "anna"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.post(&stand, "/welcome", &fields).await.leads_to("/setup");
    browser.get(&stand, "/").await.is(200).has("anna").has("administrator").has_not("claim-code-that-is-the-consoles");
    browser.get(&stand, "/welcome").await.leads_to("/login");
    Browser::default().post(&stand, "/welcome", &fields).await.leads_to("/login");
    stand.stop().await;
}

#[tokio::test]
async fn wrong_words_of_the_welcome_stand_at_their_fields_and_nothing_typed_is_lost() {
    let stand = Stand::unclaimed().await;
    let mut browser = Browser::default();
    let mut ask = async |fields: &[(&str, &str)]| browser.post(&stand, "/welcome", fields).await.is(422);
    let page = ask(&[("claim_code", "  "), ("account", ""), ("password", ""), ("again", "")]).await;
    for field in ["claim_code", "account", "password"] {
        assert!(page.body.contains(&format!("id=\"{field}-error\"")), "{field}: {}", page.body);
        assert!(page.body.contains(&format!("aria-describedby=\"{field}-error {field}-hint\"")), "{field}");
    }
    let page =
        ask(&[("claim_code", "wrong-claim-code-1"), ("account", "anna"), ("password", PASSWORD), ("again", PASSWORD)])
            .await;
    page.has("id=\"claim_code-error\"").has("value=\"anna\"").has("value=\"wrong-claim-code-1\"").has_not(PASSWORD);
    let page =
        ask(&[("claim_code", CLAIM_CODE), ("account", "Anna!"), ("password", PASSWORD), ("again", PASSWORD)]).await;
    page.has("id=\"account-error\"").has("value=\"Anna!\"").has_not(PASSWORD);
    let page = ask(&[("claim_code", CLAIM_CODE), ("account", "anna"), ("password", "short"), ("again", "short")]).await;
    page.has("id=\"password-error\"");
    let page =
        ask(&[("claim_code", CLAIM_CODE), ("account", "anna"), ("password", PASSWORD), ("again", "another")]).await;
    page.has("id=\"again-error\"").has_not(PASSWORD).has_not("another");
    browser.get(&stand, "/").await.leads_to("/welcome");
    stand.stop().await;
}

#[tokio::test]
async fn who_is_not_logged_in_is_led_to_the_login_and_back() {
    let stand = Stand::start().await;
    let mut browser = Browser::default();
    browser.get(&stand, "/").await.leads_to("/login");
    browser.get(&stand, "/runs?state=passed&name=a").await.leads_to("/login?next=%2Fruns%3Fstate%3Dpassed%26name%3Da");
    browser.post(&stand, "/sessions", &[("hash", "x")]).await.leads_to("/login?next=%2Fsessions");
    let page = browser.get(&stand, "/login?next=%2Fruns%3Fstate%3Dpassed%26name%3Da").await.is(200);
    page.has("name=\"next\" value=\"/runs?state=passed&#38;name=a\"");
    let fields = [("account", " vera "), ("password", PASSWORD), ("code", ""), ("next", "/runs?state=passed&name=a")];
    browser.post(&stand, "/login", &fields).await.leads_to("/runs?state=passed&name=a");
    browser.get(&stand, "/runs").await.is(200).has("vera");
    browser.get(&stand, "/login?next=/sessions").await.leads_to("/sessions");
    stand.stop().await;
}

#[tokio::test]
async fn no_login_leads_away_from_the_box() {
    let stand = Stand::start().await;
    for next in
        ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/%2f/evil.example"]
    {
        let fields = [("account", "vera"), ("password", PASSWORD), ("code", ""), ("next", next)];
        let mut browser = Browser::default();
        browser.post(&stand, "/login", &fields).await.leads_to("/");
        let fields = [("theme", "dark"), ("next", next)];
        browser.post(&stand, "/preferences", &fields).await.leads_to("/");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_wrong_login_says_so_once_and_keeps_what_was_typed_but_no_password() {
    let stand = Stand::start().await;
    let mut browser = Browser::default();
    let fields = [("account", "vera"), ("password", "not the right words"), ("code", ""), ("next", "/runs")];
    let page = browser.post(&stand, "/login", &fields).await.is(422).has("value=\"vera\"").has("value=\"/runs\"");
    page.has("role=\"alert\"").has_not("not the right words");
    let page = browser.post(&stand, "/login", &[("account", ""), ("password", ""), ("code", "")]).await.is(422);
    page.has("aria-invalid=\"true\" aria-describedby=\"account-error\"").has("id=\"password-error\"");
    let nobody = [("account", "nobody"), ("password", "not the right words"), ("code", "")];
    let page = browser.post(&stand, "/login", &nobody).await.is(422);
    assert!(page.body.contains("are not right"), "whether an account exists is not told");
    assert!(browser.cookies.is_empty());
    stand.stop().await;
}

#[tokio::test]
async fn an_account_with_a_second_factor_is_asked_for_its_code() {
    let stand = Stand::start().await;
    let secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    {
        let mut rows = stand.on_box.memory.rows.lock().unwrap();
        let vera = rows.accounts.get_mut(&"vera".parse().unwrap()).unwrap();
        vera.totp = Some(serde_json::from_value(json!({"secret": secret, "last_step": null})).unwrap());
        vera.account.second_factor = true;
    }
    let mut browser = Browser::default();
    let without = [("account", "vera"), ("password", PASSWORD), ("code", "")];
    let page = browser.post(&stand, "/login", &without).await.is(422);
    page.has("id=\"code-error\"")
        .has("aria-describedby=\"code-error code-hint\"")
        .has("value=\"vera\"")
        .has_not(PASSWORD);
    let wrong = [("account", "vera"), ("password", PASSWORD), ("code", "000000")];
    browser.post(&stand, "/login", &wrong).await.is(422).has("are not right").has_not("000000");
    let code = stand.on_box.code(secret);
    let right = [("account", "vera"), ("password", PASSWORD), ("code", code.as_str())];
    browser.post(&stand, "/login", &right).await.leads_to("/");
    browser.get(&stand, "/").await.is(200);
    stand.stop().await;
}

#[tokio::test]
async fn too_many_wrong_logins_say_how_long_to_wait() {
    let stand = Stand::start().await;
    let mut browser = Browser::default();
    let fields = [("account", "vera"), ("password", "not the right words"), ("code", "")];
    let mut page = browser.post(&stand, "/login", &fields).await;
    for _try in 0..20 {
        if page.status == 429 {
            break;
        }
        page = browser.post(&stand, "/login", &fields).await;
    }
    let page = page.is(429).has("too many wrong tries").has("value=\"vera\"");
    let seconds: u64 = page.header("retry-after").parse().unwrap();
    assert!(seconds > 0 && page.body.contains(&format!("Wait {seconds} seconds")));
    stand.stop().await;
}

#[tokio::test]
async fn a_logout_ends_the_session_and_not_only_the_cookie() {
    let stand = Stand::start().await;
    let mut browser = Browser::log_in(&stand, "vera").await;
    let before = browser.clone();
    let token = browser.get(&stand, "/").await.is(200).token();
    browser.post(&stand, "/logout", &[("csrf", &token)]).await.leads_to("/login");
    assert!(!browser.cookies.contains_key("__Host-tbi-session"));
    before.clone().get(&stand, "/").await.leads_to("/login");
    stand.stop().await;
}
