//! The practice DUT (REQUIREMENTS A14): a layer-3 gateway that decrypts, blocks, strips, loses and delays on command, so that everything
//! else can be tried and tested with no firewall at hand.
//!
//! | module | is | privilege |
//! |---|---|---|
//! | [`config`], [`behaviour`] | what it is told, checked | none, pure |
//! | [`rules`] | behaviour → nftables text; `rules::apply` hands it to the kernel | root in its own network namespace |
//! | [`delay`] | the delay line for packets from outside | same |
//! | [`sockets`] | transparent sockets | same |
//! | [`tls`] | its CA, forged leaves, settings for both legs | none |
//! | [`tcp`], [`quic`] | the two interceptors | none |
//! | [`gateway`] | which behaviour is in force; the only place that changes it | none |
//! | [`fuzz_entry`] | private parsers as fuzz targets see them | none, pure |
//! | [`worker`] | one thread and runtime per worker with its own sockets | none |
//! | [`api`] | the words of `tbi_bench::control::practice_dut` over HTTP | none |
//!
//! It does not translate addresses of what it forwards, keeps no connection table, and never forwards a byte to a server whose chain
//! does not verify against the persona CA.

pub mod api;
pub mod behaviour;
pub mod config;
pub mod counters;
pub mod delay;
pub mod fuzz_entry;
pub mod gateway;
pub mod quic;
pub mod rules;
pub mod sockets;
pub mod tcp;
pub mod tls;
pub mod worker;
