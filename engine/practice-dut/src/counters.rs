//! What happened since start, counted where it happens and read from anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters the workers and the delay line share. All relaxed: they are sums, not signals.
#[derive(Debug, Default)]
pub struct Tally {
    tcp_decrypted: AtomicU64,
    quic_decrypted: AtomicU64,
    failed: AtomicU64,
    upstream_untrusted: AtomicU64,
    leaves_forged: AtomicU64,
    packets_delayed: AtomicU64,
    lateness_us: AtomicU64,
    packets_overrun: AtomicU64,
}

macro_rules! counter {
    ($count:ident, $read:ident, $meaning:literal) => {
        #[doc = concat!("Counts: ", $meaning, ".")]
        pub fn $count(&self) {
            self.$read.fetch_add(1, Ordering::Relaxed);
        }

        #[doc = concat!("Since start: ", $meaning, ".")]
        #[must_use]
        pub fn $read(&self) -> u64 {
            self.$read.load(Ordering::Relaxed)
        }
    };
}

impl Tally {
    counter!(count_tcp_decrypted, tcp_decrypted, "TCP connections with TLS established on both legs");
    counter!(count_quic_decrypted, quic_decrypted, "QUIC connections established on both legs");
    counter!(count_failed, failed, "connections given up on before both legs were established");
    counter!(count_upstream_untrusted, upstream_untrusted, "servers whose chain did not verify");
    counter!(count_leaf_forged, leaves_forged, "leaves signed");
    counter!(count_packet_delayed, packets_delayed, "packets held back and released");

    /// Counts packets the kernel dropped because the delay line had no room for their announcement.
    pub fn add_packets_overrun(&self, lost: u64) {
        self.packets_overrun.fetch_add(lost, Ordering::Relaxed);
    }

    /// Since start: packets lost for want of room in the delay line; never on purpose.
    #[must_use]
    pub fn packets_overrun(&self) -> u64 {
        self.packets_overrun.load(Ordering::Relaxed)
    }

    /// Adds to how much later than wanted packets were released, µs.
    pub fn add_lateness_us(&self, late: u64) {
        self.lateness_us.fetch_add(late, Ordering::Relaxed);
    }

    /// Since start: lateness of all releases together, µs. Divided by [`Self::packets_delayed`], the delay line's mean error.
    #[must_use]
    pub fn lateness_us(&self) -> u64 {
        self.lateness_us.load(Ordering::Relaxed)
    }
}

/// Held by the task of a connection, whose exit nobody awaits: a panic in it counts as a connection given up on and is told, instead of
/// going with the task.
#[derive(Debug)]
pub struct Watch(Arc<Tally>);

impl Watch {
    /// Watches the task that holds it.
    #[must_use]
    pub fn new(tally: &Arc<Tally>) -> Self {
        Self(tally.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.count_failed();
            tracing::error!("a connection task panicked; the connection is lost, the others go on; report this");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn a_connection_whose_task_panics_is_counted() {
        let tally = Arc::new(Tally::default());
        drop(Watch::new(&tally));
        assert_eq!(tally.failed(), 0);
        let watch = Watch::new(&tally);
        let ended = std::thread::spawn(move || {
            let _watch = watch;
            panic!("deliberate");
        })
        .join();
        assert_eq!((ended.is_err(), tally.failed()), (true, 1));
    }
}
