//! Words from outside that try to become part of a page: in names of runs, in sentences, in the audit chain, in what a browser calls itself, in
//! queries and in forms. None of them may come out as anything but text.

use http::Request;
use http_body_util::Full;
use tbi_api::health::{Health, State};
use tbi_api::runs::RunState;

use super::agent::{component, entry, outline, run};
use super::{Browser, Page, Stand};

/// Ends an attribute of either kind, an element, a comment and a title, and then runs.
pub(super) const HOSTILE: &str =
    "\"'></title></textarea>--><script>alert(1)</script><img src=x onerror=alert(1)>\u{202e}&lt;";

/// Nothing of it is there but as text.
#[track_caller]
pub(super) fn harmless(page: &Page) {
    // Our own modules and our own areas of text are no words from outside.
    let own = page.body.replace("<script type=\"module\" src=\"/assets/", "");
    for word in ["<script", "<img src=x", "onerror=alert(1)>"] {
        assert!(!own.contains(word), "'{word}' in {}", page.body);
    }
    assert_eq!(own.matches("<textarea").count(), own.matches("</textarea>").count(), "{}", page.body);
    // As often as a page ends its own title.
    assert_eq!(page.body.matches("</title>").count(), 1);
}

/// The same, and it was shown.
#[track_caller]
pub(super) fn shown(page: &Page) {
    harmless(page);
    assert!(page.body.contains("&#60;script&#62;alert(1)"), "it is not shown at all: {}", page.body);
}

#[tokio::test]
async fn hostile_words_of_the_agent_stay_words() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        let mut hostile = run("20260131T230000Z", HOSTILE, RunState::Passed);
        hostile.sentence = HOSTILE.to_owned();
        let mut other = run(HOSTILE, HOSTILE, RunState::Running);
        other.started = HOSTILE.to_owned();
        other.progress.as_mut().unwrap().last_block = HOSTILE.to_owned();
        told.runs = vec![hostile, other];
        told.status.host_name = HOSTILE.to_owned();
        told.status.version = HOSTILE.to_owned();
        told.status.commit = Some(HOSTILE.to_owned());
        told.status.problems = vec![HOSTILE.to_owned()];
        told.status.addresses = vec![HOSTILE.to_owned()];
        told.status.time = HOSTILE.to_owned();
        told.health = Health::of(vec![component(HOSTILE, State::Failed, HOSTILE)]);
        let mut found = outline();
        found.reasons = vec![HOSTILE.to_owned()];
        found.tool.version = HOSTILE.to_owned();
        found.plan = serde_json::json!({ HOSTILE: HOSTILE });
        let receipt = found.authorization.as_mut().unwrap();
        receipt.licence = HOSTILE.to_owned();
        receipt.burned = vec![HOSTILE.to_owned()];
        told.outline = Some(found);
        let mut audited = entry(7, HOSTILE, HOSTILE);
        for field in [
            &mut audited.actor,
            &mut audited.role,
            &mut audited.source,
            &mut audited.action,
            &mut audited.outcome,
            &mut audited.correlation,
        ] {
            *field = HOSTILE.to_owned();
        }
        told.entries = vec![audited];
        told.verification.sentence = HOSTILE.to_owned();
    });
    let mut anna = Browser::log_in(&stand, "anna").await;
    for path in ["/", "/runs", "/runs/20260131T230000Z", "/audit?verify=yes", "/users", "/sessions"] {
        shown(&anna.get(&stand, path).await.is(200));
    }
    // An id that is none leads nowhere but to the list.
    anna.get(&stand, "/runs").await.has("<a href=\"/runs\">&#34;&#39;");
    stand.stop().await;
}

#[tokio::test]
async fn what_a_browser_calls_itself_stays_words() {
    let stand = Stand::start().await;
    let mut vera = Browser::default();
    let printable: String = HOSTILE.chars().filter(char::is_ascii).collect();
    let fields = [("account", "vera"), ("password", crate::access::tests::PASSWORD), ("code", "")];
    let from = [("origin", "https://localhost"), ("sec-fetch-site", "same-origin"), ("user-agent", printable.as_str())];
    vera.post_from(&stand, "/login", &fields, &from).await.leads_to("/");
    shown(&vera.get(&stand, "/sessions").await.is(200));
    stand.stop().await;
}

#[tokio::test]
async fn what_is_typed_into_fields_and_addresses_comes_back_as_words() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let typed: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    for path in [format!("/runs?name={typed}"), format!("/audit?actor={typed}&action={typed}")] {
        shown(&anna.get(&stand, &path).await.is(200));
    }
    for path in [format!("/runs?from={typed}&to={typed}"), format!("/audit?before={typed}")] {
        shown(&anna.get(&stand, &path).await.is(422));
    }
    harmless(&anna.get(&stand, &format!("/runs?state={typed}")).await.is(422));
    harmless(&anna.get(&stand, &format!("/runs?before={typed}")).await.is(200));
    harmless(&anna.get(&stand, "/runs/%22%3E%3Cscript%3Ealert(1)").await.is(404));
    harmless(&anna.get(&stand, "/%3Cscript%3Ealert(1)").await.is(404));
    harmless(&Browser::default().get(&stand, &format!("/login?next={typed}")).await.is(200));
    let fields = [("account", HOSTILE), ("password", HOSTILE), ("code", HOSTILE), ("next", HOSTILE)];
    shown(&Browser::default().post(&stand, "/login", &fields).await.is(422));
    let step_up = anna.get(&stand, &format!("/step-up?next={typed}")).await.is(200);
    harmless(&step_up);
    let token = step_up.token();
    let proof = [("csrf", token.as_str()), ("password", crate::access::tests::PASSWORD), ("next", "/users/new")];
    anna.post(&stand, "/step-up", &proof).await.leads_to("/users/new");
    let token = anna.get(&stand, "/users/new").await.token();
    let fields = [("account", HOSTILE), ("role", HOSTILE), ("password", HOSTILE), ("again", HOSTILE)];
    shown(&anna.post(&stand, "/users/new", &[&[("csrf", token.as_str())], &fields[..]].concat()).await.is(422));
    let fields = [("action", "remove"), ("confirm", HOSTILE)];
    shown(
        &anna.post(&stand, "/users/account/vera", &[&[("csrf", token.as_str())], &fields[..]].concat()).await.is(422),
    );
    let mut painted = Browser::default();
    painted.cookies.insert("__Host-tbi-look".to_owned(), format!("zone={typed}&language={typed}&theme={typed}"));
    harmless(&painted.get(&stand, "/login").await.is(200));
    stand.stop().await;
}

#[tokio::test]
async fn what_is_typed_at_the_welcome_comes_back_as_words() {
    let stand = Stand::unclaimed().await;
    let fields = [("claim_code", HOSTILE), ("account", HOSTILE), ("password", HOSTILE), ("again", HOSTILE)];
    shown(&Browser::default().post(&stand, "/welcome", &fields).await.is(422));
    stand.stop().await;
}

#[tokio::test]
async fn a_reflected_language_or_host_is_no_way_in() {
    let stand = Stand::start().await;
    let printable: String = HOSTILE.chars().filter(char::is_ascii).collect();
    let request = Request::get("/login").header("host", "localhost").header("accept", "text/html");
    let request = request.header("accept-language", &printable).header("x-correlation-id", &printable);
    harmless(&stand.send(request.header("referer", &printable).body(Full::default()).unwrap()).await.is(200));
    stand.stop().await;
}
