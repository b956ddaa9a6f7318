//! What people and programs do at the door: many connections, health probes, readers of the document, mixed routes, correlation ids, the
//! limit's boundary, and a ramp. Ten steady minutes are `cargo tbi soak door`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::costs::{ADDED_P95_US, OPEN_STREAMS, PROMISED, added};
use super::load::Load;
use super::stand::{DAEMONS, Door};
use super::{Measurement, Stage};
use crate::bench::clients::Protocol;
use crate::bench::table::Row;
use crate::bench::wait;

const HELD_H1: &str = "door 10,000 h1 connections, memory";
const HELD_H2: &str = "door 10,000 h2 connections, memory";
const RAMP: &str = "door ramp to 1,000 connections, not 2xx";
const HEALTH: &str = "door health probe p95, 10 clients";
const DOCUMENT: &str = "door OpenAPI document p95, 50 readers";
const MIXED: &str = "door mixed routes added, 200 clients";
const SENT: &str = "door correlation id sent, added";
const MADE: &str = "door correlation id made, added";
const BOUNDARY: &str = "door limit's boundary, right = 1";

const CONNECTIONS: u32 = 10_000;
const MEMORY_MB: f64 = 512.0;
const HEALTH_US: f64 = 10_000.0;
const DOCUMENT_US: f64 = 200_000.0;
/// Requests per second where the scenario names clients and no rate: that of one client, which is a busy person's.
const PROBES: f64 = 10.0;
const READS: f64 = 2.0;
const ASKS: f64 = 10.0;
/// The limit whose boundary is looked at.
const LIMIT: u32 = 50;
/// The limit's window is ten slots, so nothing is given back later than this.
const WINDOW: Duration = Duration::from_secs(10);
/// What starting curl and a busy machine may take.
const LATE: Duration = Duration::from_millis(200);

/// In this order.
pub(super) const ALL: [Measurement; 9] = [
    Measurement { name: HELD_H1, measure: |stage| held(stage, HELD_H1, Protocol::H1) },
    Measurement { name: HELD_H2, measure: |stage| held(stage, HELD_H2, Protocol::H2) },
    Measurement { name: HEALTH, measure: health },
    Measurement { name: DOCUMENT, measure: document },
    Measurement { name: MIXED, measure: mixed },
    Measurement { name: SENT, measure: |stage| correlation(stage, SENT, Some("bench-0123456789")) },
    Measurement { name: MADE, measure: |stage| correlation(stage, MADE, None) },
    Measurement { name: BOUNDARY, measure: boundary },
    Measurement { name: RAMP, measure: ramp },
];

fn load(stage: &Stage, connections: u32, paths: Vec<String>) -> Load {
    let (target, headers) = (stage.stand.door().target(), Vec::new());
    Load { target, protocol: Protocol::H2, connections, streams: OPEN_STREAMS, paths, headers }
}

fn constant(daemon: &str) -> String {
    format!("/api/v1/{daemon}/constant")
}

/// Connections come a thousand a second, and each asks when it comes, after ten seconds and after twenty; so for ten seconds all are open and
/// idle but for a thousand requests a second, and each must still answer after it lay idle. A door of its own, because memory that the load
/// of other measurements made it take would count.
fn held(stage: &mut Stage, name: &str, protocol: Protocol) -> Result<Vec<Row>> {
    let words = ["-r", "1000", "-n", "30000", "--rps=0.1"].map(str::to_owned);
    let door = stage.stand.another_door(protocol.name())?;
    let load =
        Load { target: door.target(), protocol, streams: 1, ..load(stage, CONNECTIONS, vec![constant(DAEMONS[0])]) };
    let (mut most, mut resident) = (0, 0);
    let answers = load.watched(&words, Duration::from_secs(60), || {
        let open = door.connections()?;
        most = most.max(open);
        if open >= CONNECTIONS as usize {
            resident = resident.max(door.memory_kb()?.0);
        }
        Ok(())
    })?;
    if most < CONNECTIONS as usize {
        bail!("only {most} connections were open at once");
    }
    if answers.good < answers.requests {
        let missing = answers.requests - answers.good;
        bail!(
            "{missing} of {} requests on held connections were not answered; the door counts: {}",
            answers.requests,
            door.refusals().unwrap_or_else(|error| format!("{error:#}"))
        );
    }
    let closed = mb(door.memory_kb()?.0);
    let note = format!(
        "{most} open at once, each answered three times, ten seconds apart; {closed:.0} MB when all were closed"
    );
    Ok(vec![Row::absolute(name.to_owned(), "MB", vec![mb(resident)], MEMORY_MB).noted(note)])
}

fn mb(kb: u64) -> f64 {
    kb as f64 / 1024.0
}

fn ramp(stage: &mut Stage) -> Result<Vec<Row>> {
    let words = ["-r", "200", "-n", "10000", "--rps=1"].map(str::to_owned);
    let load = Load { streams: 1, ..load(stage, 1000, vec![constant(DAEMONS[0])]) };
    let mut most = 0;
    let answers = load.watched(&words, Duration::from_secs(30), || {
        most = most.max(stage.stand.door().connections()?);
        Ok(())
    })?;
    if most < 1000 {
        bail!("only {most} connections were open at once");
    }
    let note = format!("{} requests, {most} connections open at once, 200 more each second", answers.requests);
    let other = (answers.requests - answers.good) as f64;
    Ok(vec![Row::absolute(RAMP.to_owned(), "answers", vec![other], 0.0).noted(note)])
}

fn health(stage: &mut Stage) -> Result<Vec<Row>> {
    p95(stage, HEALTH, 10, "/health/live", PROBES, HEALTH_US)
}

fn document(stage: &mut Stage) -> Result<Vec<Row>> {
    p95(stage, DOCUMENT, 50, "/openapi.json", READS, DOCUMENT_US)
}

/// 95th percentile of what the door answers itself.
fn p95(stage: &Stage, name: &str, clients: u32, path: &str, each: f64, bar: f64) -> Result<Vec<Row>> {
    let load = load(stage, clients, vec![path.to_owned()]);
    let rate = f64::from(clients) * each;
    let mut values = Vec::new();
    for _ in 0..stage.rounds {
        let times = load.open(rate, stage.time, &stage.stand.log_file())?;
        values.push(times.quantile(0.95).context("nothing was answered")?);
    }
    Ok(vec![Row::absolute(name.to_owned(), "us", values, bar).noted(format!("GET {path}, {rate:.0} requests/s"))])
}

/// Three routes of two daemons, one with a parameter and one with a large answer.
fn mixed(stage: &mut Stage) -> Result<Vec<Row>> {
    let direct = ["/v1/constant", "/v1/items/17", "/v1/large"];
    let routes = direct.iter().flat_map(|path| {
        let rest = path.trim_start_matches("/v1/");
        DAEMONS.map(|daemon| format!("/api/v1/{daemon}/{rest}"))
    });
    let through = load(stage, 200, routes.collect());
    added(stage, MIXED, &through, &direct, 200.0 * ASKS, &PROMISED)
}

fn correlation(stage: &mut Stage, name: &str, id: Option<&str>) -> Result<Vec<Row>> {
    let header = id.map(|id| format!("x-correlation-id: {id}"));
    comes_back(stage.stand.door(), header.as_deref(), id)?;
    let mut through = load(stage, 50, vec![constant(DAEMONS[0])]);
    through.headers.extend(header);
    added(stage, name, &through, &["/v1/constant"], 50.0 * ASKS, &[("p95", 0.95, ADDED_P95_US)])
}

/// The id that was sent is in the answer; or one that was made, and another each time.
fn comes_back(door: &Door, header: Option<&str>, id: Option<&str>) -> Result<()> {
    let ask = || {
        let (authorization, url) = (door.authorization(), door.url(&constant(DAEMONS[0])));
        let mut words = vec!["--fail", "--output", "/dev/null", "--write-out", "%header{x-correlation-id}"];
        words.extend(["--header", &authorization, &url]);
        header.iter().for_each(|header| words.extend(["--header", header]));
        door.curl(&words)
    };
    let (first, second) = (ask()?, ask()?);
    let right = match id {
        Some(id) => first == id && second == id,
        None => !first.is_empty() && first != second,
    };
    if !right {
        bail!("the answers carry the correlation ids '{first}' and '{second}'");
    }
    Ok(())
}

/// Exactly the limit is admitted, one above is not, and who waits as long as `Retry-After` says is admitted, and who waits a second less is not.
fn boundary(stage: &mut Stage) -> Result<Vec<Row>> {
    let door = stage.stand.limited_door(LIMIT)?;
    // The questions whether it is ready were counted; to a limit the whole loopback is one address.
    wait::pass(WINDOW + Duration::from_secs(1));
    let format = "%{http_code} %header{retry-after}\n";
    let probe = |path: &str| door.curl(&["--output", "/dev/null", "--write-out", format, &door.url(path)]);
    let said = probe(&format!("/health/live?[1-{}]", LIMIT + 1))?;
    let refused = Instant::now();
    let (inside, above) = said.trim_end().rsplit_once('\n').context("curl said too little")?;
    let admitted = inside.lines().filter(|line| line.starts_with("200")).count();
    let retry: Option<u64> = above.strip_prefix("429 ").and_then(|seconds| seconds.trim().parse().ok());
    let Some(retry) = retry else { bail!("request {} was answered: {above}", LIMIT + 1) };
    // When the last probe began that was refused, and when the first was done that was admitted.
    let mut last_refused = Duration::ZERO;
    let back = wait::until("nobody was admitted again", WINDOW * 2, || {
        let asked = refused.elapsed();
        if probe("/health/live")?.starts_with("200") {
            return Ok(Some(refused.elapsed()));
        }
        last_refused = asked;
        Ok(None)
    })?;
    let wait = Duration::from_secs(retry);
    let right = admitted == LIMIT as usize
        && wait <= WINDOW
        && last_refused <= wait
        && back + LATE >= wait.saturating_sub(Duration::from_secs(1));
    let note = format!(
        "{admitted} admitted with a limit of {LIMIT}, then refused with Retry-After {retry}; admitted again after {:.1} s",
        back.as_secs_f64()
    );
    let value = f64::from(u8::from(right));
    Ok(vec![Row::absolute(BOUNDARY.to_owned(), "yes or no", vec![value], 1.0).at_least().noted(note)])
}
