//! Waiting until a moment with microseconds of precision: tokio's own timers tick in milliseconds, a timerfd does not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of one task.
#[derive(Debug)]
pub struct Pacer {
    timer: AsyncFd<Timer>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Pacer {
    /// A timer in the current runtime.
    ///
    /// # Errors
    /// When the kernel gives no timer descriptor.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // The other constructor is unsafe, because it asks the caller to keep the descriptor open: `Timer` owns it and hands it to nobody.
        #[expect(deprecated, reason = "see above; unsafe code is forbidden here")]
        let timer = AsyncFd::with_interest(Timer(timer), Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Returns at `at` or, if that has passed, at once. Safe to cancel: the timer is armed anew each time.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub async fn until(&self, at: Instant) -> io::Result<()> {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
            self.timer.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?;
            let mut ready = self.timer.readable().await?;
            // Reading the descriptor is not needed: arming it anew resets its count.
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_long_enough_and_returns_at_once_for_the_past() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pacer = Pacer::new().unwrap();
            for wait in [300, 0, 700] {
                let at = Instant::now() + Duration::from_micros(wait);
                pacer.until(at).await.unwrap();
                assert!(Instant::now() >= at);
            }
        });
    }
}
