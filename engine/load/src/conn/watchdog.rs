//! A deadline that costs nothing to move: the timer is only touched when it fires, not at every request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// A deadline that is moved often and reached seldom.
#[derive(Debug)]
pub struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
    armed: bool,
}

impl Watchdog {
    /// Fires at `deadline`.
    #[must_use]
    pub fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(deadline.into())), deadline, armed: false }
    }

    /// Moves the deadline to `after` from `now`; never earlier than a deadline set before by more than the timer's slack.
    pub fn restart(&mut self, now: Instant, after: Duration) {
        self.deadline = now + after;
    }

    /// Runs `future`; `None` when the deadline passes first, in which case the future is dropped.
    pub async fn guard<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    /// Whether the timer will still wake the task that polled it last. A timer that has fired will not: its wake-up may have coincided
    /// with the one of an answer, and then nobody looked at it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed && !self.sleep.is_elapsed()
    }

    /// Whether the deadline has passed, without asking the timer.
    #[must_use]
    pub fn has_passed(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Ready once the deadline has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.armed = true;
                return Poll::Pending;
            }
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline.into());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_timer_that_fired_unseen_counts_as_not_armed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let first = Instant::now() + Duration::from_millis(5);
            let mut watchdog = Watchdog::new(first);
            assert!(!watchdog.is_armed());
            assert!(poll_fn(|cx| Poll::Ready(watchdog.poll(cx).is_pending())).await);
            assert!(watchdog.is_armed());
            // The deadline moves, as with each request, and the timer set for the first one passes without being polled.
            watchdog.restart(Instant::now(), Duration::from_secs(60));
            tokio::time::sleep_until((first + Duration::from_millis(5)).into()).await;
            assert!(!watchdog.is_armed());
            assert!(poll_fn(|cx| Poll::Ready(watchdog.poll(cx).is_pending())).await);
            assert!(watchdog.is_armed());
        });
    }
}
