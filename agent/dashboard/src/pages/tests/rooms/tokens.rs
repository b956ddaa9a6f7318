//! API tokens: made, shown once, ended with a reason.

use super::{Browser, Stand, proven, send};

const SOON: &str = "2027-03-01";

#[tokio::test]
async fn a_token_is_made_and_shown_once_and_wrong_words_stand_at_their_fields() {
    let stand = Stand::start().await;
    Browser::log_in(&stand, "vera").await.get(&stand, "/tokens/new").await.leads_to("/step-up?next=%2Ftokens%2Fnew");
    let (mut anna, token) = proven(&stand, "anna").await;
    anna.get(&stand, "/tokens").await.is(200).has("There is no token");
    anna.get(&stand, "/tokens/new").await.is(200).has("value=\"anna\"").has("name=\"scope_administer\"");
    let huge = "é".repeat(101);
    for (label, account, scope, expires, field) in [
        ("", "anna", "scope_read", SOON, "label"),
        (huge.as_str(), "anna", "scope_read", SOON, "label"),
        ("nightly", "nobody", "scope_read", SOON, "account"),
        ("nightly", "An\"na<b>", "scope_read", SOON, "account"),
        ("nightly", "anna", "scope_everything", SOON, "scopes"),
        ("nightly", "vera", "scope_administer", SOON, "scopes"),
        ("nightly", "anna", "scope_read", "", "expires"),
        ("nightly", "anna", "scope_read", "31/01/2027", "expires"),
        ("nightly", "anna", "scope_read", "2020-01-01", "expires"),
        ("nightly", "anna", "scope_read", "2030-01-01", "expires"),
    ] {
        let fields = [("label", label), ("account", account), (scope, "yes"), ("expires", expires)];
        let page = send(&mut anna, &stand, &token, "/tokens/new", &fields).await.is(422);
        let page = page.has(&format!("id=\"{field}-error\"")).has_not("<b>").has_not("tbi_");
        assert_eq!(page.body.matches("class=\"error\"").count(), 1, "{field}: {}", page.body);
        if !label.is_empty() {
            page.has(&format!("value=\"{label}\""));
        }
    }
    let fields =
        [("label", "nightly"), ("account", "olaf"), ("scope_run", "yes"), ("scope_read", "yes"), ("expires", SOON)];
    let page = send(&mut anna, &stand, &token, "/tokens/new", &fields).await.is(200).has("shown this once");
    let secret = page.body.split("tabindex=\"0\">tbi_").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(secret.len() > 40, "{secret}");
    let page = anna.get(&stand, "/tokens").await.is(200).has("<bdi>nightly</bdi>").has("<bdi>olaf</bdi>");
    page.has("read, run").has("2027-03-01 00:00:00 +00:00").has_not(&secret);
    stand.stop().await;
}

#[tokio::test]
async fn a_token_is_revoked_with_a_reason_and_only_by_those_it_concerns() {
    let stand = Stand::start().await;
    let (mut olaf, token) = proven(&stand, "olaf").await;
    // Who is no administrator chooses no account and no more than the own role.
    olaf.get(&stand, "/tokens/new").await.is(200).has_not("name=\"account\"").has_not("scope_administer");
    let fields = [("label", "mine"), ("account", "anna"), ("scope_run", "yes"), ("expires", SOON)];
    send(&mut olaf, &stand, &token, "/tokens/new", &fields)
        .await
        .is(200)
        .has("<bdi>olaf</bdi>")
        .has_not("<bdi>anna</bdi>");
    let page = olaf.get(&stand, "/tokens").await;
    let path = page.body.split("href=\"/tokens/revoke/").nth(1).unwrap().split('"').next().unwrap();
    let path = format!("/tokens/revoke/{path}");
    let (mut vera, of_vera) = proven(&stand, "vera").await;
    vera.get(&stand, "/tokens").await.is(200).has_not("mine");
    vera.get(&stand, &path).await.is(404);
    send(&mut vera, &stand, &of_vera, &path, &[("reason", "mischief")]).await.is(404);
    let mut aura = Browser::log_in(&stand, "aura").await;
    aura.get(&stand, "/tokens").await.is(200).has("mine").has_not("/tokens/revoke/");
    olaf.get(&stand, &path).await.is(200).has("<bdi>mine</bdi>").has("id=\"reason\"");
    let huge = "a".repeat(201);
    for wrong in ["", "  ", "two\nlines", &huge, "\u{202e}x"] {
        send(&mut olaf, &stand, &token, &path, &[("reason", wrong)]).await.is(422).has("id=\"reason-error\"");
    }
    olaf.get(&stand, "/tokens").await.has("mine");
    send(&mut olaf, &stand, &token, &path, &[("reason", " laptop lost ")]).await.leads_to("/tokens");
    olaf.get(&stand, "/tokens").await.has("There is no token");
    olaf.get(&stand, &path).await.is(404);
    assert_eq!(stand.on_box.memory.rows.lock().unwrap().reasons, ["laptop lost".parse().unwrap()]);
    stand.stop().await;
}
