//! One's own account: another password, and a second factor from the offer to switching it off.

use super::{Browser, PASSWORD, Stand, proven, send};

const OTHER: &str = "another four plain words";

#[tokio::test]
async fn a_password_is_changed_and_wrong_words_stand_at_their_fields() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let mut elsewhere = Browser::log_in(&stand, "vera").await;
    let token = vera.get(&stand, "/account").await.is(200).has("vera</bdi>, viewer").token();
    let huge = "x".repeat(2000);
    for (old, password, again, field) in [
        ("", OTHER, OTHER, "old"),
        ("not the right words", OTHER, OTHER, "old"),
        (PASSWORD, "", "", "password"),
        (PASSWORD, "short", "short", "password"),
        (PASSWORD, &huge, &huge, "password"),
        (PASSWORD, OTHER, "something else here", "again"),
    ] {
        let fields = [("old", old), ("password", password), ("again", again)];
        let page = send(&mut vera, &stand, &token, "/account", &fields).await.is(422);
        let page = page.has(&format!("id=\"{field}-error\"")).has_not(OTHER).has_not(PASSWORD);
        assert_eq!(page.body.matches("aria-invalid=\"true\"").count(), 1, "{field}");
    }
    let fields = [("old", PASSWORD), ("password", OTHER), ("again", OTHER)];
    send(&mut vera, &stand, &token, "/account", &fields).await.leads_to("/account?done=yes");
    vera.get(&stand, "/account?done=yes").await.is(200).has("The password was changed");
    elsewhere.get(&stand, "/").await.leads_to("/login");
    let mut again = Browser::default();
    again.post(&stand, "/login", &[("account", "vera"), ("password", OTHER)]).await.leads_to("/");
    stand.stop().await;
}

fn secret_of(body: &str) -> String {
    let at = body.split("?secret=").nth(1).unwrap();
    at.split('&').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_second_factor_is_set_up_its_codes_are_shown_once_and_it_is_switched_off() {
    const PATH: &str = "/account/second-factor";
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, PATH).await.leads_to("/step-up?next=%2Faccount%2Fsecond-factor");
    let (mut vera, token) = proven(&stand, "vera").await;
    vera.get(&stand, PATH).await.is(200).has("Set up a second factor").has_not("otpauth://");
    send(&mut vera, &stand, &token, PATH, &[("action", "nothing")]).await.is(400);
    let page = send(&mut vera, &stand, &token, PATH, &[("action", "confirm"), ("code", "123456")]).await.is(422);
    page.has("The offer is over");
    send(&mut vera, &stand, &token, PATH, &[("action", "offer")]).await.leads_to(PATH);
    let page = vera.get(&stand, PATH).await.is(200).has("<svg class=\"qr\" role=\"img\"").has("href=\"otpauth://totp/");
    let secret = secret_of(&page.body);
    page.has(&secret[..4]);
    let huge = "1".repeat(5000);
    for wrong in ["", "000000", "abc", &huge, "<script>alert(1)</script>"] {
        let page = send(&mut vera, &stand, &token, PATH, &[("action", "confirm"), ("code", wrong)]).await.is(422);
        assert_eq!(secret_of(&page.has("id=\"code-error\"").has_not("<script>alert").body), secret, "the offer stays");
    }
    let code = stand.on_box.code(&secret);
    let page = send(&mut vera, &stand, &token, PATH, &[("action", "confirm"), ("code", &code)]).await.is(200);
    let page = page.has("shown this once").has_not(&secret);
    let codes: Vec<String> =
        page.body.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    let renewed = page.token();
    assert_ne!(renewed, token, "the session has a new id, and the page its new token");
    let page = vera.get(&stand, PATH).await.is(200).has("The second factor is switched on");
    page.has_not(&codes[0]).has_not(&secret);
    vera.get(&stand, "/account").await.has("<dd>10</dd>");
    let mut other = Browser::default();
    let fields = [("account", "vera"), ("password", PASSWORD), ("code", codes[0].as_str())];
    other.post(&stand, "/login", &fields).await.leads_to("/");
    let page = send(&mut vera, &stand, &renewed, PATH, &[("action", "codes")]).await.is(200).has("shown this once");
    page.has_not(&codes[1]);
    send(&mut vera, &stand, &renewed, PATH, &[("action", "offer")]).await.is(422).has("already");
    let page = send(&mut vera, &stand, &renewed, PATH, &[("action", "remove"), ("reason", " ")]).await.is(422);
    page.has("id=\"reason-error\"").has("The second factor is switched on");
    let why = [("action", "remove"), ("reason", "new telephone")];
    send(&mut vera, &stand, &renewed, PATH, &why).await.leads_to("/account");
    assert_eq!(stand.on_box.memory.rows.lock().unwrap().reasons, ["new telephone".parse().unwrap()]);
    vera.get(&stand, "/account").await.is(200).has("Set up a second factor");
    other.get(&stand, "/").await.leads_to("/login");
    stand.stop().await;
}
