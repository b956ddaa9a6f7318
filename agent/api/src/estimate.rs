//! What a plan takes before it is run: its blocks in their order, how long each is expected to be, and the units it will spend. Pure, and the
//! same for who shows it and for the gate that spends.

use std::time::Duration;

use tbi_bench::campaign::{BlockSpec, lengths, planned, sequence, trials_of};
use tbi_bench::plan::Plan;

/// A test stress unit is a minute of planned measuring, begun ones counted whole.
const TSU_SECONDS: u64 = 60;

/// One block of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBlock {
    /// What it stands for, and its pair.
    pub spec: BlockSpec,
    /// Time from the start of the run to its start.
    pub at: Duration,
    /// Its length.
    pub length: Duration,
    /// Trials it has.
    pub trials: u32,
}

/// Test stress units that a plan spends.
#[must_use]
pub fn units(plan: &Plan) -> u64 {
    planned(plan).as_secs().div_ceil(TSU_SECONDS).max(1)
}

/// The blocks of a plan.
#[must_use]
pub fn blocks(plan: &Plan) -> Vec<PlannedBlock> {
    let specs = sequence(plan);
    let mut at = Duration::ZERO;
    let lengths = lengths(plan, &specs);
    let planned = specs.into_iter().zip(lengths).map(|(spec, length)| {
        let block = PlannedBlock { spec, at, length, trials: trials_of(plan, spec).len() as u32 };
        at += length;
        block
    });
    planned.collect()
}

#[cfg(test)]
mod tests {
    use tbi_bench::plan::Profile;

    use super::*;

    #[test]
    fn blocks_follow_each_other_and_make_up_the_whole() {
        for profile in [Profile::Quick, Profile::Short, Profile::Full] {
            let plan = Plan::of_profile(profile);
            let blocks = blocks(&plan);
            assert!(blocks.windows(2).all(|two| two[0].at + two[0].length == two[1].at));
            assert_eq!(blocks.iter().map(|block| block.length).sum::<Duration>(), planned(&plan));
            assert_eq!(units(&plan), planned(&plan).as_secs().div_ceil(60));
        }
    }
}
