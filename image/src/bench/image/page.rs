//! Rows of the image's figures: on the screen and as a section of `docs/figures.md`. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Record;
use super::memory::{AGENT_BAR, Daemon};
use crate::bench::table::number;

/// One figure, beside the bare image's where there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) ours: Option<f64>,
    pub(super) bare: Option<f64>,
    pub(super) ratio: Option<f64>,
    /// What this project promises of our own figure, in words.
    pub(super) bar: Option<String>,
    pub(super) met: Option<bool>,
}

impl Row {
    /// Without a bar.
    pub(super) fn new(name: &str, unit: &str, ours: Option<f64>, bare: Option<f64>) -> Self {
        let ratio = ours.zip(bare).map(|(ours, bare)| ours / bare);
        Self { name: name.to_owned(), unit: unit.to_owned(), ours, bare, ratio, bar: None, met: None }
    }

    /// With one.
    pub(super) fn barred(self, bar: impl Into<String>, met: bool) -> Self {
        Self { bar: Some(bar.into()), met: Some(met), ..self }
    }

    fn digits(&self) -> usize {
        usize::from(!self.unit.is_empty())
    }
}

/// For the screen.
pub(super) fn text(record: &Record) -> String {
    let mut out = format!(
        "{:<54} {:<4} {:>9} {:>9} {:>6} {:>10}\n",
        "the image beside a bare Debian", "", "ours", "bare", "ratio", "bar"
    );
    for row in record.sizes.iter().chain(&record.starts) {
        let [name, unit, ours, bare, ratio, bar, met] = cells(row);
        let _infallible = writeln!(out, "{name:<54} {unit:<4} {ours:>9} {bare:>9} {ratio:>6} {bar:>10}  {met}");
    }
    let _infallible = writeln!(
        out,
        "\n{:<24} {:>9} {:>13} {:>16} {:>6} {:>6} {:>7}",
        "memory at rest, MB", "processes", "control group", "not from files", "RSS", "PSS", "bar"
    );
    for daemon in &record.memory.daemons {
        let [group, anonymous, resident, proportional] = columns(daemon);
        let _infallible = writeln!(
            out,
            "{:<24} {:>9} {group:>13} {anonymous:>16} {resident:>6} {proportional:>6} {:>7}  {}",
            daemon.unit,
            daemon.processes,
            bar(daemon),
            verdict(daemon.met())
        );
    }
    out
}

/// Megabytes: control group, what of it is not from files, RSS, PSS.
fn columns(daemon: &Daemon) -> [String; 4] {
    [daemon.group, daemon.anonymous, daemon.resident, daemon.proportional]
        .map(|bytes| number(Some(bytes as f64 / 1e6), 1))
}

fn bar(daemon: &Daemon) -> String {
    daemon.met().map_or_else(|| "-".to_owned(), |_| format!("<= {} MB", AGENT_BAR / 1_000_000))
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "",
    }
}

/// The section.
pub(super) fn section(record: &Record) -> String {
    let Record { release, debug, machine, .. } = record;
    let same = release.commit == debug.commit;
    let debug = if same { "the same commit".to_owned() } else { format!("commit {}", debug.commit) };
    format!(
        "## The image

Written by `cargo tbi bench image`; do not edit. Measured on {date} on {cores} cores of {processor}, Linux {kernel}, {busy:.0} % busy with
other work when it began: release image {version} of commit {commit}, for memory the debug image of {debug}, beside a bare Debian
trixie (`mkosi/bare`) built by the same mkosi and booted the same way: the same kernel ({package}), kernel modules,
removed files, initrd packages, loader and kernel command line, and nothing of ours. Its root is a plain ext4 without verity. The ratio is
ours / bare, lower is better; a bar is what this project promises of our own figure.

### Size

MB is 10^6 bytes. Files in the root: the sum of their lengths without /var, before compression. The root's Debian packages include those of
the ISP router's container; the initrd's are not counted in either. The .raw is as long as its partitions and its holes are not stored.

{sizes}
### Start

Seconds from the start of QEMU ({accel}; 2 virtual processors, 2 GB, UEFI without Secure Boot, virtio disk) to the word on the serial line
that the machine is ready: for ours that the status screen says every part of the appliance is healthy, with engine, personas, router,
practice DUT and network up; for the bare image that multi-user.target is reached. Later starts: median of {rounds} rounds that alternate
between ours and bare, each from the disk the first start left; the ratio is the median of the rounds' ratios. First starts, one of each: ours
makes partitions, state and keys then. Processor time is what the kernel counts for the whole QEMU process, user and system; other work on
the machine disturbs it less than it does the clock.{notes}

{starts}
### Memory at rest

MB of each daemon in the debug variant after its first start, before any run, its processors {memory_busy:.0} % busy. The control group's
figure is what `MemoryMax=` counts (memory.current), pages of files that it was the first to read included; RSS and PSS are sums over its
processes. The agent's bar is for both, control group and RSS.

{memory}",
        date = record.date,
        cores = machine.cores,
        processor = machine.processor,
        kernel = machine.kernel,
        busy = machine.busy_before * 100.0,
        version = release.version,
        commit = release.commit,
        package = record.kernel,
        accel = record.accel,
        rounds = record.rounds,
        memory_busy = record.memory.busy * 100.0,
        sizes = table(&record.sizes),
        notes = record.notes.iter().fold(String::new(), |text, note| text + "\n" + note),
        starts = table(&record.starts),
        memory = memory(&record.memory.daemons),
    )
}

/// Name, unit, ours, bare, ratio, bar, and whether it is met.
fn cells(row: &Row) -> [String; 7] {
    [
        row.name.clone(),
        row.unit.clone(),
        number(row.ours, row.digits()),
        number(row.bare, row.digits()),
        number(row.ratio, 2),
        row.bar.clone().unwrap_or_else(|| "-".to_owned()),
        verdict(row.met).to_owned(),
    ]
}

fn table(rows: &[Row]) -> String {
    let mut out = "| name | unit | ours | bare | ratio | bar | |\n|---|---|---:|---:|---:|---:|---|\n".to_owned();
    for row in rows {
        let _infallible = writeln!(out, "| {} |", cells(row).join(" | "));
    }
    out
}

fn memory(daemons: &[Daemon]) -> String {
    let mut out = "| daemon | processes | control group | of it not from files | RSS | PSS | bar | |\n|---|---:|---:|---:|---:|---:|---:|---|\n".to_owned();
    for daemon in daemons {
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            daemon.unit,
            daemon.processes,
            columns(daemon).join(" | "),
            bar(daemon),
            verdict(daemon.met())
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Built;
    use super::super::memory::AtRest;
    use super::*;
    use crate::bench::machine::Machine;

    #[test]
    fn the_section_says_what_was_measured_and_where_bars_are_missed() {
        let built = |commit: &str| Built { version: "0.1.0".to_owned(), commit: commit.to_owned() };
        let record = Record {
            version: 1,
            date: "2026-01-31".to_owned(),
            machine: Machine {
                processor: "P".to_owned(),
                cores: 2,
                kernel: "6.1".to_owned(),
                peers: Vec::new(),
                busy_before: 0.0,
            },
            accel: "emulated".to_owned(),
            rounds: 3,
            release: built("aa"),
            debug: built("bb"),
            kernel: "linux-image-x 1".to_owned(),
            sizes: vec![Row::new("download", "MB", Some(400.0), Some(100.0)).barred("<= 300 MB", false)],
            starts: Vec::new(),
            notes: vec!["It rained.".to_owned()],
            memory: AtRest {
                daemons: vec![Daemon {
                    unit: "tbi-agent".to_owned(),
                    group: 31_000_000,
                    anonymous: 2_000_000,
                    resident: 15_000_000,
                    proportional: 14_000_000,
                    processes: 1,
                }],
                busy: 0.05,
            },
        };
        let section = section(&record);
        assert!(section.contains("| download | MB | 400.0 | 100.0 | 4.00 | <= 300 MB | NOT MET |"), "{section}");
        assert!(section.contains("| tbi-agent | 1 | 31.0 | 2.0 | 15.0 | 14.0 | <= 30 MB | NOT MET |"), "{section}");
        assert!(section.contains("clock.\nIt rained.\n\n|"), "{section}");
        assert!(section.contains("commit aa") && section.contains("of commit bb"), "{section}");
        // The page is cut at headings of the second level.
        assert_eq!(section.matches("\n## ").count(), 0);
        assert!(section.starts_with("## The image\n"));
    }
}
