//! Counters of one worker, each worker its own so that cores do not fight for a cache line; read by summing over workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tbi_bench::protocol::Protocol;

/// Which listener a connection came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Quic,
}

/// Counts since start.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    handshakes: [AtomicU64; 2],
    failures: [AtomicU64; 2],
    sni_mismatches: [AtomicU64; 2],
    requests: [AtomicU64; 3],
    body_bytes: [AtomicU64; 3],
    panics: AtomicU64,
}

/// Sums over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) handshakes: [u64; 2],
    pub(crate) failures: [u64; 2],
    pub(crate) sni_mismatches: [u64; 2],
    pub(crate) requests: [u64; 3],
    pub(crate) body_bytes: [u64; 3],
    pub(crate) panics: u64,
}

impl Counters {
    pub(crate) fn handshake(&self, transport: Transport) {
        add(&self.handshakes[transport as usize], 1);
    }

    pub(crate) fn failure(&self, transport: Transport) {
        add(&self.failures[transport as usize], 1);
    }

    pub(crate) fn sni_mismatch(&self, transport: Transport) {
        add(&self.sni_mismatches[transport as usize], 1);
    }

    pub(crate) fn request(&self, protocol: Protocol, body_bytes: usize) {
        add(&self.requests[index(protocol)], 1);
        add(&self.body_bytes[index(protocol)], body_bytes as u64);
    }

    pub(crate) fn panic(&self) {
        add(&self.panics, 1);
    }
}

impl Totals {
    pub(crate) fn of(workers: &[Arc<Counters>]) -> Self {
        let mut totals = Self::default();
        let sum = |totals: &mut [u64], counters: &[AtomicU64]| {
            for (total, counter) in totals.iter_mut().zip(counters) {
                *total += counter.load(Ordering::Relaxed);
            }
        };
        for worker in workers {
            sum(&mut totals.handshakes, &worker.handshakes);
            sum(&mut totals.failures, &worker.failures);
            sum(&mut totals.sni_mismatches, &worker.sni_mismatches);
            sum(&mut totals.requests, &worker.requests);
            sum(&mut totals.body_bytes, &worker.body_bytes);
            totals.panics += worker.panics.load(Ordering::Relaxed);
        }
        totals
    }
}

/// Position of a protocol in the arrays, as in [`Protocol::ALL`].
pub(crate) fn index(protocol: Protocol) -> usize {
    match protocol {
        Protocol::H3 => 0,
        Protocol::H2 => 1,
        Protocol::H1 => 2,
    }
}

fn add(counter: &AtomicU64, n: u64) {
    // Only sums are read, and no other memory is published by them.
    counter.fetch_add(n, Ordering::Relaxed);
}
