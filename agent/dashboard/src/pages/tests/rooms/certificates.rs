//! Certificates: of clients, and the door's own.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::{Browser, Stand, proven, send};

/// A certificate and its key, PEM.
fn made(name: &str, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// What only the key itself has in it.
fn inside(key: &str) -> &str {
    key.lines().nth(1).unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_entered_from_its_pem_and_removed_with_a_reason() {
    const NEW: &str = "/certificates/client/new";
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand, "anna").await;
    let (pem, key) = made("client.example", 2200);
    let both = format!("{pem}{key}");
    let huge = "A".repeat(50_000);
    for (account, label, text, field) in [
        ("", "build", pem.as_str(), "account"),
        ("nobody", "build", &pem, "account"),
        ("olaf", "", &pem, "label"),
        ("olaf", "build", "", "pem"),
        ("olaf", "build", "<script>alert(1)</script>", "pem"),
        ("olaf", "build", &huge, "pem"),
        ("olaf", "build", &both, "pem"),
    ] {
        let fields = [("account", account), ("label", label), ("pem", text)];
        let page = send(&mut anna, &stand, &token, NEW, &fields).await.is(422).has(&format!("id=\"{field}-error\""));
        page.has(&format!("value=\"{account}\"")).has_not("<script>alert").has_not(inside(&key));
    }
    let fields = [("account", "olaf"), ("label", "build"), ("pem", pem.as_str())];
    send(&mut anna, &stand, &token, NEW, &fields).await.leads_to("/certificates");
    let page = anna.get(&stand, "/certificates").await.is(200).has("<bdi>build</bdi>").has("<bdi>olaf</bdi>");
    let path = page.body.split("href=\"/certificates/client/remove/").nth(1).unwrap().split('"').next().unwrap();
    let path = format!("/certificates/client/remove/{path}");
    anna.get(&stand, &path).await.is(200).has("<bdi>build</bdi>");
    anna.get(&stand, "/certificates/client/remove/abc").await.is(404);
    send(&mut anna, &stand, &token, &path, &[("reason", "")]).await.is(422).has("id=\"reason-error\"");
    send(&mut anna, &stand, &token, &path, &[("reason", "key seen by others")]).await.leads_to("/certificates");
    anna.get(&stand, "/certificates").await.has("No client certificate stands for an account");
    assert_eq!(stand.on_box.memory.rows.lock().unwrap().reasons, ["key seen by others".parse().unwrap()]);
    stand.stop().await;
}

#[tokio::test]
async fn the_doors_certificate_is_seen_by_all_and_asked_for_brought_and_given_back_by_administrators() {
    const DOOR: &str = "/certificates/door";
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/certificates").await.is(200).has("localhost").has("href=\"/ca.pem\"");
    page.has("this box, under its own CA").has_not("Client certificates").has_not(DOOR);
    vera.get(&stand, DOOR).await.is(403);
    let (mut anna, token) = proven(&stand, "anna").await;
    anna.get(&stand, DOOR).await.is(200);
    let wrong = [("action", "request"), ("names", "a.example -bad-.example")];
    let page = send(&mut anna, &stand, &token, DOOR, &wrong).await.is(422).has("id=\"names-error\"");
    page.has("value=\"a.example -bad-.example\"");
    let right = [("action", "request"), ("names", "a.example, 192.0.2.7")];
    send(&mut anna, &stand, &token, DOOR, &right).await.is(200).has("-----BEGIN CERTIFICATE REQUEST-----");
    vera.get(&stand, "/certificates").await.has("A request waits for its answer");
    let (pem, key) = made("a.example", 2200);
    let (old, old_key) = made("a.example", 2021);
    let (_other, other_key) = made("a.example", 2200);
    let both = format!("{pem}{key}");
    for (chain, of_chain, field) in [
        ("", key.as_str(), "chain"),
        ("<script>alert(1)</script>", &key, "chain"),
        (&old, &old_key, "chain"),
        (&both, "", "chain"),
        (&pem, "garbage", "key"),
        (&pem, &other_key, "key"),
        (&pem, "", "key"),
    ] {
        let fields = [("action", "bring"), ("chain", chain), ("key", of_chain)];
        let page = send(&mut anna, &stand, &token, DOOR, &fields).await.is(422).has(&format!("id=\"{field}-error\""));
        let page = page.has_not("<script>alert").has_not("garbage</textarea>");
        for key in [&key, &old_key, &other_key] {
            assert!(!page.body.contains(inside(key)), "a key came back");
        }
    }
    let fields = [("action", "bring"), ("chain", pem.as_str()), ("key", key.as_str())];
    send(&mut anna, &stand, &token, DOOR, &fields).await.leads_to("/certificates");
    stand.stop().await;
}

#[tokio::test]
async fn a_certificate_is_given_back_with_a_reason_that_is_in_the_chain() {
    const DOOR: &str = "/certificates/door";
    let stand = Stand::start().await;
    let (mut anna, token) = proven(&stand, "anna").await;
    let missing = [("action", "give-back"), ("reason", "")];
    send(&mut anna, &stand, &token, DOOR, &missing).await.is(422).has("id=\"reason-error\"");
    send(&mut anna, &stand, &token, DOOR, &[("action", "sell")]).await.is(400);
    let fields = [("action", "give-back"), ("reason", "the CA is gone")];
    send(&mut anna, &stand, &token, DOOR, &fields).await.leads_to("/certificates");
    let rows = stand.on_box.memory.rows.lock().unwrap();
    let note = rows.notes.iter().find(|note| note.action == "door.certificate.remove").unwrap();
    assert_eq!(note.detail["reason"], "the CA is gone");
    drop(rows);
    stand.stop().await;
}
