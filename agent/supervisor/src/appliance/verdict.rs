//! What load the machine can make, as an estimate for planning: from a few costs per handshake and per byte, each with its origin. Never a
//! result; a run measures what its own programs needed.

use tbi_api::hardware::{Cpu, Verdict};

use super::nic::Roles;

/// Processor time of one full handshake with one request over HTTP/3, client and server together, µs: 181.5 + 141.7 on one core of AMD
/// EPYC (docs/figures.md, "handshake and request"). HTTP/3 because it is the dearest of the three protocols.
const HANDSHAKE_US: u64 = 323;
/// The practice DUT ends one handshake and begins another, so it is taken to cost what both ends cost. Not measured apart.
const GATEWAY_TIMES: u64 = 2;
/// Payload one logical processor moves from persona to agent with AES instructions, Mbit/s, both ends on this box. Assumed from bulk TLS
/// over loopback, cautiously; not measured apart.
const MBPS_PER_THREAD: u64 = 1500;
/// Without AES instructions, ChaCha20 or table-driven AES is some six times slower.
const WITHOUT_AES: u64 = 6;
/// Share of the processors that load may take, percent: beyond it the schedule lags and the run is void (docs/decisions/0005).
const USABLE_PERCENT: u64 = 70;
/// Below this the two ends and the device share processors, and their queues show in the latencies.
const FEW_THREADS: u32 = 4;
/// A run keeps histograms of each second; a full profile with a hundred personas wants this.
const MEMORY_WANTED: u64 = 4 << 30;

pub(crate) fn judge(cpu: &Cpu, memory_bytes: u64, roles: &Roles) -> Verdict {
    let threads = u64::from(cpu.threads.max(1));
    let practice = roles.trunk.is_none();
    let share = if practice { GATEWAY_TIMES } else { 1 };
    let usable = threads * USABLE_PERCENT;
    let slower = if cpu.aes_ni { 1 } else { WITHOUT_AES };
    let handshakes_per_second = usable * 1_000_000 / (100 * HANDSHAKE_US * share);
    let by_processor = usable * MBPS_PER_THREAD / (100 * share * slower);
    let link = roles.trunk.as_ref().and_then(|nic| nic.speed_mbps);
    let throughput_mbps = link.map_or(by_processor, |link| by_processor.min(link));

    let mut sentences = Vec::new();
    match link {
        Some(link) if link < by_processor => {
            sentences
                .push(format!("The trunk's {link} Mbit/s give out before the processors: a faster card carries more."));
        }
        _ => sentences.push(format!("The {threads} logical processors give out first: more of them carry more.")),
    }
    if practice {
        sentences.push(
            "No trunk is chosen, so the practice DUT runs on this box and takes about half of what it has: choose a trunk to measure a device."
                .to_owned(),
        );
    }
    if !cpu.aes_ni {
        sentences.push(
            "The processor has no AES instructions, so bulk encryption is slow: use one that has them, or pass them on to the virtual machine."
                .to_owned(),
        );
    }
    if cpu.threads < FEW_THREADS {
        sentences.push(format!(
            "With fewer than {FEW_THREADS} logical processors agents, personas and practice DUT wait for each other: costs are indicative."
        ));
    }
    if memory_bytes < MEMORY_WANTED {
        sentences.push("With less than 4 GiB of memory keep to the quick and short profiles.".to_owned());
    }
    Verdict { handshakes_per_second, throughput_mbps, sentences }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::nic::tests::nic;

    fn cpu(threads: u32, aes_ni: bool) -> Cpu {
        Cpu { model: String::new(), threads, aes_ni, avx2: true, avx512: false, vaes: false }
    }

    #[test]
    fn the_resource_that_gives_out_first_is_named() {
        let trunk = |speed| Roles {
            trunk: Some(crate::appliance::nic::FoundNic {
                speed_mbps: Some(speed),
                ..nic("ens4", "52:54:00:00:00:04", "virtio1/net/ens4")
            }),
            ..Roles::default()
        };
        let slow_link = judge(&cpu(32, true), 64 << 30, &trunk(1000));
        assert_eq!(slow_link.throughput_mbps, 1000);
        assert!(slow_link.sentences[0].contains("1000 Mbit/s"), "{slow_link:?}");
        let fast_link = judge(&cpu(32, true), 64 << 30, &trunk(100_000));
        assert_eq!((fast_link.throughput_mbps, fast_link.handshakes_per_second), (33_600, 69_349));
        assert_eq!(fast_link.sentences.len(), 1);
        assert!(fast_link.sentences[0].contains("32 logical processors"));
    }

    #[test]
    fn a_small_virtual_machine_hears_all_that_holds_it_back() {
        let small = judge(&cpu(2, false), 2 << 30, &Roles::default());
        assert!(small.throughput_mbps < 200, "{small:?}");
        assert_eq!(small.sentences.len(), 5);
        // Nothing known is no division by zero.
        assert!(judge(&cpu(0, false), 0, &Roles::default()).handshakes_per_second > 0);
    }
}
