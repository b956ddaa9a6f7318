//! The blocks of a plan as they will run, as a picture and as the table that says the same. Pure; the order and the lengths are those of the
//! campaign itself ([`tbi_api::estimate`]).

use tbi_api::estimate::{self, PlannedBlock};
use tbi_bench::plan::Plan;
use tbi_bench::protocol::Arm;

use super::super::look::Look;
use super::super::number;

/// Width of the picture; it is scaled to what there is.
const WIDTH: f64 = 960.0;
/// Blocks that are drawn and listed at most; a plan of a thousand pairs would be a line of dust.
const MOST: usize = 60;
/// Narrowest block that has its name in it.
const NAMED: f64 = 30.0;

/// A block in picture and table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) number: usize,
    /// `on`, `bypass` or `reference`.
    pub(super) arm: &'static str,
    pub(super) pair: String,
    pub(super) at: String,
    pub(super) length: String,
    pub(super) trials: u32,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) middle: String,
    pub(super) named: bool,
}

/// A plan before it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drawing {
    pub(super) blocks: Vec<Drawn>,
    /// How many are not shown.
    pub(super) left_out: usize,
    pub(super) count: usize,
    pub(super) pairs: u32,
    pub(super) takes: String,
    pub(super) units: String,
}

/// The name of an arm in words and classes.
pub(super) fn arm_name(arm: Arm) -> &'static str {
    match arm {
        Arm::On => "on",
        Arm::Bypass => "bypass",
        Arm::Reference => "reference",
    }
}

/// Draws a plan.
pub(super) fn draw(plan: &Plan, look: &Look) -> Drawing {
    let blocks = estimate::blocks(plan);
    let shown = &blocks[..blocks.len().min(MOST)];
    let end = |block: &PlannedBlock| (block.at + block.length).as_secs_f64();
    let scale = shown.last().map_or(0.0, |last| WIDTH / end(last).max(f64::MIN_POSITIVE));
    let drawn = shown.iter().enumerate().map(|(index, block)| {
        let (x, width) = (block.at.as_secs_f64() * scale, block.length.as_secs_f64() * scale);
        Drawn {
            number: index + 1,
            arm: arm_name(block.spec.arm),
            pair: block.spec.pair.map(|pair| (pair + 1).to_string()).unwrap_or_default(),
            at: number::span(block.at.as_secs()),
            length: number::span(block.length.as_secs_f64().round() as u64),
            trials: block.trials,
            x: format!("{x:.1}"),
            // A gap between neighbours, so that two of one colour are still two.
            width: format!("{:.1}", (width - 1.5).max(0.5)),
            middle: format!("{:.1}", x + width / 2.0),
            named: width >= NAMED,
        }
    });
    let whole = blocks.last().map_or(0.0, end);
    Drawing {
        blocks: drawn.collect(),
        left_out: blocks.len() - shown.len(),
        count: blocks.len(),
        pairs: plan.pairs,
        takes: number::span(whole.ceil() as u64),
        units: look.count(estimate::units(plan)),
    }
}

#[cfg(test)]
mod tests {
    use tbi_bench::campaign::sequence;
    use tbi_bench::plan::Profile;

    use super::*;

    fn drawing(plan: &Plan) -> Drawing {
        draw(plan, &Look::of(&http::HeaderMap::new()))
    }

    #[test]
    fn the_picture_is_the_campaigns_own_order() {
        let plan = Plan::of_profile(Profile::Short);
        let drawn = drawing(&plan);
        let arms: Vec<_> = sequence(&plan).into_iter().map(|block| arm_name(block.arm)).collect();
        assert!(drawn.blocks.iter().map(|block| block.arm).eq(arms));
        assert_eq!((drawn.count, drawn.left_out, drawn.pairs), (14, 0, 6));
        let end: f64 = drawn.blocks.iter().map(|block| block.x.parse::<f64>().unwrap_or_default()).fold(0.0, f64::max);
        assert!(end < WIDTH);
        let other = drawing(&Plan { seed: 7, ..plan });
        assert_ne!(
            drawn.blocks.iter().map(|it| it.arm).collect::<Vec<_>>(),
            other.blocks.iter().map(|it| it.arm).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_plan_of_a_thousand_pairs_says_what_it_leaves_out() {
        let drawn = drawing(&Plan { pairs: 1000, ..Plan::of_profile(Profile::Full) });
        assert_eq!((drawn.blocks.len(), drawn.count, drawn.left_out), (60, 2003, 1943));
        assert!(drawn.takes.contains(" d "), "{}", drawn.takes);
    }
}
