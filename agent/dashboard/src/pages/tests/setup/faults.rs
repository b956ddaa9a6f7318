//! Every form of the wizard against wrong, empty, huge and hostile input, words of the agent that try to become part of a page, and an agent
//! that refuses or is down.

use http::StatusCode;
use tbi_api::setup::FindingVerdict;

use super::super::Stand;
use super::super::hostile::{HOSTILE, harmless};
use super::agent::{authority, card, finding};
use super::{MANAGEMENT, PATHS, Typed, all, proven};

/// The form of a step, with one field changed.
fn with<'a>(fields: &[(&'a str, &'a str)], name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(field, old)| if *field == name { (*field, value) } else { (*field, *old) }).collect()
}

const DEVICE: [(&str, &str); 5] = [
    ("action", "keep"),
    ("kind", "pan_os"),
    ("address", "192.0.2.20"),
    ("account", "api"),
    ("secret", "c4nary-s3cret"),
];

#[tokio::test]
async fn wrong_empty_huge_and_hostile_input_is_answered_at_its_field_and_not_lost() {
    let stand = Stand::for_the_setup(Stand::start().await);
    stand.shows_its_certificate();
    stand.setup(|told| {
        let refused = |code, sentence: &str| (StatusCode::UNPROCESSABLE_ENTITY, code, sentence.to_owned());
        told.refuse.insert(
            "PUT /v1/device".to_owned(),
            refused("device-refused", "address is no host name or address; give one"),
        );
        told.refuse
            .insert("POST /v1/device/authorities".to_owned(), refused("authority-refused", "pem holds no certificate"));
    });
    let (mut anna, token) = proven(&stand).await;
    let huge = "9".repeat(10_000);
    let language = [("action", "keep"), ("language", "en"), ("zone", "UTC")];
    let time = [("action", "keep"), ("based_on", "3"), ("servers", "a")];
    let topology = [("action", "keep"), ("based_on", "3"), ("place", "practice")];
    let trunk = [("action", "keep"), ("based_on", "3"), ("nic", "")];
    let pem = [("action", "keep"), ("pem", "")];
    let certificate = [("action", "done"), ("compared", "no"), ("certificate_sha256", "ab")];
    let cases: [(&str, Typed<'_>, &str, bool); 9] = [
        ("/setup/language", &language, "language", false),
        ("/setup/language", &language, "zone", false),
        ("/setup/management", &MANAGEMENT, "address", true),
        ("/setup/management", &MANAGEMENT, "method", false),
        ("/setup/management", &MANAGEMENT, "seconds", false),
        ("/setup/time", &time, "servers", true),
        ("/setup/topology", &topology, "place", false),
        ("/setup/trunk", &trunk, "nic", false),
        ("/setup/certificate", &certificate, "compared", false),
    ];
    for language in ["en", "pt-BR"] {
        anna.language = language;
        for (path, fields, field, kept) in cases {
            for value in ["", "a b;c", &huge, HOSTILE] {
                // Empty is a choice there.
                if value.is_empty() && ["servers", "nic"].contains(&field) {
                    continue;
                }
                let page = anna.post(&stand, path, &all(&token, &with(fields, field, value))).await.is(422);
                harmless(&page);
                super::super::markup::well_made(path, &page);
                let page = page.has(&format!("id=\"{field}-error\"")).has("aria-invalid=\"true\"");
                if kept && value.is_ascii() && !value.contains(['<', '"']) {
                    page.has(value);
                }
            }
        }
        for (field, value) in [("gateway", "x"), ("gateway", HOSTILE)] {
            let page =
                anna.post(&stand, "/setup/management", &all(&token, &with(&MANAGEMENT, field, value))).await.is(422);
            harmless(&page);
            page.has("id=\"gateway-error\"").has("value=\"192.0.2.10/24\"");
        }
        let dns = [&MANAGEMENT[..], &[("dns", "192.0.2.53, nobody")]].concat();
        let page = anna.post(&stand, "/setup/management", &all(&token, &dns)).await.is(422);
        page.has("id=\"dns-error\"").has("value=\"192.0.2.53, nobody\"");
        for kind in ["", "toaster", HOSTILE] {
            let page = anna.post(&stand, "/setup/device", &all(&token, &with(&DEVICE, "kind", kind))).await.is(422);
            harmless(&page);
            page.has("id=\"kind-error\"").has("value=\"192.0.2.20\"").has_not("c4nary-s3cret");
        }
        for address in ["", "https://fw", HOSTILE] {
            let page =
                anna.post(&stand, "/setup/device", &all(&token, &with(&DEVICE, "address", address))).await.is(422);
            harmless(&page);
            page.has("id=\"address-error\"").has("value=\"api\"").has_not("c4nary-s3cret");
        }
        for text in ["", "no PEM", HOSTILE, &huge] {
            let page = anna.post(&stand, "/setup/authorities", &all(&token, &with(&pem, "pem", text))).await.is(422);
            harmless(&page);
            page.has("id=\"pem-error\"");
        }
        for path in PATHS {
            for action in ["", "explode", HOSTILE] {
                harmless(&anna.post(&stand, path, &all(&token, &[("action", action)])).await.is(422));
            }
        }
        anna.post(
            &stand,
            "/setup/time",
            &all(&token, &[("action", "keep"), ("servers", &"a".repeat(crate::pages::form::LIMIT))]),
        )
        .await
        .is(413);
    }
    stand.setup(|told| {
        assert_eq!((told.settings.version, told.change.as_ref().map(|_| ()), told.marks.len()), (3, None, 0));
    });
    stand.stop().await;
}

#[tokio::test]
async fn a_form_of_the_setup_without_the_token_of_its_session_changes_nothing() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, _token) = proven(&stand).await;
    for path in PATHS {
        anna.post(&stand, path, &[("action", "done")]).await.is(403);
        anna.post(&stand, path, &[("csrf", "A"), ("action", "skip")]).await.is(403);
    }
    stand.setup(|told| assert!(told.marks.is_empty()));
    stand.stop().await;
}

#[tokio::test]
async fn what_the_agent_refuses_is_said_with_its_reason() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    let refuse = |what: &str, status: u16, code, sentence: &str| {
        let refusal = (StatusCode::from_u16(status).unwrap(), code, sentence.to_owned());
        stand.setup(|told| drop(told.refuse.insert(what.to_owned(), refusal)));
    };
    refuse("POST /v1/settings/trial", 422, "settings-refused", "gateway 192.0.9.1 is not another host in the network");
    let page = anna.post(&stand, "/setup/management", &all(&token, &MANAGEMENT)).await.is(422);
    page.has("id=\"gateway-error\"").has("lang=\"en\">gateway 192.0.9.1 is not").has("value=\"192.0.2.10/24\"");
    refuse("POST /v1/settings/trial", 409, "settings-changed", "another version is in force");
    let page = anna.post(&stand, "/setup/management", &all(&token, &MANAGEMENT)).await.is(422);
    page.has("Somebody else changed the settings");
    refuse("POST /v1/settings/trial", 409, "trial-under-way", "one is on");
    anna.post(&stand, "/setup/management", &all(&token, &MANAGEMENT)).await.leads_to("/setup/management");
    refuse("PUT /v1/setup/steps/management", 422, "step-not-done", "a network is on trial");
    anna.post(&stand, "/setup/management", &all(&token, &[("action", "done")]))
        .await
        .is(422)
        .has("a network is on trial");
    refuse("POST /v1/setup/finish", 422, "setup-incomplete", "the step 'device' is neither done nor left out");
    let page = anna.post(&stand, "/setup/summary", &all(&token, &[("action", "finish")])).await.is(422);
    page.has("the step &#39;device&#39; is neither");
    refuse("PUT /v1/setup/steps/time", 409, "setup-finished", "the setup was finished");
    anna.post(&stand, "/setup/time", &all(&token, &[("action", "skip")])).await.leads_to("/setup");
    stand.stop().await;
}

#[tokio::test]
async fn a_certificate_of_the_device_is_removed_by_its_own_button_only() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    let path = "/setup/authorities";
    anna.post(&stand, path, &all(&token, &[("action", "keep"), ("pem", "-----BEGIN")])).await.leads_to(path);
    let known = "ab".repeat(32);
    anna.get(&stand, path).await.is(200).has("CN=FW re-sign CA").has(&format!("name=\"value\" value=\"{known}\""));
    for wrong in ["", "../../setup", &"AB".repeat(32), &"cd".repeat(32)] {
        anna.post(&stand, path, &all(&token, &[("action", "remove"), ("value", wrong)]))
            .await
            .is(422)
            .has("CN=FW re-sign CA");
    }
    anna.post(&stand, path, &all(&token, &[("action", "remove"), ("value", &known)])).await.leads_to(path);
    anna.get(&stand, path).await.is(200).has_not("CN=FW re-sign CA");
    anna.get(&stand, "/setup/persona-ca.pem").await.is(503);
    stand.setup(|told| told.persona_ca = Some("-----BEGIN CERTIFICATE-----\n".to_owned()));
    let page = anna.get(&stand, "/setup/persona-ca.pem").await.is(200).has("BEGIN CERTIFICATE");
    assert!(page.header("content-disposition").contains("tbi-persona-ca.pem"));
    stand.stop().await;
}

#[tokio::test]
async fn hostile_words_of_the_agent_stay_words_in_the_setup() {
    let stand = Stand::for_the_setup(Stand::start().await);
    stand.shows_its_certificate();
    stand.agent.change(|told| {
        told.status.host_name = HOSTILE.to_owned();
        told.status.addresses = vec![HOSTILE.to_owned()];
        told.status.management_interface = Some(HOSTILE.to_owned());
        told.status.door_certificate.as_mut().unwrap().names = vec![HOSTILE.to_owned()];
    });
    stand.setup(|told| {
        told.locale.zone = HOSTILE.to_owned();
        told.settings.settings.ntp_servers = vec![HOSTILE.to_owned()];
        told.cards.push(card(HOSTILE, HOSTILE, "unused"));
        told.findings = vec![finding(HOSTILE, FindingVerdict::Warning, HOSTILE, HOSTILE)];
        told.authorities = vec![authority(HOSTILE, HOSTILE)];
        told.persona_ca = Some(HOSTILE.to_owned());
        told.device.address = Some(HOSTILE.to_owned());
        told.device.account = Some(HOSTILE.to_owned());
        told.device.capabilities[0].value = HOSTILE.to_owned();
        told.trials.last = Some(tbi_api::trial::Ended {
            outcome: tbi_api::trial::Outcome::Restarted,
            when: HOSTILE.to_owned(),
            sentence: HOSTILE.to_owned(),
        });
    });
    let (mut anna, _token) = proven(&stand).await;
    for path in ["/setup"].into_iter().chain(PATHS) {
        harmless(&anna.get(&stand, path).await.is(200));
    }
    stand.setup(|told| told.finished = Some(HOSTILE.to_owned()));
    harmless(&anna.get(&stand, "/setup").await.is(200));
    stand.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_down_leaves_the_pages_standing_and_nothing_typed_is_lost() {
    let mut stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    stand.agent.stop().await;
    for language in ["en", "pt-BR"] {
        anna.language = language;
        for path in ["/setup"].into_iter().chain(PATHS) {
            let page = anna.get(&stand, path).await.is(200).has("class=\"banner\"");
            super::super::markup::well_made(path, &page);
        }
        for (path, fields) in [("/setup/management", &MANAGEMENT[..]), ("/setup/device", &DEVICE[..])] {
            anna.post(&stand, path, &all(&token, fields))
                .await
                .is(503)
                .has("class=\"banner\"")
                .has_not("c4nary-s3cret");
        }
    }
    stand.stop().await;
}
