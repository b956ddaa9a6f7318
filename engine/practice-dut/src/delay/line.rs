//! The delay line's core: what is held until when. Pure; time comes as an argument.
//!
//! Strictly first in, first out: a shorter delay set later never lets a packet overtake.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

/// Bounds of [`Margin`]: below, a timer's own inaccuracy; above, the share of a processor a single waiting packet may cost.
const LEAST_MARGIN: Duration = Duration::from_micros(20);
const MOST_MARGIN: Duration = Duration::from_micros(250);
/// A stamp older than this is a stepped clock, not a waiting packet.
const OLDEST: Duration = Duration::from_millis(100);

/// Packets in order of arrival, each with the instant of its release.
#[derive(Debug)]
pub struct Line<P> {
    packets: VecDeque<(Instant, P)>,
    expired: bool,
    margin: Margin,
}

impl<P> Default for Line<P> {
    fn default() -> Self {
        Self { packets: VecDeque::new(), expired: false, margin: Margin::default() }
    }
}

/// What to do until the next packet is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is held.
    Nothing,
    /// Sleep that long, then look again.
    Sleep(Duration),
    /// Busy-wait until then.
    Spin(Instant),
}

impl<P> Line<P> {
    /// Holds a packet until `due`, or until the one before it is gone, whichever is later.
    pub fn push(&mut self, packet: P, due: Instant) {
        self.packets.push_back((due, packet));
    }

    /// Makes everything held due at once.
    pub fn expire(&mut self) {
        self.expired = !self.packets.is_empty();
    }

    /// The next packet, if it is due, and how late it is.
    pub fn pop_due(&mut self, now: Instant) -> Option<(P, Duration)> {
        let (due, _) = self.packets.front()?;
        let gone = if self.expired || *due <= now { self.packets.pop_front() } else { None };
        self.expired &= !self.packets.is_empty();
        gone.map(|(due, packet)| (packet, now.saturating_duration_since(due)))
    }

    /// Learns that a sleep ended `late`, see [`Next::Sleep`].
    pub fn overslept(&mut self, late: Duration) {
        self.margin.learn(late);
    }

    /// How to wait for the next packet to be due.
    #[must_use]
    pub fn next(&self, now: Instant) -> Next {
        let Some((due, _)) = self.packets.front() else { return Next::Nothing };
        match due.saturating_duration_since(now) {
            wait if wait > self.margin.0 => Next::Sleep(wait - self.margin.0),
            _ => Next::Spin(*due),
        }
    }
}

/// How long before a packet is due the thread wakes and spins: as long as it recently overslept. A busy machine wakes a thread within
/// microseconds, an idle one whose processors are halted takes a hundred, so no constant fits both.
#[derive(Debug, Clone, Copy)]
struct Margin(Duration);

impl Default for Margin {
    fn default() -> Self {
        Self(MOST_MARGIN)
    }
}

impl Margin {
    /// Learns from one sleep that was `late`: grows quickly, shrinks slowly, so that most sleeps end in time.
    fn learn(&mut self, late: Duration) {
        let late = late.clamp(LEAST_MARGIN, MOST_MARGIN);
        self.0 = if late > self.0 { self.0 + (late - self.0) / 4 } else { self.0 - (self.0 - late) / 64 };
    }
}

/// When a packet arrived, given both clocks now and its stamp on the wall clock. Without a plausible stamp: now.
#[must_use]
pub fn arrival(now: Instant, wall: SystemTime, stamp: Option<SystemTime>) -> Instant {
    let age = stamp.and_then(|stamp| wall.duration_since(stamp).ok()).filter(|age| *age <= OLDEST);
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn packets_leave_in_order_and_not_before_their_time() {
        let start = Instant::now();
        let mut line = Line::default();
        line.push('a', start + 5 * MS);
        line.push('b', start + 2 * MS);
        assert_eq!(line.pop_due(start + 4 * MS), None);
        assert_eq!(line.pop_due(start + 7 * MS), Some(('a', 2 * MS)));
        assert_eq!(line.pop_due(start + 7 * MS), Some(('b', 5 * MS)));
        assert_eq!(line.next(start), Next::Nothing);
    }

    #[test]
    fn letting_go_releases_only_what_is_held() {
        let start = Instant::now();
        let mut line = Line::default();
        line.expire();
        line.push('a', start + MS);
        assert_eq!(line.pop_due(start), None);
        line.expire();
        assert_eq!(line.pop_due(start), Some(('a', Duration::ZERO)));
        line.push('b', start + MS);
        assert_eq!(line.pop_due(start), None);
    }

    #[test]
    fn it_sleeps_while_it_can_and_spins_at_the_end() {
        let start = Instant::now();
        let mut line = Line::default();
        line.push((), start + 20 * MS);
        assert_eq!(line.next(start), Next::Sleep(20 * MS - MOST_MARGIN));
        assert_eq!(line.next(start + 20 * MS - MOST_MARGIN), Next::Spin(start + 20 * MS));
        assert_eq!(line.next(start + 30 * MS), Next::Spin(start + 20 * MS));
    }

    #[test]
    fn the_margin_follows_how_late_sleeps_end() {
        let mut margin = Margin::default();
        for _ in 0..1000 {
            margin.learn(Duration::from_micros(5));
        }
        assert!(margin.0 < LEAST_MARGIN + Duration::from_micros(2), "{margin:?}");
        for _ in 0..20 {
            margin.learn(MS);
        }
        assert!(margin.0 > MOST_MARGIN - Duration::from_micros(5) && margin.0 <= MOST_MARGIN, "{margin:?}");
    }

    #[test]
    fn stamps_count_unless_a_clock_stepped() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        assert_eq!(arrival(now, wall, Some(wall - MS)), now - MS);
        for strange in [None, Some(wall + MS), Some(wall - 200 * MS)] {
            assert_eq!(arrival(now, wall, strange), now);
        }
    }
}
