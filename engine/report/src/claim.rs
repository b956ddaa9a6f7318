//! What may be said about a result: the only place that decides it, for the cover, the tables and the text.
//!
//! The rules, first match wins: nothing is printed without bench certificate (REQUIREMENTS A7); what was not measured says why; a
//! run that is not valid claims nothing; a bench-limited rate is a bound or nothing (facts/bench.md §5.5); the rest is claimed, and
//! called indicative below six pairs.

use tbi_bench::analysis::BENCH_LIMITED as LIMITED;
use tbi_bench::object::Object;
use tbi_bench::plan::Experiment;
use tbi_bench::protocol::Protocol;
use tbi_bench::record::{Cost, Kpi, ResultRow, RunRecord};

use crate::number;
use crate::words;

/// From here on headroom is good; between [`LIMITED`] and this it is flagged (facts/bench.md §5.6).
const GOOD: f64 = 2.0;

/// What may be said about one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Claim {
    /// No certificate or no headroom: not even the values are printed.
    Withheld,
    /// No whole pair.
    NotMeasured,
    /// Measured, but the run is not valid.
    NotClaimed(Cost),
    /// Claimed.
    Claimed(Cost, Bound),
}

/// How a claimed ratio relates to the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// As good as its interval.
    Exact,
    /// BYPASS could have been faster than the bench: decryption costs at least this.
    AtLeast,
    /// Both arms reached the bench's limit: the ratio bounds nothing.
    Neither,
    /// A time that includes queueing in the bench itself.
    BenchShare,
}

/// How far the bench was from its own limit, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadroomGrade {
    /// 2 or more.
    Good,
    /// 1.3 to 2.
    Flagged,
    /// Less than 1.3.
    Limited,
    /// Unknown.
    Missing,
}

impl HeadroomGrade {
    pub(crate) fn of(row: &ResultRow) -> Self {
        match row.headroom.filter(|headroom| headroom.is_finite()) {
            None => HeadroomGrade::Missing,
            Some(_) if row.bench_limited => HeadroomGrade::Limited,
            Some(headroom) => Self::grade(headroom),
        }
    }

    pub(crate) fn grade(headroom: f64) -> Self {
        match headroom {
            headroom if headroom >= GOOD => HeadroomGrade::Good,
            headroom if headroom >= LIMITED => HeadroomGrade::Flagged,
            _ => HeadroomGrade::Limited,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            HeadroomGrade::Good => "good",
            HeadroomGrade::Flagged => "flagged",
            HeadroomGrade::Limited => "bench-limited",
            HeadroomGrade::Missing => "no claim",
        }
    }
}

impl Claim {
    pub(crate) fn of(record: &RunRecord, row: &ResultRow) -> Self {
        if record.certificate.is_none() || HeadroomGrade::of(row) == HeadroomGrade::Missing {
            return Claim::Withheld;
        }
        let Some(cost) = row.cost.filter(|cost| cost.ratio.is_finite()) else { return Claim::NotMeasured };
        if !record.valid {
            return Claim::NotClaimed(cost);
        }
        Claim::Claimed(cost, Bound::of(row))
    }
}

impl Bound {
    fn of(row: &ResultRow) -> Self {
        if HeadroomGrade::of(row) != HeadroomGrade::Limited {
            return Bound::Exact;
        }
        if row.kpi.more_is_worse() {
            return Bound::BenchShare;
        }
        // The row's headroom is that of the faster arm; the slower one has its own.
        match (row.reference, row.on) {
            (Some(reference), Some(on)) if on > 0.0 && reference / on >= LIMITED => Bound::AtLeast,
            _ => Bound::Neither,
        }
    }

    /// What must stand beside the ratio.
    pub(crate) fn words(self) -> Option<&'static str> {
        match self {
            Bound::Exact => None,
            Bound::AtLeast => Some(
                "bench-limited: BYPASS could be faster than the bench, so decryption costs at least what the ratio says",
            ),
            Bound::Neither => Some(
                "bench-limited in both arms: the device could be faster than the bench either way, so the ratio bounds nothing",
            ),
            Bound::BenchShare => Some("bench-limited: queueing in the bench itself is part of this time"),
        }
    }

    /// Sign before the ratio; never without [`Self::words`] nearby.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Bound::AtLeast => "≤\u{a0}",
            Bound::Exact | Bound::Neither | Bound::BenchShare => "",
        }
    }
}

/// Why the values of a row are withheld.
pub(crate) fn withheld_words(record: &RunRecord) -> &'static str {
    if record.certificate.is_none() {
        "withheld: no bench certificate, so nothing may be claimed"
    } else {
        "withheld: no headroom was measured, so nothing may be claimed"
    }
}

/// What must be said beside the numbers of a row.
pub(crate) fn remarks(record: &RunRecord, row: &ResultRow, claim: Claim) -> Vec<String> {
    let mut remarks = Vec::new();
    match claim {
        Claim::Withheld => remarks.push(withheld_words(record).to_owned()),
        Claim::NotMeasured if row.note.is_none() => {
            remarks.push("no whole pair was measured, so no cost is claimed".to_owned())
        }
        Claim::NotMeasured => {}
        Claim::NotClaimed(_) if HeadroomGrade::of(row) == HeadroomGrade::Limited => {
            remarks.push("bench-limited".to_owned())
        }
        Claim::NotClaimed(_) => {}
        Claim::Claimed(cost, bound) => {
            remarks.extend(bound.words().map(str::to_owned));
            if cost.indicative && !all_indicative(record) {
                remarks.push(format!("indicative, {}", words::pairs(cost.pairs)));
            }
        }
    }
    // The record says these two things as well; once is enough, and here both arms were looked at.
    let said = |note: &&str| !(note.starts_with("bench-limited") || note.starts_with("no bench certificate"));
    remarks.extend(row.note.as_deref().filter(|note| remarks.is_empty() || said(note)).map(str::to_owned));
    remarks
}

/// The objects of a protocol's results, in the order of the record.
pub(crate) fn objects(record: &RunRecord, protocol: Protocol) -> Vec<Object> {
    let mut objects = Vec::new();
    for row in record.results.iter().filter(|row| row.protocol == protocol) {
        if !objects.contains(&row.object) {
            objects.push(row.object);
        }
    }
    objects
}

/// The protocols of results and plan, in the order of reports.
pub(crate) fn protocols(record: &RunRecord) -> Vec<Protocol> {
    Protocol::ALL
        .into_iter()
        .filter(|protocol| {
            record.results.iter().any(|row| row.protocol == *protocol) || record.plan.protocols.contains(protocol)
        })
        .collect()
}

/// The row of one KPI for the object a headline speaks of: the smallest, where the cost of a handshake shows undiluted.
pub(crate) fn headline_row(record: &RunRecord, protocol: Protocol, kpi: Kpi) -> Option<&ResultRow> {
    record
        .results
        .iter()
        .filter(|row| row.protocol == protocol && row.kpi == kpi)
        .min_by_key(|row| (row.cost.is_none(), row.object))
}

/// One sentence: what decryption costs with this protocol, or why that is not said.
pub(crate) fn headline(record: &RunRecord, protocol: Protocol) -> String {
    let name = words::protocol(protocol);
    if !record.valid {
        return format!("{name}: no cost is claimed, for this run is not valid.");
    }
    let mut parts = Vec::new();
    let mut object = None;
    let mut pairs = None;
    let mut refusal = None;
    for kpi in [Kpi::HandshakeTime, Kpi::TimeToFirstByte, Kpi::TransactionsPerSecond] {
        let Some(row) = headline_row(record, protocol, kpi) else { continue };
        // One sentence speaks of one object, even where a KPI was measured for another one only.
        if object.is_some_and(|object| object != row.object) {
            continue;
        }
        match Claim::of(record, row) {
            Claim::Claimed(cost, bound) => {
                object.get_or_insert(row.object);
                pairs.get_or_insert((cost.pairs, cost.indicative));
                // First byte repeats the handshake in other words unless that could not be measured.
                if kpi != Kpi::TimeToFirstByte || parts.is_empty() {
                    parts.push(phrase(row, cost, bound));
                }
            }
            Claim::Withheld => {
                refusal.get_or_insert_with(|| withheld_words(record).to_owned());
            }
            Claim::NotMeasured | Claim::NotClaimed(_) => {
                refusal
                    .get_or_insert_with(|| row.note.clone().unwrap_or_else(|| "no whole pair was measured".to_owned()));
            }
        }
    }
    let (Some(object), Some((pairs, indicative))) = (object, pairs) else {
        let reason = refusal.unwrap_or_else(|| "nothing was measured".to_owned());
        return format!("{name}: no cost is claimed; {}.", reason.trim_end_matches('.'));
    };
    let caution = if indicative {
        format!(" Indicative only: {} instead of at least 6.", words::pairs(pairs))
    } else {
        String::new()
    };
    let control = match record.plan.experiment {
        Experiment::DecryptionCost => "",
        Experiment::Control => " (control: neither arm decrypts)",
    };
    format!("{name}, {}{control}: {}.{caution}", words::object(object), parts.join("; "))
}

fn phrase(row: &ResultRow, cost: Cost, bound: Bound) -> String {
    let interval = match (cost.low, cost.high) {
        (Some(low), Some(high)) => format!(" (95 % interval {} to {})", number::ratio(low), number::ratio(high)),
        _ => " (one pair, no interval)".to_owned(),
    };
    let title = row.kpi.title();
    let ratio = number::ratio(cost.ratio);
    if bound == Bound::Neither {
        return format!("{title} was bench-limited in both arms, so no cost is claimed for it");
    }
    if covers_one(&cost) && bound == Bound::Exact {
        return format!("{title} with ON is {ratio} of BYPASS{interval}, which is not distinguishable from no cost");
    }
    let size = if row.kpi.more_is_worse() {
        let difference = number::signed(cost.difference);
        format!("{title} is {ratio} times that of BYPASS{interval}, a difference of {difference} {}", row.unit)
    } else if bound == Bound::AtLeast {
        return format!(
            "{title} with ON is at most {ratio} of BYPASS{interval}: BYPASS was bench-limited, the cost may be larger"
        );
    } else {
        format!("{title} with ON is {ratio} of BYPASS{interval}")
    };
    if bound == Bound::BenchShare { format!("{size}, with the bench's own queueing in it") } else { size }
}

/// Whether the interval contains "no cost".
pub(crate) fn covers_one(cost: &Cost) -> bool {
    matches!((cost.low, cost.high), (Some(low), Some(high)) if low <= 1.0 && high >= 1.0)
}

/// Whether every cost of the record is indicative, so that it need not be said beside each.
pub(crate) fn all_indicative(record: &RunRecord) -> bool {
    let mut costs = record.results.iter().filter_map(|row| row.cost).peekable();
    costs.peek().is_some() && costs.all(|cost| cost.indicative)
}

/// Whether the run began by order of an operator rather than because its pre-flight checks passed.
pub(crate) fn bypassed(record: &RunRecord) -> bool {
    record.preflight.as_ref().is_some_and(|preflight| preflight.bypass.is_some())
}

/// Labels under which the whole run stands, most important first.
pub(crate) fn labels(record: &RunRecord) -> Vec<String> {
    let mut labels = Vec::new();
    if !record.valid {
        labels.push("not valid: no cost is claimed".to_owned());
    }
    if record.status == tbi_bench::record::RunStatus::Interrupted {
        labels.push("interrupted".to_owned());
    }
    if record.certificate.is_none() {
        labels.push("no bench certificate".to_owned());
    } else if record.certificate.as_ref().is_some_and(|certificate| !certificate.holds) {
        labels.push("bench certificate does not hold".to_owned());
    }
    if bypassed(record) {
        labels.push("pre-flight bypassed".to_owned());
    }
    let pairs =
        record.results.iter().filter_map(|row| row.cost).filter(|cost| cost.indicative).map(|cost| cost.pairs).min();
    if let Some(pairs) = pairs {
        labels.push(format!("indicative: {}", words::pairs(pairs)));
    }
    if record.results.iter().any(|row| row.bench_limited) {
        labels.push("some results bench-limited".to_owned());
    }
    labels.push(words::profile(&record.plan));
    if record.plan.experiment == Experiment::Control {
        labels.push("control experiment: neither arm decrypts".to_owned());
    }
    labels
}
