//! The pre-flight checks without a run: brings the bench up for a plan and makes the five checks. Nothing is measured, nothing is asked for
//! permission and nothing is kept on the disk. Runs and checks never use the bench at the same time; whoever comes second is told.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tbi_api::bench::{Examination, Order, Phase};
use tbi_api::runs::Profile;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::{Check, Preflight};
use tbi_daemon::Shutdown;

use super::super::clock::Clocks;
use super::super::place::PlaceError;
use super::{DeskError, Inner, RunDesk, plan_of};
use crate::preflight::clock::Sources;
use crate::preflight::{self, Absent, Ground};

/// The last checks, and since when they are made.
#[derive(Debug, Default)]
pub(super) struct Examined {
    told: Examination,
    since: Option<Instant>,
    /// What the last whole ones were made for and took, ms.
    whole: Option<(Profile, u64)>,
}

impl RunDesk {
    /// Begins to make the checks.
    ///
    /// # Errors
    /// [`DeskError`]; nothing has begun then.
    pub(crate) fn examine(&self, order: &Order) -> Result<Examination, DeskError> {
        let plan = plan_of(&tbi_api::runs::Order { profile: order.profile, ..Default::default() })?;
        let mut book = self.inner.book();
        if let Some((id, _)) = &book.under_way {
            return Err(DeskError::UnderWay { id: id.clone() });
        }
        if book.checking.is_some() {
            return Err(DeskError::Checking);
        }
        let cancel = Shutdown::new();
        book.checking = Some(cancel.clone());
        drop(book);
        let begun = Examination {
            phase: Phase::Preparing,
            profile: order.profile,
            started: jiff::Timestamp::now().to_string(),
            ..Examination::default()
        };
        self.inner.tell_examined(|examined| (examined.told, examined.since) = (begun, Some(Instant::now())));
        // Its end is told by the guard, even when it panics; all that it waits for has limits.
        let checking = Checking(Arc::clone(&self.inner));
        tokio::spawn(async move {
            tokio::select! {
                () = conduct(&checking.0, plan) => {}
                () = cancel.requested() => {
                    checking.0.tell_examined(|examined| examined.told.phase = Phase::Cancelled);
                }
            }
        });
        Ok(self.examination())
    }

    /// Asks the checks to end before their time; false when none are being made.
    pub(crate) fn cancel_checks(&self) -> bool {
        let book = self.inner.book();
        book.checking.as_ref().map(Shutdown::request).is_some()
    }

    /// Where they are.
    pub(crate) fn examination(&self) -> Examination {
        let examined = self.inner.examined.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = examined.told.clone();
        if let Some(since) = examined.since {
            told.elapsed_ms = milliseconds(since);
            let whole = examined.whole.filter(|(profile, _)| *profile == told.profile);
            told.remaining_ms = whole.map(|(_, took)| took.saturating_sub(told.elapsed_ms));
        }
        told
    }
}

impl Inner {
    fn tell_examined(&self, change: impl FnOnce(&mut Examined)) {
        change(&mut self.examined.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Frees the bench, however the checks ended.
struct Checking(Arc<Inner>);

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.tell_examined(|examined| {
            if let Some(since) = examined.since.take() {
                examined.told.elapsed_ms = milliseconds(since);
            }
            if examined.told.phase != Phase::Cancelled {
                examined.told.phase = Phase::Done;
            }
            if examined.told.open.is_some() {
                examined.whole = Some((examined.told.profile, examined.told.elapsed_ms));
            }
        });
        self.0.book().checking = None;
        self.0.appliance.idle();
    }
}

async fn conduct(inner: &Inner, plan: Plan) {
    let since = Clocks::now();
    let up = inner.appliance.up(&plan).await;
    inner.tell_examined(|examined| examined.told.phase = Phase::Checking);
    let absent = up
        .as_ref()
        .err()
        .map(|error| Absent { why: error.to_string(), no_adapter: matches!(error, PlaceError::NoAdapter) });
    let floor = match (&up, &absent) {
        (Ok(up), _) => Ok(&up.floor),
        (Err(_), Some(absent)) => Err(absent),
        // The second follows from the first; without this the match would not be whole.
        (Err(_), None) => return,
    };
    // The folder of a run is asked for its neighbours only.
    let sources = Sources::of_this_machine(&inner.runs.join("none"));
    let topology = inner.appliance.topology();
    let ground = Ground { plan: &plan, topology, floor, sources: &sources, since };
    let tell = |check: &Check| inner.tell_examined(|examined| examined.told.checks.push(check.clone()));
    let checks = preflight::check_each(&ground, tell).await;
    let open = Preflight { checks, bypass: None }.refusal().is_none();
    inner.tell_examined(|examined| examined.told.open = Some(open));
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
