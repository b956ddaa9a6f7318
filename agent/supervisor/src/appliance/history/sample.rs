//! One sample: what the kernel's files say now, and rates since the last sample. A counter that is smaller than before began anew (a restart,
//! a driver that was loaded again) and has no rate; neither has the first sample.

use std::time::{Duration, Instant};

use super::super::nic::{Wanted, choose};
use super::super::sysfs::{self, Root};

/// Sensors that are not connected say things like −273 or 255.
const PLAUSIBLE: std::ops::RangeInclusive<f32> = -50.0..=150.0;

/// See the module. Rates of cards are bit/s.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sample {
    /// Unix seconds, as the clock said.
    pub(crate) at: i64,
    pub(crate) cpu_percent: Option<f32>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) temperature_celsius: Option<f32>,
    pub(crate) management_rx: Option<f32>,
    pub(crate) management_tx: Option<f32>,
    pub(crate) trunk_rx: Option<f32>,
    pub(crate) trunk_tx: Option<f32>,
    /// Whether a run was under way.
    pub(crate) run: bool,
}

/// Remembers counters from one sample to the next.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    before: Option<(Instant, Counters)>,
}

#[derive(Debug, Clone, Default)]
struct Counters {
    /// All and idle, in the kernel's ticks.
    cpu: Option<(u64, u64)>,
    management: Option<Card>,
    trunk: Option<Card>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Card {
    name: String,
    rx: u64,
    tx: u64,
}

impl Meter {
    /// Reads everything. Blocking, but none of it is on a disk.
    pub(crate) fn sample(&mut self, root: &Root, wanted: Wanted, now: Instant, at: i64, run: bool) -> Sample {
        let roles = choose(&sysfs::nics(root), wanted);
        let card = |nic: Option<super::super::nic::FoundNic>| nic.and_then(|nic| card(root, nic.name));
        let counters = Counters { cpu: cpu(root), management: card(roles.management), trunk: card(roles.trunk) };
        let mut sample =
            Sample { at, memory_bytes: memory(root), temperature_celsius: temperature(root), run, ..Sample::default() };
        if let Some((then, before)) = &self.before {
            let passed = now.saturating_duration_since(*then);
            sample.cpu_percent = before.cpu.zip(counters.cpu).and_then(|(before, now)| busy(before, now));
            let rates = |before: &Option<Card>, now: &Option<Card>| match (before, now) {
                (Some(before), Some(now)) if before.name == now.name => {
                    (rate(before.rx, now.rx, passed), rate(before.tx, now.tx, passed))
                }
                _ => (None, None),
            };
            (sample.management_rx, sample.management_tx) = rates(&before.management, &counters.management);
            (sample.trunk_rx, sample.trunk_tx) = rates(&before.trunk, &counters.trunk);
        }
        self.before = Some((now, counters));
        sample
    }
}

/// `cpu user nice system idle iowait irq softirq steal …` of proc_stat(5); what waits for a disk is idle.
fn cpu(root: &Root) -> Option<(u64, u64)> {
    let text = root.text("proc/stat")?;
    let mut words = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // Guests are counted in user already, so only the first eight.
    let ticks: Vec<u64> = words.by_ref().take(8).map_while(|word| word.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
    Some((ticks.iter().sum(), idle))
}

fn busy(before: (u64, u64), now: (u64, u64)) -> Option<f32> {
    let all = now.0.checked_sub(before.0).filter(|all| *all > 0)?;
    // The kernel's idle time may step back by a tick; it is no reason to have no number.
    let idle = now.1.saturating_sub(before.1).min(all);
    Some((all - idle) as f32 * 100.0 / all as f32)
}

fn rate(before: u64, now: u64, passed: Duration) -> Option<f32> {
    let bytes = now.checked_sub(before)?;
    let seconds = passed.as_secs_f64();
    (seconds > 0.0).then(|| (bytes as f64 * 8.0 / seconds) as f32)
}

fn memory(root: &Root) -> Option<u64> {
    let text = root.text("proc/meminfo")?;
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(kib("MemTotal:")?.saturating_sub(kib("MemAvailable:")?) * 1024)
}

/// The warmest of all sensors, which tell thousandths of a degree.
fn temperature(root: &Root) -> Option<f32> {
    let zones = root.names("sys/class/thermal").into_iter().filter(|name| name.starts_with("thermal_zone"));
    let mut files: Vec<String> = zones.map(|zone| format!("sys/class/thermal/{zone}/temp")).collect();
    for chip in root.names("sys/class/hwmon") {
        let inputs = root.names(&format!("sys/class/hwmon/{chip}"));
        let inputs = inputs.into_iter().filter(|name| name.starts_with("temp") && name.ends_with("_input"));
        files.extend(inputs.map(|input| format!("sys/class/hwmon/{chip}/{input}")));
    }
    let warmth = files.iter().filter_map(|file| root.text(file)?.parse::<i32>().ok()).map(|it| it as f32 / 1000.0);
    warmth.filter(|celsius| PLAUSIBLE.contains(celsius)).reduce(f32::max)
}

fn card(root: &Root, name: String) -> Option<Card> {
    let count = |what: &str| root.number(&format!("sys/class/net/{name}/statistics/{what}_bytes"));
    Some(Card { rx: count("rx")?, tx: count("tx")?, name })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::fs;

    use super::super::super::sysfs::tests::{CARDS, fixture};
    use super::*;

    const NET: &str = "sys/devices/pci0000:00/0000:00:03.0/virtio1/net/ens3/statistics";

    fn machine() -> (tempfile::TempDir, Root) {
        let mut files = CARDS.to_vec();
        let (rx, tx) = (format!("{NET}/rx_bytes"), format!("{NET}/tx_bytes"));
        files.extend([
            ("proc/stat", "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\n"),
            ("proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    5000 kB\n"),
            ("sys/class/thermal/thermal_zone0/temp", "41500\n"),
            ("sys/class/thermal/cooling_device0/temp", "99000\n"),
            ("sys/class/hwmon/hwmon1/temp2_input", "63000\n"),
            ("sys/class/hwmon/hwmon1/temp3_input", "255000\n"),
            ("sys/class/hwmon/hwmon1/temp2_crit", "100000\n"),
            (rx.as_str(), "1000\n"),
            (tx.as_str(), "5000\n"),
        ]);
        fixture(&files)
    }

    #[test]
    fn rates_come_from_two_samples_and_levels_from_one() {
        let (dir, root) = machine();
        let (mut meter, begin) = (Meter::default(), Instant::now());
        let first = meter.sample(&root, Wanted::default(), begin, 7, true);
        assert_eq!((first.at, first.run, first.memory_bytes), (7, true, Some(3000 * 1024)));
        assert_eq!((first.temperature_celsius, first.cpu_percent, first.management_rx), (Some(63.0), None, None));
        fs::write(dir.path().join("proc/stat"), "cpu  130 0 120 740 110 0 0 0 90 0\n").unwrap();
        fs::write(dir.path().join(NET).join("rx_bytes"), "61000\n").unwrap();
        // The wall clock went back by years; rates do not care.
        let second = meter.sample(&root, Wanted::default(), begin + Duration::from_secs(60), -9, false);
        assert_eq!((second.cpu_percent, second.at), (Some(50.0), -9));
        assert_eq!((second.management_rx, second.management_tx, second.trunk_rx), (Some(8000.0), Some(0.0), None));
    }

    #[test]
    fn counters_that_begin_anew_have_no_rate() {
        let (dir, root) = machine();
        let (mut meter, begin) = (Meter::default(), Instant::now());
        meter.sample(&root, Wanted::default(), begin, 0, false);
        fs::write(dir.path().join("proc/stat"), "cpu  1 0 1 7 1 0 0 0 0 0\n").unwrap();
        fs::write(dir.path().join(NET).join("rx_bytes"), "3\n").unwrap();
        let after = meter.sample(&root, Wanted::default(), begin + Duration::from_secs(60), 60, false);
        assert_eq!((after.cpu_percent, after.management_rx, after.management_tx), (None, None, Some(0.0)));
    }

    #[test]
    fn a_machine_that_tells_nothing_has_samples_without_numbers() {
        let root = Root::new("/nonexistent");
        let sample = Meter::default().sample(&root, Wanted::default(), Instant::now(), 1, false);
        assert_eq!(sample, Sample { at: 1, ..Sample::default() });
    }
}
