//! What the door refused, as entries of the audit chain. The door counts what is alike within a minute; here is made sure that the chain does
//! not grow with the number of requests, nor with the number of addresses they come from.
//!
//! An entry costs a token of a bucket. What finds none is summed up, and told as one entry as soon as there is a token again, with the daily
//! upkeep, or when the agent ends. So the chain grows by [`BURST`] entries and then by one a minute, whatever is sent.
//!
//! Invariant: what was answered with success is in the chain or in the sum; what failed is in neither, and may be sent again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tbi_api::access::{By, MOST_REFUSALS, Refusal, RefusalKind, Refusals};
use tbi_daemon::{ApiError, ApiJson};
use tbi_ledger::{Ledger, LedgerError, Signer};
use tokio::time::Instant;

use super::super::trail::{self, entry};
use super::{Answer, Shared};

/// Entries that may be made at once.
const BURST: u32 = 64;
/// And one more in this time.
const EVERY: Duration = Duration::from_secs(60);
/// Actor and source of a sum.
const SEVERAL: &str = "several";
/// What the door did.
const ACTION: &str = "door.refuse";

/// See the module. Clones share one bucket.
#[derive(Debug, Clone)]
pub(in super::super) struct RefusalBook {
    inner: Arc<Mutex<Bucket>>,
}

impl RefusalBook {
    pub(in super::super) fn new(now: Instant) -> Self {
        Self { inner: Arc::new(Mutex::new(Bucket { tokens: BURST, filled: now, sum: Sum::default() })) }
    }

    /// Appends what there are tokens for; the rest waits in the sum.
    fn enter(
        &self,
        ledger: &mut Ledger,
        key: &dyn Signer,
        now: Instant,
        refusals: Vec<Refusal>,
    ) -> Result<(), LedgerError> {
        let mut bucket = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = bucket.clone();
        let entries = after.take(now, refusals);
        append(ledger, key, &entries)?;
        *bucket = after;
        Ok(())
    }

    /// Appends the sum, token or not: at the end of a day or of the agent.
    ///
    /// # Errors
    /// [`LedgerError`]; the sum stays.
    pub(in super::super) fn settle(&self, ledger: &mut Ledger, key: &dyn Signer) -> Result<(), LedgerError> {
        let mut bucket = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Vec<Entry> = bucket.sum.entry().into_iter().collect();
        append(ledger, key, &entries)?;
        bucket.sum = Sum::default();
        Ok(())
    }
}

/// `POST /v1/audit/refusals`.
pub(super) async fn report(
    State(appliance): State<Shared>,
    ApiJson(Refusals { refusals }): ApiJson<Refusals>,
) -> Answer<StatusCode> {
    if refusals.len() > MOST_REFUSALS {
        let sentence =
            format!("a report has at most {MOST_REFUSALS} kinds of refusals, not {}; send several", refusals.len());
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-refusals", sentence));
    }
    let book = appliance.refusals().clone();
    let entered = appliance.ledger(move |ledger, key| book.enter(ledger, key, Instant::now(), refusals));
    entered.await.map_err(|error: LedgerError| trail::database(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn append(ledger: &mut Ledger, key: &dyn Signer, entries: &[Entry]) -> Result<(), LedgerError> {
    let now = Timestamp::now();
    ledger.together(|ledger| {
        for Entry { by, target, detail } in entries {
            ledger.append(&entry(by, ACTION, target, "refused", detail), key, now)?;
        }
        Ok(())
    })
}

/// An entry to be.
#[derive(Debug)]
struct Entry {
    by: By,
    target: String,
    detail: Value,
}

impl Entry {
    fn new(actor: &str, source: &str, target: &str, detail: Value) -> Self {
        let by = By { actor: actor.to_owned(), role: None, source: source.to_owned(), correlation_id: String::new() };
        Self { by, target: target.to_owned(), detail }
    }
}

/// Tokens and the sum. Pure: the time is given.
#[derive(Debug, Clone)]
struct Bucket {
    tokens: u32,
    filled: Instant,
    sum: Sum,
}

impl Bucket {
    fn take(&mut self, now: Instant, mut refusals: Vec<Refusal>) -> Vec<Entry> {
        self.fill(now);
        refusals.retain(|refusal| refusal.count > 0);
        // The most frequent are told one by one; a flood of single ones is what sums are for.
        refusals.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
        let mut entries = Vec::new();
        if self.tokens > 0
            && let Some(entry) = self.sum.entry()
        {
            self.tokens -= 1;
            self.sum = Sum::default();
            entries.push(entry);
        }
        for refusal in refusals {
            if self.tokens == 0 {
                self.sum.add(&refusal);
                continue;
            }
            self.tokens -= 1;
            let Refusal { minute, source, account, kind, count } = refusal;
            let detail = json!({ "count": count, "minute": minute });
            entries.push(Entry::new(&account, &source, kind.as_str(), detail));
        }
        entries
    }

    fn fill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.filled).as_secs() / EVERY.as_secs();
        let more = u32::try_from(periods).unwrap_or(u32::MAX);
        self.filled += EVERY.saturating_mul(more);
        self.tokens = self.tokens.saturating_add(more).min(BURST);
    }
}

/// What found no token.
#[derive(Debug, Clone, Default)]
struct Sum {
    counts: BTreeMap<RefusalKind, u64>,
    /// Kinds of refusals as the door told them apart.
    groups: u64,
    minutes: Option<(Timestamp, Timestamp)>,
}

impl Sum {
    fn add(&mut self, refusal: &Refusal) {
        let count = self.counts.entry(refusal.kind).or_default();
        *count = count.saturating_add(refusal.count);
        self.groups += 1;
        let (from, to) = self.minutes.unwrap_or((refusal.minute, refusal.minute));
        self.minutes = Some((from.min(refusal.minute), to.max(refusal.minute)));
    }

    fn entry(&self) -> Option<Entry> {
        let (from, to) = self.minutes?;
        let counts: BTreeMap<&str, u64> = self.counts.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        let detail = json!({ "counts": counts, "groups": self.groups, "from": from, "to": to });
        Some(Entry::new(SEVERAL, SEVERAL, SEVERAL, detail))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const MINUTES: u64 = 600;

    fn refusal(source: &str, kind: RefusalKind, count: u64) -> Refusal {
        let minute = "2026-01-31T23:59:00Z".parse().unwrap();
        Refusal { minute, source: source.to_owned(), account: "anonymous".to_owned(), kind, count }
    }

    fn flood(minute: u64) -> Vec<Refusal> {
        let one = |n: usize| refusal(&format!("2001:db8:{minute:x}::{n:x}"), RefusalKind::ForgedCredentials, 1);
        (0..MOST_REFUSALS).map(one).collect()
    }

    #[test]
    fn a_refusal_is_told_as_it_was_reported() {
        let begin = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: begin, sum: Sum::default() };
        let told = bucket.take(
            begin,
            vec![refusal("192.0.2.7", RefusalKind::Csrf, 3), refusal("192.0.2.7", RefusalKind::NotPermitted, 0)],
        );
        assert_eq!(told.len(), 1, "what did not happen is not told");
        let Entry { by, target, detail } = &told[0];
        assert_eq!((by.actor.as_str(), by.source.as_str(), by.role), ("anonymous", "192.0.2.7", None));
        assert_eq!((target.as_str(), &detail["count"]), ("csrf", &3.into()));
        assert_eq!(detail["minute"], "2026-01-31T23:59:00Z");
    }

    #[test]
    fn an_attacker_with_many_addresses_does_not_grow_the_chain_without_bound() {
        let begin = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: begin, sum: Sum::default() };
        let (mut entries, mut told) = (0, 0);
        let count = |entry: &Entry| {
            let of_sum = entry.detail["counts"]["forged_credentials"].as_u64();
            of_sum.or(entry.detail["count"].as_u64()).unwrap()
        };
        for minute in 0..MINUTES {
            for entry in bucket.take(begin + EVERY * u32::try_from(minute).unwrap(), flood(minute)) {
                entries += 1;
                told += count(&entry);
            }
        }
        assert!(entries <= u64::from(BURST) + MINUTES, "{entries}");
        told += bucket.sum.entry().map_or(0, |entry| count(&entry));
        assert_eq!(told, MINUTES * MOST_REFUSALS as u64, "none is forgotten");
        // A quiet night fills the bucket, and not beyond its rim.
        bucket.fill(begin + EVERY * 100_000);
        assert_eq!(bucket.tokens, BURST);
    }

    #[test]
    fn the_most_frequent_are_told_one_by_one() {
        let begin = Instant::now();
        let mut bucket = Bucket { tokens: 1, filled: begin, sum: Sum::default() };
        let told = bucket.take(
            begin,
            vec![refusal("192.0.2.1", RefusalKind::Csrf, 1), refusal("192.0.2.2", RefusalKind::NotPermitted, 900)],
        );
        assert_eq!(told.iter().map(|entry| entry.by.source.as_str()).collect::<Vec<_>>(), ["192.0.2.2"]);
        assert_eq!(bucket.sum.counts, [(RefusalKind::Csrf, 1)].into());
    }
}
