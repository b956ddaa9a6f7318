//! How often somebody may ask: a limit on requests per address and per account in two windows, and delays on logins.
//!
//! Pure: time comes in as an argument, nothing sleeps, nothing is spawned. `access` calls it, for each request and each attempt to log in.
//!
//! | module | job |
//! |---|---|
//! | [`time`] | turns any clock into one that never goes back |
//! | [`bounded`] | a map that never grows beyond its room, with one shared place for those who do not fit |
//! | [`rate`] | two sliding windows per key |
//! | [`throttle`] | exponential delays after wrong passwords |
//! | [`place`] | which addresses count as one |
//!
//! Invariants: memory is bounded whatever addresses are invented; who does not fit is limited together with the others who do not fit,
//! never let through; a clock that jumps neither opens a limit nor holds anybody longer than the longest window.

pub(crate) mod bounded;
pub(crate) mod place;
pub(crate) mod rate;
pub(crate) mod throttle;
pub(crate) mod time;

pub(crate) use place::Place;
pub(crate) use rate::{Limits, RateLimiter, Standing};
pub(crate) use throttle::{Attempt, Delays, Subject, Throttle};
