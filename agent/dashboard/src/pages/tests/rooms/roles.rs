//! What holds for all rooms: nobody sees a control that is not theirs, each is well made in both languages, hostile words stay words, and a
//! daemon that is down is named.

use tbi_api::health::State;

use super::super::hostile::{HOSTILE, shown};
use super::super::markup::well_made;
use super::{Browser, SEEN, Stand, proven, send};
use crate::pages::rooms::PAGES;
use crate::pages::{ADMINISTRATORS, Page as Claimed, Proof};

#[test]
fn every_page_of_the_rooms_is_looked_at() {
    for Claimed(path, methods, ..) in PAGES {
        assert!(SEEN.contains(path) || path.contains('{') || *methods == ["post"], "{path} is in no test");
    }
}

#[tokio::test]
async fn viewers_operators_and_auditors_see_no_control_they_may_not_use() {
    let stand = Stand::start().await;
    let of_administrators: Vec<&str> = PAGES
        .iter()
        .filter(|Claimed(_, _, roles, _)| *roles == ADMINISTRATORS)
        .map(|Claimed(path, ..)| path.split("{").next().unwrap())
        .collect();
    assert!(of_administrators.len() > 5);
    for name in ["vera", "olaf", "aura"] {
        let (mut browser, token) = proven(&stand, name).await;
        for path in SEEN {
            let page = browser.get(&stand, path).await;
            if of_administrators.contains(&path) {
                page.is(403);
                send(&mut browser, &stand, &token, path, &[("reason", "x")]).await.is(403);
                continue;
            }
            let page = page.is(200);
            for there in &of_administrators {
                for control in [format!("href=\"{there}"), format!("action=\"{there}")] {
                    assert!(!page.body.contains(&control), "{name} sees {control} on {path}");
                }
            }
        }
        send(&mut browser, &stand, &token, "/licence/report", &[]).await.is(403);
        send(&mut browser, &stand, &token, "/licence/remove/L-1.a", &[("reason", "x")]).await.is(403);
    }
    stand.agent.change(|told| assert!(told.rooms.ordered.is_empty()));
    stand.stop().await;
}

#[tokio::test]
async fn dangerous_rooms_take_a_fresh_proof() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let token = anna.get(&stand, "/account").await.token();
    for Claimed(path, methods, _, proof) in PAGES {
        if *proof == Proof::Fresh && methods.contains(&"get") && !path.contains('{') {
            let encoded: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
            anna.get(&stand, path).await.leads_to(&format!("/step-up?next={encoded}"));
            send(&mut anna, &stand, &token, path, &[("reason", "x")])
                .await
                .is(403)
                .has("action=\"/step-up\"")
                .has(&format!("name=\"to\" value=\"{path}\""));
        }
    }
    stand.stop().await;
}

#[tokio::test]
async fn every_room_is_well_made_in_both_languages() {
    let stand = Stand::start().await;
    for language in ["en", "pt-BR"] {
        let (mut anna, token) = proven(&stand, "anna").await;
        anna.language = language;
        for path in SEEN {
            well_made(path, &anna.get(&stand, path).await.is(200).has(&format!("<html lang=\"{language}\"")));
        }
        send(&mut anna, &stand, &token, "/account/second-factor", &[("action", "offer")]).await.is(303);
        well_made("an offer", &anna.get(&stand, "/account/second-factor").await.is(200));
        well_made("a licence", &anna.get(&stand, "/licence/remove/L-1.a").await.is(200));
        for (path, fields) in [
            ("/account", &[][..]),
            ("/tokens/new", &[]),
            ("/certificates/door", &[("action", "bring")]),
            ("/certificates/door", &[("action", "give-back")]),
            ("/certificates/door", &[("action", "request"), ("names", "-")]),
            ("/certificates/client/new", &[]),
            ("/licence/install", &[]),
            ("/licence/settings", &[]),
            ("/licence/remove/L-1.a", &[]),
            ("/system", &[]),
        ] {
            well_made(path, &send(&mut anna, &stand, &token, path, fields).await.is(422));
        }
    }
    stand.stop().await;
}

#[tokio::test]
async fn hostile_words_in_the_rooms_stay_words() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        let rooms = &mut told.rooms;
        let mut licence = super::agent::licence(HOSTILE, HOSTILE);
        licence.customer = HOSTILE.to_owned();
        licence.features = vec![HOSTILE.to_owned()];
        rooms.licences.installed = vec![licence];
        rooms.usage.sentence = HOSTILE.to_owned();
        rooms.usage.url = Some(HOSTILE.to_owned());
        rooms.snapshot.settings.usage.url = Some(HOSTILE.to_owned());
        rooms.snapshot.settings.usage.ca_pem = Some(HOSTILE.to_owned());
        rooms.hardware.machine = HOSTILE.to_owned();
        rooms.hardware.nics[0].name = HOSTILE.to_owned();
        rooms.hardware.verdict.sentences = vec![HOSTILE.to_owned()];
        rooms.identity.node_id = HOSTILE.to_owned();
        rooms.capabilities.capabilities[0].sentence = HOSTILE.to_owned();
        told.status.problems = vec![HOSTILE.to_owned()];
        told.status.health = State::Failed;
        told.status.last_boot.sentence = HOSTILE.to_owned();
    });
    let (mut anna, token) = proven(&stand, "anna").await;
    for path in ["/licence", "/licence/settings", "/about", "/support", "/system"] {
        shown(&anna.get(&stand, path).await.is(200));
    }
    for (path, fields) in [
        ("/tokens/new", &[("label", HOSTILE), ("account", HOSTILE), ("expires", HOSTILE)][..]),
        ("/certificates/client/new", &[("label", HOSTILE), ("account", HOSTILE), ("pem", HOSTILE)]),
        ("/certificates/door", &[("action", "request"), ("names", HOSTILE)]),
        ("/certificates/door", &[("action", "bring"), ("chain", HOSTILE), ("key", HOSTILE)]),
        ("/certificates/door", &[("action", "give-back"), ("reason", HOSTILE)]),
        ("/licence/settings", &[("version", "1"), ("url", HOSTILE), ("ca_pem", HOSTILE)]),
        ("/system", &[("what", HOSTILE), ("reason", HOSTILE)]),
    ] {
        shown(&send(&mut anna, &stand, &token, path, fields).await.is(422));
    }
    // What is stored comes back as words, too, to everybody who sees it.
    let fields = [("label", HOSTILE), ("scope_read", "yes"), ("expires", "2027-03-01")];
    shown(&send(&mut anna, &stand, &token, "/tokens/new", &fields).await.is(200));
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let fields = [("label", HOSTILE), ("account", "olaf"), ("pem", pem.as_str())];
    send(&mut anna, &stand, &token, "/certificates/client/new", &fields).await.leads_to("/certificates");
    let mut aura = super::Browser::log_in(&stand, "aura").await;
    for path in ["/tokens", "/certificates"] {
        shown(&anna.get(&stand, path).await.is(200));
        shown(&aura.get(&stand, path).await.is(200));
    }
    stand.stop().await;
}

#[tokio::test]
async fn rooms_stand_while_the_agent_is_down() {
    let mut stand = Stand::start().await;
    let (mut anna, token) = proven(&stand, "anna").await;
    stand.agent.stop().await;
    for path in ["/account", "/tokens", "/certificates", "/licence", "/about", "/about/licences", "/support", "/system"]
    {
        anna.get(&stand, path).await.is(200).has("The agent of this box does not answer");
    }
    anna.get(&stand, "/licence/settings").await.is(503).has("does not answer");
    let fields = [("what", "reboot"), ("reason", "it hangs")];
    send(&mut anna, &stand, &token, "/system", &fields).await.is(503).has("does not answer");
    stand.stop().await;
}
