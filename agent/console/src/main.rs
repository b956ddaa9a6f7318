//! `tbi-console`: the status screen.

fn main() {}
