//! The load engine: wire formats and the daemon around them.

pub mod codec;
