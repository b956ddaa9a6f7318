//! Delays after wrong passwords. They grow by doubling and are bounded; nobody is locked out for good.
//!
//! An attempt is counted as failed when it begins and given back when it succeeds, so that a thousand at once are not a thousand free
//! guesses. An attempt that must wait is not judged and does not count, so that knocking does not prolong the wait.
//!
//! | who tries | counted at |
//! |---|---|
//! | somebody over the network | the place and the account |
//! | a device that logged in before (a signed cookie says so; OWASP calls it device cookie) | that device with that account only |
//! | somebody on the box itself | the box only, with a short longest delay |
//!
//! So a million wrong passwords from elsewhere make an account slow for strangers, and not for its owner at the console or at a known device.

use std::time::Duration;

use super::bounded::Bounded;
use super::place::Place;
use super::time::Steady;

/// How delays grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    /// Failures without delay.
    pub(crate) free: u32,
    /// Delay after the next; each further one doubles it.
    pub(crate) first: Duration,
    /// It grows no longer than this.
    pub(crate) longest: Duration,
}

/// All delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Of a place of the network.
    pub(crate) place: Delay,
    /// Of an account as strangers see it.
    pub(crate) subject: Delay,
    /// Of a known device with its account.
    pub(crate) device: Delay,
    /// Of the box itself.
    pub(crate) local: Delay,
    /// Failures are forgotten after so long without another one; longer than every delay.
    pub(crate) forgotten_after: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        let delay = |free, longest| Delay { free, first: second, longest };
        Self {
            // An office behind one address has more than one person who mistypes.
            place: delay(10, 300 * second),
            subject: delay(5, 900 * second),
            device: delay(5, 900 * second),
            // Whoever stands at the console must get in on a bad day.
            local: delay(5, 30 * second),
            forgotten_after: 3600 * second,
        }
    }
}

/// What is guessed at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    /// An account of this name, whether there is one or not.
    Account(String),
    /// Something that cannot name an account.
    Nobody,
    /// The code that claims a new box.
    Claim,
}

/// Random number in a device's cookie, or the one that stands for a session.
pub(crate) type Device = [u8; 16];

/// Who tries what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// From where.
    pub(crate) place: Place,
    /// At what.
    pub(crate) subject: Subject,
    /// Known device of that account, checked.
    pub(crate) device: Option<Device>,
}

/// Too early; try again after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) Duration);

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    failures: u32,
    last: Duration,
    open_at: Duration,
}

/// Counts failures.
#[derive(Debug)]
pub(crate) struct Throttle {
    delays: Delays,
    time: Steady,
    local: Bucket,
    places: Bounded<Place, Bucket>,
    subjects: Bounded<Subject, Bucket>,
    devices: Bounded<(Device, Subject), Bucket>,
}

impl Throttle {
    /// With room for so many places, accounts and devices each.
    pub(crate) fn new(delays: Delays, room: usize) -> Self {
        let forgotten = delays.forgotten_after;
        Self {
            delays,
            time: Steady::default(),
            local: Bucket::default(),
            places: Bounded::new(room, forgotten),
            subjects: Bounded::new(room, forgotten),
            devices: Bounded::new(room, forgotten),
        }
    }

    /// Begins an attempt, which counts as failed until [`Self::succeeded`] or [`Self::not_judged`].
    pub(crate) fn begin(&mut self, attempt: &Attempt, reading: Duration) -> Result<(), Wait> {
        let now = self.time.at(reading);
        let forgotten = self.delays.forgotten_after;
        let mut wait = Duration::ZERO;
        self.each(attempt, now, |bucket, _delay| wait = wait.max(bucket.open_at.saturating_sub(now)));
        if !wait.is_zero() {
            return Err(Wait(wait));
        }
        self.each(attempt, now, |bucket, delay| {
            if now.saturating_sub(bucket.last) >= forgotten {
                bucket.failures = 0;
            }
            bucket.failures = bucket.failures.saturating_add(1);
            bucket.last = now;
            bucket.open_at = now.saturating_add(delay.after(bucket.failures));
        });
        Ok(())
    }

    /// It was the right password. The account and the device are as new; the place only loses this one failure, because the owner of one
    /// account would otherwise clear the way for guesses at others.
    pub(crate) fn succeeded(&mut self, attempt: &Attempt, reading: Duration) {
        let now = self.time.at(reading);
        self.each(attempt, now, give_back);
        let forgive = |bucket: &mut Bucket| bucket.failures = 0;
        match (attempt.device, attempt.place) {
            (Some(device), _) => forgive(self.devices.at(&(device, attempt.subject.clone()), now)),
            (None, Place::Local) => forgive(&mut self.local),
            (None, Place::Network(_)) => forgive(self.subjects.at(&attempt.subject, now)),
        }
    }

    /// It could not be judged (too busy, accounts out of reach): it does not count.
    pub(crate) fn not_judged(&mut self, attempt: &Attempt, reading: Duration) {
        let now = self.time.at(reading);
        self.each(attempt, now, give_back);
    }

    fn each(&mut self, attempt: &Attempt, now: Duration, mut act: impl FnMut(&mut Bucket, &Delay)) {
        match (attempt.device, attempt.place) {
            (Some(device), _) => {
                act(self.devices.at(&(device, attempt.subject.clone()), now), &self.delays.device);
            }
            (None, Place::Local) => act(&mut self.local, &self.delays.local),
            (None, place @ Place::Network(_)) => {
                act(self.places.at(&place, now), &self.delays.place);
                act(self.subjects.at(&attempt.subject, now), &self.delays.subject);
            }
        }
    }
}

fn give_back(bucket: &mut Bucket, _delay: &Delay) {
    bucket.failures = bucket.failures.saturating_sub(1);
    // The attempt was let in, so the bucket was open before it.
    bucket.open_at = bucket.last;
}

impl Delay {
    fn after(&self, failures: u32) -> Duration {
        match failures.saturating_sub(self.free) {
            0 => Duration::ZERO,
            over => self.first.saturating_mul(1_u32.checked_shl(over - 1).unwrap_or(u32::MAX)).min(self.longest),
        }
    }
}

#[cfg(test)]
mod tests;
