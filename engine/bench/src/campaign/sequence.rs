//! The order of blocks: pairs with a random order inside, reference blocks at start, between and at the end.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::protocol::Arm;

/// Domain separation of the campaign's seed from those of schedules and bootstrap.
const ORDER_STREAM: u64 = 0x006f_7264_6572;

/// One block of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSpec {
    /// What it stands for.
    pub arm: Arm,
    /// Pair, from 0; `None` for reference blocks.
    pub pair: Option<u32>,
}

/// Blocks in the order in which they run. ON and BYPASS of a pair are neighbours, which one comes first is drawn from the seed, so
/// that drift cancels (facts/bench.md §5.5). With `reference_blocks` of 1 it comes first; with more they are spread evenly, first and
/// last included.
#[must_use]
pub fn sequence(plan: &Plan) -> Vec<BlockSpec> {
    let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
    random.set_stream(ORDER_STREAM);
    let reference = BlockSpec { arm: Arm::Reference, pair: None };
    let pairs = plan.pairs as usize;
    let gaps: Vec<usize> = match plan.reference_blocks as usize {
        0 => Vec::new(),
        1 => vec![0],
        count => (0..count).map(|index| index * pairs / (count - 1)).collect(),
    };
    let mut blocks = Vec::new();
    for pair in 0..=pairs {
        blocks.extend(gaps.iter().filter(|gap| **gap == pair).map(|_| reference));
        if pair < pairs {
            let arms = if random.next_u32() & 1 == 0 { [Arm::On, Arm::Bypass] } else { [Arm::Bypass, Arm::On] };
            blocks.extend(arms.map(|arm| BlockSpec { arm, pair: Some(pair as u32) }));
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Profile;

    #[test]
    fn every_pair_is_whole_and_references_frame_the_campaign() {
        for (pairs, references) in [(1, 1), (1, 3), (6, 2), (6, 3), (20, 5)] {
            let plan = Plan { pairs, reference_blocks: references, ..Plan::of_profile(Profile::Short) };
            let blocks = sequence(&plan);
            assert_eq!(blocks.len() as u32, 2 * pairs + references);
            assert_eq!(blocks[0].arm, Arm::Reference);
            assert_eq!(blocks[blocks.len() - 1].arm == Arm::Reference, references > 1);
            for pair in 0..pairs {
                let at = blocks.iter().position(|block| block.pair == Some(pair)).unwrap_or_default();
                assert_eq!(blocks[at + 1].pair, Some(pair));
                assert_ne!(blocks[at].arm, blocks[at + 1].arm);
            }
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        let of = |seed| sequence(&Plan { seed, pairs: 40, ..Plan::of_profile(Profile::Short) });
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let first_on = of(7).windows(2).filter(|two| two[0].pair == two[1].pair && two[0].arm == Arm::On).count();
        assert!((8..=32).contains(&first_on), "{first_on} of 40 pairs begin with ON");
    }
}
