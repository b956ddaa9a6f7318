//! The meter: counts finished work into the usage spool, and says how it stands. A meter that is broken is a sentence, never a reason to
//! refuse or to end a run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tbi_api::usage::{Tick, Usage};
use tbi_ledger::spool::{Limits, NewTick, Spool, SpoolError};

/// Folder of the spool in the state directory.
const DIRECTORY: &str = "spool";

/// See the module. Its methods wait for the disk, so call them on a blocking thread.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    spool: Option<Spool>,
    trouble: Option<String>,
}

/// A question to the meter has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeterError {
    /// It could not be opened.
    #[error("{0}")]
    Broken(String),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Meter {
    /// Opens the spool below `state`.
    pub(crate) fn open(state: &Path) -> Self {
        let inner = match Spool::open(&state.join(DIRECTORY), Limits::default()) {
            Ok(spool) => Inner { trouble: damage(&spool), spool: Some(spool) },
            Err(error) => Inner { spool: None, trouble: Some(error.to_string()) },
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Counts a unit, unless it is the one that was counted last: whoever was killed after it was counted comes back with it. What goes wrong
    /// is noted for [`Self::standing`].
    pub(crate) fn tick_once(&self, tick: NewTick) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spool) = &mut inner.spool else { return };
        let counted = match spool.newest() {
            Ok(Some(newest)) if (&newest.tick.run, &newest.tick.unit) == (&tick.run, &tick.unit) => return,
            Ok(_) => spool.append(tick).map(|_number| ()),
            Err(error) => Err(error),
        };
        let trouble = counted.as_ref().err().map(ToString::to_string).or_else(|| damage(spool));
        if let Err(error) = counted {
            tracing::warn!(%error, "a unit of work was not counted");
        }
        inner.trouble = trouble;
    }

    /// Ticks that were not acknowledged, the oldest first.
    ///
    /// # Errors
    /// [`MeterError`].
    pub(crate) fn pending(&self, limit: usize) -> Result<Vec<Tick>, MeterError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { spool: Some(spool), trouble } = &mut *inner else { return Err(broken(&inner)) };
        let pending = spool.pending(limit)?;
        // Reading is how damage is met.
        *trouble = damage(spool);
        let tick = |tick: tbi_ledger::spool::Tick| Tick {
            client_seq: tick.client_seq,
            when: tick.tick.when,
            kind: tick.tick.kind,
            run: tick.tick.run,
            unit: tick.tick.unit,
            quantity: tick.tick.quantity,
        };
        Ok(pending.into_iter().map(tick).collect())
    }

    /// Forgets what the endpoint has.
    ///
    /// # Errors
    /// [`MeterError`].
    pub(crate) fn acknowledge(&self, through: u64) -> Result<(), MeterError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { spool: Some(spool), trouble } = &mut *inner else { return Err(broken(&inner)) };
        spool.acknowledge(through)?;
        *trouble = damage(spool);
        Ok(())
    }

    /// How it stands; `url` is where reports go.
    pub(crate) fn standing(&self, url: Option<String>) -> Usage {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Usage {
            last: inner.spool.as_ref().map_or(0, Spool::last),
            acknowledged: inner.spool.as_ref().map_or(0, Spool::acknowledged),
            url,
            sentence: inner.trouble.clone().unwrap_or_default(),
            lost: inner.spool.as_ref().map_or(0, Spool::lost),
            set_aside: inner.spool.as_ref().map_or(0, Spool::set_aside),
        }
    }
}

fn broken(inner: &Inner) -> MeterError {
    MeterError::Broken(inner.trouble.clone().unwrap_or_default())
}

/// Said until the endpoint knows it.
fn damage(spool: &Spool) -> Option<String> {
    let lost = spool.lost();
    (lost > 0).then(|| {
        format!(
            "{lost} usage ticks cannot be read any more and are reported as lost; their lines are kept in {DIRECTORY}/damaged.log of the state \
             directory, check the disk"
        )
    })
}
