//! The front door's section of `docs/figures.md`.

use std::fmt::Write as _;

use crate::bench::table::{Record, bar, number, verdict};

/// The section, which begins with its heading.
pub(super) fn page(record: &Record) -> String {
    let machine = &record.machine;
    let mut out = format!(
        "## The front door

Written by `cargo tbi bench door`; do not edit. Measured on {} on {} cores of {}, Linux {}, {:.0} % busy with
other work when it began, against {}.

The door has one core and one worker; the load tools, the daemon behind it and the agent share the other core. All is on loopback, TLS 1.3
with an ECDSA P-256 certificate and X25519; connections are kept. Every request through the door carries an API token that the door checks,
is counted against limits, and is routed to a daemon that answers a hundred bytes on a unix socket; nginx does the same TLS and proxies to the
same socket over connections that are kept, and checks nothing. Requests/s per core are requests per second of processor time, user and
kernel, of the door or of nginx, median of {} rounds of {} s that alternate; the ratio is ours / nginx. Load is wrk's for h1 and h2load's for h2.

Added latency is a percentile through the door less the same percentile of the same requests at the same rate, asked directly at the daemon's
socket in plain HTTP/1.1, both under a fixed rate (h2load `--rps`, connections made one after another, so that they do not send all at once);
half load is half of the requests/s that h2load reaches with the same 400 connections and one request in flight on each. The load tools give
way to the daemon on the core they share. Over HTTP/1.1 a connection has one request in flight, so answers slower than 20 ms delay what comes
after them unseen. Other times are whole. The first page is the overview of somebody who is logged in, with its style and modules, while
h2load and the daemon it asks directly fill the core on which the agent runs as well. A bar is what this project promises.

| name | unit | ours | peer | | ratio | bar | | |
|---|---|---:|---:|---|---:|---:|---|---|
",
        record.date,
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.busy_before * 100.0,
        machine.peers.join(", "),
        record.rounds,
        record.seconds_each
    );
    for row in &record.rows {
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            row.unit,
            number(row.ours, 1),
            number(row.peer, 1),
            row.peer_name.unwrap_or_default(),
            number(row.ratio, 2),
            bar(row),
            verdict(row),
            row.note.as_deref().unwrap_or_default()
        );
    }
    out
}
