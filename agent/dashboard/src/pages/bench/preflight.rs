//! The five pre-flight checks, made now, without a run: how far they are, what each found, and what to do about it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::bench::{Examination, Order, Phase};
use tbi_api::runs::Profile;
use tbi_bench::preflight::{Check, CheckName, CheckVerdict};

use super::super::form::SignedForm;
use super::super::frame::{Choice, Frame};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, number, see_other, unprocessable};
use super::said_of;

const PROFILES: [(Profile, &str); 3] = [(Profile::Quick, "quick"), (Profile::Short, "short"), (Profile::Full, "full")];

/// One check; one that is not made yet has no words but its name.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    verdict: &'static str,
    evidence: String,
    remedy: String,
    took: String,
}

/// The checks of one time.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    phase: &'static str,
    going: bool,
    done: usize,
    elapsed: String,
    /// Nothing while it is not known.
    remaining: String,
    started: String,
    profile: &'static str,
    /// `open`, `shut`; nothing while it is not known.
    gate: &'static str,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "bench/preflight.html")]
struct PreflightPage {
    look: Look,
    frame: Frame,
    token: String,
    may_begin: bool,
    profiles: Vec<Choice>,
    profile_error: Option<String>,
    /// Why they were not begun, in the agent's words.
    refused: Option<String>,
    /// `None`: the agent did not say.
    made: Option<Made>,
    never: bool,
}

pub(in crate::pages) fn name(check: CheckName) -> &'static str {
    match check {
        CheckName::Subnets => "subnets",
        CheckName::DecryptMode => "decrypt-mode",
        CheckName::PersonaPki => "persona-pki",
        CheckName::Clock => "clock",
        CheckName::DeviceApi => "device-api",
    }
}

/// In the class of a state, a check that warned is degraded.
pub(in crate::pages) fn verdict(verdict: CheckVerdict) -> &'static str {
    match verdict {
        CheckVerdict::Passed => "passed",
        CheckVerdict::Warning => "warning",
        CheckVerdict::Failed => "failed",
        CheckVerdict::Skipped => "skipped",
    }
}

/// `840 ms`, `2.4 s`.
fn took(milliseconds: u64, look: &Look) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{} s", number::decimal(milliseconds as f64 / 1000.0, 1, look.lang)),
        _ => number::span(milliseconds / 1000),
    }
}

fn made(examination: Examination, look: &Look) -> Made {
    let going = examination.phase.is_going();
    let row = |of: CheckName| {
        let check = examination.checks.iter().find(|check| check.name == of);
        let waiting = if going { "pending" } else { "skipped" };
        Row {
            name: name(of),
            verdict: check.map_or(waiting, |check| verdict(check.verdict)),
            took: check.map(|check| took(check.duration_ms, look)).unwrap_or_default(),
            evidence: check.map(|Check { evidence, .. }| evidence.clone()).unwrap_or_default(),
            remedy: check.map(|Check { remedy, .. }| remedy.clone()).unwrap_or_default(),
        }
    };
    Made {
        phase: match examination.phase {
            Phase::Never => "never",
            Phase::Preparing => "preparing",
            Phase::Checking => "checking",
            Phase::Done => "done",
            Phase::Cancelled => "cancelled",
        },
        going,
        done: examination.checks.len(),
        elapsed: took(examination.elapsed_ms, look),
        remaining: examination.remaining_ms.map(|left| took(left, look)).unwrap_or_default(),
        started: look.time_of(&examination.started),
        profile: profile_name(examination.profile),
        gate: match examination.open {
            Some(true) => "open",
            Some(false) => "shut",
            None => "",
        },
        rows: CheckName::ALL.map(row).into(),
    }
}

fn profile_name(profile: Profile) -> &'static str {
    PROFILES.iter().find(|(of, _)| *of == profile).map_or("short", |(_, name)| name)
}

async fn page_of(visit: &Visit, chosen: &str) -> PreflightPage {
    let (status, examination) = tokio::join!(visit.agent.status(), visit.agent.preflight());
    let mut frame = visit.frame("preflight-title", &status);
    if let Err(error) = &examination {
        frame.silent(&visit.look, error);
    }
    let look = visit.look.clone();
    let examination = examination.ok();
    let choice = |(_, name): (Profile, &str)| Choice {
        value: name.to_owned(),
        text: look.word("profile-", name).into_owned(),
        chosen: name == chosen,
    };
    PreflightPage {
        frame,
        token: visit.token().to_owned(),
        may_begin: visit.may_order(),
        profiles: PROFILES.map(choice).into(),
        profile_error: None,
        refused: None,
        never: examination.as_ref().is_some_and(|examination| examination.phase == Phase::Never),
        made: examination
            .filter(|examination| examination.phase != Phase::Never)
            .map(|examination| made(examination, &look)),
        look,
    }
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&page_of(&visit, "short").await))
}

/// Begins to make them.
pub(in crate::pages) async fn begin(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/preflight");
    let chosen = fields.text("profile");
    let Some((profile, _)) = PROFILES.into_iter().find(|(_, name)| *name == chosen) else {
        let mut shown = page_of(&visit, "").await;
        shown.profile_error = Some(visit.look.say("preflight-profile-wrong").into_owned());
        return Ok(unprocessable(&shown));
    };
    let Err(error) = visit.agent.start_preflight(&Order { profile }).await else {
        return Ok(see_other("/preflight"));
    };
    let mut shown = page_of(&visit, chosen).await;
    let codes = ["run-under-way", "checks-under-way", "cannot-measure"];
    match codes.iter().find_map(|code| said_of(&error, code)) {
        Some(sentence) => shown.refused = Some(sentence.to_owned()),
        None => shown.frame.silent(&visit.look, &error),
    }
    Ok(unprocessable(&shown))
}

/// Has them end before their time. Those that are over meanwhile are what was to be had.
pub(in crate::pages) async fn cancel(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let visit = Visit::new(&pages, form.who, "/preflight");
    match visit.agent.cancel_preflight().await {
        Ok(()) => Ok(see_other("/preflight")),
        Err(error) if error.code() == Some("no-checks-under-way") => Ok(see_other("/preflight")),
        Err(error) => {
            let mut shown = page_of(&visit, "short").await;
            shown.frame.silent(&visit.look, &error);
            Ok(unprocessable(&shown))
        }
    }
}

#[cfg(test)]
mod tests {
    use tbi_bench::preflight::Finding;

    use super::*;

    #[test]
    fn what_is_not_made_yet_is_pending_and_what_was_never_made_is_not_passed() {
        let look = Look::of(&http::HeaderMap::new());
        let clock = Check::new(CheckName::Clock, Finding::failed("it is 1970", "set it"), 1234);
        let examination =
            Examination { phase: Phase::Checking, checks: vec![clock], elapsed_ms: 61_000, ..Examination::default() };
        let shown = made(examination.clone(), &look);
        let verdicts: Vec<_> = shown.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, ["pending", "pending", "pending", "failed", "pending"]);
        assert_eq!((shown.rows[3].took.as_str(), shown.elapsed.as_str(), shown.done), ("1.2 s", "1 min", 1));
        // A task that ended before its time leaves checks that nobody made.
        let shown = made(Examination { phase: Phase::Done, ..examination }, &look);
        assert!(shown.rows.iter().all(|row| row.verdict != "passed" && row.verdict != "pending"));
        assert_eq!(shown.gate, "");
    }
}
