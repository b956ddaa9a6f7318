//! VyOS `config.boot`: written for the topology ([`write`], [`write_for_the_slot`]), read strictly ([`Tree::parse`]), and an operator's
//! file judged against the topology ([`missing`]). Only the file format is known here; no VyOS code is used, and none is shipped.

mod check;
mod read;
mod write;

pub use check::{missing, missing_addresses, missing_routes};
pub use read::{Node, ReadError, Tree};
pub use write::{InterfaceNames, write, write_for_the_slot};
