//! The agent on an appliance: what it knows of its machine, what it remembers, and the API in which it is spoken to.
//!
//! ```text
//!  sysfs, procfs, efivars ─▶ sysfs ─▶ hardware, boot, nic ─┐
//!  ledger, settings.json ──▶ memory ──▶ settings ──────────┼─▶ health, capabilities (pure) ─▶ node ─▶ api ─▶ socket
//!  disk, clock, outcomes ──▶ observe ──────────────────────┘                                   ▲
//!                                     runs, workloads, power, reapply (traits of seams) ───────┤
//!  the kernel's files, once a minute ─▶ history (a ring on the disk) ──────────────────────────┤
//!  audit chain, licences, usage, backups ─▶ books, meter, upkeep ─────────────────────────────┘
//! ```
//!
//! [`series`] and [`csv`] make of what is kept of a run what can be drawn and calculated with.
//! [`setup`] is the first-boot wizard and what it sets beside settings and topology.
//! [`access`] answers the dashboard on a socket of its own; [`trail`] stands around every change of [`api`]; [`permit`] is asked by the run
//! driver, and by nobody else, whether a run may start.
//!
//! Invariant: the API answers whatever is broken. A database that is corrupt, a disk that is full, a card that is missing and a topology
//! that is wrong are sentences in its health, never a reason not to start.

pub(crate) mod access;
pub(crate) mod api;
mod books;
pub(crate) mod boot;
pub(crate) mod capabilities;
pub(crate) mod checks;
mod claim;
mod csv;
pub(crate) mod events;
#[cfg(test)]
mod exports_tests;
pub(crate) mod hardware;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod memory;
pub(crate) mod meter;
pub(crate) mod nic;
pub(crate) mod node;
pub(crate) mod observe;
pub(crate) mod own_router;
pub(crate) mod permit;
pub(crate) mod sealing;
pub(crate) mod seams;
mod series;
pub(crate) mod settings;
mod setup;
#[cfg(test)]
mod setup_tests;
mod support;
pub(crate) mod sysfs;
#[cfg(test)]
mod tests;
mod trail;
pub(crate) mod upkeep;
mod verdict;
