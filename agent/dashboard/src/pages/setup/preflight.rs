//! The first pre-flight: the five checks made from here, what each found, and the way on when they did not all pass. What is wrong with the box
//! now stands below, because it is what most often keeps them from passing.

use tbi_api::bench::{Examination, Order, Phase};
use tbi_api::setup::{Finding, FindingVerdict, Mark, StepState};
use tbi_bench::preflight::{Bypass, CheckName, CheckVerdict};
use tbi_daemon::ClientError;

use super::super::bench::preflight::{name, verdict};
use super::super::form::Fields;
use super::super::frame::Banner;
use super::super::look::Look;
use super::super::visit::Visit;
use super::Kept;
use super::view::{Cell, Field, Kind, Problems, Table, View, findings};

/// Longest reason, as in the agent's document.
const LONGEST: u32 = 500;
/// Checks that are being made are looked at again this soon.
const AGAIN_SECONDS: u64 = 3;

pub(super) async fn view(visit: &Visit, typed: Option<&Fields>) -> View {
    let look = &visit.look;
    let mut view = View::new(look, "preflight");
    let (examination, health) = tokio::join!(visit.agent.preflight(), visit.agent.health());
    match &examination {
        Ok(examination) => show(look, &mut view, examination, typed),
        Err(error) => view.unknown(look, error),
    }
    match health {
        Ok(health) => view.tables.push(parts(look, health)),
        Err(error) => view.unknown(look, &error),
    }
    view
}

/// What the checks let the reader do. Pure.
fn show(look: &Look, view: &mut View, examination: &Examination, typed: Option<&Fields>) {
    if examination.phase != Phase::Never {
        view.fact(look.say("preflight-started"), look.time_of(&examination.started));
        view.tables.push(checks(look, examination));
    }
    let phase = match examination.phase {
        Phase::Never => "setup-preflight-never",
        Phase::Preparing => "preflight-is-preparing",
        Phase::Checking => "preflight-is-checking",
        Phase::Done if examination.open == Some(true) => "setup-preflight-passed",
        Phase::Done => "setup-preflight-failed",
        Phase::Cancelled => "preflight-is-cancelled",
    };
    let text = look.say(phase).into_owned();
    match (examination.phase, examination.open) {
        (Phase::Done, Some(true)) => view.good = Some(text),
        (Phase::Done, _) => view.banner = Some(Banner { text, reason: String::new() }),
        _ => view.notice = Some(text),
    }
    if examination.phase.is_going() {
        view.reload_after = Some(AGAIN_SECONDS);
        view.buttons = vec![("cancel", look.say("preflight-cancel").into_owned())];
        return;
    }
    view.buttons = vec![("check", look.say("preflight-begin").into_owned())];
    match (examination.phase, examination.open) {
        (Phase::Never | Phase::Cancelled, _) => {}
        (_, Some(true)) => view.done = Some(look.say("setup-go-on").into_owned()),
        _ => {
            let label = look.say("setup-preflight-reason");
            let field = Field::new("reason", Kind::Text { most: LONGEST }, label, typed, "");
            view.tick = Some(field.hint(look.say("setup-preflight-reason-rule")));
            view.done = Some(look.say("setup-preflight-anyway").into_owned());
        }
    }
}

fn checks(look: &Look, examination: &Examination) -> Table {
    let row = |of: CheckName| {
        let made = examination.checks.iter().find(|check| check.name == of);
        let waiting = if examination.phase.is_going() { ("pending", "starting") } else { ("skipped", "starting") };
        let (word, class) = made.map_or(waiting, |check| {
            let class = match check.verdict {
                CheckVerdict::Passed => "healthy",
                CheckVerdict::Warning => "degraded",
                CheckVerdict::Failed => "failed",
                CheckVerdict::Skipped => "starting",
            };
            (verdict(check.verdict), class)
        });
        vec![
            Cell::text(look.word("check-", name(of))),
            Cell::state(look.word("verdict-", word), class),
            Cell::english(made.map(|check| check.evidence.clone()).unwrap_or_default()),
            Cell::english(made.map(|check| check.remedy.clone()).unwrap_or_default()),
        ]
    };
    Table {
        id: "checks",
        title: look.say("preflight-checks").into_owned(),
        heads: ["preflight-check", "preflight-verdict", "preflight-evidence", "preflight-remedy"]
            .map(|head| look.say(head).into_owned())
            .into(),
        rows: CheckName::ALL.map(row).into(),
        action: None,
    }
}

fn parts(look: &Look, health: tbi_api::health::Health) -> Table {
    use tbi_api::health::State;
    let part = |part: tbi_api::health::Component| Finding {
        name: part.name,
        verdict: match part.state {
            State::Healthy => FindingVerdict::Passed,
            State::Starting => FindingVerdict::NotChecked,
            State::Degraded => FindingVerdict::Warning,
            State::Failed => FindingVerdict::Failed,
        },
        evidence: part.sentence,
        remedy: String::new(),
    };
    let found: Vec<Finding> = health.components.into_iter().map(part).collect();
    Table { title: look.say("setup-preflight-parts").into_owned(), ..findings(look, &found) }
}

/// Begins to make the checks.
pub(super) async fn begin(visit: &Visit) -> Result<Kept, ClientError> {
    visit.agent.start_preflight(&Order::default()).await.map(|_begun| Kept::Stay)
}

/// Has them end before their time; those that are over meanwhile stay as they are.
pub(super) async fn cancel(visit: &Visit) -> Result<Kept, ClientError> {
    match visit.agent.cancel_preflight().await {
        Err(error) if error.code() == Some("no-checks-under-way") => Ok(Kept::Stay),
        answer => answer.map(|()| Kept::Stay),
    }
}

/// Ends the step: with a reason where the checks did not pass.
pub(super) async fn done(visit: &Visit, fields: &Fields) -> Result<Kept, ClientError> {
    let examination = visit.agent.preflight().await?;
    let mut mark = Mark::of(StepState::Done);
    if examination.phase == Phase::Done && examination.open != Some(true) {
        let reason = fields.text("reason");
        if Bypass::new(reason, "").is_err() {
            return Ok(Problems::at("reason", visit.look.say("setup-preflight-reason-rule")).into());
        }
        mark.reason = Some(reason.to_owned());
    }
    visit.agent.mark_step("preflight", &mark).await.map(|_setup| Kept::Done)
}
