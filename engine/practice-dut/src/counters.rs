//! What happened since start, counted where it happens and read from anywhere.

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
