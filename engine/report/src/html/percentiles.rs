//! Percentiles in both views, with counts, and the shape of each distribution.
//!
//! *Service* time counts from the actual start, *response* time from the intended one (facts/bench.md §5.1). A percentile with fewer
//! than 100 samples beyond it is noise and is not printed (§5.2); in graphs it is drawn thin.

use tbi_bench::control::engine::Timings;
use tbi_bench::histogram::LatencyHistogram;
use tbi_bench::object::Object;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Distribution, RunRecord, TrialKind};

use super::graphs::{Figure, Panel};
use super::table::Table;
use crate::chart::{Draw, Layer, Plot, Scale};
use crate::claim;
use crate::number;
use crate::words;

/// Samples that must lie beyond a percentile before it is evidence.
const BEYOND: f64 = 100.0;
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];
/// Points of a curve.
const STEPS: u32 = 90;

pub(crate) struct ProtocolPercentiles {
    pub(crate) name: &'static str,
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
}

type Pick = fn(&Timings) -> &LatencyHistogram;

/// What is timed, in which view, where it comes from.
struct Measure {
    title: &'static str,
    view: &'static str,
    pick: Pick,
}

/// Measures of the latency load, where both views differ.
const OPEN: [Measure; 12] = [
    Measure { title: "handshake", view: "service", pick: |timings| &timings.handshake_service },
    Measure { title: "handshake", view: "response", pick: |timings| &timings.handshake_response },
    Measure { title: "first byte", view: "service", pick: |timings| &timings.ttfb_service },
    Measure { title: "first byte", view: "response", pick: |timings| &timings.ttfb_response },
    Measure { title: "last byte", view: "service", pick: |timings| &timings.ttlb_service },
    Measure { title: "last byte", view: "response", pick: |timings| &timings.ttlb_response },
    Measure { title: "TCP connect", view: "service", pick: |timings| &timings.tcp_connect },
    Measure { title: "TLS or QUIC handshake alone", view: "service", pick: |timings| &timings.tls_handshake },
    Measure { title: "request to first byte", view: "service", pick: |timings| &timings.request_ttfb },
    Measure { title: "request to last byte", view: "service", pick: |timings| &timings.request_ttlb },
    Measure { title: "DUT-added time", view: "service", pick: |timings| &timings.dut_added },
    Measure { title: "schedule lag", view: "bench", pick: |timings| &timings.schedule_lag },
];

/// Measures of a closed loop, where both views are the same.
const CLOSED: [Measure; 4] = [
    Measure { title: "handshake", view: "both", pick: |timings| &timings.handshake_service },
    Measure { title: "first byte", view: "both", pick: |timings| &timings.ttfb_service },
    Measure { title: "request to first byte", view: "both", pick: |timings| &timings.request_ttfb },
    Measure { title: "request to last byte", view: "both", pick: |timings| &timings.request_ttlb },
];

pub(crate) fn of(record: &RunRecord) -> Vec<ProtocolPercentiles> {
    claim::protocols(record)
        .into_iter()
        .map(|protocol| {
            let mut cells: Vec<(Object, TrialKind)> =
                distributions(record, protocol).map(|d| (d.object, d.kind)).collect();
            cells.sort_unstable();
            cells.dedup();
            ProtocolPercentiles {
                name: words::protocol(protocol),
                figures: [("handshake", &OPEN[0], &OPEN[1]), ("first byte", &OPEN[2], &OPEN[3])]
                    .into_iter()
                    .filter_map(|(title, service, response)| {
                        let panels: Vec<Panel> = cells
                            .iter()
                            .filter(|(_, kind)| *kind == TrialKind::Latency)
                            .filter_map(|(object, _)| plot(record, protocol, *object, title, service, response))
                            .collect();
                        (!panels.is_empty()).then(|| Figure {
                            title: format!("time to {title} (ms), latency load")
                                .replace("time to handshake", "handshake time"),
                            span: panels.len().min(3),
                            panels,
                        })
                    })
                    .collect(),
                tables: cells
                    .iter()
                    .map(|(object, kind)| table(record, protocol, *object, *kind))
                    .filter(|table| !table.is_empty())
                    .collect(),
            }
        })
        .filter(|protocol| !protocol.tables.is_empty())
        .collect()
}

fn distributions(record: &RunRecord, protocol: Protocol) -> impl Iterator<Item = &Distribution> {
    record.distributions.iter().filter(move |distribution| distribution.protocol == protocol)
}

fn table(record: &RunRecord, protocol: Protocol, object: Object, kind: TrialKind) -> Table {
    let mut table = Table::new(
        format!(
            "{}, {}, {} load: {}. Times in ms.",
            words::protocol(protocol),
            words::object(object),
            words::kind(kind),
            words::load(kind, &record.plan)
        ),
        &["Timed", "View", "Arm", "#Samples", "#Min", "#Mean", "#p50", "#p90", "#p99", "#p99.9", "#p99.99", "#Max"],
    );
    let measures: &[Measure] = if kind == TrialKind::Latency { &OPEN } else { &CLOSED };
    for measure in measures {
        for arm in [Arm::On, Arm::Bypass, Arm::Reference] {
            let found = distributions(record, protocol)
                .find(|distribution| (distribution.object, distribution.kind, distribution.arm) == (object, kind, arm));
            let Some(histogram) = found.map(|distribution| (measure.pick)(&distribution.timings)) else { continue };
            if !histogram.is_empty() {
                table.row(row(measure, arm, histogram));
                table.mute_repeated();
            }
        }
    }
    table
}

fn row(measure: &Measure, arm: Arm, histogram: &LatencyHistogram) -> Vec<String> {
    let ms = |us: Option<f64>| us.map_or_else(|| number::NONE.to_owned(), number::us_as_ms);
    let mut cells = vec![
        measure.title.to_owned(),
        measure.view.to_owned(),
        words::arm(arm).to_owned(),
        number::count(histogram.len()),
        ms(histogram.min().map(|us| us as f64)),
        ms(histogram.mean()),
    ];
    cells.extend(QUANTILES.map(|quantile| ms(histogram.supported_quantile(quantile).map(|us| us as f64))));
    cells.push(if histogram.clipped() > 0 {
        "> 60\u{202f}000".to_owned()
    } else {
        ms(histogram.max().map(|us| us as f64))
    });
    cells
}

fn plot(
    record: &RunRecord,
    protocol: Protocol,
    object: Object,
    title: &str,
    service: &Measure,
    response: &Measure,
) -> Option<Panel> {
    let mut layers = Vec::new();
    let mut most = 0;
    for distribution in distributions(record, protocol) {
        if distribution.object != object || distribution.kind != TrialKind::Latency {
            continue;
        }
        for (measure, draw) in [(response, Draw::Dashed), (service, Draw::Line)] {
            // The reference needs no second line: its response view says nothing about the device.
            if distribution.arm == Arm::Reference && draw == Draw::Dashed {
                continue;
            }
            let histogram = (measure.pick)(&distribution.timings);
            most = most.max(histogram.len());
            layers.extend(curve(distribution.arm, draw, histogram));
        }
    }
    if layers.is_empty() {
        return None;
    }
    let name = words::object(object);
    let plot = Plot {
        title: format!("Percentiles of {title} time of {} with {name} objects", words::protocol(protocol)),
        description: "Logarithmic percentile axis; ON, BYPASS and reference; solid: service time, dashed: response time, thin: fewer than \
                      100 samples beyond."
            .to_owned(),
        x_label: "percentile".to_owned(),
        y_label: "ms, logarithmic".to_owned(),
        x: Scale::percentile(1.0 - 1.0 / most.max(10) as f64),
        y: Scale::log_around(layers.iter().flat_map(|layer| &layer.points).map(|point| point.1)),
        layers,
    };
    Some(Panel { title: name, svg: plot.svg() })
}

/// The curve of one histogram: its supported part, then thinly the rest.
fn curve(arm: Arm, draw: Draw, histogram: &LatencyHistogram) -> Vec<Layer> {
    let samples = histogram.len() as f64;
    if samples < 1.0 {
        return Vec::new();
    }
    let nines = samples.max(2.0).log10().min(5.0);
    let (mut supported, mut rest) = (Vec::new(), Vec::new());
    for step in 0..=STEPS {
        let quantile = 1.0 - 10f64.powf(-nines * f64::from(step) / f64::from(STEPS));
        let Some(us) = histogram.quantile(quantile) else { continue };
        let point = (quantile, us as f64 / 1000.0);
        if (1.0 - quantile) * samples >= BEYOND {
            supported.push(point);
        } else {
            rest.push(point);
        }
    }
    if let Some(joint) = supported.last() {
        rest.insert(0, *joint);
    }
    // A marker at the end, so that a curve's arm does not rest on its colour alone.
    let end = rest.last().copied().into_iter().filter(|_| draw == Draw::Line).collect();
    vec![
        Layer { arm, draw, points: supported },
        Layer { arm, draw: Draw::Faint, points: rest },
        Layer { arm, draw: Draw::Markers, points: end },
    ]
}
