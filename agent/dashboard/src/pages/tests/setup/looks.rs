//! What the wizard looks at by itself: the first pre-flight from its own step, the wire of the trunk, and a name that is none.

use http::StatusCode;
use tbi_api::bench::{Examination, Phase};
use tbi_api::settings::NicChoice;
use tbi_api::setup::StepState;
use tbi_bench::preflight::{Check, CheckName, Finding};

use super::super::hostile::{HOSTILE, harmless};
use super::super::markup::well_made;
use super::super::{Browser, Stand};
use super::{all, proven};

const PATH: &str = "/setup/preflight";

impl Stand {
    fn examined(&self, phase: Phase, open: Option<bool>, clock: Finding) {
        let mut checks: Vec<Check> = vec![Check::new(CheckName::Clock, clock, 840)];
        if phase == Phase::Done {
            let others = CheckName::ALL.into_iter().filter(|name| *name != CheckName::Clock);
            checks.extend(others.map(|name| Check::new(name, Finding::passed("seen"), 1)));
        }
        let started = "2026-01-31T23:30:00Z".to_owned();
        let examination = Examination { phase, open, checks, started, ..Examination::default() };
        self.agent.change(|told| told.bench.examination = examination);
    }
}

#[tokio::test]
async fn the_first_preflight_is_made_from_its_step_and_shown_check_by_check() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    let begin = [("action", "check")];
    for language in ["en", "pt-BR"] {
        anna.language = language;
        stand.agent.change(|told| told.bench.examination = Examination::default());
        let page = anna.get(&stand, PATH).await.is(200).has("value=\"check\"").has_not("value=\"done\"");
        well_made(PATH, &page);
        assert_eq!(page.header("refresh"), "");
        anna.post(&stand, PATH, &all(&token, &begin)).await.leads_to(PATH);
        stand.examined(Phase::Checking, None, Finding::failed("it is 1970", "set it"));
        let page = anna.get(&stand, PATH).await.is(200).has("it is 1970").has("set it").has_not("value=\"done\"");
        well_made(PATH, &page);
        assert_eq!(page.header("refresh"), "5", "it is looked at again by itself");
        anna.post(&stand, PATH, &all(&token, &[("action", "cancel")])).await.leads_to(PATH);
        let page = anna.get(&stand, PATH).await.is(200).has("value=\"check\"").has_not("value=\"done\"");
        well_made(PATH, &page);
        stand.examined(Phase::Done, Some(true), Finding::passed("right"));
        let page = anna.get(&stand, PATH).await.is(200).has("value=\"done\"").has_not("name=\"reason\"");
        well_made(PATH, &page);
    }
    anna.post(&stand, PATH, &all(&token, &[("action", "done")])).await.leads_to("/setup/summary");
    stand.setup(|told| {
        assert_eq!((told.marks["preflight"].state, &told.marks["preflight"].reason), (StepState::Done, &None))
    });
    stand.stop().await;
}

#[tokio::test]
async fn a_preflight_that_failed_is_gone_on_from_with_a_reason_only_and_the_summary_has_it() {
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    stand.examined(Phase::Done, Some(false), Finding::failed("it is 1970", "set it"));
    well_made(PATH, &anna.get(&stand, PATH).await.is(200).has("name=\"reason\""));
    for reason in ["", "so what", "two\nlines of a reason", &"a".repeat(501), HOSTILE] {
        let fields = [("action", "done"), ("reason", reason)];
        let page = anna.post(&stand, PATH, &all(&token, &fields)).await;
        // Words that would be markup elsewhere are a reason like any other.
        if reason == HOSTILE && page.status == StatusCode::SEE_OTHER {
            harmless(&anna.get(&stand, "/setup/summary").await.is(200));
            stand.setup(|told| told.marks.clear());
            continue;
        }
        let page = page.is(422).has("id=\"reason-error\"").has("aria-invalid=\"true\"");
        harmless(&page);
        well_made(PATH, &page);
    }
    stand.setup(|told| assert!(told.marks.is_empty()));
    let reason = "the device gets its licence on Monday";
    anna.post(&stand, PATH, &all(&token, &[("action", "done"), ("reason", reason)])).await.leads_to("/setup/summary");
    stand.setup(|told| assert_eq!(told.marks["preflight"].reason.as_deref(), Some(reason)));
    anna.get(&stand, "/setup/summary").await.is(200).has(reason);
    // Not made, or not over: the agent says so.
    stand.agent.change(|told| told.bench.examination = Examination::default());
    let refusal = (StatusCode::UNPROCESSABLE_ENTITY, "step-not-done", "the checks were not made".to_owned());
    stand.setup(|told| drop(told.refuse.insert("PUT /v1/setup/steps/preflight".to_owned(), refusal)));
    let fields = [("action", "done"), ("reason", reason)];
    anna.post(&stand, PATH, &all(&token, &fields)).await.is(422).has("the checks were not made");
    stand.stop().await;
}

#[tokio::test]
async fn the_wire_is_asked_from_the_step_of_the_trunk_once_there_is_one() {
    const TRUNK: &str = "/setup/trunk";
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    anna.get(&stand, TRUNK).await.is(200).has_not("value=\"probe\"");
    stand.setup(|told| told.settings.settings.trunk = Some(NicChoice { mac: "52:54:00:00:00:04".to_owned() }));
    let ask = [("action", "probe")];
    for language in ["pt-BR", "en"] {
        anna.language = language;
        well_made(TRUNK, &anna.get(&stand, TRUNK).await.is(200).has("value=\"probe\""));
    }
    anna.post(&stand, TRUNK, &all(&token, &ask)).await.leads_to(TRUNK);
    let page = anna.get(&stand, TRUNK).await.is(200).has("172.17.0.2 on VLAN 30 (52:54:00:00:00:09)");
    page.has("state-failed").has("Find it in the switch");
    let refusal = (StatusCode::CONFLICT, "run-under-way", "the run 20260131T235959Z is under way".to_owned());
    stand.setup(|told| drop(told.refuse.insert("POST /v1/trunk/probe".to_owned(), refusal)));
    let page = anna.post(&stand, TRUNK, &all(&token, &ask)).await.is(422).has("the run 20260131T235959Z is under way");
    well_made(TRUNK, &page);
    stand.stop().await;
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_at_its_field_and_an_empty_one_is_the_machines_own() {
    const NAME: &str = "/setup/name";
    let stand = Stand::for_the_setup(Stand::start().await);
    let (mut anna, token) = proven(&stand).await;
    let sentence =
        "host_name '-x' is no host name; use 1 to 63 letters, digits and inner hyphens (RFC 1123), or leave it empty";
    let refusal = (StatusCode::UNPROCESSABLE_ENTITY, "settings-refused", sentence.to_owned());
    stand.setup(|told| drop(told.refuse.insert("PUT /v1/settings".to_owned(), refusal)));
    for name in ["-x", "a b", HOSTILE] {
        let fields = [("action", "keep"), ("based_on", "3"), ("host_name", name)];
        let page = anna.post(&stand, NAME, &all(&token, &fields)).await.is(422).has("id=\"host_name-error\"");
        harmless(&page);
        well_made(NAME, &page);
    }
    stand.setup(|told| told.refuse.clear());
    let stale = [("action", "keep"), ("host_name", "tbi-lab-1")];
    anna.post(&stand, NAME, &all(&token, &stale)).await.is(422).has("value=\"tbi-lab-1\"");
    let fields = [("action", "keep"), ("based_on", "3"), ("host_name", "")];
    anna.post(&stand, NAME, &all(&token, &fields)).await.leads_to("/setup/management");
    stand.setup(|told| assert_eq!((told.settings.settings.host_name.as_str(), told.marks.len()), ("", 1)));
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, NAME).await.is(403);
    stand.stop().await;
}
