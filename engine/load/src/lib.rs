//! The load engine: drives HTTP/3, HTTP/2 and HTTP/1.1 clients against personas and measures what it takes.
//!
//! | module | what |
//! |---|---|
//! | [`codec`] | wire formats, pure |
//! | [`order`] | from an order to a trial that can run |
//! | [`trial`], [`worker`] | coordinator on the main thread, one thread per worker |
//! | [`conn`] | one driver per protocol |
//! | [`attempt`], [`record`] | what is counted, and where |
//! | [`tls`], [`sources`] | ClientHello and trust, source addresses |
//!
//! It knows nothing of arms, pairs or campaigns; its words are [`tbi_bench::control::engine`].

pub mod api;
pub mod attempt;
pub mod codec;
pub mod conn;
pub mod failure;
pub mod order;
pub mod pace;
pub mod probe;
pub mod record;
pub mod sources;
pub mod timeline;
pub mod tls;
pub mod trial;
pub mod witness;
pub mod worker;
