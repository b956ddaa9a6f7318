//! A graph per KPI over time: one point per block, and every second of the sustain phase where it is long enough.

use tbi_bench::control::engine::Tick;
use tbi_bench::object::Object;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Kpi, RunRecord, TrialRecord};
use tbi_bench::units::Span;

use crate::chart::{Draw, Layer, Plot, Scale};
use crate::claim;
use crate::words;

/// Below this a sustain phase has too few seconds to draw.
const SECONDS_FROM: Span = Span::from_secs(3);
/// Points of a line at most; longer phases are averaged over neighbouring seconds.
const LONGEST_LINE: usize = 150;

pub(crate) struct ProtocolGraphs {
    pub(crate) name: &'static str,
    pub(crate) figures: Vec<Figure>,
}

/// Small multiples of one KPI.
pub(crate) struct Figure {
    pub(crate) title: String,
    /// Columns it takes, 1 to 3.
    pub(crate) span: usize,
    pub(crate) panels: Vec<Panel>,
}

pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

pub(crate) fn of(record: &RunRecord) -> Vec<ProtocolGraphs> {
    claim::protocols(record)
        .into_iter()
        .map(|protocol| {
            let mut figures = Vec::new();
            for kpi in Kpi::ALL {
                let title = format!("{} ({})", kpi.title(), kpi.unit());
                figures.extend(figure(format!("{title}, block by block"), record, protocol, |object| {
                    blocks(record, protocol, object, kpi)
                }));
                figures.extend(figure(format!("{title}, second by second"), record, protocol, |object| {
                    seconds(record, protocol, object, kpi)
                }));
            }
            ProtocolGraphs { name: words::protocol(protocol), figures }
        })
        .filter(|protocol| !protocol.figures.is_empty())
        .collect()
}

fn figure(
    title: String,
    record: &RunRecord,
    protocol: Protocol,
    plot: impl Fn(Object) -> Option<Plot>,
) -> Option<Figure> {
    let mut objects: Vec<Object> = trials(record, protocol).map(|(_, _, trial)| trial.object).collect();
    objects.sort_unstable();
    objects.dedup();
    let panels: Vec<Panel> = objects
        .into_iter()
        .filter_map(|object| plot(object).map(|plot| Panel { title: words::object(object), svg: plot.svg() }))
        .collect();
    (!panels.is_empty()).then(|| Figure { title, span: panels.len().min(3), panels })
}

/// Arm, whether the block is void, trial.
fn trials(record: &RunRecord, protocol: Protocol) -> impl Iterator<Item = (Arm, bool, &TrialRecord)> {
    record
        .blocks
        .iter()
        .flat_map(|block| block.trials.iter().map(|trial| (block.arm, block.void.is_some(), trial)))
        .filter(move |(_, _, trial)| trial.protocol == protocol)
}

fn blocks(record: &RunRecord, protocol: Protocol, object: Object, kpi: Kpi) -> Option<Plot> {
    let points: Vec<(Arm, bool, f64, f64)> = trials(record, protocol)
        .filter(|(_, _, trial)| trial.object == object)
        .filter_map(|(arm, void, trial)| trial.kpis.get(&kpi).map(|value| (arm, void, trial.at.as_secs_f64(), *value)))
        .filter(|(.., value)| value.is_finite())
        .collect();
    if points.is_empty() {
        return None;
    }
    let (unit, factor) = time_unit(points.iter().map(|point| point.2).fold(0.0, f64::max));
    let mut layers = Vec::new();
    for arm in [Arm::Reference, Arm::Bypass, Arm::On] {
        for void in [false, true] {
            let chosen: Vec<(f64, f64)> = points
                .iter()
                .filter(|point| point.0 == arm && point.1 == void)
                .map(|point| (point.2 / factor, point.3))
                .collect();
            if !void {
                layers.push(Layer { arm, draw: Draw::Faint, points: chosen.clone() });
            }
            layers.push(Layer { arm, draw: if void { Draw::Crosses } else { Draw::Markers }, points: chosen });
        }
    }
    let end = points.iter().map(|point| point.2 / factor).fold(0.0, f64::max);
    Some(Plot {
        title: format!(
            "{} of {} with {} objects in each block",
            kpi.title(),
            words::protocol(protocol),
            words::object(object)
        ),
        description: format!(
            "{} points over {end:.0} {unit} of the run; disc: ON, square: BYPASS, triangle: reference.",
            points.len()
        ),
        x_label: format!("time in the run ({unit})"),
        y_label: kpi.unit().to_owned(),
        x: Scale::linear(0.0, if end > 0.0 { end * 1.04 } else { 1.0 }),
        y: Scale::from_zero(points.iter().map(|point| point.3)),
        layers,
    })
}

fn time_unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        seconds if seconds >= 10_800.0 => ("h", 3600.0),
        seconds if seconds >= 300.0 => ("min", 60.0),
        _ => ("s", 1.0),
    }
}

fn seconds(record: &RunRecord, protocol: Protocol, object: Object, kpi: Kpi) -> Option<Plot> {
    let mut layers = Vec::new();
    let mut end = 0.0f64;
    for wanted in [Arm::Reference, Arm::Bypass, Arm::On] {
        for (arm, void, trial) in trials(record, protocol) {
            if arm != wanted
                || void
                || trial.object != object
                || trial.kind != kpi.trial()
                || trial.sustain < SECONDS_FROM
            {
                continue;
            }
            let ticks: Vec<&Tick> = trial.ticks.iter().filter(|tick| tick.sustain).collect();
            let Some(first) = ticks.first() else { continue };
            let start = first.at.as_secs_f64() - first.length.as_secs_f64();
            let points: Vec<(f64, f64)> = ticks
                .iter()
                .filter_map(|tick| tick_value(tick, kpi).map(|value| (tick.at.as_secs_f64() - start, value)))
                .collect();
            if points.len() > 1 {
                end = points.iter().map(|point| point.0).fold(end, f64::max);
                let points = thin(&points);
                // Markers at both ends, so that a line's arm does not rest on its colour alone.
                let ends = points.iter().take(1).chain(points.last()).copied().collect();
                layers.push(Layer { arm, draw: Draw::Line, points });
                layers.push(Layer { arm, draw: Draw::Markers, points: ends });
            }
        }
    }
    if layers.is_empty() {
        return None;
    }
    let y = Scale::from_zero(layers.iter().flat_map(|layer| &layer.points).map(|point| point.1));
    Some(Plot {
        title: format!(
            "{} of {} with {} objects over the sustain phase",
            kpi.title(),
            words::protocol(protocol),
            words::object(object)
        ),
        description: format!("One line per block, {} blocks, {end:.0} seconds.", layers.len() / 2),
        x_label: "time in the sustain phase (s)".to_owned(),
        y_label: kpi.unit().to_owned(),
        x: Scale::linear(0.0, end),
        y,
        layers,
    })
}

/// What a second says of a KPI; times are medians of that second.
fn tick_value(tick: &Tick, kpi: Kpi) -> Option<f64> {
    let length = tick.length.as_secs_f64();
    let rate = |count: u64| (length > 0.0).then(|| count as f64 / length);
    match kpi {
        Kpi::HandshakeTime => tick.handshake_p50_us.map(|us| us as f64 / 1000.0),
        Kpi::TimeToFirstByte => tick.ttfb_p50_us.map(|us| us as f64 / 1000.0),
        Kpi::ConnectionsPerSecond => rate(tick.connections),
        Kpi::TransactionsPerSecond => rate(tick.succeeded),
        Kpi::Throughput => rate(tick.body_bytes).map(|bytes| bytes * 8.0 / 1e6),
        Kpi::TimeToLastByte | Kpi::DutAddedTime => None,
    }
}

fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(LONGEST_LINE).max(1);
    points
        .chunks(group)
        .map(|chunk| {
            let count = chunk.len() as f64;
            (
                chunk.iter().map(|point| point.0).sum::<f64>() / count,
                chunk.iter().map(|point| point.1).sum::<f64>() / count,
            )
        })
        .collect()
}
