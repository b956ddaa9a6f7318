//! Wire formats of the load engine, pure: bytes in, events out, no sockets, no clock, no tasks.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`request`] | checked request, prebuilt bytes | |
//! | [`head`] | what is kept of a response head | RFC 9110 |
//! | [`http1`] | HTTP/1.1 requests and responses | RFC 9112 |
//!
//! All parsers share four rules: the result does not depend on where the input is cut, every buffer is bounded, no input
//! panics, and bodies are counted instead of copied. The drivers around them own sockets, TLS and time.

pub mod head;
pub mod http1;
pub mod request;
