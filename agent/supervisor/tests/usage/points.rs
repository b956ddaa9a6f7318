//! Points between two steps of a report at which a test kills a process: each step on the way passes here first, and at the chosen one the
//! chosen process gets SIGKILL.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Shared by whoever stands on the way.
#[derive(Debug, Default)]
pub(crate) struct Points {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    passed: Vec<String>,
    victim: Option<(usize, u32)>,
    killed_at: Option<String>,
}

impl Points {
    /// Starts a process with `start`, which gives what there is to keep, and its id or another's; that one is killed at point `at` from here.
    /// Nobody passes before it is known.
    pub(crate) fn arm<T>(&self, at: usize, start: impl FnOnce() -> (T, u32)) -> T {
        let mut inner = self.lock();
        let (kept, victim) = start();
        *inner = Inner { victim: Some((at, victim)), ..Inner::default() };
        kept
    }

    /// Goes by a point.
    pub(crate) fn pass(&self, name: &str) {
        let mut inner = self.lock();
        let at = inner.passed.len();
        inner.passed.push(name.to_owned());
        if let Some((_, victim)) = inner.victim.take_if(|(wanted, _)| *wanted == at) {
            // It is not waited for by anybody yet, so the number is still its own.
            let killed = kill(Pid::from_raw(i32::try_from(victim).unwrap_or(i32::MAX)), Signal::SIGKILL);
            inner.killed_at = killed.is_ok().then(|| name.to_owned());
        }
    }

    /// The point at which the process was killed; nothing when the way was shorter.
    pub(crate) fn killed_at(&self) -> Option<String> {
        self.lock().killed_at.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
