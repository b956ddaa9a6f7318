//! The machine a bench run took place on: its class, never its name, and whether it was quiet.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::wait;

/// Busy share of all cores up to which other work is not worth a word.
pub(super) const QUIET: f64 = 0.05;
/// How long the machine is looked at before anything of ours runs.
const LOOK: Duration = Duration::from_secs(1);

/// What was measured where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    /// Major and minor version; the rest may name a provider.
    pub(super) kernel: String,
    pub(super) peers: Vec<String>,
    /// Share of all cores that other programs used before anything of ours ran, 0..=1.
    pub(super) busy_before: f64,
}

/// Class of this machine, with the versions of the peers on it.
pub(super) fn describe(busy_before: f64, peers: Vec<String>) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    Machine {
        processor: model.trim_start_matches([' ', '\t', ':']).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").split('.').take(2).collect::<Vec<_>>().join("."),
        peers,
        busy_before,
    }
}

/// Share of all cores in use now, 0..=1.
pub(super) fn busy_share() -> Result<f64> {
    let look = || {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
        busy_and_all(&stat).context("/proc/stat is not as proc(5) says")
    };
    let before: (u64, u64) = look()?;
    wait::pass(LOOK);
    let after = look()?;
    Ok((after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64)
}

/// Ticks of all cores since boot: busy ones and all. Fields of the first line of proc(5) /proc/stat: user, nice, system, idle, iowait,
/// irq, softirq, steal; guest times are part of user time.
pub(super) fn busy_and_all(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = fields.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let all = ticks.iter().sum::<u64>();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy_and_all("cpu  10 1 5 70 4 2 3 5 9 9\ncpu0 1 1 1 1"), Some((26, 100)));
        assert_eq!(busy_and_all("cpu0 1 2 3"), None);
    }
}
