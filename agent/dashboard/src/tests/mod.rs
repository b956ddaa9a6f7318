//! The whole door over real sockets.
