//! Trials of the management network: begun, kept, taken back, and watched until one of the two. What is kept of them is
//! [`super::super::memory::trial`]'s.
//!
//! The deadline that counts is one of this process, by the steady clock: a wall clock that is set meanwhile neither shortens nor lengthens a
//! trial. A process that ends takes its deadline along, so a trial that a start finds is taken back at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tbi_api::access::By;
use tbi_api::trial::{DEFAULT_SECONDS, Ended, Order, Outcome, Trial, Trials};
use tbi_daemon::Shutdown;
use tokio::time::Instant;

use super::super::memory::ChangeError;
use super::super::seams::Changed;
use super::Appliance;

/// A trial lasts from so many seconds …
const SHORTEST: u32 = 10;
/// … to so many.
const LONGEST: u32 = 600;
/// Between two tries to take a trial back, where the disk does not take it.
const AGAIN: Duration = Duration::from_secs(5);

impl Appliance {
    /// How trials stand.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn trials(&self) -> Result<Trials, ChangeError> {
        let last = self.remembering(|memory| {
            let failed = |source| ChangeError::Ledger { what: "what is known of trials cannot be read", source };
            memory.last_trial().map_err(failed)
        });
        let last = last.await?;
        Ok(Trials { on: self.trial_on(), last })
    }

    fn trial_on(&self) -> Option<Trial> {
        let left = self.trial_until.borrow().map_or(0, |until| until.duration_since(Instant::now()).as_secs());
        self.in_force().trial.as_ref().map(|journal| journal.shown(left))
    }

    /// Puts a management network in force, to be taken back unless it is confirmed.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub(crate) async fn begin_trial(&self, order: Order, by: By) -> Result<Trial, ChangeError> {
        let seconds = order.seconds.unwrap_or(DEFAULT_SECONDS);
        if !(SHORTEST..=LONGEST).contains(&seconds) {
            return Err(ChangeError::TrialTime(seconds));
        }
        let Order { based_on, management, .. } = order;
        let began = Instant::now();
        let begun = self
            .remembering(move |memory| memory.begin_trial(based_on, management, seconds, &by, Timestamp::now()))
            .await;
        let journal = begun?;
        self.trial_until.send_replace(Some(began + Duration::from_secs(seconds.into())));
        self.carry_out_other_settings().await;
        Ok(journal.shown(seconds.into()))
    }

    /// Keeps what is on trial.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub(crate) async fn confirm_trial(&self) -> Result<Trials, ChangeError> {
        let ended = self.remembering(|memory| memory.confirm_trial(Timestamp::now())).await?;
        self.trial_until.send_replace(None);
        Ok(Trials { on: None, last: Some(ended) })
    }

    /// Takes back what is on trial.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub(crate) async fn revert_trial(&self, outcome: Outcome) -> Result<Ended, ChangeError> {
        let key = Arc::clone(&self.node.key);
        let ended = self.remembering(move |memory| memory.revert_trial(outcome, key.as_ref(), Timestamp::now())).await;
        // Whether or not the disk took it, the old network is what the box is told.
        if !matches!(ended, Err(ChangeError::NoTrial)) {
            self.carry_out_other_settings().await;
        }
        let ended = ended?;
        tracing::warn!(sentence = ended.sentence, "a management network on trial was taken back");
        self.trial_until.send_replace(None);
        Ok(ended)
    }

    /// Other settings may choose other cards.
    pub(super) async fn carry_out_other_settings(&self) {
        *self.last_look.lock().await = None;
        self.note(Changed::Settings);
    }

    /// As if the time of the trial were over.
    #[cfg(test)]
    pub(crate) fn let_the_trial_end(&self) {
        self.trial_until.send_replace(Some(Instant::now()));
    }

    /// Takes trials back whose time is over, until `shutdown`.
    pub(super) async fn watch_trials(&self, shutdown: Shutdown) {
        let mut until = self.trial_until.subscribe();
        loop {
            let deadline = *until.borrow_and_update();
            let over = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            // All three are levels: nothing is lost with an arm that is dropped.
            let is_over = tokio::select! {
                () = over => true,
                changed = until.changed() => match changed { Ok(()) => false, Err(_gone) => return },
                () = shutdown.requested() => return,
            };
            if !is_over {
                continue;
            }
            match self.revert_trial(Outcome::TimedOut).await {
                Ok(_) => {}
                // Confirmed in the same moment.
                Err(ChangeError::NoTrial) => drop(self.trial_until.send_replace(None)),
                Err(error) => {
                    tracing::error!(%error, "a trial is over, but that cannot be kept; it is tried again");
                    self.trial_until.send_replace(Some(Instant::now() + AGAIN));
                }
            }
        }
    }
}
