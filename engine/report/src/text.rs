//! The table a run ends with, for a terminal of 100 columns.
//!
//! Layout only; what may be said comes from [`crate::claim`].

use std::fmt::Write as _;

use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Kpi, ProofRow, ResultRow, RunRecord, Verdict};

use crate::claim::{self, Claim};
use crate::number;
use crate::words;

/// Whether the terminal takes colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Plain,
    /// ANSI escape sequences (bold, green, yellow, red).
    Ansi,
}

/// KPIs of the closing table; the report has all.
const KPIS: [Kpi; 5] =
    [Kpi::HandshakeTime, Kpi::TimeToFirstByte, Kpi::ConnectionsPerSecond, Kpi::TransactionsPerSecond, Kpi::Throughput];
/// What the columns need, with the mark of a footnote.
const NARROWEST: usize = 100;

pub(crate) fn render(record: &RunRecord, width: usize, colour: Colour) -> String {
    let mut out = Text { lines: String::new(), notes: Vec::new(), width: width.max(NARROWEST), colour };
    out.results(record);
    out.proof(record);
    out.quic(record);
    out.verdict(record);
    out.lines
}

struct Text {
    lines: String,
    notes: Vec<String>,
    width: usize,
    colour: Colour,
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Green,
    Yellow,
    Red,
    Dim,
}

impl Text {
    fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Green => 32,
            Ink::Yellow => 33,
            Ink::Red => 31,
            Ink::Dim => 2,
        };
        match self.colour {
            Colour::Plain => text.to_owned(),
            Colour::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    fn line(&mut self, line: &str) {
        self.lines.push_str(line.trim_end());
        self.lines.push('\n');
    }

    /// Text folded at the width, continuation lines indented.
    fn fold(&mut self, indent: &str, text: &str) {
        let mut line = indent.to_owned();
        let mut used = indent.chars().count();
        let mut first = true;
        for word in clean(text).split(' ').filter(|word| !word.is_empty()) {
            let length = word.chars().count();
            if !first && used + 1 + length > self.width {
                self.line(&line);
                line = format!("{}{word}", " ".repeat(indent.chars().count()));
                used = indent.chars().count() + length;
            } else {
                if !first {
                    line.push(' ');
                    used += 1;
                }
                line.push_str(word);
                used += length;
            }
            first = false;
        }
        self.line(&line);
    }

    fn results(&mut self, record: &RunRecord) {
        self.line(&self.ink(Ink::Bold, "What decryption costs"));
        self.fold(
            "",
            "cost = ON / BYPASS with its 95 % interval; above 1 is worse for times, below 1 is worse for rates",
        );
        if claim::all_indicative(record) {
            self.fold("", "indicative only: an interval needs at least 6 pairs to be called a measurement");
        }
        if record.results.is_empty() {
            self.fold("  ", "Nothing was measured, so no cost is claimed.");
        }
        for protocol in claim::protocols(record) {
            let objects = claim::objects(record, protocol);
            if objects.is_empty() {
                continue;
            }
            self.line("");
            let head = format!(
                "{:<29}{:>9}{:>9}{:>10} {:<7}{:>6}  {:<13} {:>9}",
                words::protocol(protocol),
                "ON",
                "BYPASS",
                "reference",
                "",
                "cost",
                "95 % interval",
                "headroom"
            );
            self.line(&self.ink(Ink::Bold, &head));
            for object in objects {
                let mut label = words::object(object);
                for kpi in KPIS {
                    let row = record
                        .results
                        .iter()
                        .find(|row| row.protocol == protocol && row.object == object && row.kpi == kpi);
                    if let Some(row) = row {
                        self.row(record, row, label);
                        label = "";
                    }
                }
            }
        }
        self.footnotes();
    }

    fn row(&mut self, record: &RunRecord, row: &ResultRow, object: &str) {
        let claim = Claim::of(record, row);
        let (on, bypass, reference) = match claim {
            Claim::Withheld => (None, None, None),
            Claim::NotMeasured | Claim::NotClaimed(_) | Claim::Claimed(..) => (row.on, row.bypass, row.reference),
        };
        let dash = || (number::NONE.to_owned(), String::new());
        let (ratio, interval) = match claim {
            Claim::Withheld | Claim::NotMeasured => dash(),
            Claim::NotClaimed(_) => (number::NONE.to_owned(), "no claim".to_owned()),
            Claim::Claimed(cost, bound) => {
                let interval = match (cost.low, cost.high) {
                    (Some(low), Some(high)) => format!("{} – {}", number::ratio(low), number::ratio(high)),
                    _ => "no interval".to_owned(),
                };
                (format!("{}{}", bound.sign().replace('\u{a0}', ""), number::ratio(cost.ratio)), interval)
            }
        };
        let headroom = row.headroom.map_or_else(|| number::NONE.to_owned(), number::ratio);
        let line = format!(
            "  {object:<7} {:<19}{:>9}{:>9}{:>10} {:<7}{ratio:>6}  {interval:<13} {headroom:>9}",
            row.kpi.title(),
            number::optional(on),
            number::optional(bypass),
            number::optional(reference),
            clean(&row.unit),
        );
        let notes: Vec<String> = claim::remarks(record, row, claim).iter().map(|remark| self.note(remark)).collect();
        self.line(&format!("{line} {}", notes.join(" ")));
    }

    /// The mark of a footnote; the same words get the same mark.
    fn note(&mut self, remark: &str) -> String {
        let position = self.notes.iter().position(|known| known == remark).unwrap_or_else(|| {
            self.notes.push(remark.to_owned());
            self.notes.len() - 1
        });
        self.ink(Ink::Yellow, &format!("[{}]", position + 1))
    }

    fn footnotes(&mut self) {
        for (index, note) in std::mem::take(&mut self.notes).into_iter().enumerate() {
            self.fold(&format!("  [{}] ", index + 1), &note);
        }
    }

    fn proof(&mut self, record: &RunRecord) {
        self.line("");
        self.line(&self.ink(Ink::Bold, "Proof of decryption"));
        if record.proof.is_empty() {
            self.fold("  ", "There is none: no connection was measured, so nothing is proven.");
        }
        let mut rows: Vec<&ProofRow> = record.proof.iter().collect();
        rows.sort_by_key(|row| (row.protocol, row.arm));
        for row in rows {
            let sentence = proof_sentence(record, row);
            let mark = if row.as_expected {
                self.ink(Ink::Green, "as expected")
            } else {
                self.ink(Ink::Red, "NOT AS EXPECTED")
            };
            let line = format!("  {:<9} {:<10} {sentence}: {mark}", words::protocol(row.protocol), words::arm(row.arm));
            self.line(&line);
        }
    }

    fn quic(&mut self, record: &RunRecord) {
        for row in &record.quic {
            let (class, meaning) = words::quic_class(row.verdict.class);
            let penalty = row.verdict.fallback_penalty.map_or_else(String::new, |penalty| {
                format!(
                    "; fallback to HTTP/2 costs {} (median of {})",
                    number::span(penalty.median),
                    number::count(penalty.samples)
                )
            });
            self.fold("  ", &format!("QUIC class with {}: {class} ({meaning}){penalty}.", words::arm(row.arm)));
        }
    }

    fn verdict(&mut self, record: &RunRecord) {
        self.line("");
        for threshold in &record.thresholds {
            let holds = if threshold.holds { self.ink(Ink::Green, "holds") } else { self.ink(Ink::Red, "BROKEN") };
            let value = threshold.value.map_or_else(|| "not measured".to_owned(), number::ratio);
            let line = format!("Threshold {}: {value}, {holds}", clean(&threshold.threshold));
            self.line(&line);
        }
        let ink = match record.verdict {
            Verdict::Passed => Ink::Green,
            Verdict::Failed | Verdict::NotMeasured => Ink::Red,
        };
        let verdict = words::verdict(record.verdict).to_uppercase();
        let before = self.lines.len();
        self.fold("", &format!("{verdict}. {}", words::verdict_sentence(record)));
        let folded = self.lines.split_off(before).replacen(&verdict, &self.ink(ink, &verdict), 1);
        self.lines.push_str(&folded);
        let labels = format!("[{}]", claim::labels(record).join("; "));
        let before = self.lines.len();
        self.fold("", &labels);
        let folded = self.lines.split_off(before);
        for line in folded.lines() {
            self.line(&self.ink(Ink::Dim, line));
        }
        // The first reason of a run that claims nothing is in its sentence already.
        let said = usize::from(record.verdict == Verdict::NotMeasured);
        for reason in record.reasons.iter().skip(said) {
            self.fold("  - ", reason);
        }
    }
}

/// Counts of one row of proof in words, without the judgement.
pub(crate) fn proof_sentence(record: &RunRecord, row: &ProofRow) -> String {
    let total = number::total([row.intercepted, row.end_to_end, row.altered, row.unknown]);
    if total == 0 {
        return "no connection".to_owned();
    }
    let (class, count) = match expected_class(record, row.arm, row.protocol) {
        "intercepted" => ("intercepted", row.intercepted),
        "blocked" => ("without any response, as blocking must be", row.unknown),
        _ => ("end to end", row.end_to_end),
    };
    let mut text = format!(
        "{} of {} connections {class} ({})",
        number::count(count),
        number::count(total),
        number::share(count, total)
    );
    if row.altered > 0 {
        let _ = write!(text, ", {} altered", number::count(row.altered));
    }
    text
}

/// What the arm's connections must be.
pub(crate) fn expected_class(record: &RunRecord, arm: Arm, protocol: Protocol) -> &'static str {
    words::expectation(record.plan.expectation(arm, protocol))
}

/// Text from outside on one line: control characters (escape sequences among them) become spaces.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
