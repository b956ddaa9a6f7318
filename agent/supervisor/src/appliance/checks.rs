//! The pre-flight checks made for themselves, and the questions to the trunk: what the API needs of whoever makes them. Implemented in
//! [`crate::bench`].

use futures_util::future::BoxFuture;
use tbi_api::bench::{Examination, Order};

use super::seams::RunRefused;

/// Makes the checks of a run without a run.
pub(crate) trait Checks: Send + Sync + 'static {
    /// Begins; returns at once. Refused while the bench is in use.
    fn examine(&self, order: Order) -> Result<Examination, RunRefused>;
    /// Has them end before their time; false when none are being made.
    fn cancel(&self) -> bool;
    /// Those that were made last, or are being made.
    fn examination(&self) -> Examination;
    /// Asks the trunk who has the addresses of the topology; returns when it was asked. Refused while the bench is in use. A bench without a
    /// trunk has nobody to ask.
    fn probe(&self) -> BoxFuture<'_, Result<(), ProbeRefused>> {
        Box::pin(std::future::ready(Err(ProbeRefused::NoTrunk)))
    }
}

/// Why the trunk was not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeRefused {
    #[error(
        "no network card is chosen as trunk, so there is nobody to ask; choose one in the settings when the device stands outside"
    )]
    NoTrunk,
    #[error(transparent)]
    Busy(#[from] RunRefused),
    /// The sentence says why and what to do.
    #[error("{0}")]
    NotDone(String),
}
