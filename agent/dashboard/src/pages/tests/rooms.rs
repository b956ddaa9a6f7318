//! The rooms around measuring.
