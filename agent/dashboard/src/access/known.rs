//! What was asked of the agent a moment ago. The request path asks at most once in five seconds for each session, token, certificate and
//! account; so a revocation made elsewhere counts after five seconds, and one made through this door at once, because it empties this.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::accounts::AccountsError;
use super::clock::lock;

/// How long an answer counts, from the moment the question was put.
pub(crate) const FRESH: Duration = Duration::from_secs(5);
/// Answers kept of one kind.
const ROOM: usize = 10_000;

/// Answers of one kind; those that say "there is none" as well.
#[derive(Debug)]
pub(crate) struct Known<K, V> {
    answers: Mutex<HashMap<K, Answer<V>>>,
}

#[derive(Debug)]
struct Answer<V> {
    asked: Duration,
    /// Who comes while the question is open waits for the same answer.
    cell: Arc<OnceCell<Option<V>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Known<K, V> {
    pub(crate) fn new() -> Self {
        Self { answers: Mutex::new(HashMap::new()) }
    }

    /// The answer for `key`, by `ask` when there is none or an old one. Errors are not kept.
    pub(crate) async fn of(
        &self,
        key: &K,
        now: Duration,
        ask: impl Future<Output = Result<Option<V>, AccountsError>>,
    ) -> Result<Option<V>, AccountsError> {
        let cell = self.cell(key, now);
        cell.get_or_try_init(|| ask).await.cloned()
    }

    /// Forgets everything: something was changed through this door. Questions that are open are answered to who asked them, and not kept.
    pub(crate) fn forget_all(&self) {
        lock(&self.answers).clear();
    }

    fn cell(&self, key: &K, now: Duration) -> Arc<OnceCell<Option<V>>> {
        let mut answers = lock(&self.answers);
        if let Some(answer) = answers.get(key)
            && now.saturating_sub(answer.asked) < FRESH
        {
            return Arc::clone(&answer.cell);
        }
        if answers.len() >= ROOM {
            answers.retain(|_key, answer| now.saturating_sub(answer.asked) < FRESH);
        }
        if answers.len() >= ROOM {
            // Somebody tries many tokens in a short time; asking again is all that it costs.
            answers.clear();
        }
        let cell = Arc::new(OnceCell::new());
        answers.insert(key.clone(), Answer { asked: now, cell: Arc::clone(&cell) });
        cell
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn ask(known: &Known<u32, u32>, key: u32, now: u64, asked: &AtomicU32) -> Option<u32> {
        let answer = async { Ok(Some(asked.fetch_add(1, Ordering::Relaxed))) };
        known.of(&key, Duration::from_millis(now), answer).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_counts_for_five_seconds_and_no_longer() {
        let (known, asked) = (Known::new(), AtomicU32::new(0));
        for (now, answer) in [(0, 0), (4_999, 0), (5_000, 1), (9_999, 1), (10_000, 2)] {
            assert_eq!(ask(&known, 1, now, &asked).await, Some(answer), "{now}");
        }
        known.forget_all();
        assert_eq!(ask(&known, 1, 10_001, &asked).await, Some(3));
    }

    #[tokio::test]
    async fn an_error_is_not_kept_and_that_there_is_none_is() {
        let known = Known::<u32, u32>::new();
        let failed = known.of(&1, FRESH, async { Err(AccountsError::Unavailable(String::new())) }).await;
        assert!(failed.is_err());
        assert_eq!(known.of(&1, FRESH, async { Ok(None) }).await, Ok(None));
        assert_eq!(known.of(&1, FRESH, async { Ok(Some(1)) }).await, Ok(None));
    }

    #[tokio::test]
    async fn invented_keys_do_not_fill_the_memory() {
        let (known, asked) = (Known::new(), AtomicU32::new(0));
        for key in 0..50_000 {
            ask(&known, key, 0, &asked).await;
        }
        assert!(lock(&known.answers).len() <= ROOM);
    }
}
