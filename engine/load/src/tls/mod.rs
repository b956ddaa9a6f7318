//! TLS as the engine speaks it: a fixed ClientHello per order, verification always on, full handshakes only.

pub mod issuer;
pub mod profile;
pub mod trust;
