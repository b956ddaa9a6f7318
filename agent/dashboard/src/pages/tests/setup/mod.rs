//! The first-boot wizard as an administrator has it: every step walked in both languages, every form against wrong, empty, huge and hostile
//! input, a trial of the network, a finished setup, an agent that is down.

pub(super) mod agent;
mod faults;
mod looks;

use tbi_api::access::{DoorCertificate, Origin};
use tbi_api::device::Kind;
use tbi_api::setup::StepState;

use self::agent::Told;
use super::{Browser, Stand};
use crate::access::tests::{CLAIM_CODE, PASSWORD};

const PATHS: [&str; 12] = [
    "/setup/account",
    "/setup/language",
    "/setup/name",
    "/setup/management",
    "/setup/time",
    "/setup/certificate",
    "/setup/topology",
    "/setup/trunk",
    "/setup/device",
    "/setup/authorities",
    "/setup/preflight",
    "/setup/summary",
];

impl Stand {
    fn for_the_setup(self) -> Self {
        self.setup(|told| told.is_asked = true);
        self
    }

    fn setup(&self, change: impl FnOnce(&mut Told)) {
        let told = self.agent.told.lock().unwrap().setup.clone();
        change(&mut told.lock().unwrap());
    }

    fn shows_its_certificate(&self) {
        self.agent.change(|told| {
            told.status.door_certificate = Some(DoorCertificate {
                leaf_sha256: "ab".repeat(32).try_into().unwrap(),
                ca_sha256: "cd".repeat(32).try_into().unwrap(),
                names: vec!["tbi-c0ffee".to_owned()],
                not_after: "2036-01-01T00:00:00Z".parse().unwrap(),
                origin: Origin::Own,
                trouble: None,
            });
        });
    }
}

/// An administrator who was proven a moment ago, and the token of the session.
async fn proven(stand: &Stand) -> (Browser, String) {
    let mut anna = Browser::log_in(stand, "anna").await;
    let token = anna.get(stand, "/step-up?next=/setup").await.is(200).token();
    let fields = [("csrf", token.as_str()), ("next", "/setup"), ("password", PASSWORD)];
    anna.post(stand, "/step-up", &fields).await.leads_to("/setup");
    let token = anna.get(stand, "/setup/account").await.is(200).token();
    (anna, token)
}

fn all<'a>(token: &'a str, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("csrf", token)].into_iter().chain(fields.iter().copied()).collect()
}

/// Fields of a form, as they are typed.
type Typed<'a> = &'a [(&'a str, &'a str)];

const MANAGEMENT: [(&str, &str); 7] = [
    ("action", "keep"),
    ("based_on", "3"),
    ("nic", ""),
    ("method", "static"),
    ("address", "192.0.2.10/24"),
    ("gateway", "192.0.2.1"),
    ("seconds", "60"),
];

#[tokio::test]
async fn whoever_claims_the_box_lands_in_the_setup_and_it_goes_on_where_it_was() {
    let stand = Stand::for_the_setup(Stand::unclaimed().await);
    let mut browser = Browser::default();
    let fields = [("claim_code", CLAIM_CODE), ("account", "anna"), ("password", PASSWORD), ("again", PASSWORD)];
    browser.post(&stand, "/welcome", &fields).await.leads_to("/setup");
    browser.get(&stand, "/setup").await.is(200).has("class=\"onward\" href=\"/setup/language\"");
    stand.setup(|told| {
        let done = tbi_api::setup::Mark::of(StepState::Done);
        told.marks.insert("language".to_owned(), done.clone());
        told.marks.insert("name".to_owned(), done);
    });
    // Another browser, after a restart of everything.
    let mut other = Browser::log_in(&stand, "anna").await;
    other.get(&stand, "/setup").await.is(200).has("class=\"onward\" href=\"/setup/management\"");
    other.get(&stand, "/").await.has("The setup of this box is not finished");
    stand.stop().await;
}

#[tokio::test]
async fn only_administrators_set_up_and_are_told_that_it_is_not_finished() {
    let stand = Stand::for_the_setup(Stand::start().await);
    for name in ["olaf", "vera", "aura"] {
        let mut browser = Browser::log_in(&stand, name).await;
        browser.get(&stand, "/").await.is(200).has_not("/setup");
        browser.get(&stand, "/setup").await.is(403);
        for path in PATHS {
            browser.get(&stand, path).await.is(403);
        }
    }
    let mut anna = Browser::log_in(&stand, "anna").await;
    anna.get(&stand, "/").await.is(200).has("The setup of this box is not finished");
    anna.get(&stand, "/setup/device").await.leads_to("/step-up?next=%2Fsetup%2Fdevice");
    stand.setup(|told| told.finished = Some("2026-01-31T23:59:59Z".to_owned()));
    anna.get(&stand, "/").await.is(200).has_not("is not finished");
    anna.get(&stand, "/setup/nothing").await.is(404);
    stand.stop().await;
}

#[tokio::test]
async fn the_whole_setup_is_walked_in_both_languages() {
    for language in ["en", "pt-BR"] {
        let stand = Stand::for_the_setup(Stand::start().await);
        stand.shows_its_certificate();
        let (mut anna, token) = proven(&stand).await;
        anna.language = language;
        for path in ["/setup"].into_iter().chain(PATHS) {
            let page = anna.get(&stand, path).await.is(200).has(&format!("<html lang=\"{language}\""));
            super::markup::well_made(path, &page);
        }
        let fingerprint = "ab".repeat(32);
        let story: [(&str, Typed<'_>, &str); 14] = [
            ("/setup/account", &[("action", "done")], "/setup/language"),
            // Language and zone of the box; the reader's own stay.
            (
                "/setup/language",
                &[("action", "keep"), ("language", "en"), ("zone", "America/Sao_Paulo")],
                "/setup/name",
            ),
            (
                "/setup/name",
                &[("action", "keep"), ("based_on", "3"), ("host_name", " tbi-lab-1 ")],
                "/setup/management",
            ),
            ("/setup/management", &[("action", "done")], "/setup/time"),
            (
                "/setup/time",
                &[("action", "keep"), ("based_on", "4"), ("servers", "ntp.example.net\r\n192.0.2.1\r\n")],
                "/setup/time",
            ),
            ("/setup/time", &[("action", "skip")], "/setup/certificate"),
            (
                "/setup/certificate",
                &[("action", "done"), ("compared", "yes"), ("certificate_sha256", fingerprint.as_str())],
                "/setup/topology",
            ),
            ("/setup/topology", &[("action", "keep"), ("based_on", "5"), ("place", "outside")], "/setup/trunk"),
            ("/setup/trunk", &[("action", "keep"), ("based_on", "5"), ("nic", "52:54:00:00:00:04")], "/setup/trunk"),
            ("/setup/trunk", &[("action", "done")], "/setup/device"),
            (
                "/setup/device",
                &[
                    ("action", "keep"),
                    ("kind", "pan_os"),
                    ("address", "192.0.2.20"),
                    ("account", ""),
                    ("secret", " s3cret "),
                ],
                "/setup/device",
            ),
            ("/setup/device", &[("action", "done")], "/setup/authorities"),
            ("/setup/authorities", &[("action", "skip")], "/setup/preflight"),
            ("/setup/preflight", &[("action", "done")], "/setup/summary"),
        ];
        for (path, fields, next) in story {
            anna.post(&stand, path, &all(&token, fields)).await.leads_to(next);
            let page = anna.get(&stand, next).await.is(200).has_not("s3cret");
            super::markup::well_made(next, &page);
        }
        stand.setup(|told| {
            assert_eq!(told.locale.zone, "America/Sao_Paulo");
            assert_eq!(
                (told.settings.settings.host_name.as_str(), told.marks["name"].state),
                ("tbi-lab-1", StepState::Done)
            );
            assert_eq!(told.settings.settings.ntp_servers, ["ntp.example.net", "192.0.2.1"]);
            assert_eq!(told.settings.settings.trunk.as_ref().unwrap().mac, "52:54:00:00:00:04");
            assert_eq!(told.marks["certificate"].certificate_sha256.as_deref(), Some(fingerprint.as_str()));
            assert_eq!(told.change.as_ref().unwrap().secret.as_ref().unwrap().reveal(), " s3cret ");
            assert_eq!((told.device.kind, told.marks["time"].state), (Kind::PanOs, StepState::Skipped));
        });
        let page = anna.get(&stand, "/setup/summary").await.is(200).has("https://localhost/").has("https://10.0.2.15/");
        page.has("<svg class=\"qr\" role=\"img\"")
            .has("AB:AB:AB")
            .has("CD:CD:CD")
            .has("ntp.example.net")
            .has("52:54:00:00:00:04");
        anna.post(&stand, "/setup/summary", &all(&token, &[("action", "finish")])).await.leads_to("/setup");
        let page =
            anna.get(&stand, "/setup").await.is(200).has("AB:AB:AB").has("class=\"good\"").has_not("class=\"onward\"");
        super::markup::well_made("/setup", &page);
        for path in PATHS {
            anna.get(&stand, path).await.leads_to("/setup");
        }
        stand.stop().await;
    }
}

#[tokio::test]
async fn a_network_on_trial_says_where_to_go_and_what_happens_if_nothing_is_pressed() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    let page = anna.post(&stand, "/setup/management", &all(&token, &MANAGEMENT)).await.is(200);
    super::markup::well_made("/setup/management", &page);
    let page = page.has("https://localhost/").has("href=\"https://192.0.2.10/setup/management\"");
    let page =
        page.has("If nothing is pressed, the old network comes back by itself").has("2026-01-31 23:31:00 +00:00");
    let page = page.has("<svg class=\"qr\" role=\"img\" aria-label=\"QR code of https://192.0.2.10/setup/management\"");
    let page = page.has("60 seconds left").has("value=\"confirm\"").has("value=\"withdraw\"");
    assert_eq!(page.header("refresh"), "", "nothing is fetched from an address that is gone");
    let page = anna.get(&stand, "/setup/management").await.is(200).has("value=\"confirm\"");
    assert_eq!(page.header("refresh"), "62");
    anna.post(&stand, "/setup/management", &all(&token, &[("action", "confirm")])).await.leads_to("/setup/time");
    // Twice pressed, or too late: the page shows how it is.
    anna.post(&stand, "/setup/management", &all(&token, &[("action", "confirm")])).await.leads_to("/setup/management");
    anna.post(&stand, "/setup/management", &all(&token, &MANAGEMENT)).await.is(200);
    anna.post(&stand, "/setup/management", &all(&token, &[("action", "withdraw")])).await.leads_to("/setup/management");
    let page = anna.get(&stand, "/setup/management").await.is(200).has("name=\"address\"").has_not("value=\"confirm\"");
    assert_eq!(page.header("refresh"), "");
    stand.setup(|told| {
        told.trials.last = Some(tbi_api::trial::Ended {
            outcome: tbi_api::trial::Outcome::TimedOut,
            when: "2026-01-31T23:31:00Z".to_owned(),
            sentence: "Nobody confirmed it.".to_owned(),
        });
    });
    let page = anna.get(&stand, "/setup/management").await.is(200).has("was taken back at 2026-01-31 23:31:00 +00:00");
    page.has("Nobody confirmed it.");
    stand.stop().await;
}

#[tokio::test]
async fn language_and_zone_of_the_box_are_those_of_readers_who_chose_none() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let mut nobody = Browser { language: "en", ..Browser::default() };
    nobody.get(&stand, "/login").await.has("<html lang=\"en\">");
    let (mut anna, token) = proven(&stand).await;
    let fields = [("action", "keep"), ("language", "pt-BR"), ("zone", "America/Manaus")];
    anna.post(&stand, "/setup/language", &all(&token, &fields)).await.leads_to("/setup/name");
    for path in ["/login", "/nowhere"] {
        nobody.get(&stand, path).await.has("<html lang=\"pt-BR\">").has("America/Manaus");
    }
    let fields = [("language", "en"), ("theme", "system"), ("zone", "UTC"), ("next", "/login")];
    nobody.post(&stand, "/preferences", &fields).await.leads_to("/login");
    nobody.get(&stand, "/login").await.has("<html lang=\"en\">").has_not("America/Manaus\" selected");
    // Nobody outside is taken for the box.
    let request = http::Request::get("/login").header("host", "localhost").header("accept", "text/html");
    let request = request.header("x-tbi-default-look", "language=en&zone=Asia/Singapore");
    let page = stand.send(request.body(http_body_util::Full::default()).unwrap()).await.is(200);
    page.has("<html lang=\"pt-BR\">").has_not("Asia/Singapore\" selected");
    stand.stop().await;
}
