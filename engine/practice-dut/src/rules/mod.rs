//! From behaviour to packet-filter rules: pure text. [`apply`] hands the text to the kernel.
//!
//! One nftables table, `inet tbi_dut`, whose chains are always the same and only change their content. A change is one transaction
//! (`flush table`, new rules), so no packet ever meets half a behaviour, and the named counters survive it.
//!
//! | chain | hook | does |
//! |---|---|---|
//! | `impair` | prerouting, raw | random loss. Prerouting sees each packet that enters the gateway exactly once, whether it will be forwarded or terminated here, so one rule per direction suffices |
//! | `hold` | prerouting, mangle | hands packets from outside to the delay line, where the kernel's nftables can (else iptables does, see [`hold_restore`]) |
//! | `intercept` | prerouting, mangle + 1 | `tproxy` to our listeners, with the mark that routes to them |
//! | `block` | forward | QUIC blocked silently or with ICMP |
//! | `guard` | input | lets only intercepted packets reach our listeners, so that nobody can make the gateway connect to itself |

pub mod apply;

use std::fmt::Write;

use tbi_bench::control::practice_dut::{Behaviour, QuicPolicy, TcpPolicy};
use tbi_bench::units::Span;
use tbi_bench::wire::PORT;

use crate::behaviour::{covers_quic, covers_tcp};
use crate::config::{Interface, Place};

/// Name of our table, family `inet`.
pub const TABLE: &str = "tbi_dut";
/// Mark of intercepted packets; policy routing delivers them locally.
pub const MARK: u32 = 0x7b1;
/// Routing table with the one route that makes every address local.
pub const ROUTE_TABLE: u32 = 443;
/// Netfilter queue of the delay line.
pub const QUEUE: u16 = 443;
/// Chain of ours in the `mangle` tables of iptables and ip6tables.
pub const HOLD_CHAIN: &str = "TBI_DUT";
/// Counter of packets lost at random.
pub const COUNTER_DROPPED: &str = "dropped";
/// Counter of packets refused by the QUIC block.
pub const COUNTER_BLOCKED: &str = "blocked";

/// Who feeds the delay line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The `queue` statement of nftables.
    Nftables,
    /// The `NFQUEUE` target of iptables and ip6tables, for kernels without the former.
    Iptables,
}

/// Ruleset for `nft -f -`.
#[must_use]
pub fn nftables(place: &Place, behaviour: &Behaviour, hold: Hold) -> String {
    let (inside, outside) = (set(&place.inside), set(&place.outside));
    let mut chains = Chains::default();
    let drop = behaviour.drop_per_mille;
    if drop > 0 {
        let verdict = format!("numgen random mod 1000 < {drop} counter name \"{COUNTER_DROPPED}\" drop");
        for protocol in protocols(covers_tcp(behaviour.drop_scope), covers_quic(behaviour.drop_scope)) {
            chains.impair.push(format!("iifname {inside} {protocol} dport {PORT} {verdict}"));
            chains.impair.push(format!("iifname {outside} {protocol} sport {PORT} {verdict}"));
        }
    }
    if behaviour.delay > Span::ZERO && hold == Hold::Nftables {
        for protocol in delayed(behaviour) {
            chains.hold.push(format!("iifname {outside} {protocol} sport {PORT} queue num {QUEUE}"));
        }
    }
    let decrypted = (behaviour.tcp == TcpPolicy::Decrypt, behaviour.quic == QuicPolicy::Decrypt);
    for protocol in protocols(decrypted.0, decrypted.1) {
        chains
            .intercept
            .push(format!("iifname {inside} {protocol} dport {PORT} tproxy to :{PORT} meta mark set {MARK:#x} accept"));
    }
    let counted = format!("counter name \"{COUNTER_BLOCKED}\"");
    match behaviour.quic {
        QuicPolicy::Route | QuicPolicy::Decrypt => {}
        QuicPolicy::BlockSilent => {
            chains.block.push(format!("iifname {inside} udp dport {PORT} {counted} drop"));
            chains.block.push(format!("iifname {outside} udp sport {PORT} {counted} drop"));
        }
        QuicPolicy::BlockActive => {
            chains
                .block
                .push(format!("iifname {inside} udp dport {PORT} {counted} reject with icmpx type port-unreachable"));
            // Late packets of a connection from before the block: the persona is not the one to be told.
            chains.block.push(format!("iifname {outside} udp sport {PORT} {counted} drop"));
        }
    }
    chains.guard.push(format!("meta mark != {MARK:#x} tcp dport {PORT} reject with tcp reset"));
    chains.guard.push(format!("meta mark != {MARK:#x} udp dport {PORT} drop"));
    chains.render()
}

/// What removes everything [`nftables`] made; harmless when nothing is there.
#[must_use]
pub fn nftables_removal() -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// A transaction that only a kernel with the `queue` statement accepts; for `nft --check`.
#[must_use]
pub fn queue_probe() -> String {
    format!(
        "table inet {TABLE}_probe {{\n\tchain probe {{\n\t\ttype filter hook prerouting priority mangle; policy accept;\n\t\tmeta l4proto udp queue num {QUEUE}\n\t}}\n}}\n"
    )
}

/// Input of `iptables-restore --noflush` and `ip6tables-restore --noflush`: replaces the content of [`HOLD_CHAIN`].
#[must_use]
pub fn hold_restore(place: &Place, behaviour: &Behaviour) -> String {
    let mut text = format!("*mangle\n:{HOLD_CHAIN} - [0:0]\n");
    if behaviour.delay > Span::ZERO {
        for protocol in delayed(behaviour) {
            for interface in &place.outside {
                let _infallible = writeln!(
                    text,
                    "-A {HOLD_CHAIN} -i {interface} -p {protocol} --sport {PORT} -j NFQUEUE --queue-num {QUEUE}"
                );
            }
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn delayed(behaviour: &Behaviour) -> impl Iterator<Item = &'static str> {
    protocols(covers_tcp(behaviour.delay_scope), covers_quic(behaviour.delay_scope))
}

fn protocols(tcp: bool, udp: bool) -> impl Iterator<Item = &'static str> {
    [tcp.then_some("tcp"), udp.then_some("udp")].into_iter().flatten()
}

fn set(interfaces: &[Interface]) -> String {
    let names: Vec<String> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{{ {} }}", names.join(", "))
}

/// Rules by chain.
#[derive(Default)]
struct Chains {
    impair: Vec<String>,
    hold: Vec<String>,
    intercept: Vec<String>,
    block: Vec<String>,
    guard: Vec<String>,
}

impl Chains {
    fn render(&self) -> String {
        let mut text = format!("add table inet {TABLE}\nflush table inet {TABLE}\ntable inet {TABLE} {{\n");
        let _infallible = writeln!(text, "\tcounter {COUNTER_DROPPED} {{ }}\n\tcounter {COUNTER_BLOCKED} {{ }}");
        for (name, hook, rules) in [
            ("impair", "prerouting priority raw", &self.impair),
            ("hold", "prerouting priority mangle", &self.hold),
            ("intercept", "prerouting priority mangle + 1", &self.intercept),
            ("block", "forward priority filter", &self.block),
            ("guard", "input priority filter", &self.guard),
        ] {
            let _infallible = writeln!(text, "\tchain {name} {{\n\t\ttype filter hook {hook}; policy accept;");
            for rule in rules {
                let _infallible = writeln!(text, "\t\t{rule}");
            }
            text.push_str("\t}\n");
        }
        text.push_str("}\n");
        text
    }
}

#[cfg(test)]
mod tests;
