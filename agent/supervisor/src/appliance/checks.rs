//! The pre-flight checks made for themselves: what the API needs of whoever makes them. Implemented in [`crate::bench`].

use tbi_api::bench::{Examination, Order};

use super::seams::RunRefused;

/// Makes the checks of a run without a run.
pub(crate) trait Checks: Send + Sync + 'static {
    /// Begins; returns at once. Refused while the bench is in use.
    fn examine(&self, order: Order) -> Result<Examination, RunRefused>;
    /// Those that were made last, or are being made.
    fn examination(&self) -> Examination;
}
