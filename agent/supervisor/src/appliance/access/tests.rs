//! The access socket as the dashboard meets it.
