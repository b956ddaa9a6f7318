//! Memory of each daemon at rest, asked of the machine itself through the debug variant's root shell on a virtio port: what its control group
//! is charged with, and what its processes hold.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use crate::bench::machine::busy_and_all;

/// What is asked about, by unit.
const UNITS: &str = "tbi-agent tbi-engine tbi-personas tbi-isp tbi-practice-dut tbi-console@ttyS0 tbi-dashboard";
/// A machine this busy is at rest; under emulation its timers alone take some per cent.
const QUIET: f64 = 0.10;
/// How often it is looked whether it is at rest; each look takes ten seconds.
const LOOKS: u32 = 12;
/// Longest wait for an answer; emulated machines are slow.
const ANSWER: Duration = Duration::from_secs(90);

/// For each unit its control group's charge, the part of it that is no page cache, and for each process of the group what it holds.
const LOOK: &str = r#"
for unit in UNITS; do
  group=/sys/fs/cgroup$(systemctl show --property=ControlGroup --value "$unit.service")
  [ "$group" != /sys/fs/cgroup ] && [ -e "$group/memory.current" ] || continue
  echo "unit $unit $(cat "$group/memory.current") $(grep '^anon ' "$group/memory.stat")"
  for process in $(find "$group" -name cgroup.procs -exec cat {} +); do
    echo process
    grep -E '^(Rss|Pss):' "/proc/$process/smaps_rollup"
  done
done"#;

/// Highest memory of the agent at rest that is good enough, bytes: both what its control group is charged with and what it holds resident.
pub(super) const AGENT_BAR: u64 = 30_000_000;
/// The unit that bar is for.
pub(super) const AGENT: &str = "tbi-agent";

/// A daemon's memory, bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Daemon {
    pub(super) unit: String,
    /// `memory.current`: what `MemoryMax=` counts, page cache of files it read first included.
    pub(super) group: u64,
    /// The part of it that is not backed by files.
    pub(super) anonymous: u64,
    /// Sum over its processes; pages shared by two count twice.
    pub(super) resident: u64,
    /// The same with shared pages divided by who shares them.
    pub(super) proportional: u64,
    pub(super) processes: u32,
}

impl Daemon {
    /// Whether its bar is met, for the one that has one.
    pub(super) fn met(&self) -> Option<bool> {
        (self.unit == AGENT).then_some(self.group <= AGENT_BAR && self.resident <= AGENT_BAR)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AtRest {
    pub(super) daemons: Vec<Daemon>,
    /// Share of the machine's processors in use in the ten seconds before.
    pub(super) busy: f64,
}

/// Waits until the machine is at rest, or as quiet as it gets, and asks.
pub(super) fn at_rest(machine: &mut Machine, socket: &Path) -> Result<AtRest> {
    let mut shell = Shell { stream: machine::connect(socket)?, questions: 0 };
    let mut busy = 1.0;
    for _ in 0..LOOKS {
        machine.ignore_serial();
        let twice = shell.ask("head -n 1 /proc/stat; sleep 10; head -n 1 /proc/stat")?;
        busy = share(&twice).with_context(|| format!("the machine's /proc/stat is not as proc(5) says: {twice}"))?;
        if busy < QUIET {
            break;
        }
    }
    let said = shell.ask(&LOOK.replace("UNITS", UNITS))?;
    let daemons = parse(&said).with_context(|| format!("the machine said something new about its memory: {said}"))?;
    if !daemons.iter().any(|daemon| daemon.unit == AGENT && daemon.resident > 0) {
        bail!("{AGENT} is not running in the machine: {said}");
    }
    Ok(AtRest { daemons, busy })
}

/// Busy share between two first lines of `/proc/stat`.
fn share(twice: &str) -> Option<f64> {
    let mut looks = twice.lines().filter_map(busy_and_all);
    let (before, after) = (looks.next()?, looks.next()?);
    Some(after.0.checked_sub(before.0)? as f64 / after.1.checked_sub(before.1)?.max(1) as f64)
}

/// From what [`LOOK`] prints.
fn parse(said: &str) -> Option<Vec<Daemon>> {
    let mut daemons: Vec<Daemon> = Vec::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["unit", unit, group, "anon", anonymous] => daemons.push(Daemon {
                unit: (*unit).to_owned(),
                group: group.parse().ok()?,
                anonymous: anonymous.parse().ok()?,
                resident: 0,
                proportional: 0,
                processes: 0,
            }),
            ["process"] => daemons.last_mut()?.processes += 1,
            ["Rss:", size, "kB"] => daemons.last_mut()?.resident += size.parse::<u64>().ok()? * 1024,
            ["Pss:", size, "kB"] => daemons.last_mut()?.proportional += size.parse::<u64>().ok()? * 1024,
            // A process may end between listing and reading, and grep says so.
            _ => {}
        }
    }
    Some(daemons)
}

/// `bash` at the other end of the port. A command's output ends with a marker of its own, so that what an earlier one says late is not taken for its answer.
struct Shell {
    stream: UnixStream,
    questions: u64,
}

impl Shell {
    fn ask(&mut self, script: &str) -> Result<String> {
        self.questions += 1;
        let (process, number) = (std::process::id(), self.questions);
        // In parts: a port that echoes must not print the marker itself.
        let line = format!("{{ {script}\n}} </dev/null 2>&1; printf '\\n@%s.%s@\\n' {process} {number}\n");
        self.stream.write_all(line.as_bytes()).context("the machine's debug port is gone")?;
        let marker = format!("\n@{process}.{number}@\n");
        let (deadline, mut seen) = (Instant::now() + ANSWER, Vec::new());
        loop {
            let text = String::from_utf8_lossy(&seen);
            if let Some((answer, _)) = text.split_once(&marker) {
                return Ok(answer.to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the debug variant's shell did not answer within {} s", ANSWER.as_secs());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut bytes = [0; 8192];
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the machine's debug port was closed"),
                Ok(count) => seen.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(error) => return Err(error).context("the machine's debug port broke"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn processes_are_summed_by_unit() {
        let said = "unit tbi-agent 20000000 anon 9000000\nprocess\nRss:  12 kB\nPss:  10 kB\nunit tbi-isp 5 anon 4\nprocess\nRss: 1 kB\nPss: 1 kB\n\
                    process\ngrep: /proc/7/smaps_rollup: No such process\nprocess\nRss: 2 kB\nPss: 1 kB\n";
        let daemons = parse(said).unwrap();
        assert_eq!(daemons.len(), 2);
        assert_eq!((daemons[0].resident, daemons[0].proportional, daemons[0].group), (12_288, 10_240, 20_000_000));
        assert_eq!((daemons[1].resident, daemons[1].processes, daemons[1].anonymous), (3072, 3, 4));
        assert!(parse("unit tbi-agent x anon 1").is_none());
    }

    #[test]
    fn the_agent_must_stay_below_its_bar_by_either_count() {
        let met = |unit: &str, group, resident| {
            let unit = unit.to_owned();
            Daemon { unit, group, anonymous: 1, resident, proportional: 1, processes: 1 }.met()
        };
        assert_eq!(met(AGENT, AGENT_BAR, AGENT_BAR), Some(true));
        assert_eq!(met(AGENT, AGENT_BAR + 1, 1), Some(false));
        assert_eq!(met(AGENT, 1, AGENT_BAR + 1), Some(false));
        assert_eq!(met("tbi-engine", u64::MAX, u64::MAX), None);
    }

    #[test]
    fn the_machines_own_load_is_told() {
        let busy = share("cpu  10 0 0 90 0 0 0 0 0 0\ncpu  20 0 0 180 0 0 0 0 0 0\n").unwrap();
        assert!((busy - 0.1).abs() < 1e-9);
        assert!(share("cpu  10 0 0 90 0 0 0 0 0 0\n").is_none());
    }
}
