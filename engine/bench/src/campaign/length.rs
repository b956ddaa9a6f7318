//! How long a campaign will take, from its plan alone. An expectation: what blocks really took scales it while a run is under way, and
//! what a run costs is counted from it, so that it is known before the run.

use std::time::Duration;

use super::{BlockSpec, sequence, trials_of};
use crate::plan::Plan;

/// Time a block needs beside its trials, before one was seen: switching, probing, storing.
const OVERHEAD: Duration = Duration::from_secs(1);

/// Expected length of each block.
#[must_use]
pub fn lengths(plan: &Plan, blocks: &[BlockSpec]) -> Vec<Duration> {
    let trial = plan.trial_length().duration();
    blocks.iter().map(|block| trial * trials_of(plan, *block).len() as u32 + OVERHEAD).collect()
}

/// Expected length of the whole campaign.
#[must_use]
pub fn planned(plan: &Plan) -> Duration {
    lengths(plan, &sequence(plan)).iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;

    #[test]
    fn profiles_take_what_they_say() {
        let minutes = |profile| planned(&Plan::of_profile(profile)).as_secs_f64() / 60.0;
        assert!(minutes(Profile::Quick) < 1.0, "{}", minutes(Profile::Quick));
        assert!((1.0..3.5).contains(&minutes(Profile::Short)), "{}", minutes(Profile::Short));
        assert!(minutes(Profile::Full) > 120.0, "{}", minutes(Profile::Full));
    }
}
