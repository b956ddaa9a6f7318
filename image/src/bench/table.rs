//! Rows of a bench run: medians and ratios, the JSON record, the table on the screen and `docs/figures.md`.

use std::fmt::Write as _;

use serde::Serialize;

use super::machine::Machine;

/// One comparison. `ratio` is the median of the rounds' own ratios, each taken within seconds on the same cores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) ours: Option<f64>,
    pub(super) peer: Option<f64>,
    pub(super) peer_name: Option<&'static str>,
    pub(super) ratio: Option<f64>,
    /// Highest ratio (highest value where there is no peer) that is good enough; `None` where nothing is promised.
    pub(super) bar: Option<f64>,
    /// The bar is the lowest instead: more is better.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) at_least: bool,
    pub(super) met: Option<bool>,
    /// Why a figure is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

impl Row {
    /// From rounds of (ours, peer).
    pub(super) fn compare(
        name: &str,
        unit: &'static str,
        peer_name: &'static str,
        rounds: &[(f64, f64)],
        bar: Option<f64>,
    ) -> Self {
        let column = |value: fn(&(f64, f64)) -> f64| median(rounds.iter().map(value).collect());
        let ratio = column(|(ours, peer)| ours / peer);
        Self {
            name: name.to_owned(),
            unit,
            ours: column(|round| round.0),
            peer: column(|round| round.1),
            peer_name: Some(peer_name),
            ratio,
            bar,
            at_least: false,
            met: bar.and_then(|bar| Some(ratio? <= bar)),
            note: None,
        }
    }

    /// A figure of our own against an absolute bar.
    pub(super) fn absolute(name: String, unit: &'static str, values: Vec<f64>, bar: f64) -> Self {
        let ours = median(values);
        let met = ours.map(|ours| ours <= bar);
        Self {
            name,
            unit,
            ours,
            peer: None,
            peer_name: None,
            ratio: None,
            bar: Some(bar),
            at_least: false,
            met,
            note: None,
        }
    }

    /// The same figures where more is better, so that the bar is the lowest that is good enough.
    pub(super) fn at_least(self) -> Self {
        let met = self.bar.and_then(|bar| Some(self.ratio.or(self.ours)? >= bar));
        // A figure that is missing still meets no bar.
        Self { met: met.or(self.met), at_least: true, ..self }
    }

    /// The same figures with a word on how they came to be.
    pub(super) fn noted(self, note: String) -> Self {
        Self { note: Some(note), ..self }
    }

    /// A figure that could not be had, and why.
    pub(super) fn missing(
        name: &str,
        unit: &'static str,
        peer_name: Option<&'static str>,
        bar: Option<f64>,
        note: String,
    ) -> Self {
        let name = name.to_owned();
        Self {
            name,
            unit,
            ours: None,
            peer: None,
            peer_name,
            ratio: None,
            bar,
            at_least: false,
            met: bar.map(|_| false),
            note: Some(note),
        }
    }
}

/// The whole record, `target/tbi/bench.json`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Record {
    pub(super) version: u32,
    /// UTC, `YYYY-MM-DD`.
    pub(super) date: String,
    pub(super) seconds_each: f64,
    pub(super) rounds: u32,
    pub(super) machine: Machine,
    pub(super) rows: Vec<Row>,
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (half, odd) = (values.len() / 2, values.len() % 2 == 1);
    match values.as_slice() {
        [] => None,
        sorted if odd => Some(sorted[half]),
        sorted => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// The bar as it is read.
pub(super) fn bar(row: &Row) -> String {
    let sign = if row.at_least && row.bar.is_some() { ">= " } else { "" };
    format!("{sign}{}", number(row.bar, 2))
}

pub(super) fn verdict(row: &Row) -> &'static str {
    match row.met {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "",
    }
}

/// The table for the screen.
pub(super) fn text(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<44} {:>9} {:>9} {:<16} {:>6} {:>7}  \n",
        "name (CPU in us, one core each side)", "ours", "peer", "", "ratio", "bar"
    );
    for row in rows {
        let _infallible = writeln!(
            out,
            "{:<44} {:>9} {:>9} {:<16} {:>6} {:>7}  {}",
            row.name,
            number(row.ours, 1),
            number(row.peer, 1),
            row.peer_name.unwrap_or_default(),
            number(row.ratio, 2),
            bar(row),
            verdict(row)
        );
        if let Some(note) = &row.note {
            let _infallible = writeln!(out, "    {note}");
        }
    }
    out
}

/// `docs/figures.md`.
pub(super) fn page(record: &Record) -> String {
    let Machine { processor, cores, kernel, peers, busy_before } = &record.machine;
    let mut out = format!(
        "# Figures

Written by `cargo tbi bench`; do not edit. Measured on {} on {cores} cores of {processor}, Linux {kernel}, {:.0} % busy with
other work when it began, against {}.

Each figure is processor time of one program, user and kernel, per successful request, as the kernel counts it, median of {} rounds of
{} s; rounds of ours and of the peer alternate, and the ratio (ours / peer, lower is better) is the median of the rounds' ratios. Server
on one core, client on the other, loopback, 1 KB objects from memory, ECDSA P-256, TLS 1.3, AES-128-GCM, X25519, no resumption.
`50x10` is 50 connections with 10 requests in flight on each. The engine verifies the chain, records every phase of every request and
checks its class; wrk and h2load verify nothing. A bar is what this project promises; rows without one are for information.

| name | unit | ours | peer | | ratio | bar | |
|---|---|---:|---:|---|---:|---:|---|
",
        record.date,
        busy_before * 100.0,
        peers.join(", "),
        record.rounds,
        record.seconds_each
    );
    for row in &record.rows {
        let _infallible = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {}{} |",
            row.name,
            row.unit,
            number(row.ours, 1),
            number(row.peer, 1),
            row.peer_name.unwrap_or_default(),
            number(row.ratio, 2),
            bar(row),
            verdict(row),
            row.note.as_ref().map(|note| format!(" {note}")).unwrap_or_default()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_does_not_decide() {
        let row = Row::compare("x", "us", "wrk", &[(8.0, 10.0), (7.0, 10.0), (40.0, 10.0)], Some(0.8));
        assert_eq!((row.ours, row.ratio, row.met), (Some(8.0), Some(0.8), Some(true)));
        assert_eq!(median(vec![1.0, 3.0]), Some(2.0));
    }

    #[test]
    fn where_more_is_better_the_bar_is_the_lowest() {
        let row = |peer| Row::compare("x", "requests/s per core", "nginx", &[(6.0, peer)], Some(0.7)).at_least();
        assert_eq!((row(8.0).met, row(9.0).met), (Some(true), Some(false)));
        assert!(text(&[row(9.0)]).contains(">= 0.70"));
        assert_eq!(Row::missing("x", "us", None, Some(0.7), String::new()).at_least().met, Some(false));
    }

    #[test]
    fn what_is_missing_is_said_and_meets_no_bar() {
        let row = Row::missing("x", "us", Some("caddy"), Some(0.5), "caddy cannot be started".into());
        assert_eq!(row.met, Some(false));
        assert!(text(&[row]).contains("caddy cannot be started"));
    }
}
