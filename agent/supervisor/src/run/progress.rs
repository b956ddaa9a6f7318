//! How far a campaign is: one line per block on standard error in the lab, so that standard output stays the result; a value told to
//! whoever asked on an appliance.
#![expect(clippy::print_stderr, reason = "progress is this module's purpose")]

use std::time::{Duration, Instant};

use tbi_api::series::Second;
use tbi_bench::campaign::{BlockSpec, lengths};
use tbi_bench::plan::Plan;
use tbi_bench::protocol::Arm;

/// Where progress goes.
pub(crate) enum Sink {
    /// Lines for a person at a terminal.
    Lines,
    /// A value for each step.
    Tell(Box<dyn Fn(tbi_api::runs::Progress) + Send + Sync>),
}

impl Sink {
    /// A line for a person; whoever is told values learns it from the run's sentence and record.
    pub(crate) fn say(&self, line: &str) {
        if matches!(self, Self::Lines) {
            eprintln!("{line}");
        }
    }
}

/// Progress of one campaign.
pub(crate) struct Progress {
    started: Instant,
    /// Expected length of each block, from the plan; scaled by what finished blocks really took.
    expected: Vec<Duration>,
    specs: Vec<BlockSpec>,
    done: usize,
    taken: Duration,
    /// When the last block ended.
    since: Instant,
    last_block: String,
    trials_done: u32,
    second: Option<Second>,
    sink: Sink,
}

impl Progress {
    /// Progress over these blocks.
    pub(crate) fn new(plan: &Plan, specs: &[BlockSpec], sink: Sink) -> Self {
        Self {
            started: Instant::now(),
            expected: lengths(plan, specs),
            specs: specs.to_vec(),
            done: 0,
            taken: Duration::ZERO,
            since: Instant::now(),
            last_block: String::new(),
            trials_done: 0,
            second: None,
            sink,
        }
    }

    /// Says what is about to happen and how long it will take.
    pub(crate) fn announce(&self, plan: &Plan) {
        if let Sink::Tell(tell) = &self.sink {
            tell(self.value());
            return;
        }
        let protocols: Vec<&str> = plan.protocols.iter().map(|protocol| protocol.as_str()).collect();
        let objects: Vec<&str> = plan.objects.iter().map(|object| object.as_str()).collect();
        eprintln!(
            "{} {}: {} with {} over {}, {} personas; {} blocks, about {}",
            clock(self.started.elapsed()),
            plan.name,
            count(plan.pairs, "pair"),
            objects.join(", "),
            protocols.join(", "),
            plan.personas,
            self.specs.len(),
            clock(self.remaining()).trim_start(),
        );
    }

    /// Says that a block ended and what it showed in a few words.
    pub(crate) fn block_done(&mut self, took: Duration, summary: &str) {
        let Some(spec) = self.specs.get(self.done).copied() else { return };
        self.taken += took;
        self.done += 1;
        self.since = Instant::now();
        self.last_block = format!("{}: {summary}", spec.arm);
        if let Sink::Tell(tell) = &self.sink {
            tell(self.value());
            return;
        }
        let arm = match spec.arm {
            Arm::On => "ON       ",
            Arm::Bypass => "BYPASS   ",
            Arm::Reference => "reference",
        };
        let pair = spec.pair.map_or("       ".to_owned(), |pair| format!("pair {:<2}", pair + 1));
        eprintln!(
            "{} block {:>2}/{} {pair} {arm} {:>5.1} s  {summary}  remaining {}",
            clock(self.started.elapsed()),
            self.done,
            self.specs.len(),
            took.as_secs_f64(),
            clock(self.remaining()),
        );
    }

    /// Tells whoever is told values that there is more to see; a block may take hours.
    pub(crate) fn trial_done(&mut self) {
        self.trials_done += 1;
        self.second = None;
        self.tell();
    }

    /// Tells them a second of the trial under way.
    pub(crate) fn second(&mut self, second: Second) {
        self.second = Some(second);
        self.tell();
    }

    fn tell(&self) {
        if let Sink::Tell(tell) = &self.sink {
            tell(self.value());
        }
    }

    fn value(&self) -> tbi_api::runs::Progress {
        tbi_api::runs::Progress {
            blocks_done: self.done as u32,
            blocks: self.specs.len() as u32,
            elapsed_seconds: self.started.elapsed().as_secs(),
            remaining_seconds: self.remaining().saturating_sub(self.spent_on_block()).as_secs(),
            last_block: self.last_block.clone(),
            trials_done: self.trials_done,
            second: self.second.clone(),
        }
    }

    /// Time spent on the block under way, as far as it was expected.
    fn spent_on_block(&self) -> Duration {
        let expected = self.expected.get(self.done).copied().unwrap_or_default();
        self.since.elapsed().min(expected)
    }

    /// Expected time from the end of the last finished block to that of the last one.
    fn remaining(&self) -> Duration {
        let expected: Duration = self.expected[..self.done].iter().sum();
        let left: Duration = self.expected[self.done..].iter().sum();
        if expected.is_zero() { left } else { left.mul_f64(self.taken.as_secs_f64() / expected.as_secs_f64()) }
    }
}

fn count(number: u32, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Minutes and seconds.
fn clock(span: Duration) -> String {
    let seconds = span.as_secs_f64().round() as u64;
    format!("{:>2}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tbi_bench::campaign::sequence;
    use tbi_bench::plan::Profile;

    #[test]
    fn remaining_time_follows_what_blocks_really_take() {
        let plan = Plan::of_profile(Profile::Quick);
        let specs = sequence(&plan);
        let mut progress = Progress::new(&plan, &specs, Sink::Lines);
        let planned = progress.remaining();
        let first = progress.expected[0];
        progress.block_done(first * 2, "");
        assert_eq!(progress.remaining(), (planned - first) * 2);
    }

    #[test]
    fn clocks_read_as_minutes_and_seconds() {
        assert_eq!(
            (clock(Duration::from_millis(5400)), clock(Duration::from_secs(605))),
            (" 0:05".into(), "10:05".into())
        );
    }
}
