//! When each arrival of an open-loop trial is due, computed before any of them and independent of how the device answers.
//!
//! The rate rises linearly from nothing in the ramp-up, is constant in the sustain phase and falls linearly in the ramp-down
//! (RFC 9411 §4.3.4). Arrivals are found by time rescaling: points of a process of rate 1 are mapped through the inverse of the
//! expected number of arrivals up to time t. That needs no rejection, so the work is proportional to the number of arrivals, and the
//! same method serves equal gaps (points at ½, 1½, 2½, …) and Poisson gaps (exponential steps).
//!
//! Invariants: the same rate, gaps, seed and phases give the same offsets on every platform (ChaCha8, `libm`'s logarithm and
//! operations that IEEE 754 rounds exactly); offsets never fall, and each lies within ramp-up, sustain or ramp-down. The schedule
//! does not know what an arrival is, nor who is late.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::control::engine::{Arrivals, Phases};
use crate::phases::Phase;
use crate::units::Rate;

/// Intended start times of one trial, in order, as nanoseconds since its start. Lazy: nothing is stored.
#[derive(Debug, Clone)]
pub struct Schedule {
    curve: Curve,
    gaps: Gaps,
    /// Expected number of arrivals up to the last one given out.
    reached: f64,
    last_ns: u64,
}

/// One worker's share of a schedule.
#[derive(Debug, Clone)]
pub struct WorkerSchedule {
    whole: Schedule,
    /// Arrivals of the others before this worker's next one.
    skip: u64,
    others: u64,
}

impl Schedule {
    /// Schedule of one trial.
    #[must_use]
    pub fn new(rate: Rate, arrivals: Arrivals, seed: u64, phases: &Phases) -> Self {
        let gaps = match arrivals {
            Arrivals::Constant => Gaps::Constant { next: 0 },
            Arrivals::Poisson => Gaps::Poisson(Box::new(ChaCha8Rng::from_seed(stream(seed, b"schedule")))),
        };
        Self { curve: Curve::new(rate, phases), gaps, reached: 0.0, last_ns: 0 }
    }

    /// Expected number of arrivals in the whole trial.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.curve.total
    }

    /// The share of worker `index` of `of`: every `of`-th arrival, so that shares are disjoint, even, and together exactly the
    /// whole. Empty when `index` is not below `of`.
    ///
    /// Each worker draws the whole schedule and skips the others' arrivals; that costs some ten nanoseconds each and needs no
    /// coordination.
    #[must_use]
    pub fn worker(self, index: u32, of: u32) -> WorkerSchedule {
        let skip = if index < of { u64::from(index) } else { u64::MAX };
        WorkerSchedule { whole: self, skip, others: u64::from(of).saturating_sub(1) }
    }

    /// The remaining arrivals as bytes, eight per arrival, least significant first: the form in which two schedules are compared.
    /// Holds them all in memory.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        self.flat_map(u64::to_le_bytes).collect()
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match &mut self.gaps {
            Gaps::Constant { next } => {
                self.reached = *next as f64 + 0.5;
                *next += 1;
            }
            Gaps::Poisson(rng) => self.reached += exponential(rng.next_u64()),
        }
        // The first points of the ramp-up and rounding at its end could otherwise step back by a nanosecond.
        self.last_ns = self.curve.time_of(self.reached)?.max(self.last_ns);
        Some(self.last_ns)
    }
}

impl Iterator for WorkerSchedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.skip == u64::MAX {
            return None;
        }
        for _ in 0..self.skip {
            self.whole.next()?;
        }
        self.skip = self.others;
        self.whole.next()
    }
}

#[derive(Debug, Clone)]
enum Gaps {
    Constant { next: u64 },
    Poisson(Box<ChaCha8Rng>),
}

/// Expected number of arrivals over time and its inverse, piece by piece.
#[derive(Debug, Clone)]
struct Curve {
    /// Arrivals per nanosecond in the sustain phase.
    rate: f64,
    pieces: [Piece; 3],
    total: f64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    phase: Phase,
    start_ns: u64,
    end_ns: u64,
    /// Expected arrivals before and up to the end of this piece.
    before: f64,
    upto: f64,
}

impl Curve {
    fn new(rate: Rate, phases: &Phases) -> Self {
        let rate = rate.as_per_second() / 1e9;
        let mut before = 0.0;
        let pieces = [(Phase::RampUp, 0.5), (Phase::Sustain, 1.0), (Phase::RampDown, 0.5)].map(|(phase, mean)| {
            let (start_ns, end_ns) = (phases.start_ns(phase), phases.end_ns(phase));
            let upto = before + rate * (end_ns - start_ns) as f64 * mean;
            let piece = Piece { phase, start_ns, end_ns, before, upto };
            before = upto;
            piece
        });
        Self { rate, pieces, total: before }
    }

    /// Time at which `count` arrivals are expected; `None` at or beyond the total.
    fn time_of(&self, count: f64) -> Option<u64> {
        let piece = self.pieces.iter().find(|piece| count < piece.upto)?;
        let length = (piece.end_ns - piece.start_ns) as f64;
        let within = count - piece.before;
        // Share of what a constant rate would send in this phase, 0..=1 (0..=½ in the ramps, whose area is half).
        let share = within / (self.rate * length);
        let elapsed = match piece.phase {
            // Expected count is rate·t²/2L, so t = L·√(2·share).
            Phase::RampUp => length * (2.0 * share).sqrt(),
            // The mirror image: rate·(t - t²/2L).
            Phase::RampDown => length * (1.0 - (1.0 - 2.0 * share).max(0.0).sqrt()),
            _ => length * share,
        };
        Some(piece.start_ns.saturating_add(elapsed as u64).min(piece.end_ns - 1))
    }
}

/// Seed bytes of a named stream, so that two uses of one trial seed never share random numbers.
pub(crate) fn stream(seed: u64, name: &[u8; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(name);
    bytes
}

/// Exponential with mean 1 from 53 random bits; the argument of the logarithm is in (0, 1], so the result is finite.
fn exponential(bits: u64) -> f64 {
    const UNIT: f64 = 1.0 / (1u64 << 53) as f64;
    -libm::log(((bits >> 11) + 1) as f64 * UNIT)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::units::Span;

    fn phases(init: u64, ramp_up: u64, sustain: u64, ramp_down: u64) -> Phases {
        let span = Span::from_millis;
        Phases { init: span(init), ramp_up: span(ramp_up), sustain: span(sustain), ramp_down: span(ramp_down) }
    }

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    fn digest(schedule: Schedule) -> String {
        Sha256::digest(schedule.encode()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// If this fails, records made by earlier versions can no longer be re-run exactly: say so in the change log.
    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let phases = phases(500, 2000, 5000, 1000);
        let of = |arrivals, seed| digest(Schedule::new(rate("1234.5/s"), arrivals, seed, &phases));
        assert_eq!(
            of(Arrivals::Poisson, 20_240_601),
            "0fba3376023e317b1a8954bb5a513ded7cdf58fb9bef7659bfe9eef3b7721aa9"
        );
        assert_eq!(
            of(Arrivals::Constant, 20_240_601),
            "f0ca196bc55726ce365dac95fd3b7c2250b428d2439d8f34de5bb8a6ae39b67a"
        );
        assert_eq!(of(Arrivals::Poisson, 7), of(Arrivals::Poisson, 7));
        assert_ne!(of(Arrivals::Poisson, 7), of(Arrivals::Poisson, 8));
        assert_eq!(of(Arrivals::Constant, 7), of(Arrivals::Constant, 8));
    }

    #[test]
    fn constant_gaps_are_equal_in_the_sustain_phase_and_the_count_is_exact() {
        let phases = phases(100, 1000, 2000, 1000);
        let offsets: Vec<u64> = Schedule::new(rate("1000/s"), Arrivals::Constant, 0, &phases).collect();
        assert_eq!(offsets.len(), 500 + 2000 + 500);
        let sustain: Vec<u64> = offsets.into_iter().filter(|&at| phases.at(at) == Phase::Sustain).collect();
        assert_eq!(sustain.len(), 2000);
        assert!(sustain.windows(2).all(|pair| (999_999..=1_000_001).contains(&(pair[1] - pair[0]))));
    }

    #[test]
    fn the_ramps_are_linear() {
        let phases = phases(0, 10_000, 1, 10_000);
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let offsets: Vec<u64> = Schedule::new(rate("20000/s"), arrivals, 3, &phases).collect();
            // A quarter of the ramp-up's arrivals lies in its first half, three quarters of the ramp-down's in its first half.
            let up = offsets.iter().filter(|&&at| at < 5_000_000_000).count() as f64;
            let down = offsets.iter().filter(|&&at| (10_001_000_000..15_001_000_000).contains(&at)).count() as f64;
            assert!((up / 25_000.0 - 1.0).abs() < 0.03, "{arrivals:?} {up}");
            assert!((down / 75_000.0 - 1.0).abs() < 0.02, "{arrivals:?} {down}");
        }
    }

    #[test]
    fn poisson_gaps_have_the_moments_of_an_exponential() {
        let phases = phases(0, 0, 100_000, 0);
        let offsets: Vec<u64> = Schedule::new(rate("2000/s"), Arrivals::Poisson, 11, &phases).collect();
        let gaps: Vec<f64> = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9 * 2000.0).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let beyond_three = gaps.iter().filter(|&&gap| gap > 3.0).count() as f64 / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        assert!((beyond_three - (-3f64).exp()).abs() < 0.002, "{beyond_three}");
    }

    #[test]
    fn a_worker_outside_the_count_gets_nothing() {
        let whole = || Schedule::new(rate("100/s"), Arrivals::Constant, 0, &phases(0, 0, 1000, 0));
        assert_eq!(whole().worker(2, 2).count(), 0);
        assert_eq!(whole().worker(0, 0).count(), 0);
        assert_eq!(whole().worker(0, 1).count(), 100);
    }

    #[test]
    fn no_length_means_no_arrivals() {
        assert_eq!(Schedule::new(rate("100000/s"), Arrivals::Poisson, 0, &phases(10_000, 0, 0, 0)).count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arrivals_are_in_order_inside_the_phases_and_as_many_as_expected(
            per_minute in 1u32..6_000_000, poisson: bool, seed: u64,
            init in 0u64..3000, ramp_up in 0u64..500, sustain in 0u64..500, ramp_down in 0u64..500,
        ) {
            let phases = phases(init, ramp_up, sustain, ramp_down);
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let schedule = Schedule::new(rate(&format!("{per_minute}/min")), arrivals, seed, &phases);
            let expected = schedule.expected();
            let offsets: Vec<u64> = schedule.collect();
            prop_assert!(offsets.is_sorted());
            prop_assert!(offsets.iter().all(|&at| matches!(phases.at(at), Phase::RampUp | Phase::Sustain | Phase::RampDown)));
            // Six standard deviations and a little for small counts: one false alarm in some hundred million cases.
            let slack = if poisson { 6.0 * expected.sqrt() + 20.0 } else { 1.0 };
            prop_assert!((offsets.len() as f64 - expected).abs() <= slack, "{} of {expected}", offsets.len());
        }

        #[test]
        fn the_workers_shares_are_disjoint_and_together_the_whole(of in 1u32..9, seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let whole = Schedule::new(rate("5000/s"), arrivals, seed, &phases(10, 100, 200, 100));
            let shares: Vec<Vec<u64>> = (0..of).map(|index| whole.clone().worker(index, of).collect()).collect();
            let (most, least) = (shares.iter().map(Vec::len).max(), shares.iter().map(Vec::len).min());
            prop_assert!(most <= least.map(|least| least + 1));
            let mut union: Vec<u64> = shares.into_iter().flatten().collect();
            union.sort_unstable();
            prop_assert_eq!(union, whole.collect::<Vec<_>>());
        }
    }
}
