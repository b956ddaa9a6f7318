//! Truth tests of the statistics: campaigns whose true cost is known, simulated often enough to count how often the 95 % interval
//! covers it.
//!
//! A simulated campaign has 6 to 20 pairs of blocks. Block noise is lognormal with a standard deviation of 2 to 10 %; on top of it
//! the bench drifts in a random walk that both blocks of a pair share, and steadily by up to 2 % per block, which the random order
//! within pairs has to cancel. Seeds are fixed. The bar of the requirement (200 campaigns, 95 ± 3 %) is two standard deviations wide;
//! so that nobody has to trust a lucky seed, the same is asked of 4,000 other campaigns within ± 1 %.

#![expect(clippy::unwrap_used, reason = "tests")]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tbi_bench::stats::paired::{self, Pair};
use tbi_bench::stats::{bootstrap, drift};

struct World(ChaCha8Rng);

impl World {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(self.uniform(0.0, 1.0))).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.uniform(0.0, 1.0))
    }

    fn campaign(&mut self, pairs: usize, truth: f64) -> Vec<Pair> {
        let noise = self.uniform(0.02, 0.10);
        let steady_drift = self.uniform(-0.02, 0.02);
        let base = self.uniform(200.0, 20_000.0);
        let mut walk = 0.0;
        (0..pairs)
            .map(|pair| {
                walk += 0.03 * self.normal();
                let on_first = self.0.next_u32() & 1 == 0;
                let mut block = |cost: f64, second: bool| {
                    let at = (2 * pair + usize::from(second)) as f64;
                    base * cost * libm::exp(walk + steady_drift * at + noise * self.normal())
                };
                let on = block(truth, !on_first);
                let bypass = block(1.0, on_first);
                (on, bypass)
            })
            .collect()
    }

    fn any_size(&mut self) -> usize {
        6 + (self.0.next_u32() % 15) as usize
    }
}

/// Share of `campaigns` whose t interval covers the truth, and the mean of log(estimate/truth).
fn t_coverage(seed: u64, campaigns: u32, truth: f64) -> (f64, f64) {
    let mut world = World::new(seed);
    let (mut covered, mut bias) = (0, 0.0);
    for _ in 0..campaigns {
        let pairs = world.any_size();
        let cost = paired::cost(&world.campaign(pairs, truth)).unwrap();
        covered += u32::from(cost.low.unwrap() <= truth && truth <= cost.high.unwrap());
        bias += libm::log(cost.ratio / truth);
        assert!(!cost.indicative);
    }
    (f64::from(covered) / f64::from(campaigns), bias / f64::from(campaigns))
}

#[test]
fn campaigns_of_bypass_against_bypass_cover_no_cost() {
    let (few, _) = t_coverage(1, 200, 1.0);
    assert!((few - 0.95).abs() <= 0.03, "{few}");
    let (many, bias) = t_coverage(1001, 4000, 1.0);
    assert!((many - 0.95).abs() <= 0.01, "{many}");
    assert!(bias.abs() < 0.002, "{bias}");
}

#[test]
fn a_known_cost_is_recovered_and_covered() {
    for (seed, truth) in [(2, 1.05), (3, 1.5), (4, 3.0), (5, 0.4)] {
        let (few, _) = t_coverage(seed, 200, truth);
        assert!((few - 0.95).abs() <= 0.03, "{truth}: {few}");
        let (many, bias) = t_coverage(seed + 1000, 4000, truth);
        assert!((many - 0.95).abs() <= 0.01, "{truth}: {many}");
        assert!(bias.abs() < 0.002, "{truth}: {bias}");
    }
}

#[test]
fn the_difference_is_covered_too_when_noise_is_small() {
    // The t interval of the difference wants the KPI itself to be alike from pair to pair, so without the wild drift of the others.
    let mut world = World::new(6);
    let covered = (0..4000)
        .filter(|_| {
            let pairs: Vec<Pair> = (0..world.any_size())
                .map(|_| (1200.0 * (1.0 + 0.03 * world.normal()), 1000.0 * (1.0 + 0.03 * world.normal())))
                .collect();
            let cost = paired::cost(&pairs).unwrap();
            cost.difference_low.unwrap() <= 200.0 && 200.0 <= cost.difference_high.unwrap()
        })
        .count();
    assert!((covered as f64 / 4000.0 - 0.95).abs() <= 0.01, "{covered}");
}

/// The percentile bootstrap is known to be too narrow with few pairs. This pins by how much, so that the figures in the module's
/// documentation stay true; it is no bar the t interval is held to.
#[test]
fn the_bootstrap_covers_less_with_few_pairs_by_a_known_amount() {
    for (pairs, expected) in [(6, 0.86), (10, 0.90), (20, 0.925)] {
        let mut world = World::new(7);
        let covered = (0..2000u32)
            .filter(|&campaign| {
                let interval = bootstrap::ratio(&world.campaign(pairs, 1.5), u64::from(campaign), 400).unwrap();
                interval.low <= 1.5 && 1.5 <= interval.high
            })
            .count() as f64
            / 2000.0;
        assert!((covered - expected).abs() <= 0.02, "{pairs} pairs: {covered}");
    }
}

#[test]
fn pairs_beat_unpaired_blocks_under_drift() {
    // What pairing is for: the same blocks, mismatched, scatter far more.
    let mut world = World::new(8);
    let pairs = world.campaign(20, 1.5);
    let mismatched: Vec<Pair> = (0..20).map(|i| (pairs[i].0, pairs[(i * 7 + 9) % 20].1)).collect();
    let width = |pairs: &[Pair]| {
        let cost = paired::cost(pairs).unwrap();
        cost.high.unwrap() / cost.low.unwrap()
    };
    assert!(width(&pairs) < width(&mismatched), "{} {}", width(&pairs), width(&mismatched));
}

#[test]
fn fewer_than_six_pairs_are_indicative() {
    for pairs in 1..=20 {
        let cost = paired::estimate(&World::new(9).campaign(pairs, 1.5), 9, 1000).unwrap();
        assert_eq!(cost.indicative, pairs < 6, "{pairs}");
        assert_eq!((cost.low.is_some(), cost.bootstrap_low.is_some()), (pairs > 1, pairs > 1), "{pairs}");
    }
}

#[test]
fn the_pilot_promises_a_width_that_campaigns_keep() {
    // Scatter of single log ratios is √2 times the noise of a block.
    let sd = 0.05 * std::f64::consts::SQRT_2;
    let pairs = paired::required_pairs(sd, 0.04).unwrap();
    let mut world = World::new(10);
    let mean_half_width = (0..500)
        .map(|_| {
            let blocks: Vec<Pair> =
                (0..pairs).map(|_| (libm::exp(0.05 * world.normal()), libm::exp(0.05 * world.normal()))).collect();
            let cost = paired::cost(&blocks).unwrap();
            libm::log(cost.high.unwrap() / cost.low.unwrap()) / 2.0
        })
        .sum::<f64>()
        / 500.0;
    assert!((0.034..=0.041).contains(&mean_half_width), "{pairs} pairs: {mean_half_width}");
}

#[test]
fn a_steady_bench_keeps_the_drift_bar_and_a_drifting_one_breaks_it() {
    assert!(drift(&[1000.0, 1012.0, 1005.0]).unwrap() <= 0.02);
    assert!(drift(&[1000.0, 1012.0, 1031.0]).unwrap() > 0.02);
}
