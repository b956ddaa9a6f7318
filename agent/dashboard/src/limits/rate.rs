//! Two sliding windows per key: a short one for bursts and a long one for appetite.
//!
//! A window is counted in ten slots, the running one and the nine before. So a client that never asks more than the limit in any window is
//! never refused, and nobody ever gets more than the limit within nine tenths of one. A refused request counts for nothing: who waits as
//! long as `Retry-After` says is let in, and nobody is held longer than one window.

use std::hash::Hash;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::bounded::Bounded;
use super::time::Steady;

const SLOTS: usize = 10;

/// How many requests in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// So many.
    pub(crate) requests: u32,
    /// In so long; at least ten milliseconds.
    pub(crate) length: Duration,
}

/// The two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Against bursts.
    pub(crate) short: Window,
    /// Against appetite.
    pub(crate) long: Window,
}

impl Limits {
    /// Per address: a page of the dashboard asks some tens of requests at once, a person with several pages ten a second over minutes.
    pub(crate) const PER_ADDRESS: Self = Self {
        short: Window { requests: 200, length: Duration::from_secs(10) },
        long: Window { requests: 3_000, length: Duration::from_secs(300) },
    };

    /// The same windows with so many times the requests.
    pub(crate) const fn times(self, factor: u32) -> Self {
        Self {
            short: Window { requests: self.short.requests.saturating_mul(factor), length: self.short.length },
            long: Window { requests: self.long.requests.saturating_mul(factor), length: self.long.length },
        }
    }
}

/// Most keys that are counted one by one: about 30 MiB.
pub(crate) const ROOM: usize = 100_000;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Where a client stands in the window that is tighter for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether this request may go on.
    pub(crate) admitted: bool,
    limit: u32,
    remaining: u32,
    /// Until something is given back; when refused, until the next request is admitted.
    reset: Duration,
}

impl Standing {
    /// The tighter of two.
    pub(crate) fn tighter(self, other: Self) -> Self {
        let key = |standing: &Self| (standing.admitted, standing.remaining, std::cmp::Reverse(standing.reset));
        if key(&other) < key(&self) { other } else { self }
    }

    /// Seconds, never less than it takes. A duration and no date: bench clocks are wrong, and the IETF drafts forbade dates for that reason.
    pub(crate) fn reset_seconds(&self) -> u64 {
        self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0)
    }

    /// `X-RateLimit-*`, and `Retry-After` when refused.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap) {
        // The last two are another each time: they would only push what comes again out of HTTP/2's table.
        let passing = |number: u64| {
            let mut value = HeaderValue::from(number);
            value.set_sensitive(true);
            value
        };
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, passing(self.remaining.into()));
        headers.insert(RESET, passing(self.reset_seconds()));
        if !self.admitted {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.reset_seconds()));
        }
    }
}

/// Counts per key.
#[derive(Debug)]
pub(crate) struct RateLimiter<K> {
    limits: Limits,
    time: Steady,
    counters: Bounded<K, [Counter; 2]>,
}

impl<K: Hash + Eq + Ord + Clone> RateLimiter<K> {
    /// With room for `room` keys.
    pub(crate) fn new(limits: Limits, room: usize) -> Self {
        let forgotten_after = limits.short.length.max(limits.long.length);
        Self { limits, time: Steady::default(), counters: Bounded::new(room, forgotten_after) }
    }

    /// Counts a request when both windows have room for it. `reading` is any clock; see [`Steady`].
    pub(crate) fn take(&mut self, key: &K, reading: Duration) -> Standing {
        let now = self.time.at(reading);
        let [short, long] = self.counters.at(key, now);
        let (burst, appetite) = (self.limits.short, self.limits.long);
        short.advance(burst, now);
        long.advance(appetite, now);
        if short.used < burst.requests && long.used < appetite.requests {
            short.add();
            long.add();
            short.standing(burst, now, true).tighter(long.standing(appetite, now, true))
        } else {
            // Both may be full; the request has to wait for the later one.
            [(short, burst), (long, appetite)]
                .into_iter()
                .filter(|(counter, window)| counter.used >= window.requests)
                .map(|(counter, window)| counter.standing(window, now, false))
                .max_by_key(|standing| standing.reset)
                .unwrap_or(Standing { admitted: false, limit: 0, remaining: 0, reset: appetite.length })
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// Requests per slot; the slot of time `t` is at `t / slot length` modulo ten.
    slots: [u32; SLOTS],
    /// Sum of the slots.
    used: u32,
    /// Number of the running slot since the beginning of time.
    running: u64,
}

impl Counter {
    fn advance(&mut self, window: Window, now: Duration) {
        let slot = slot_number(window, now);
        for passed in self.running.saturating_add(1)..=slot.min(self.running.saturating_add(SLOTS as u64)) {
            let left = &mut self.slots[index(passed)];
            self.used -= *left;
            *left = 0;
        }
        self.running = slot;
    }

    fn add(&mut self) {
        self.slots[index(self.running)] += 1;
        self.used += 1;
    }

    fn standing(&self, window: Window, now: Duration, admitted: bool) -> Standing {
        let remaining = window.requests.saturating_sub(self.used);
        // The oldest slot that holds something is the first to give back.
        let oldest =
            (self.running.saturating_sub(SLOTS as u64 - 1)..=self.running).find(|slot| self.slots[index(*slot)] > 0);
        // In whole nanoseconds of 128 bits: `Duration` panics when it overflows.
        let back = oldest.map(|slot| u128::from(slot.saturating_add(SLOTS as u64)) * slot_length(window).as_nanos());
        let wait = back
            .map(|back| Duration::from_nanos(u64::try_from(back.saturating_sub(now.as_nanos())).unwrap_or(u64::MAX)));
        let reset = wait.unwrap_or(window.length).min(window.length);
        Standing { admitted, limit: window.requests, remaining, reset }
    }
}

fn slot_length(window: Window) -> Duration {
    (window.length / SLOTS as u32).max(Duration::from_millis(1))
}

fn slot_number(window: Window, now: Duration) -> u64 {
    u64::try_from(now.as_nanos() / slot_length(window).as_nanos()).unwrap_or(u64::MAX)
}

fn index(slot: u64) -> usize {
    // Less than ten.
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
