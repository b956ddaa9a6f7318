//! Forms that are not the reader's own wish: without a token, with another's, from another site, in another form.

use http::Request;
use http::header;
use http_body_util::Full;

use super::{Browser, Stand};

#[tokio::test]
async fn a_form_without_the_token_of_its_session_is_refused() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let of_olaf = olaf.get(&stand, "/").await.token();
    let of_vera = vera.get(&stand, "/").await.token();
    assert_ne!(of_olaf, of_vera);
    for fields in [&[][..], &[("csrf", "")], &[("csrf", of_olaf.as_str())], &[("csrf", "A")]] {
        let page = vera.post(&stand, "/logout", fields).await.is(403);
        page.has("<code>csrf</code>").has("vera");
    }
    vera.get(&stand, "/").await.is(200);
    vera.post(&stand, "/logout", &[("csrf", &of_vera)]).await.leads_to("/login");
    stand.stop().await;
}

#[tokio::test]
async fn a_form_of_another_site_is_refused_also_with_the_token() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let token = vera.get(&stand, "/").await.token();
    for from in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "https://localhost"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "none")],
    ] {
        vera.post_from(&stand, "/logout", &[("csrf", &token)], from).await.is(403);
        let fields = [("account", "vera"), ("password", crate::access::tests::PASSWORD), ("code", "")];
        let mut other = Browser::default();
        other.post_from(&stand, "/login", &fields, from).await.is(403);
        other.post_from(&stand, "/preferences", &[("theme", "dark")], from).await.is(403);
        assert!(other.cookies.is_empty(), "{from:?}");
    }
    vera.get(&stand, "/").await.is(200);
    stand.stop().await;
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let stand = Stand::start().await;
    let browser = Browser::default();
    let send = async |kind: &str, body: Vec<u8>| {
        let request = browser.request(Request::post("/login")).header(header::CONTENT_TYPE, kind);
        let request = request.header("origin", "https://localhost").header("sec-fetch-site", "same-origin");
        stand.send(request.body(Full::from(body)).unwrap()).await
    };
    let form = "application/x-www-form-urlencoded";
    send("application/json", br#"{"account":"vera"}"#.to_vec()).await.is(415);
    send("multipart/form-data; boundary=x", b"--x--".to_vec()).await.is(415);
    send(form, b"account=vera&account=anna&password=x".to_vec()).await.is(400);
    send(form, vec![b'a'; 70_000]).await.is(413).has("larger than this page takes");
    send(form, b"\xff\xfe=%zz&%".to_vec()).await.is(422);
    send("Application/X-WWW-Form-Urlencoded; charset=utf-8", b"account=".to_vec()).await.is(422);
    stand.stop().await;
}

#[tokio::test]
async fn the_api_still_takes_the_token_in_its_field_only() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let token = vera.get(&stand, "/").await.token();
    // A page's way is no way around the gate's check of the API: this stand has no such operation, so the gate is asked directly.
    let headers = vera.request(Request::post("/")).body(()).unwrap().headers().clone();
    let claims = crate::gate::Claims { public: false, roles: tbi_api::access::Role::ALL.to_vec(), step_up: false };
    let peer = crate::gate::Peer { address: "127.0.0.1".parse().unwrap(), certificate: None };
    let admit = async |with: Option<&str>| {
        let mut headers = headers.clone();
        headers.insert("origin", "https://localhost".parse().unwrap());
        if let Some(token) = with {
            headers.insert("x-tbi-csrf", token.parse().unwrap());
        }
        let asked = crate::gate::Asked {
            method: &http::Method::POST,
            headers: &headers,
            peer: &peer,
            claims: &claims,
            token: crate::gate::ChangeToken::Header,
            correlation_id: "t",
        };
        crate::gate::Gate::admit(&*stand.on_box.access, &asked).await.map(|_caller| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!(admit(None).await, Err("csrf"));
    assert_eq!(admit(Some(&token)).await, Ok(()));
    stand.stop().await;
}

#[tokio::test]
async fn one_ends_sessions_of_ones_own_and_no_others() {
    let stand = Stand::start().await;
    let mut here = Browser::log_in(&stand, "vera").await;
    let mut there = Browser::log_in(&stand, "vera").await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = here.get(&stand, "/sessions").await.is(200).has("this one").has_not("<bdi>olaf</bdi></th>");
    let token = page.token();
    let hash = |page: &super::Page| {
        let at = page.body.split("name=\"hash\" value=\"").nth(1).expect("no session can be ended");
        at.split('"').next().unwrap().to_owned()
    };
    let other = hash(&page);
    here.post(&stand, "/sessions", &[("csrf", &token), ("hash", &other)]).await.leads_to("/sessions");
    there.get(&stand, "/").await.leads_to("/login");
    here.get(&stand, "/").await.is(200);
    let mut anna = Browser::log_in(&stand, "anna").await;
    let all = anna.get(&stand, "/sessions").await.is(200).has("<bdi>olaf</bdi></th>");
    let rows: Vec<&str> = all.body.split("<tr>").filter(|row| row.contains("<bdi>olaf</bdi></th>")).collect();
    let of_olaf = rows[0].split("href=\"/sessions/end/").nth(1).unwrap().split('"').next().unwrap();
    here.post(&stand, "/sessions", &[("csrf", &token), ("hash", of_olaf)]).await.is(404);
    olaf.get(&stand, "/").await.is(200);
    // Another account's session takes a reason.
    let path = format!("/sessions/end/{of_olaf}");
    here.get(&stand, &path).await.is(404);
    here.post(&stand, &path, &[("csrf", &token), ("reason", "x")]).await.is(404);
    anna.post(&stand, "/sessions", &[("csrf", &all.token()), ("hash", of_olaf)]).await.leads_to(&path);
    olaf.get(&stand, "/").await.is(200);
    let page = anna.get(&stand, &path).await.is(200).has("<bdi>olaf</bdi>");
    let page = anna.post(&stand, &path, &[("csrf", &page.token()), ("reason", "")]).await.is(422);
    let fields = [("csrf", page.token()), ("reason", "left his desk".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    anna.post(&stand, &path, &fields).await.leads_to("/sessions");
    assert_eq!(stand.on_box.memory.rows.lock().unwrap().reasons, ["left his desk".parse().unwrap()]);
    olaf.get(&stand, "/").await.leads_to("/login");
    stand.stop().await;
}

#[tokio::test]
async fn a_wrong_password_in_a_header_counts_once_also_where_the_refusal_is_a_page() {
    let stand = Stand::start().await;
    let basic = data_encoding::BASE64.encode(b"vera:not the right words");
    let request = Browser::default().request(Request::get("/runs")).header("authorization", format!("Basic {basic}"));
    stand.send(request.body(Full::default()).unwrap()).await.is(401).has("<code>login-refused</code>");
    let notes = stand.on_box.memory.rows.lock().unwrap().notes.len();
    assert_eq!(notes, 1);
    stand.stop().await;
}
