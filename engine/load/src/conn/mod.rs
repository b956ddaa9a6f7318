//! Connections: one module per protocol, each driving one connection from connect to clean close and telling the
//! [`Attempt`] what happened.
//!
//! Invariants: no connection outlives the task that drives it, except for a bounded wait for the peer's FIN; every wait has a
//! deadline; a driver never decides what counts, it only reports.

pub mod h1;
pub mod h2;
pub mod h3;
pub mod quic;
pub mod tcp;
pub mod templates;
pub mod watchdog;

use std::rc::Rc;
use std::time::Instant;

use tbi_bench::protocol::Protocol;

use crate::attempt::Attempt;
use crate::failure::Failure;
use crate::worker::Worker;

/// How much a connection may do.
#[derive(Debug, Clone, Copy)]
pub struct Errand {
    /// Requests in flight.
    pub streams: u32,
    /// Transactions before the clean close; `None`: until `stop`.
    pub transactions: Option<u32>,
    /// Nothing is started from here on.
    pub stop: Instant,
}

/// Drives one connection to its end; all counting has happened when this returns.
///
/// # Errors
/// The [`Failure`] that ended the connection, for the caller's back-off.
pub async fn run(worker: &Rc<Worker>, attempt: &Attempt, errand: Errand) -> Result<(), Failure> {
    let result = match worker.trial.protocol {
        Protocol::H1 => h1::run(worker, attempt, errand).await,
        Protocol::H2 => h2::run(worker, attempt, errand).await,
        Protocol::H3 => Box::pin(h3::run(worker, attempt, errand)).await,
    };
    match &result {
        // It stopped because the trial is over: what it still owes is nobody's failure and stays unfinished.
        Ok(()) if Instant::now() >= errand.stop => {}
        Ok(()) => attempt.fail_rest(&Failure::truncated(true)),
        Err(failure) => {
            attempt.fail_start(failure);
            attempt.fail_rest(failure);
        }
    }
    result
}
