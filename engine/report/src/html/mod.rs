//! The HTML report: views made of strings, and the template that lays them out.
//!
//! One module per part of the report; each turns a piece of the record into a view whose texts the template escapes. Only SVG made
//! by [`crate::chart`] passes unescaped. Order of the parts: RFC 9411 §6 (introduction and summary first, then results with a graph
//! per KPI), annexes last.

mod admission;
mod annex;
mod cover;
mod evidence;
mod graphs;
mod percentiles;
mod results;
mod table;

use askama::Template;
use tbi_bench::protocol::Arm;
use tbi_bench::record::RunRecord;

use crate::ReportError;
use crate::chart;
use crate::words;
use admission::Admission;
use annex::Annex;
use cover::Cover;
use evidence::{Certificate, Quic};
use graphs::ProtocolGraphs;
use percentiles::ProtocolPercentiles;
use results::Results;
use table::Table;

#[derive(Template)]
#[template(path = "report.html")]
struct Report {
    cover: Cover,
    results: Results,
    proof: Table,
    quic: Vec<Quic>,
    certificate: Certificate,
    legend: Vec<LegendEntry>,
    graphs: Vec<ProtocolGraphs>,
    percentiles: Vec<ProtocolPercentiles>,
    admission: Admission,
    annex: Annex,
}

struct LegendEntry {
    marker: String,
    label: &'static str,
}

pub(crate) fn render(record: &RunRecord) -> Result<String, ReportError> {
    let legend = [Arm::On, Arm::Bypass, Arm::Reference]
        .map(|arm| LegendEntry { marker: chart::legend_marker(arm), label: words::arm(arm) })
        .into();
    let report = Report {
        cover: Cover::of(record),
        results: Results::of(record),
        proof: evidence::proof(record),
        quic: evidence::quic(record),
        certificate: Certificate::of(record),
        legend,
        graphs: graphs::of(record),
        percentiles: percentiles::of(record),
        admission: Admission::of(record),
        annex: Annex::of(record),
    };
    Ok(report.render()?)
}
