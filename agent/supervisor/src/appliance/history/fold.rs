//! Samples into steps: mean and largest of each value, how many samples there were, how long a run was under way. Pure. A step without
//! samples is a gap and stays one. Samples are put where their own clock says; two of one minute, after a clock went back, share it.

use jiff::Timestamp;
use tbi_api::history::{Asked, DAYS, EVERY, MOST_STEPS, Spread, Step};

use super::sample::Sample;

const DAY: i64 = 24 * 3600;

/// Which steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) step: u64,
    pub(crate) steps: usize,
}

/// A time was asked for that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskedError {
    #[error("'from' is not before 'to'; give two times of which the first is the earlier one")]
    Order,
    #[error("the time asked for is longer than {DAYS} days, which is what is kept; ask for less")]
    TooLong,
    #[error("a step of {0} s is none; give {EVERY} s or more, up to {DAYS} days")]
    Step(u64),
    #[error("a step of {step} s makes {steps} steps, more than {MOST_STEPS}; give a longer step or a shorter time")]
    TooMany { step: u64, steps: u64 },
}

impl Window {
    /// The steps that were asked for at `now`.
    ///
    /// # Errors
    /// [`AskedError`].
    pub(crate) fn of(asked: &Asked, now: Timestamp) -> Result<Self, AskedError> {
        let to = asked.to.unwrap_or(now).as_second();
        let from = asked.from.map_or(to - DAY, Timestamp::as_second);
        let length = u64::try_from(to - from).ok().filter(|length| *length > 0).ok_or(AskedError::Order)?;
        let longest = DAYS * DAY as u64;
        if length > longest {
            return Err(AskedError::TooLong);
        }
        let step = match asked.step {
            Some(step) if (EVERY..=longest).contains(&step) => step,
            Some(step) => return Err(AskedError::Step(step)),
            // Whole minutes, so that every step has as many samples as the next.
            None => length.div_ceil(MOST_STEPS as u64).next_multiple_of(EVERY).max(EVERY),
        };
        // Steps begin at multiples of themselves: asked again a moment later, they are the same ones.
        let from = from.div_euclid(step as i64) * step as i64;
        let steps = (to - from).unsigned_abs().div_ceil(step);
        // One more than the length has, as the first one may begin earlier.
        if steps > MOST_STEPS as u64 + 1 {
            return Err(AskedError::TooMany { step, steps });
        }
        Ok(Self { from, step, steps: usize::try_from(steps).unwrap_or(MOST_STEPS) })
    }

    fn place(&self, at: i64) -> Option<usize> {
        let since = u64::try_from(at.checked_sub(self.from)?).ok()?;
        usize::try_from(since / self.step).ok().filter(|place| *place < self.steps)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u32,
    sum: f64,
    max: f64,
}

impl Sum {
    fn add(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.sum += value;
        self.count += 1;
    }

    fn spread(self) -> Option<Spread> {
        (self.count > 0).then(|| Spread { mean: self.sum / f64::from(self.count), max: self.max })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    samples: u32,
    run_minutes: u32,
    values: [Sum; 7],
}

/// The steps of a window, as samples come.
#[derive(Debug)]
pub(crate) struct Steps {
    window: Window,
    sums: Vec<Sums>,
}

impl Steps {
    pub(crate) fn of(window: Window) -> Self {
        Self { window, sums: vec![Sums::default(); window.steps] }
    }

    /// Puts a sample where it belongs, if that is in the window.
    pub(crate) fn add(&mut self, sample: &Sample) {
        let Some(into) = self.window.place(sample.at).and_then(|place| self.sums.get_mut(place)) else { return };
        into.samples += 1;
        into.run_minutes += u32::from(sample.run);
        let values = [
            sample.cpu_percent.map(f64::from),
            sample.memory_bytes.map(|bytes| bytes as f64),
            sample.temperature_celsius.map(f64::from),
            sample.management_rx.map(f64::from),
            sample.management_tx.map(f64::from),
            sample.trunk_rx.map(f64::from),
            sample.trunk_tx.map(f64::from),
        ];
        for (sum, value) in into.values.iter_mut().zip(values) {
            sum.add(value);
        }
    }

    pub(crate) fn done(self) -> Vec<Step> {
        let longest = u32::try_from(self.window.step / EVERY).unwrap_or(u32::MAX);
        let step = |sums: Sums| {
            let [cpu, memory, temperature, management_rx, management_tx, trunk_rx, trunk_tx] =
                sums.values.map(Sum::spread);
            Step {
                samples: sums.samples,
                run_minutes: sums.run_minutes.min(longest),
                cpu_percent: cpu,
                memory_bytes: memory,
                temperature_celsius: temperature,
                management_rx,
                management_tx,
                trunk_rx,
                trunk_tx,
            }
        };
        self.sums.into_iter().map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOON: i64 = 1_800_000_000 / DAY * DAY + DAY / 2;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn asked(from: i64, to: i64, step: Option<u64>) -> Asked {
        Asked { from: Some(at(from)), to: Some(at(to)), step }
    }

    fn fold(samples: &[Sample], window: Window) -> Vec<Step> {
        let mut steps = Steps::of(window);
        samples.iter().for_each(|sample| steps.add(sample));
        steps.done()
    }

    fn sample(second: i64, cpu: f32, run: bool) -> Sample {
        Sample { at: second, cpu_percent: Some(cpu), run, ..Sample::default() }
    }

    #[test]
    fn a_step_has_mean_and_largest_and_a_gap_stays_a_gap() {
        let window = Window::of(&asked(NOON, NOON + 900, Some(300)), at(NOON)).unwrap();
        assert_eq!((window.from, window.step, window.steps), (NOON, 300, 3));
        let samples = [sample(NOON, 10.0, true), sample(NOON + 299, 30.0, false), sample(NOON + 600, 5.0, false)];
        let steps = fold(&samples, window);
        assert_eq!((steps[0].samples, steps[0].run_minutes), (2, 1));
        assert_eq!(steps[0].cpu_percent, Some(Spread { mean: 20.0, max: 30.0 }));
        assert_eq!(steps[1], Step::default(), "the machine was off");
        assert_eq!((steps[2].cpu_percent.unwrap().mean, steps[2].temperature_celsius), (5.0, None));
    }

    #[test]
    fn a_clock_that_jumped_puts_nothing_into_other_steps() {
        let window = Window::of(&asked(NOON, NOON + 600, Some(300)), at(NOON)).unwrap();
        let jumps = [i64::MIN, i64::MAX, 0, NOON - 1, NOON + 600, 4_000_000_000];
        let mut samples: Vec<Sample> = jumps.into_iter().map(|second| sample(second, 99.0, true)).collect();
        // Back by an hour: the same minutes come twice, and share their step.
        samples.extend((0..10).map(|minute| sample(NOON + 30 * minute, 1.0, true)));
        let steps = fold(&samples, window);
        assert_eq!((steps[0].samples, steps[0].run_minutes), (10, 5), "no more minutes than there are");
        assert_eq!((steps[0].cpu_percent.unwrap().max, steps[1].samples), (1.0, 0));
    }

    #[test]
    fn steps_are_as_many_as_can_be_drawn() {
        let whole = Window::of(&asked(NOON - 30 * DAY, NOON, None), at(NOON)).unwrap();
        assert_eq!(whole.step, 1740, "whole minutes");
        assert!(whole.steps <= MOST_STEPS + 1);
        let day = Window::of(&Asked::default(), at(NOON + 17)).unwrap();
        assert_eq!((day.from, day.step, day.steps), (NOON - DAY, 60, 1441));
    }

    #[test]
    fn times_that_are_none_are_refused_with_what_is_right() {
        let refused = |asked: Asked| Window::of(&asked, at(NOON)).unwrap_err().to_string();
        assert!(refused(asked(NOON, NOON, None)).contains("earlier"));
        assert!(refused(asked(NOON, NOON - 1, None)).contains("earlier"));
        assert!(refused(asked(NOON - 31 * DAY, NOON, None)).contains("30 days"));
        assert!(refused(asked(NOON - DAY, NOON, Some(0))).contains("60 s"));
        assert!(refused(asked(NOON - DAY, NOON, Some(u64::MAX))).contains("60 s"));
        assert!(refused(asked(NOON - 30 * DAY, NOON, Some(60))).contains("1500"));
    }
}
