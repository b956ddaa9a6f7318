//! How the box was in the last thirty days: sampled once a minute, kept in a file of fixed size, given in steps.
//!
//! | module | job |
//! |---|---|
//! | [`sample`] | reads processors, memory, sensors and cards; makes rates of counters |
//! | [`ring`] | the file: a fixed number of records of a fixed size, each with its own checksum |
//! | [`fold`] | samples into steps |
//!
//! It is not in the database: forty thousand rows that nobody would miss would be in each of its daily backups, a damaged one of them would be a
//! damaged database, and a file that is overwritten in place needs no clearing up.
//!
//! Invariants: the file never grows; a record that a power cut tore is one record lost; the place of a record comes from its number and
//! never from the clock, so that a clock that jumps orders nothing anew; rates come from the monotonic clock. It judges nothing.

pub(super) mod fold;
mod ring;
pub(super) mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tbi_api::history::{Asked, DAYS, EVERY, History};
use tbi_daemon::Shutdown;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::fold::{AskedError, Steps, Window};
use self::ring::Ring;
use self::sample::{Meter, Sample};
use super::node::Appliance;

/// Records of the file: one a minute for [`DAYS`].
const RECORDS: u32 = (DAYS * 24 * 60) as u32;
/// A last sample that is older than this means that none are made.
const STALE: i64 = 5 * EVERY as i64;

/// Where it is kept.
pub(super) fn file(state: &Path) -> PathBuf {
    state.join("history.ring")
}

/// What was asked for cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// No time.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// The thread that read it panicked.
    #[error("reading the history ended unexpectedly; ask again, and report this with the box's journal")]
    Lost,
}

/// Samples until `shutdown`. Run it as one task for as long as the agent lives.
pub(crate) async fn keep(appliance: Arc<Appliance>, shutdown: Shutdown) {
    let mut ticks = interval(Duration::from_secs(EVERY));
    // After a pause the next sample is a minute later, not at once and several times.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let path = file(appliance.state());
    let (mut meter, mut ring) = (Some(Meter::default()), None);
    loop {
        // Neither arm has state that is lost when it is dropped.
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return,
        }
        let run = appliance.runs().list().iter().any(|run| !run.state.is_over());
        let (root, wanted) = (appliance.root(), appliance.in_force().checked.wanted);
        let (mut own, kept, path) = (meter.take().unwrap_or_default(), ring.take(), path.clone());
        let sampling = tokio::task::spawn_blocking(move || {
            let sample = own.sample(&root, wanted, Instant::now().into_std(), Timestamp::now().as_second(), run);
            let written = write(kept, &path, &sample);
            (own, written)
        });
        // A thread that panicked takes its counters along; the next sample begins anew.
        let Ok((own, written)) = sampling.await else { continue };
        meter = Some(own);
        match written {
            Ok(written) => ring = Some(written),
            Err(error) => tracing::warn!(%error, "the history of the box is not kept"),
        }
    }
}

fn write(ring: Option<Ring>, path: &Path, sample: &Sample) -> Result<Ring, ring::RingError> {
    let mut ring = match ring {
        Some(ring) => ring,
        None => Ring::open(path, RECORDS)?,
    };
    ring.push(sample)?;
    Ok(ring)
}

/// Reads what is kept at `path`, as asked. Blocking.
///
/// # Errors
/// [`HistoryError`] when the time asked for is none; a file that cannot be read is a sentence.
pub(super) fn read(path: &Path, asked: &Asked, now: Timestamp) -> Result<History, HistoryError> {
    let window = Window::of(asked, now)?;
    let (mut steps, mut newest) = (Steps::of(window), None);
    let read = ring::each(path, |_number, sample| {
        steps.add(&sample);
        newest = newest.max(Some(sample.at).filter(|at| *at <= now.as_second()));
    });
    let stale = newest.is_none_or(|newest| now.as_second() - newest > STALE);
    let sentence = match read {
        Err(error) => format!("{error}."),
        Ok(_) if stale => "Nothing was sampled in the last minutes; when the agent has just started, look again in a minute, else read its \
                           journal."
            .to_owned(),
        Ok(_) => String::new(),
    };
    Ok(History { from: window.from, step: window.step, steps: steps.done(), sentence })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_never_kept_is_a_gap_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let history = read(&file(dir.path()), &Asked::default(), now).unwrap();
        assert!(history.steps.iter().all(|step| step.samples == 0 && step.cpu_percent.is_none()));
        assert!(history.sentence.contains("history.ring"), "{}", history.sentence);
    }

    #[test]
    fn a_writer_that_stopped_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let sample = Sample { at: 1_800_000_000, cpu_percent: Some(12.5), ..Sample::default() };
        write(None, &path, &sample).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(read(&path, &Asked::default(), at(1_800_000_030)).unwrap().sentence, "");
        assert!(read(&path, &Asked::default(), at(1_800_000_000 + STALE + 1)).unwrap().sentence.contains("journal"));
    }
}
