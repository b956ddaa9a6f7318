//! `cargo tbi soak door`: steady load through the front door for minutes, with a look at its memory every few seconds.
//!
//! Memory is stable when the median of the last fifth of the time is not much above that of the second fifth; the first fifth is for pools
//! and buffers to reach their size.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::door::build;
use crate::bench::door::load::{Load, steady_words};
use crate::bench::door::stand::Stand;
use crate::command::{print, say};
use crate::packages;
use crate::workspace::Workspace;

/// Clients, and requests per second of each: a thousand in all, which is far more than a bench has users.
const CLIENTS: u32 = 50;
const EACH: u32 = 20;
/// Growth that is still called stable: a share, or so much, whichever is more. An allocator gives memory back when it likes.
const GROWTH: f64 = 0.05;
const GROWTH_KB: f64 = 4096.0;
/// Fewer looks say nothing about growth.
const LOOKS: usize = 25;
/// Something grew or was not answered.
const FAILED: u8 = 1;

/// Runs the campaign.
pub(super) fn run(workspace: &Workspace, minutes: u64, programs: Option<&Path>) -> Result<ExitCode> {
    packages::ensure(&[packages::BUILD, packages::PEERS, packages::DOOR])?;
    let programs = match programs {
        Some(directory) => directory.to_owned(),
        None => build(workspace)?,
    };
    let stand = Stand::start(&programs)?;
    say(&format!("{CLIENTS} clients, {EACH} requests a second each, for {minutes} min"));
    let time = Duration::from_secs(minutes * 60);
    let load = Load::steady(&stand, CLIENTS);
    let (began, mut memory) = (Instant::now(), Vec::new());
    let answers = load.watched(&steady_words(EACH, time), time, || {
        memory.push(stand.door().memory_kb()?.0);
        if memory.len() % 120 == 0 {
            say(&format!("{:>5} s  {:.1} MB", began.elapsed().as_secs(), mb(stand.door().memory_kb()?.0)));
        }
        Ok(())
    })?;
    let offered = f64::from(CLIENTS * EACH) * time.as_secs_f64();
    let Growth { early_kb, late_kb, stable } = growth(&memory)?;
    let (_now, most) = stand.door().memory_kb()?;
    let bad = answers.requests - answers.good;
    print(&format!(
        "{} of {offered:.0} requests answered, {bad} of them other than 2xx\n\
         memory {:.1} MB in the second fifth of the time, {:.1} MB in the last, {:.1} MB at most: {}\n",
        answers.requests,
        mb(early_kb),
        mb(late_kb),
        mb(most),
        if stable { "stable" } else { "GROWING" },
    ));
    // The tool offers what it was told; far fewer answers mean that it had to wait for them.
    let answered = bad == 0 && answers.good as f64 >= offered * 0.95;
    Ok(if stable && answered { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}

#[derive(Debug, PartialEq, Eq)]
struct Growth {
    early_kb: u64,
    late_kb: u64,
    stable: bool,
}

fn growth(memory_kb: &[u64]) -> Result<Growth> {
    if memory_kb.len() < LOOKS {
        bail!("memory was looked at only {} times; run for longer", memory_kb.len());
    }
    let fifth = memory_kb.len() / 5;
    let middle = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().context("memory was not looked at")
    };
    let early_kb = middle(&memory_kb[fifth..2 * fifth])?;
    let late_kb = middle(&memory_kb[memory_kb.len() - fifth..])?;
    let allowed = (early_kb as f64 * GROWTH).max(GROWTH_KB);
    Ok(Growth { early_kb, late_kb, stable: late_kb as f64 <= early_kb as f64 + allowed })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_leak_is_seen_and_a_start_is_not_called_one() {
        let start: Vec<u64> = (0..100).map(|look| 50_000 + 1_000 * look.min(15)).collect();
        assert_eq!(growth(&start).unwrap(), Growth { early_kb: 65_000, late_kb: 65_000, stable: true });
        let leak: Vec<u64> = (0..100).map(|look| 50_000 + 100 * look).collect();
        assert!(!growth(&leak).unwrap().stable);
        assert!(growth(&leak[..10]).is_err());
    }
}
