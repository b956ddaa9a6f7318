//! The way from a request to a daemon's socket and back. A connection to a daemon is driven by the request that uses it: no task of its own,
//! and when the client goes away, dropping the request closes the connection, which is how HTTP/1.1 is told to stop.
//!
//! [`pool`] keeps idle connections, [`exchange`] does one request, [`relay`] passes on an answer that comes in pieces.

mod exchange;
mod pool;
mod relay;

pub(crate) use exchange::{Asking, ProxyError, forward};
pub(crate) use pool::{Pool, PoolError};
pub(crate) use relay::Relay;
