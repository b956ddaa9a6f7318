//! The personas: a hundred web servers in one process, and the authority that signs their certificates.
//!
//! ```text
//! config ─▶ ca ─▶ sites ─▶ sockets ─▶ worker 0..n (thread, runtime, own sockets) ─▶ tcp ─┐
//!                                                                              └▶ quic ─┴▶ answer
//! control: what the process says of itself, on its unix socket
//! ```
//!
//! A site is found by the address a connection came to, and the name the client asks for must be that site's. No session is ever
//! resumed: no tickets, no session ids, no early data. Every answer to a request with a token carries the echo that proves which TLS
//! session it came through (`tbi_bench::proof`).
//!
//! It knows nothing of runs, arms or devices. Invariants: nothing a client sends ends the process; every connection has a deadline for
//! its handshake and for idling; every buffer has a limit.

mod answer;
pub mod ca;
pub mod config;
mod connection;
pub mod control;
mod counters;
pub mod fuzz_entry;
mod personas;
mod quic;
mod quic_tls;
mod site;
mod sockets;
mod tcp;
mod tls;
mod worker;

pub use personas::{Personas, StartError};
