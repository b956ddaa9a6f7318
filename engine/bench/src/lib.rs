//! The pure core of the bench: what is measured, when, how it is proven and what may be claimed from it.
//!
//! Nothing here touches a socket, a file, a clock or a runtime: time and input come in as arguments, decisions go out as
//! values. Daemons (`engine/`, `personas/`) and the agent are thin shells around these types; [`control`] holds the words in
//! which a measuring daemon is spoken to.
//!
//! Invariants: no tokio, no `std::fs`, no `std::net` sockets (addresses are fine); the same input gives the same bytes.

pub mod analysis;
pub mod campaign;
pub mod catalogue;
pub mod compare;
pub mod control;
pub mod digits;
pub mod fingerprint;
pub mod histogram;
pub mod isp;
pub mod mode_check;
pub mod netplan;
pub mod object;
pub mod phases;
pub mod plan;
pub mod preflight;
pub mod proof;
pub mod protocol;
pub mod quic_class;
pub mod record;
pub mod schedule;
pub mod stats;
pub mod topology;
pub mod units;
pub mod wire;
