//! How the engine's own machine felt: CPU of threads, and datagrams the kernel dropped. Only reads; a counter that cannot be read
//! counts as zero change.

use std::fs;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// CPU of the calling thread over a window of time.
#[derive(Debug)]
pub struct ThreadShare {
    from: Instant,
    to: Instant,
    at_start: Option<(Instant, Duration)>,
    share: f64,
    closed: bool,
}

impl ThreadShare {
    /// Watches the window `from..=to`; from now on if it has begun, as in a trial without ramps. To be called on the watched thread.
    #[must_use]
    pub fn new(from: Instant, to: Instant) -> Self {
        let now = Instant::now();
        let at_start = (now >= from).then(|| (now, thread_cpu()));
        Self { from, to, at_start, share: 0.0, closed: false }
    }

    /// Takes a sample; returns the share of one core, 0..=1, since the first sample inside the window. To be called on the watched
    /// thread, at the window's ends and as often as one likes between. The first sample at or after the end is the last that counts,
    /// however late a busy machine takes it: a little dilution says more than nothing.
    pub fn sample(&mut self) -> f64 {
        let now = Instant::now();
        if now < self.from || self.closed {
            return self.share;
        }
        self.closed = now >= self.to;
        let used = thread_cpu();
        match self.at_start {
            None => self.at_start = Some((now, used)),
            Some((start, before)) => {
                let elapsed = (now - start).as_secs_f64();
                if elapsed > 0.0 && start < self.to {
                    self.share = ((used.saturating_sub(before)).as_secs_f64() / elapsed).clamp(0.0, 1.0);
                }
            }
        }
        self.share
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Datagrams dropped in this network namespace for want of receive buffer, IPv4 and IPv6 (RFC 4113's counters as Linux has them).
#[must_use]
pub fn udp_receive_drops() -> u64 {
    let v4 = fs::read_to_string("/proc/self/net/snmp").map_or(0, |text| udp4_drops(&text));
    let v6 = fs::read_to_string("/proc/self/net/snmp6").map_or(0, |text| udp6_drops(&text));
    v4 + v6
}

/// `RcvbufErrors` of the `Udp:` pair of lines: names, then values.
fn udp4_drops(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

fn udp6_drops(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("Udp6RcvbufErrors"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(until: Instant) {
        while Instant::now() < until {}
    }

    #[test]
    fn a_window_that_has_begun_is_watched_at_once() {
        let start = Instant::now();
        let mut share = ThreadShare::new(start, start + Duration::from_secs(60));
        burn(start + Duration::from_millis(20));
        let first = share.sample();
        assert!(first > 0.0 && first <= 1.0, "{first}");
    }

    #[test]
    fn a_late_last_sample_counts_and_later_ones_do_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut share = ThreadShare::new(start, at(300));
        burn(at(400));
        let last = share.sample();
        assert!(last > 0.0, "{last}");
        burn(at(420));
        assert_eq!(share.sample(), last);
    }

    #[test]
    fn reads_the_kernels_counters_and_tolerates_their_absence() {
        let v4 = "Tcp: a b\nTcp: 1 2\nUdp: InDatagrams NoPorts RcvbufErrors\nUdp: 5 6 7\nUdpLite: RcvbufErrors\nUdpLite: 9\n";
        assert_eq!(udp4_drops(v4), 7);
        assert_eq!(udp6_drops("Udp6InErrors  \t1\nUdp6RcvbufErrors                \t3\n"), 3);
        assert_eq!(udp4_drops("") + udp6_drops("x"), 0);
        assert!(thread_cpu() > Duration::ZERO);
    }
}
