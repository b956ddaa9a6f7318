//! What a request through the door costs beside nginx, and how much longer its answer takes than without either.

use anyhow::Result;

use super::load::Load;
use super::stand::DAEMONS;
use super::{Measurement, Stage};
use crate::bench::clients::Protocol;
use crate::bench::cpu::used_us;
use crate::bench::table::{Row, median};

/// Lowest share of nginx's requests per second per core that is good enough.
const BESIDE_NGINX: f64 = 0.7;
/// Highest added latency that is good enough, µs.
const ADDED_P50_US: f64 = 2_000.0;
pub(super) const ADDED_P95_US: f64 = 5_000.0;
const ADDED_P99_US: f64 = 5_000.0;
/// The percentiles of added latency that are promised.
pub(super) const PROMISED: [(&str, f64, f64); 2] = [("p50", 0.5, ADDED_P50_US), ("p99", 0.99, ADDED_P99_US)];
/// Streams of a connection under a fixed rate: more than are ever open at once, so that no request is held back.
pub(super) const OPEN_STREAMS: u32 = 100;
/// Clients of half load: enough that each sends less often than every 20 ms.
const HALF_LOAD_CONNECTIONS: u32 = 400;

const H1: &str = "door h1 request, 50x1";
const H2: &str = "door h2 request, 50x10";

/// In this order.
pub(super) const ALL: [Measurement; 4] = [
    Measurement { name: H1, measure: |stage| beside_nginx(stage, H1, Protocol::H1, 1) },
    Measurement { name: H2, measure: |stage| beside_nginx(stage, H2, Protocol::H2, 10) },
    Measurement {
        name: "door h1 added latency at half load",
        measure: |stage| at_half_load(stage, "door h1 added latency at half load", Protocol::H1),
    },
    Measurement {
        name: "door h2 added latency at half load",
        measure: |stage| at_half_load(stage, "door h2 added latency at half load", Protocol::H2),
    },
];

/// The daemon's trivial endpoint through the door; nginx has the same path.
fn constant(stage: &Stage, protocol: Protocol, streams: u32) -> Load {
    let paths = vec![format!("/api/v1/{}/constant", DAEMONS[0])];
    Load { target: stage.stand.door().target(), protocol, connections: 50, streams, paths, headers: Vec::new() }
}

fn beside_nginx(stage: &mut Stage, name: &str, protocol: Protocol, streams: u32) -> Result<Vec<Row>> {
    let ours = constant(stage, protocol, streams);
    let (nginx, target) = stage.stand.nginx()?;
    let peer = Load { target, ..ours.clone() };
    let mut rounds = Vec::new();
    for _ in 0..stage.rounds {
        rounds.push((per_core(stage, &ours, stage.stand.door().process.pid())?, per_core(stage, &peer, nginx)?));
    }
    Ok(vec![Row::compare(name, "requests/s per core", "nginx", &rounds, Some(BESIDE_NGINX)).at_least()])
}

/// Requests per second of processor time of `server`.
fn per_core(stage: &Stage, load: &Load, server: u32) -> Result<f64> {
    let before = used_us(server)?;
    let requests = load.closed(stage.time)?;
    let used = used_us(server)?.saturating_sub(before).max(1);
    Ok(requests as f64 * 1e6 / used as f64)
}

/// The maximum is that of the same tool with the same connections, one request in flight on each, as at half of it: with ten in flight both ends
/// read and write for ten at once, and half of what they reach then is more than they can do for clients that ask one by one.
fn at_half_load(stage: &mut Stage, name: &str, protocol: Protocol) -> Result<Vec<Row>> {
    let closed = Load { connections: HALF_LOAD_CONNECTIONS, ..constant(stage, protocol, 1) };
    let maximum = closed.closed_by_h2load(stage.time)? as f64 / stage.time.as_secs_f64();
    let streams = if protocol == Protocol::H1 { 1 } else { OPEN_STREAMS };
    added(stage, name, &Load { streams, ..closed }, &["/v1/constant"], maximum / 2.0, &PROMISED)
}

/// Percentiles through the door less those of the same requests, `direct`, at the same rate at the daemon's socket.
pub(super) fn added(
    stage: &Stage,
    name: &str,
    through: &Load,
    direct: &[&str],
    rate: f64,
    promised: &[(&str, f64, f64)],
) -> Result<Vec<Row>> {
    let direct = Load {
        target: stage.stand.directly(),
        protocol: Protocol::H1,
        streams: 1,
        paths: direct.iter().map(|path| (*path).to_owned()).collect(),
        ..through.clone()
    };
    let log = stage.stand.log_file();
    let mut rounds = Vec::new();
    for _ in 0..stage.rounds {
        rounds.push((through.open(rate, stage.time, &log)?, direct.open(rate, stage.time, &log)?));
    }
    let row = |&(percentile, q, bar): &(&str, f64, f64)| {
        let pairs: Vec<(f64, f64)> =
            rounds.iter().filter_map(|(through, direct)| through.quantile(q).zip(direct.quantile(q))).collect();
        let column = |value: fn(&(f64, f64)) -> f64| median(pairs.iter().map(value).collect()).unwrap_or(0.0);
        let (through, direct) = (column(|pair| pair.0), column(|pair| pair.1));
        let differences = pairs.iter().map(|(through, direct)| through - direct).collect();
        Row::absolute(format!("{name}, {percentile}"), "us", differences, bar).noted(format!(
            "{through:.0} us through the door, {direct:.0} us directly at the socket, {rate:.0} requests/s"
        ))
    };
    Ok(promised.iter().map(row).collect())
}
