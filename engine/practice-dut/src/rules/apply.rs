//! Hands rules to the kernel through `nft`, `ip` and, where needed, `iptables`. Owns the order of steps and nothing else.
//!
//! Every step is idempotent and every program call is bounded in time, so a gateway that was killed leaves nothing its successor
//! stumbles over.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tbi_bench::control::practice_dut::Behaviour;
use tbi_bench::units::Span;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{
    COUNTER_BLOCKED, COUNTER_DROPPED, HOLD_CHAIN, Hold, MARK, ROUTE_TABLE, TABLE, hold_restore, nftables,
    nftables_removal, queue_probe,
};
use crate::config::Place;

/// Longest a helper program may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most copies of our routing rule that are looked for.
const LEFTOVERS: usize = 16;
/// Most of a helper's complaint that is repeated.
const COMPLAINT: usize = 300;

/// Why rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A program is missing or cannot be run.
    #[error("cannot run {program}: {source}; install the Debian package {package}")]
    Run {
        /// The program.
        program: &'static str,
        /// Where it comes from.
        package: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A program refused.
    #[error("{program} refused '{what}': {complaint}; the gateway needs root in a network namespace of its own")]
    Refused {
        /// The program.
        program: &'static str,
        /// Arguments.
        what: String,
        /// Its words, clipped.
        complaint: String,
    },
    /// A program did not end.
    #[error("{program} did not finish within {} s; look for something that holds the netfilter lock", DEADLINE.as_secs())]
    Hung {
        /// The program.
        program: &'static str,
    },
    /// The counters are not readable.
    #[error("nft answered in a form that is not understood: {0}; install nftables 1.0 or later with JSON support")]
    Answer(serde_json::Error),
}

/// Packets the ruleset counted since the table was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketCounts {
    /// Lost at random.
    pub dropped: u64,
    /// Refused by the QUIC block.
    pub blocked: u64,
}

/// The rules of one gateway in the kernel.
#[derive(Debug)]
pub struct Kernel {
    place: Place,
    hold: Hold,
    chain: Chain,
}

/// Our chain in the `mangle` tables of iptables and ip6tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// Not there, as far as anybody knows.
    Absent,
    /// Left by a predecessor that was killed, in whatever state.
    Found,
    /// There, and reached from prerouting.
    Made,
}

impl Kernel {
    /// Clears what a predecessor left, sets up policy routing, and finds out who can feed the delay line. No rule is in force yet.
    ///
    /// # Errors
    /// [`ApplyError`] without `nft`, `ip` or the right to use them.
    pub async fn prepare(place: Place) -> Result<Self, ApplyError> {
        run("ip", "iproute2", &["link", "set", "lo", "up"], "").await?;
        let (mark, table) = (format!("{MARK:#x}"), ROUTE_TABLE.to_string());
        for family in ["-4", "-6"] {
            let rule = ["rule", "del", "fwmark", &mark, "lookup", &table];
            // Killed predecessors may have left several.
            for _ in 0..LEFTOVERS {
                if run("ip", "iproute2", &[&[family], &rule[..]].concat(), "").await.is_err() {
                    break;
                }
            }
            run("ip", "iproute2", &[family, "rule", "add", "fwmark", &mark, "lookup", &table], "").await?;
            let everything = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
            run("ip", "iproute2", &[family, "route", "replace", "local", everything, "dev", "lo", "table", &table], "")
                .await?;
        }
        nft(&nftables_removal()).await?;
        widen_ports().await;
        let hold = match run("nft", "nftables", &["--check", "-f", "-"], &queue_probe()).await {
            Ok(_) => Hold::Nftables,
            Err(_) => Hold::Iptables,
        };
        // A chain that a killed predecessor left feeds a queue nobody serves: the first behaviour has to empty it.
        let found = run("iptables", "iptables", &["-t", "mangle", "-S", HOLD_CHAIN], "").await.is_ok();
        Ok(Self { place, hold, chain: if found { Chain::Found } else { Chain::Absent } })
    }

    /// Puts the rules of `behaviour` in force; returns when they are.
    ///
    /// # Errors
    /// [`ApplyError`]; the rules of before may then be partly replaced, apply them again.
    pub async fn apply(&mut self, behaviour: &Behaviour) -> Result<(), ApplyError> {
        nft(&nftables(&self.place, behaviour, self.hold)).await?;
        if self.chain != Chain::Absent || (self.hold == Hold::Iptables && behaviour.delay > Span::ZERO) {
            self.make_chain().await?;
            let text = hold_restore(&self.place, behaviour);
            for program in ["iptables-restore", "ip6tables-restore"] {
                run(program, "iptables", &["--noflush"], &text).await?;
            }
        }
        Ok(())
    }

    /// Removes everything: rules, chain, policy routing. Goes on past errors and returns the first.
    ///
    /// # Errors
    /// [`ApplyError`] of the first step that failed.
    pub async fn remove(&mut self) -> Result<(), ApplyError> {
        let mut first = nft(&nftables_removal()).await.err();
        if self.chain != Chain::Absent {
            for program in ["iptables", "ip6tables"] {
                for step in [&["-D", "PREROUTING", "-j", HOLD_CHAIN][..], &["-F", HOLD_CHAIN], &["-X", HOLD_CHAIN]] {
                    let done = run(program, "iptables", &[&["-t", "mangle"], step].concat(), "").await;
                    first = first.or(done.err());
                }
            }
            self.chain = Chain::Absent;
        }
        let (mark, table) = (format!("{MARK:#x}"), ROUTE_TABLE.to_string());
        for family in ["-4", "-6"] {
            for step in [&["rule", "del", "fwmark", &mark, "lookup", &table][..], &["route", "flush", "table", &table]]
            {
                let done = run("ip", "iproute2", &[&[family], step].concat(), "").await;
                first = first.or(done.err());
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Reads the packet counters.
    ///
    /// # Errors
    /// [`ApplyError`] when `nft` fails or says something else.
    pub async fn counts() -> Result<PacketCounts, ApplyError> {
        let answer = run("nft", "nftables", &["-j", "list", "counters", "table", "inet", TABLE], "").await?;
        parse_counts(&answer).map_err(ApplyError::Answer)
    }

    async fn make_chain(&mut self) -> Result<(), ApplyError> {
        if self.chain == Chain::Made {
            return Ok(());
        }
        for program in ["iptables", "ip6tables"] {
            let table = ["-t", "mangle"];
            // Creating fails when a killed predecessor left the chain; the jump tells whether it is usable.
            let _exists = run(program, "iptables", &[&table[..], &["-N", HOLD_CHAIN]].concat(), "").await;
            if run(program, "iptables", &[&table[..], &["-C", "PREROUTING", "-j", HOLD_CHAIN]].concat(), "")
                .await
                .is_err()
            {
                run(program, "iptables", &[&table[..], &["-A", "PREROUTING", "-j", HOLD_CHAIN]].concat(), "").await?;
            }
        }
        self.chain = Chain::Made;
        Ok(())
    }
}

/// Leg 2 of every connection leaves from the gateway's own address: all ports, and those of closed connections again as soon as
/// timestamps make that safe (RFC 6191). Without the right to say so, the kernel's defaults carry a few hundred new connections per
/// second to one persona.
async fn widen_ports() {
    for (name, value) in [("ip_local_port_range", "1024 65535"), ("tcp_tw_reuse", "1")] {
        if let Err(error) = tokio::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).await {
            tracing::warn!(%error, name, "cannot set; connection rates to a single persona may be limited");
        }
    }
}

/// Reads `nft -j list counters`.
pub(crate) fn parse_counts(json: &[u8]) -> Result<PacketCounts, serde_json::Error> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        counter: Option<Counter>,
    }
    #[derive(Deserialize)]
    struct Counter {
        name: String,
        packets: u64,
    }
    let listing: Listing = serde_json::from_slice(json)?;
    let mut counts = PacketCounts::default();
    for counter in listing.nftables.into_iter().filter_map(|entry| entry.counter) {
        match counter.name.as_str() {
            COUNTER_DROPPED => counts.dropped = counter.packets,
            COUNTER_BLOCKED => counts.blocked = counter.packets,
            _ => {}
        }
    }
    Ok(counts)
}

async fn nft(text: &str) -> Result<(), ApplyError> {
    run("nft", "nftables", &["-f", "-"], text).await.map(|_| ())
}

/// Runs a helper with `input` on its standard input; returns its standard output.
async fn run(
    program: &'static str,
    package: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<Vec<u8>, ApplyError> {
    let failed = |source| ApplyError::Run { program, package, source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A helper that refuses may close its input early; its own words say why.
            let _refused = stdin.write_all(input.as_bytes()).await;
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output =
        tokio::time::timeout(DEADLINE, both).await.map_err(|_| ApplyError::Hung { program })?.map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(COMPLAINT).collect();
    Err(ApplyError::Refused { program, what: arguments.join(" "), complaint: complaint.replace('\n', " ") })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let json = br#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "inet", "name": "dropped", "table": "tbi_dut", "handle": 5, "packets": 7, "bytes": 70}},
            {"counter": {"family": "inet", "name": "blocked", "table": "tbi_dut", "handle": 6, "packets": 9, "bytes": 90}}]}"#;
        assert_eq!(parse_counts(json).unwrap(), PacketCounts { dropped: 7, blocked: 9 });
        assert!(parse_counts(b"{}").is_err());
    }
}
