//! What a run measured, in the words of a page: of one under way as of one that is over, from the same numbers ([`Series`]). Pure.
//!
//! Invariant (REQUIREMENTS A7): a number without a bench certificate is shown as what it is while the run goes on (so far, not to be claimed),
//! and withheld when it is over; no cost is shown of a run that is not valid.

use tbi_api::series::{Block, Doing, Series};
use tbi_bench::analysis::BENCH_LIMITED;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Kpi, ProofRow, ResultRow};

use super::super::look::Look;
use super::super::words::Said;
use super::drawing::arm_name;
use super::figures;

/// What may be said of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Standing {
    /// Under way: so far.
    SoFar,
    /// Over and valid.
    Valid,
    /// Over, and no claim may be made.
    NotValid,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Line {
    pub(in super::super) protocol: String,
    pub(in super::super) object: String,
    pub(in super::super) kpi: String,
    pub(in super::super) unit: String,
    pub(in super::super) on: String,
    pub(in super::super) bypass: String,
    pub(in super::super) reference: String,
    pub(in super::super) cost: String,
    pub(in super::super) interval: String,
    pub(in super::super) pairs: String,
    pub(in super::super) indicative: bool,
    /// That the bench was the limit, and what that means.
    pub(in super::super) limited: String,
    /// The record's own sentence.
    pub(in super::super) note: String,
}

/// Proof of decryption of one protocol in one arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Proven {
    pub(in super::super) protocol: String,
    pub(in super::super) arm: &'static str,
    pub(in super::super) intercepted: String,
    pub(in super::super) end_to_end: String,
    pub(in super::super) altered: String,
    pub(in super::super) unknown: String,
    pub(in super::super) share: String,
    pub(in super::super) as_expected: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Happened {
    pub(in super::super) when: String,
    pub(in super::super) text: String,
}

/// A KPI of one block: the table that says what the pictures show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Point {
    pub(in super::super) block: u32,
    pub(in super::super) arm: &'static str,
    pub(in super::super) pair: String,
    pub(in super::super) protocol: String,
    pub(in super::super) object: String,
    pub(in super::super) kpi: String,
    pub(in super::super) value: String,
    pub(in super::super) unit: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Story {
    pub(in super::super) so_far: bool,
    /// Its costs have too few pairs for a claim.
    pub(in super::super) indicative: bool,
    pub(in super::super) doing: Option<String>,
    pub(in super::super) tiles: Vec<Line>,
    pub(in super::super) lines: Vec<Line>,
    pub(in super::super) proof: Vec<Proven>,
    pub(in super::super) happened: Vec<Happened>,
    pub(in super::super) points: Vec<Point>,
    /// Whether there is anything to draw.
    pub(in super::super) traces: bool,
    /// What cannot be claimed.
    pub(in super::super) cautions: Vec<String>,
}

/// KPIs that are tiles: what a handshake costs, how many there can be, how much goes through.
const TILES: [Kpi; 3] = [Kpi::HandshakeTime, Kpi::ConnectionsPerSecond, Kpi::Throughput];
/// Blocks whose every KPI is listed on the page; the CSV has all.
const MOST_POINTS: usize = 600;

fn kpi_words(kpi: Kpi, look: &Look) -> String {
    look.word("kpi-", kpi.name()).into_owned()
}

/// What a number of a bench at its limit still says, by the rule of the report; `None` when the bench was not the limit.
fn bound(row: &ResultRow) -> Option<&'static str> {
    if !row.bench_limited {
        return None;
    }
    if row.kpi.more_is_worse() {
        return Some("share");
    }
    // The row's headroom is that of the faster arm; the slower one has its own.
    match (row.reference, row.on) {
        (Some(reference), Some(on)) if on > 0.0 && reference / on >= BENCH_LIMITED => Some("at-least"),
        _ => Some("neither"),
    }
}

fn said_already(note: &str, standing: Standing) -> bool {
    note.starts_with("bench-limited") || (standing == Standing::SoFar && note.starts_with("no bench certificate"))
}

fn line(row: &ResultRow, standing: Standing, look: &Look) -> Line {
    // A number that rests on no certificate says nothing, and one of a run that is not valid costs nothing.
    let withheld = standing != Standing::SoFar && row.headroom.is_none();
    let shown = |number: Option<f64>| if withheld { figures::NONE.to_owned() } else { figures::optional(number, look) };
    let cost = row.cost.as_ref().filter(|_| !withheld && standing != Standing::NotValid);
    let bound = bound(row);
    Line {
        protocol: row.protocol.to_string(),
        object: row.object.to_string(),
        kpi: kpi_words(row.kpi, look),
        unit: row.unit.clone(),
        on: shown(row.on),
        bypass: shown(row.bypass),
        reference: shown(row.reference),
        cost: cost.map_or_else(
            || figures::NONE.to_owned(),
            |cost| format!("{}{}", if bound == Some("at-least") { "≤ " } else { "" }, figures::ratio(cost.ratio, look)),
        ),
        interval: cost.map(|cost| figures::interval_of(cost, look)).unwrap_or_default(),
        pairs: cost.map(|cost| look.count(cost.pairs.into())).unwrap_or_default(),
        indicative: cost.is_some_and(|cost| cost.indicative),
        limited: bound.map(|bound| look.word("limited-", bound).into_owned()).unwrap_or_default(),
        // What is said in the reader's language, here or once above the table, is not said twice.
        note: row.note.clone().filter(|note| !said_already(note, standing)).unwrap_or_default(),
    }
}

fn proven(row: &ProofRow, look: &Look) -> Proven {
    let total = [row.intercepted, row.end_to_end, row.altered, row.unknown].into_iter().fold(0, u64::saturating_add);
    // What the arm is about: interception where it is ON, the way end to end elsewhere.
    let part = if row.arm == Arm::On { row.intercepted } else { row.end_to_end };
    Proven {
        protocol: row.protocol.to_string(),
        arm: arm_name(row.arm),
        intercepted: look.count(row.intercepted),
        end_to_end: look.count(row.end_to_end),
        altered: look.count(row.altered),
        unknown: look.count(row.unknown),
        share: figures::share(part, total, look),
        as_expected: row.as_expected,
    }
}

fn doing(doing: &Doing, blocks: u32, look: &Look) -> String {
    let said = Said::new("live-doing")
        .and("block", f64::from(doing.block))
        .and("blocks", f64::from(blocks))
        .and("arm", look.word("arm-", arm_name(doing.arm)).into_owned())
        .and("trial", doing.trial.clone().unwrap_or_default())
        .and("number", f64::from((doing.trials_done + 1).min(doing.trials)))
        .and("trials", f64::from(doing.trials));
    look.tell(&said).into_owned()
}

fn happened(block: &Block, blocks: u32, look: &Look) -> Happened {
    let (at, id) = match block.took_s {
        Some(took) => (block.at_s + took, "live-block-done"),
        None => (block.at_s, "live-block-open"),
    };
    let said = Said::new(id)
        .and("block", f64::from(block.number))
        .and("blocks", f64::from(blocks))
        .and("arm", look.word("arm-", arm_name(block.arm)).into_owned())
        .and("connections", block.connections as f64)
        .and("intercepted", figures::share(block.intercepted, block.connections, look))
        .and("failed", block.failed as f64);
    let mut text = look.tell(&said).into_owned();
    if let Some(void) = &block.void {
        text.push_str(&format!(" {}", look.with("live-block-void", "why", void.clone())));
    }
    Happened { when: format!("+{}", clock(at)), text }
}

/// Time since the start of the run: `0:07`, `1:02:03`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

/// Most pairs that a cost has, when even they are too few for a claim.
fn too_few_pairs(series: &Series) -> Option<u32> {
    let pairs = series.results.iter().filter_map(|row| row.cost.as_ref()).map(|cost| cost.pairs).max();
    pairs.filter(|pairs| *pairs < tbi_bench::stats::paired::PAIRS_FOR_A_CLAIM)
}

fn cautions(series: &Series, standing: Standing, look: &Look) -> Vec<String> {
    let mut cautions = Vec::new();
    if standing == Standing::SoFar {
        cautions.push(look.say("live-so-far").into_owned());
    }
    let is_without_pair = series.results.iter().all(|row| row.cost.is_none());
    match too_few_pairs(series) {
        Some(pairs) => {
            cautions.push(look.with("live-indicative", "pairs", f64::from(pairs)).into_owned());
        }
        None if is_without_pair && !series.done.is_empty() => cautions.push(look.say("live-no-pair").into_owned()),
        None => {}
    }
    cautions
}

/// Tells it.
pub(in super::super) fn tell(series: &Series, standing: Standing, look: &Look) -> Story {
    let lines: Vec<Line> = series.results.iter().map(|row| line(row, standing, look)).collect();
    let headline = |protocol: Protocol, kpi: Kpi| {
        let rows = series.results.iter().zip(&lines);
        let mut fits = rows.filter(|(row, _)| row.protocol == protocol && row.kpi == kpi);
        // The smallest object, where the cost of a handshake shows undiluted.
        let first = fits.next()?;
        let best = std::iter::once(first).chain(fits).min_by_key(|(row, _)| (row.cost.is_none(), row.object));
        best.map(|(_, line)| line.clone())
    };
    let tiles = Protocol::ALL.into_iter().flat_map(|protocol| TILES.map(|kpi| headline(protocol, kpi)));
    let mut points = Vec::new();
    for block in &series.done {
        points.extend(block.values.iter().map(|value| Point {
            block: block.number,
            arm: arm_name(block.arm),
            pair: block.pair.map(|pair| pair.to_string()).unwrap_or_default(),
            protocol: value.protocol.to_string(),
            object: value.object.to_string(),
            kpi: kpi_words(value.kpi, look),
            value: figures::value(value.value, look),
            unit: value.unit.clone(),
        }));
    }
    points.truncate(MOST_POINTS);
    Story {
        so_far: standing == Standing::SoFar,
        indicative: too_few_pairs(series).is_some(),
        doing: series.doing.as_ref().filter(|_| standing == Standing::SoFar).map(|it| doing(it, series.blocks, look)),
        tiles: tiles.flatten().collect(),
        proof: series.proof.iter().map(|row| proven(row, look)).collect(),
        happened: series.done.iter().rev().map(|block| happened(block, series.blocks, look)).collect(),
        points,
        traces: series.traces.iter().any(|trace| !trace.at_s.is_empty()),
        cautions: cautions(series, standing, look),
        lines,
    }
}
