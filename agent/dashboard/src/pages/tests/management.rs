//! Accounts managed by an administrator: behind a fresh proof, with every wrong word at its field.

use super::{Browser, Page, Stand};
use crate::access::tests::PASSWORD;

const OTHER: &str = "another four plain words";

/// An administrator who was proven a moment ago, and the token of the session.
async fn proven(stand: &Stand) -> (Browser, String) {
    let mut anna = Browser::log_in(stand, "anna").await;
    let page = anna.get(stand, "/users/new").await.leads_to("/step-up?next=%2Fusers%2Fnew");
    let page = anna.get(stand, page.header("location")).await.is(200).has("name=\"next\" value=\"/users/new\"");
    let fields = [("csrf", page.token()), ("next", "/users/new".to_owned()), ("password", PASSWORD.to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    anna.post(stand, "/step-up", &fields).await.leads_to("/users/new");
    let token = anna.get(stand, "/users/new").await.is(200).token();
    (anna, token)
}

fn row(page: &Page, name: &str) -> Option<String> {
    page.body.split("<tr>").find(|row| row.contains(&format!("<bdi>{name}</bdi></a></th>"))).map(str::to_owned)
}

#[tokio::test]
async fn dangerous_pages_take_a_fresh_proof_which_a_wrong_one_is_not() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let token = anna.get(&stand, "/step-up?next=//evil.example").await.is(200).has("name=\"next\" value=\"/\"").token();
    let wrong = [("csrf", token.as_str()), ("password", "not the right words"), ("next", "/users/new")];
    let page = anna.post(&stand, "/step-up", &wrong).await.is(422).has("id=\"password-error\"");
    page.has("value=\"/users/new\"").has_not("not the right words");
    anna.get(&stand, "/users/new").await.leads_to("/step-up?next=%2Fusers%2Fnew");
    let make =
        [("csrf", token.as_str()), ("account", "eve"), ("role", "viewer"), ("password", OTHER), ("again", OTHER)];
    anna.post(&stand, "/users/new", &make).await.is(403).has("action=\"/step-up\"");
    assert!(row(&anna.get(&stand, "/users").await, "eve").is_none());
    // Who may not at all is not asked for a proof.
    let mut aura = Browser::log_in(&stand, "aura").await;
    aura.get(&stand, "/users/new").await.is(403).has("This page takes the role administrator.");
    aura.get(&stand, "/users").await.is(200).has_not("/users/new");
    stand.stop().await;
}

/// Names and values of the hidden fields of the form to `action`, as a browser without JavaScript would send them.
fn hidden(page: &Page, action: &str) -> Vec<(String, String)> {
    let form = page.body.split("<form").find(|form| form.contains(&format!("action=\"{action}\""))).unwrap();
    let form = form.split("</form>").next().unwrap();
    let value = |input: &str, name: &str| {
        let value = input.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
        Some(
            value
                .replace("&#60;", "<")
                .replace("&#62;", ">")
                .replace("&#34;", "\"")
                .replace("&#39;", "'")
                .replace("&#38;", "&"),
        )
    };
    let inputs = form.split("<input type=\"hidden\"").skip(1).map(|rest| rest.split('>').next().unwrap());
    inputs.map(|input| (value(input, " name").unwrap(), value(input, " value").unwrap())).collect()
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn a_form_that_comes_without_the_proof_is_not_done_and_not_lost_without_javascript() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let token = anna.get(&stand, "/").await.is(200).token();
    let make = [
        ("csrf", token.as_str()),
        ("account", "e<v>e\"&'"),
        ("role", "auditor"),
        ("password", OTHER),
        ("again", OTHER),
    ];
    let asked = anna.post(&stand, "/users/new", &make).await.is(403).has("What you sent is kept on this page");
    let asked = asked.has_not(OTHER).has("name=\"next\" value=\"/users/new\"");
    let accounts = || stand.on_box.memory.rows.lock().unwrap().accounts.len();
    let before = accounts();
    let mut proof = hidden(&asked, "/step-up");
    // A wrong proof keeps it as well.
    proof.push(("password".to_owned(), "not the right words".to_owned()));
    let again = anna.post(&stand, "/step-up", &borrowed(&proof)).await.is(422).has("id=\"password-error\"");
    let mut proof = hidden(&again, "/step-up");
    proof.push(("password".to_owned(), PASSWORD.to_owned()));
    let onward = anna.post(&stand, "/step-up", &borrowed(&proof)).await.is(200).has_not(PASSWORD).has_not(OTHER);
    assert_eq!(accounts(), before, "nothing is done before the form is sent on");
    // The old page's token is worth nothing any more.
    anna.post(&stand, "/users/new", &make).await.is(403).has("<code>csrf</code>");
    let mut form = hidden(&onward, "/users/new");
    assert!(form.contains(&("account".to_owned(), "e<v>e\"&'".to_owned())), "{form:?}");
    // Passwords are typed again; the page has their fields.
    let _fields = onward.has("id=\"password\" name=\"password\" type=\"password\"").has("id=\"again\"");
    form.extend(["password", "again"].map(|name| (name.to_owned(), OTHER.to_owned())));
    anna.post(&stand, "/users/new", &borrowed(&form)).await.is(422).has("id=\"account-error\"");
    for (name, value) in &mut form {
        if name == "account" {
            "eve".clone_into(value);
        }
    }
    anna.post(&stand, "/users/new", &borrowed(&form)).await.leads_to("/users");
    assert!(row(&anna.get(&stand, "/users").await, "eve").unwrap().contains("<td>auditor</td>"));
    stand.stop().await;
}

#[tokio::test]
async fn a_form_without_the_proof_is_looked_at_as_any_other() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let token = anna.get(&stand, "/").await.is(200).token();
    let fields = |token: &'static str| [("csrf", token), ("account", "eve"), ("role", "viewer")];
    anna.post(&stand, "/users/new", &fields("")).await.is(403).has("<code>csrf</code>").has_not("kept.");
    let own = [("csrf", token.as_str()), ("account", "eve")];
    let foreign = [("origin", "https://evil.example")];
    anna.post_from(&stand, "/users/new", &own, &foreign).await.is(403).has("<code>csrf</code>").has_not("kept.");
    // Who may not is not asked for a proof, and what is too large for the page leads to it as before.
    let mut vera = Browser::log_in(&stand, "vera").await;
    let of_vera = vera.get(&stand, "/").await.token();
    vera.post(&stand, "/users/new", &[("csrf", &of_vera)]).await.is(403).has_not("action=\"/step-up\"");
    let large = "a".repeat(30_000);
    let large = [("csrf", token.as_str()), ("account", large.as_str())];
    anna.post(&stand, "/users/new", &large).await.leads_to("/step-up?next=%2Fusers%2Fnew");
    stand.stop().await;
}

#[tokio::test]
async fn an_account_is_made_and_wrong_words_stand_at_their_fields() {
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand).await;
    let mut make = async |account: &str, role: &str, password: &str, again: &str| {
        let fields =
            [("csrf", token.as_str()), ("account", account), ("role", role), ("password", password), ("again", again)];
        anna.post(&stand, "/users/new", &fields).await
    };
    for (account, role, password, again, field) in [
        ("", "viewer", OTHER, OTHER, "account"),
        ("Eve!", "viewer", OTHER, OTHER, "account"),
        ("vera", "viewer", OTHER, OTHER, "account"),
        ("eve", "emperor", OTHER, OTHER, "role"),
        ("eve", "viewer", "", "", "password"),
        ("eve", "viewer", "short", "short", "password"),
        ("eve", "viewer", OTHER, PASSWORD, "again"),
    ] {
        let page = make(account, role, password, again).await.is(422).has(&format!("id=\"{field}-error\""));
        let page = page.has(&format!("value=\"{account}\"")).has_not(OTHER);
        assert_eq!(page.body.matches("aria-invalid=\"true\"").count(), 1, "{account} {role} {field}");
    }
    make("eve", "auditor", OTHER, OTHER).await.leads_to("/users");
    assert!(row(&anna.get(&stand, "/users").await, "eve").unwrap().contains("<td>auditor</td><td>yes</td>"));
    let mut eve = Browser::default();
    eve.post(&stand, "/login", &[("account", "eve"), ("password", OTHER)]).await.leads_to("/");
    stand.stop().await;
}

#[tokio::test]
async fn an_account_is_changed_and_only_by_its_form() {
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand).await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let path = "/users/account/vera";
    anna.get(&stand, path).await.is(200).has("<option value=\"viewer\" selected>");
    anna.get(&stand, "/users/account/nobody").await.is(404);
    let mut change = async |fields: &[(&str, &str)]| {
        let all: Vec<_> = [("csrf", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
        anna.post(&stand, path, &all).await
    };
    change(&[]).await.is(400);
    let page = change(&[
        ("action", "change"),
        ("role", "operator"),
        ("enabled", "yes"),
        ("password", "short"),
        ("again", "short"),
    ])
    .await;
    page.is(422).has("id=\"password-error\"").has("<option value=\"operator\" selected>");
    let page = change(&[("action", "change"), ("role", "king"), ("enabled", "no"), ("again", "x")]).await.is(422);
    page.has("id=\"role-error\"").has("id=\"again-error\"").has("<option value=\"no\" selected>");
    vera.get(&stand, "/").await.is(200);
    let unchanged = [("action", "change"), ("role", "viewer"), ("enabled", "yes"), ("password", ""), ("again", "")];
    change(&unchanged).await.leads_to(path);
    vera.get(&stand, "/").await.is(200);
    change(&[("action", "change"), ("role", "operator"), ("enabled", "yes"), ("password", OTHER), ("again", OTHER)])
        .await
        .leads_to(path);
    vera.get(&stand, "/").await.leads_to("/login");
    vera.post(&stand, "/login", &[("account", "vera"), ("password", OTHER)]).await.leads_to("/");
    vera.get(&stand, "/").await.has("vera</bdi>, operator");
    change(&[("action", "end-sessions")]).await.is(422).has("id=\"end-reason-error\"");
    vera.get(&stand, "/").await.is(200);
    change(&[("action", "end-sessions"), ("reason", "lost laptop")]).await.leads_to(path);
    vera.get(&stand, "/").await.leads_to("/login");
    let page = change(&[("action", "remove"), ("confirm", "verra"), ("reason", "gone")])
        .await
        .is(422)
        .has("id=\"confirm-error\"");
    page.has("value=\"verra\"");
    let page = change(&[("action", "remove"), ("confirm", "vera"), ("reason", " ")]).await.is(422);
    page.has("id=\"reason-error\"").has("value=\"vera\"").has_not("id=\"confirm-error\"");
    change(&[("action", "remove"), ("confirm", "vera"), ("reason", "left the team")]).await.leads_to("/users");
    assert_eq!(
        stand.on_box.memory.rows.lock().unwrap().reasons,
        ["lost laptop", "left the team"].map(|it| it.parse().unwrap())
    );
    assert!(row(&anna.get(&stand, "/users").await, "vera").is_none());
    stand.stop().await;
}

#[tokio::test]
async fn the_last_administrator_stays_and_the_page_says_why() {
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand).await;
    let path = "/users/account/anna";
    let lesser = [("csrf", token.as_str()), ("action", "change"), ("role", "viewer"), ("enabled", "yes")];
    anna.post(&stand, path, &lesser).await.is(422).has("last administrator").has("role=\"alert\"");
    let remove = [("csrf", token.as_str()), ("action", "remove"), ("confirm", "anna"), ("reason", "x")];
    anna.post(&stand, path, &remove).await.is(422).has("last administrator");
    anna.get(&stand, "/").await.is(200).has("anna</bdi>, administrator");
    stand.stop().await;
}
