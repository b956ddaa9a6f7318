//! One run: where it is or what it found, the plan it follows, what allowed it, and its documents.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use tbi_api::runs::{Outline, Progress, Run};
use tbi_bench::preflight::{Check, Preflight};
use tbi_daemon::ClientError;

use super::frame::Frame;
use super::live::story::{Standing, Story};
use super::look::Look;
use super::refused::{Refused, Shown};
use super::runs::{Row, is_id};
use super::visit::Visit;
use super::{Pages, assets, html, live, number};

/// How far a run is.
#[derive(Debug, PartialEq, Eq)]
struct Going {
    done: u32,
    blocks: u32,
    elapsed: String,
    remaining: String,
    last: String,
}

/// One of the five checks before it.
#[derive(Debug, PartialEq, Eq)]
struct Checked {
    name: &'static str,
    verdict: &'static str,
    evidence: String,
    remedy: String,
}

/// The gate before it.
#[derive(Debug, PartialEq, Eq)]
struct Gate {
    checks: Vec<Checked>,
    /// It did not let the run through.
    closed: bool,
    bypass: Option<String>,
}

/// What allowed it.
#[derive(Debug, PartialEq, Eq)]
struct Receipt {
    licence: String,
    units: String,
    left: String,
    burned: String,
    audit_seq: u64,
    when: String,
    key: String,
    plan: String,
    sealed: String,
}

/// What the record says in short.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    verdict: &'static str,
    valid: bool,
    reasons: Vec<String>,
    tool: String,
    receipt: Option<Receipt>,
    gate: Option<Gate>,
    plan: String,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    look: Look,
    frame: Frame,
    row: Row,
    ended: String,
    who: String,
    going: Option<Going>,
    found: Option<Found>,
    story: Option<Story>,
    /// Costs with too few pairs for a claim.
    indicative: bool,
    may_order: bool,
    /// Modules and style of the pictures.
    script: String,
    picture_style: String,
    /// Query of the table, so that its times are those of the page.
    zone: String,
}

/// Before the first block there is no progress, and yet it is under way.
fn going(run: &Run) -> Option<Going> {
    if run.state.is_over() {
        return None;
    }
    let progress = run.progress.as_ref();
    let span = |of: fn(&Progress) -> u64| progress.map(|it| number::span(of(it))).unwrap_or_default();
    Some(Going {
        done: progress.map_or(0, |it| it.blocks_done),
        blocks: progress.map_or(1, |it| it.blocks.max(1)),
        elapsed: span(|it| it.elapsed_seconds),
        remaining: span(|it| it.remaining_seconds),
        last: progress.map(|it| it.last_block.clone()).unwrap_or_default(),
    })
}

fn gate(preflight: Preflight) -> Gate {
    let closed = preflight.refusal().is_some();
    let check = |check: Check| Checked {
        name: check.name.title(),
        verdict: check.verdict.as_str(),
        evidence: check.evidence,
        remedy: check.remedy,
    };
    Gate {
        closed,
        bypass: preflight.bypass.map(|bypass| format!("{}: {}", bypass.actor, bypass.reason)),
        checks: preflight.checks.into_iter().map(check).collect(),
    }
}

fn found(outline: Outline, look: &Look) -> Found {
    use tbi_bench::record::Verdict;
    let receipt = outline.authorization.map(|receipt| Receipt {
        units: look.count(receipt.tsu),
        left: look.count(receipt.balance_after),
        burned: receipt.burned.join(", "),
        audit_seq: receipt.audit_seq,
        when: look.time_of(&receipt.when),
        key: receipt.key_id,
        plan: receipt.plan_sha256,
        sealed: receipt.sealed_hash,
        licence: receipt.licence,
    });
    Found {
        verdict: match outline.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotMeasured => "not_measured",
        },
        valid: outline.valid,
        reasons: outline.reasons,
        tool: format!("{} {} {}", outline.tool.name, outline.tool.version, outline.tool.commit.unwrap_or_default()),
        receipt,
        gate: outline.preflight.map(gate),
        plan: serde_json::to_string_pretty(&outline.plan).unwrap_or_default(),
    }
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Path(id): Path<String>) -> Shown {
    let no_run = || Refused::new(StatusCode::NOT_FOUND, "no-such-run", "there is no run with this id");
    if !is_id(&id) {
        return Err(no_run());
    }
    let agent = &visit.agent;
    let (status, run, outline, series) =
        tokio::join!(agent.status(), agent.run(&id), agent.run_outline(&id), agent.run_series(&id));
    let run = run.map_err(|error| match error.code() {
        Some("no-such-run") => no_run(),
        _ => silent(&error),
    })?;
    let look = visit.look.clone();
    let mut frame = visit.frame("run-title", &status);
    frame.title = format!("{} {}", look.say("run-title"), run.id);
    let outline = match outline {
        Ok(outline) => Some(outline),
        // It is written when the run ends.
        Err(error) if error.code() == Some("not-written-yet") => None,
        Err(error) => {
            frame.silent(&look, &error);
            None
        }
    };
    let standing = match &outline {
        _ if !run.state.is_over() => Standing::SoFar,
        Some(outline) if outline.valid => Standing::Valid,
        _ => Standing::NotValid,
    };
    let story = match series {
        Ok(series) => Some(live::story::tell(&series, standing, &look)),
        // A run that was refused before its first block measured nothing.
        Err(error) if error.code() == Some("not-written-yet") => None,
        Err(error) => {
            frame.silent(&look, &error);
            None
        }
    };
    let ended = run.ended.as_deref().map(|ended| look.time_of(ended)).unwrap_or_default();
    let (going, mut found) = (going(&run), outline.map(|outline| found(outline, &look)));
    if let Some(found) = &mut found {
        // It stands above all.
        found.reasons.retain(|reason| *reason != run.sentence);
    }
    let who = [run.actor.clone(), run.source.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    Ok(html(&RunPage {
        row: Row::of(run, &look),
        may_order: visit.may_order(),
        script: assets::path("live.js"),
        picture_style: assets::path("uplot.css"),
        zone: form_urlencoded::Serializer::new(String::new()).append_pair("zone", look.zone.name()).finish(),
        ended,
        who,
        going,
        found,
        indicative: story.as_ref().is_some_and(|story| story.indicative),
        story,
        look,
        frame,
    }))
}

/// A page that is about one thing of the agent's is nothing without it.
pub(super) fn silent(error: &ClientError) -> Refused {
    let detail = format!("the agent does not say: {error}");
    crate::answers::later(StatusCode::SERVICE_UNAVAILABLE, "daemon-down", detail, 5).into()
}
