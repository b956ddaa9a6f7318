//! What the hardware probe found (REQUIREMENTS C7), and what load the box can generate.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hardware {
    /// Vendor and product as the firmware says.
    pub machine: String,
    /// Hypervisor it runs under (`kvm`, `qemu`, `vmware`, …); `None` on bare metal.
    pub virtualisation: Option<String>,
    /// Processor.
    pub cpu: Cpu,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Network interfaces of the machine itself, without those we made.
    pub nics: Vec<Nic>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// TPM version (`2.0`), when there is one.
    pub tpm: Option<String>,
    /// What it is good for.
    pub verdict: Verdict,
}

/// Processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cpu {
    /// Model name.
    pub model: String,
    /// Logical processors.
    pub threads: u32,
    /// AES instructions.
    pub aes_ni: bool,
    /// AVX2.
    pub avx2: bool,
    /// AVX-512 (foundation and VAES).
    pub avx512: bool,
    /// VAES with AVX2 or AVX-512.
    pub vaes: bool,
}

/// Network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nic {
    /// Kernel's name.
    pub name: String,
    /// Permanent MAC address.
    pub mac: String,
    /// Driver.
    pub driver: String,
    /// Mbit/s, when there is a link that tells.
    pub speed_mbps: Option<u64>,
    /// Whether there is a carrier.
    pub carrier: bool,
    /// Receive queues.
    pub rx_queues: u32,
    /// Transmit queues.
    pub tx_queues: u32,
    /// Virtual functions it can make (SR-IOV).
    pub sriov_vfs: u32,
    /// What it is used for: `management`, `trunk` or `unused`.
    pub role: String,
}

/// Disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Disk {
    /// Kernel's name.
    pub name: String,
    /// Model.
    pub model: String,
    /// Bytes.
    pub bytes: u64,
    /// Whether it is a spinning disk.
    pub rotational: bool,
    /// Whether the running system was started from it.
    pub system: bool,
}

/// What load the box can generate, and what limits it first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Full TLS 1.3 handshakes per second the agents can make, estimated from cores and instructions; an estimate, never a KPI.
    pub handshakes_per_second: u64,
    /// Mbit/s of payload the agents can take, estimated, bounded by the trunk's speed.
    pub throughput_mbps: u64,
    /// Which resource gives out first, and what would help; one sentence each.
    pub sentences: Vec<String>,
}
