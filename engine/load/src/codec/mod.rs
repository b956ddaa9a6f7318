//! Wire formats of the load engine, pure: bytes in, events out, no sockets, no clock, no tasks.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`request`] | checked request, prebuilt bytes | |
//! | [`head`] | what is kept of a response head | RFC 9110 |
//! | [`http1`] | HTTP/1.1 requests and responses | RFC 9112 |
//! | [`h3_frames`], [`h3_control`] | HTTP/3 request and unidirectional streams | RFC 9114 |
//! | [`h2_client`], [`h2_frames`] | HTTP/2 client connection | RFC 9113 |
//! | [`qpack`], [`hpack`] | header compression | RFC 9204, RFC 7541 |
//! | [`fuzz_entry`] | the same parsers as fuzz targets see them | |
//! | [`huffman`], [`prefixed`], [`varint`], [`static_tables`] | what these are made of | RFC 7541, RFC 9000 |
//!
//! All parsers share four rules: the result does not depend on where the input is cut, every buffer is bounded, no input
//! panics, and bodies are counted instead of copied. The drivers around them own sockets, TLS and time.

pub mod fuzz_entry;
pub mod h2_client;
pub mod h2_frames;
pub mod h3_control;
pub mod h3_frames;
pub mod head;
pub mod hpack;
pub mod http1;
pub mod huffman;
pub mod prefixed;
pub mod qpack;
pub mod request;
pub mod static_tables;
pub mod varint;
