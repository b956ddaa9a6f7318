//! One run: where it is or what it found, the plan it follows, what allowed it, and its documents.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use tbi_api::runs::{Outline, Run};
use tbi_daemon::ClientError;

use super::frame::Frame;
use super::look::Look;
use super::refused::{Refused, Shown};
use super::runs::{Row, is_id};
use super::visit::Visit;
use super::{Pages, html, number};

/// How far a run is.
#[derive(Debug, PartialEq, Eq)]
struct Going {
    done: u32,
    blocks: u32,
    elapsed: String,
    remaining: String,
    last: String,
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
    plan: String,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    look: Look,
    frame: Frame,
    row: Row,
    ended: String,
    going: Option<Going>,
    found: Option<Found>,
}

fn going(run: &Run) -> Option<Going> {
    run.progress.as_ref().filter(|_| !run.state.is_over()).map(|progress| Going {
        done: progress.blocks_done,
        blocks: progress.blocks,
        elapsed: number::span(progress.elapsed_seconds),
        remaining: number::span(progress.remaining_seconds),
        last: progress.last_block.clone(),
    })
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
        plan: serde_json::to_string_pretty(&outline.plan).unwrap_or_default(),
    }
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit, Path(id): Path<String>) -> Shown {
    let no_run = || Refused::new(StatusCode::NOT_FOUND, "no-such-run", "there is no run with this id");
    if !is_id(&id) {
        return Err(no_run());
    }
    let (status, run, outline) = tokio::join!(visit.agent.status(), visit.agent.run(&id), visit.agent.run_outline(&id));
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
    let ended = run.ended.as_deref().map(|ended| look.time_of(ended)).unwrap_or_default();
    let (going, found) = (going(&run), outline.map(|outline| found(outline, &look)));
    Ok(html(&RunPage { row: Row::of(run, &look), ended, going, found, look, frame }))
}

/// A page that is about one thing of the agent's is nothing without it.
pub(super) fn silent(error: &ClientError) -> Refused {
    let detail = format!("the agent does not say: {error}");
    crate::answers::later(StatusCode::SERVICE_UNAVAILABLE, "daemon-down", detail, 5).into()
}
