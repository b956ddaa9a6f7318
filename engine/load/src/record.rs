//! What one worker writes down: plain counters and histograms, no locks; merged by adding when the trial ends.
//!
//! Invariants (`scheduled = sent + skipped`, `sent = succeeded + failed + unfinished`) are kept by [`crate::attempt`], the only
//! writer of attempts; `unfinished` is computed when the recorder is closed.

use std::collections::BTreeMap;

use tbi_bench::control::engine::{Attempts, Cause, ErrorCount, Fault, Observed, Timings};
use tbi_bench::histogram::LatencyHistogram;
use tbi_bench::proof::InterceptionCounts;

use crate::failure::Failure;

/// Everything counted by one worker in one trial.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Sustain phase.
    pub attempts: Attempts,
    /// Sustain phase.
    pub errors: Errors,
    /// Sustain phase, successful transactions.
    pub body_bytes: u64,
    /// Sustain phase.
    pub timings: Timings,
    /// All phases.
    pub proof: InterceptionCounts,
    /// All phases.
    pub observed: Observed,
    /// Since the last tick.
    pub second: Second,
    /// Established and not yet ended.
    pub open_connections: u64,
}

/// What a tick is made of.
#[derive(Debug, Default)]
pub struct Second {
    /// Connections established.
    pub connections: u64,
    /// Transactions that succeeded.
    pub succeeded: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// Body bytes received.
    pub body_bytes: u64,
    /// Handshakes (service), µs.
    pub handshake: LatencyHistogram,
    /// Time to first byte (service, first transaction), µs.
    pub ttfb: LatencyHistogram,
}

impl Second {
    /// Adds another worker's second to this one.
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.body_bytes += other.body_bytes;
        self.handshake.merge(&other.handshake);
        self.ttfb.merge(&other.ttfb);
    }
}

/// Failures by cause and fault: a bounded set, each with one example.
#[derive(Debug, Default)]
pub struct Errors(BTreeMap<(Cause, Fault), (u64, String)>);

impl Errors {
    /// Counts `count` failures of `target`.
    pub fn add(&mut self, failure: &Failure, target: &str, count: u64) {
        if count == 0 {
            return;
        }
        let entry = self
            .0
            .entry((failure.cause, failure.fault))
            .or_insert_with(|| (0, format!("{target}: {}", failure.detail)));
        entry.0 += count;
    }

    /// Adds another worker's errors.
    pub fn merge(&mut self, other: Self) {
        for (key, (count, example)) in other.0 {
            self.0.entry(key).or_insert((0, example)).0 += count;
        }
    }

    /// Most frequent first.
    #[must_use]
    pub fn into_counts(self) -> Vec<ErrorCount> {
        let mut counts: Vec<ErrorCount> = self
            .0
            .into_iter()
            .map(|((cause, fault), (count, example))| ErrorCount { cause, fault, count, example })
            .collect();
        counts.sort_by_key(|error| std::cmp::Reverse(error.count));
        counts
    }
}

impl Recorder {
    /// Adds another worker's record to this one.
    pub fn merge(&mut self, other: Self) {
        merge_attempts(&mut self.attempts, &other.attempts);
        self.errors.merge(other.errors);
        self.body_bytes += other.body_bytes;
        self.timings.merge(&other.timings);
        self.proof.merge(&other.proof);
        merge_observed(&mut self.observed, &other.observed);
        self.open_connections += other.open_connections;
    }

    /// Computes what was left in flight.
    pub fn close(&mut self) {
        let Attempts { sent, succeeded, failed, .. } = self.attempts;
        self.attempts.unfinished = sent.saturating_sub(succeeded + failed);
    }
}

fn merge_attempts(into: &mut Attempts, from: &Attempts) {
    let Attempts { scheduled, sent, late, skipped, connections, transactions, succeeded, failed, unfinished } = *from;
    into.scheduled += scheduled;
    into.sent += sent;
    into.late += late;
    into.skipped += skipped;
    into.connections += connections;
    into.transactions += transactions;
    into.succeeded += succeeded;
    into.failed += failed;
    into.unfinished += unfinished;
}

fn merge_observed(into: &mut Observed, from: &Observed) {
    let Observed {
        issuer_persona_ca,
        issuer_dut_ca,
        tls13,
        tls12,
        resumed,
        alt_svc,
        quic_packets_sent,
        quic_packets_lost,
        client_hello: _,
    } = from;
    into.issuer_persona_ca += issuer_persona_ca;
    into.issuer_dut_ca += issuer_dut_ca;
    into.tls13 += tls13;
    into.tls12 += tls12;
    into.resumed += resumed;
    into.alt_svc += alt_svc;
    into.quic_packets_sent += quic_packets_sent;
    into.quic_packets_lost += quic_packets_lost;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_and_sorts_errors_by_frequency() {
        let mut one = Recorder::default();
        let mut two = Recorder::default();
        one.attempts.sent = 5;
        one.attempts.failed = 1;
        two.attempts.sent = 5;
        two.attempts.succeeded = 3;
        one.errors.add(&Failure::handshake_timeout(), "a", 1);
        two.errors.add(&Failure::request_timeout(), "b", 2);
        two.errors.add(&Failure::request_timeout(), "c", 0);
        one.merge(two);
        one.close();
        assert_eq!(one.attempts.unfinished, 6);
        let errors = one.errors.into_counts();
        assert_eq!((errors[0].cause, errors[0].count, errors[1].count), (Cause::RequestTimeout, 2, 1));
        assert!(errors[0].example.starts_with("b: "));
    }
}
