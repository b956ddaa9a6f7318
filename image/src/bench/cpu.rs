//! Processor time of programs, as the kernel counts it for a whole process, threads that have ended included.
//!
//! `/proc/PID/stat` gives user and system time in clock ticks; the kernel scales their sum to the scheduler's exact run time, so over
//! seconds the error is one tick. Programs that end by themselves are timed by bash, which reads what `wait4` says of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Microseconds in a clock tick: `USER_HZ` is 100 on every Linux architecture this runs on (proc(5)).
const TICK_US: u64 = 10_000;

/// Time in µs that `pid` and its children, as they are now, have used.
pub(super) fn used_us(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path}: the process has ended"))?;
    let own = parse(&stat).with_context(|| format!("{path} is not as proc(5) says"))?;
    let children: u64 = all().into_iter().filter(|other| other.parent == pid).map(|other| other.ticks).sum();
    Ok((own.ticks + children) * TICK_US)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// Fields 4 (parent), 14 and 15 (user and system ticks) of proc(5); field 2 may hold spaces and brackets.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Stat { parent, ticks: user + system })
}

fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir(Path::new("/proc")) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        // A process may end between listing and reading.
        .filter_map(|entry| parse(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

/// What a program that ran to its end printed, and the processor time it used, µs.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) stdout: String,
    pub(super) cpu_us: f64,
}

/// Marks the line that bash's `time` writes, among whatever else is on standard error.
const MARK: &str = "tbi-cpu";

/// Runs `command` to its end under bash's `time`.
pub(super) fn timed(command: &[String]) -> Result<Timed> {
    let mut bash = Command::new("bash");
    bash.env("TIMEFORMAT", format!("{MARK} %3U %3S")).env("LC_ALL", "C");
    bash.args(["-c", "time \"$@\"", "bash"]).args(command);
    let output = bash.output().context("bash cannot be started")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} failed ({}): {}", command.join(" "), output.status, stderr.trim());
    }
    let cpu_us = parse_time(&stderr).with_context(|| format!("bash did not say what {} used", command.join(" ")))?;
    Ok(Timed { stdout: String::from_utf8_lossy(&output.stdout).into_owned(), cpu_us })
}

fn parse_time(stderr: &str) -> Option<f64> {
    let times = stderr.lines().rev().find_map(|line| line.strip_prefix(MARK))?;
    let seconds = times.split_whitespace().map(str::parse::<f64>).sum::<Result<f64, _>>().ok()?;
    Some(seconds * 1e6)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_stat_whatever_the_program_is_called() {
        let stat = "77 (a) b (c) S 12 77 77 0 -1 4194304 100 0 0 0 250 50 7 8 20 0 3 0 1 2 3";
        let parsed = parse(stat).unwrap();
        assert_eq!((parsed.parent, parsed.ticks), (12, 300));
        assert!(parse("77 (x) S").is_none());
    }

    #[test]
    fn knows_its_own_use() {
        assert!(used_us(std::process::id()).is_ok());
    }

    #[test]
    fn times_a_program() {
        let timed = timed(&["sh".into(), "-c".into(), "echo said; echo noise >&2".into()]).unwrap();
        assert_eq!(timed.stdout, "said\n");
        assert!(timed.cpu_us < 1e6);
        assert_eq!(parse_time("noise\ntbi-cpu 1.250 0.250\n"), Some(1.5e6));
    }
}
