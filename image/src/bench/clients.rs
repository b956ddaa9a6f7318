//! The clients a bench run measures or leans on: our engine, wrk, h2load and a client written on the `h3` crate, pinned to the client core.
//!
//! Each is asked for the same: so many connections with so many requests in flight for so long, and answers with the requests that
//! succeeded and the processor time it used for them, its own start and handshakes included.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cpu::{timed, used_us};
use super::servers::{CLIENT_CORE, OBJECT_PATH, Process, SERVER_NAME, Server, wait_ready};
use super::{api, wait};

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Engine,
    Wrk,
    H2load,
    H3Crate,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Engine => "engine",
            Kind::Wrk => "wrk",
            Kind::H2load => "h2load",
            Kind::H3Crate => "h3 crate client",
        }
    }
}

/// HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    H1,
    H2,
    H3,
}

impl Protocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Protocol::H1 => "h1",
            Protocol::H2 => "h2",
            Protocol::H3 => "h3",
        }
    }
}

/// How long connections live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// To the end of the measurement.
    Keep,
    /// One request each: every request pays a full handshake.
    Fresh,
}

/// What is asked of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) protocol: Protocol,
    pub(super) connections: u32,
    /// Requests in flight on each connection.
    pub(super) streams: u32,
    pub(super) reuse: Reuse,
}

/// What a client did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) client_cpu_us: f64,
}

/// All clients; the engine runs throughout, the others are started for each measurement.
pub(super) struct Clients {
    engine: Process,
    socket: PathBuf,
    h3_peer: PathBuf,
    time: Duration,
    trials: u32,
}

impl Clients {
    /// Starts the engine with one worker.
    pub(super) fn start(programs: &Path, home: &Path, time: Duration) -> Result<Self> {
        let socket = home.join("engine.sock");
        let program = programs.join("tbi-engine");
        let mut engine = Process::start("tbi-engine", CLIENT_CORE, &program, |command| {
            command.arg("--socket").arg(&socket).args(["--workers", "1", "--log", "warn"]);
        })?;
        wait_ready(&mut engine, &socket)?;
        Ok(Self { engine, socket, h3_peer: programs.join("h3-peer"), time, trials: 0 })
    }

    /// Loads `server` with `pattern` through `kind`.
    pub(super) fn drive(&mut self, kind: Kind, pattern: Pattern, server: &Server) -> Result<Done> {
        let done = match kind {
            Kind::Engine => self.engine(pattern, server)?,
            Kind::Wrk => wrk(pattern, server, self.time)?,
            Kind::H2load => h2load(pattern, server, self.time)?,
            Kind::H3Crate => h3_crate(&self.h3_peer, pattern, server, self.time)?,
        };
        if done.requests == 0 {
            bail!("{} got no answer over {}", kind.name(), pattern.protocol.name());
        }
        Ok(done)
    }

    fn engine(&mut self, pattern: Pattern, server: &Server) -> Result<Done> {
        let load = json!({"model": "closed", "connections": pattern.connections, "streams": pattern.streams});
        let before = used_us(self.engine.pid())?;
        let report = self.trial(pattern, load, server)?;
        let client_cpu_us = (used_us(self.engine.pid())? - before) as f64;
        // Every phase counts, because the processor time is that of every phase.
        let requests =
            report["ticks"].as_array().map_or(0, |ticks| ticks.iter().filter_map(|it| it["succeeded"].as_u64()).sum());
        Ok(Done { requests, client_cpu_us })
    }

    /// Connections (with one request each) per second the engine reaches on its own when nothing limits it but the two cores.
    pub(super) fn capacity(&mut self, protocol: Protocol, server: &Server) -> Result<f64> {
        let pattern = Pattern { protocol, connections: 32, streams: 1, reuse: Reuse::Fresh };
        let load = json!({"model": "closed", "connections": pattern.connections, "streams": 1});
        let report = self.trial(pattern, load, server)?;
        let succeeded = report["attempts"]["succeeded"].as_u64().context("the report lacks attempts.succeeded")?;
        Ok(succeeded as f64 / self.time.as_secs_f64())
    }

    /// 99th percentile of the schedule lag, µs, at `rate` arrivals per second.
    pub(super) fn schedule_lag_p99(&mut self, protocol: Protocol, rate: f64, server: &Server) -> Result<f64> {
        let pattern = Pattern { protocol, connections: 1, streams: 1, reuse: Reuse::Fresh };
        let rate = format!("{}/s", (rate.floor() as u64).max(1));
        let load = json!({"model": "open", "rate": rate, "arrivals": "poisson", "max_in_flight": 4096});
        let report = self.trial(pattern, load, server)?;
        let buckets: Vec<(u64, u64)> = serde_json::from_value(report["timings"]["schedule_lag"]["buckets"].clone())
            .context("the report lacks timings.schedule_lag")?;
        quantile(&buckets, 0.99).context("the engine recorded no schedule lag")
    }

    /// Runs one trial to its end and returns its report.
    fn trial(&mut self, pattern: Pattern, load: Value, server: &Server) -> Result<Value> {
        self.trials += 1;
        let path = format!("/v1/trials/bench-{}", self.trials);
        let ca = std::fs::read_to_string(&server.ca).with_context(|| format!("cannot read {}", server.ca.display()))?;
        let order = json!({
            "protocol": pattern.protocol.name(), "object": "1KB", "load": load,
            "transactions_per_connection": if pattern.reuse == Reuse::Fresh { 1 } else { 0 },
            "phases": {"init": "0s", "ramp_up": "100ms", "sustain": format!("{}ms", self.time.as_millis()), "ramp_down": "100ms"},
            "targets": [{"persona": "bench", "address": "127.0.0.1", "port": server.port, "server_name": SERVER_NAME}],
            "sources": [], "trust": {"persona_ca_pem": ca, "dut_ca_pem": null},
            "tls": {"versions": "1.3", "suites": ["aes128_gcm"], "groups": ["x25519"]},
            "handshake_timeout": "5s", "request_timeout": "5s", "seed": u64::from(self.trials),
        });
        api::request(&self.socket, "PUT", &path, Some(&order))?;
        wait::pass(self.time);
        wait::until("the engine did not end its trial", Duration::from_secs(30), || {
            self.engine.check()?;
            let mut status = api::request(&self.socket, "GET", &path, None)?;
            Ok((status["state"] == "ended").then(|| status["report"].take()))
        })
    }
}

/// Value of the bucket in which quantile `q` lies.
fn quantile(buckets: &[(u64, u64)], q: f64) -> Option<f64> {
    let all: u64 = buckets.iter().map(|bucket| bucket.1).sum();
    let rank = ((all as f64 * q).ceil() as u64).max(1);
    let mut seen = 0;
    buckets
        .iter()
        .find(|bucket| {
            seen += bucket.1;
            seen >= rank
        })
        .map(|bucket| bucket.0 as f64)
}

fn pinned(words: &[&str]) -> Vec<String> {
    ["taskset", "--cpu-list", CLIENT_CORE].iter().chain(words).map(|word| (*word).to_owned()).collect()
}

fn wrk(pattern: Pattern, server: &Server, time: Duration) -> Result<Done> {
    let url = format!("https://127.0.0.1:{}{OBJECT_PATH}", server.port);
    let (connections, seconds) = (format!("-c{}", pattern.connections), format!("-d{}s", time.as_secs().max(1)));
    let mut words = vec!["wrk", "-t1", &connections, &seconds];
    if pattern.reuse == Reuse::Fresh {
        words.extend(["-H", "Connection: close"]);
    }
    words.push(&url);
    let run = timed(&pinned(&words))?;
    let requests = wrk_requests(&run.stdout).with_context(|| format!("wrk printed something new: {}", run.stdout))?;
    Ok(Done { requests, client_cpu_us: run.cpu_us })
}

/// From `  123456 requests in 4.00s, 1.23GB read`.
fn wrk_requests(stdout: &str) -> Option<u64> {
    stdout.lines().find(|line| line.contains(" requests in "))?.split_whitespace().next()?.parse().ok()
}

fn h2load(pattern: Pattern, server: &Server, time: Duration) -> Result<Done> {
    let url = format!("https://127.0.0.1:{}{OBJECT_PATH}", server.port);
    let (connections, streams) = (format!("-c{}", pattern.connections), format!("-m{}", pattern.streams));
    let duration = format!("-D{}", time.as_secs().max(1));
    let mut words = vec!["h2load", "-t1", &connections, &streams, &duration, "--groups=X25519"];
    if pattern.protocol == Protocol::H1 {
        words.push("--h1");
    }
    words.push(&url);
    let run = timed(&pinned(&words))?;
    let requests =
        h2load_requests(&run.stdout).with_context(|| format!("h2load printed something new: {}", run.stdout))?;
    Ok(Done { requests, client_cpu_us: run.cpu_us })
}

/// From `requests: 100 total, 100 started, 100 done, 98 succeeded, 2 failed, …`.
fn h2load_requests(stdout: &str) -> Option<u64> {
    let line = stdout.lines().find_map(|line| line.strip_prefix("requests:"))?;
    line.split(',').find_map(|part| part.trim().strip_suffix(" succeeded"))?.parse().ok()
}

fn h3_crate(program: &Path, pattern: Pattern, server: &Server, time: Duration) -> Result<Done> {
    let (program, ca) = (program.to_string_lossy(), server.ca.to_string_lossy());
    let (port, connections, streams) =
        (server.port.to_string(), pattern.connections.to_string(), pattern.streams.to_string());
    let seconds = time.as_secs_f64().to_string();
    let mut words = vec![&*program, "--port", &port, "--connections", &connections, "--streams", &streams];
    words.extend(["--server-name", SERVER_NAME, "--path", OBJECT_PATH, "--ca", &ca, "--seconds", &seconds]);
    if pattern.reuse == Reuse::Fresh {
        words.push("--fresh");
    }
    let run = timed(&pinned(&words))?;
    let said: Value = serde_json::from_str(&run.stdout).context("h3-peer did not print JSON")?;
    Ok(Done { requests: said["requests"].as_u64().unwrap_or(0), client_cpu_us: run.cpu_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_peers_print() {
        assert_eq!(wrk_requests("  2 threads\n  61234 requests in 4.01s, 75.5MB read\n"), Some(61_234));
        let h2load = "requests: 9 total, 9 started, 9 done, 7 succeeded, 2 failed, 2 errored, 0 timeout\n";
        assert_eq!(h2load_requests(h2load), Some(7));
        assert_eq!(wrk_requests("unable to connect"), None);
    }

    #[test]
    fn finds_the_quantile_in_sparse_buckets() {
        assert_eq!(quantile(&[(10, 98), (50, 1), (900, 1)], 0.99), Some(50.0));
        assert_eq!(quantile(&[(10, 1)], 0.99), Some(10.0));
        assert_eq!(quantile(&[], 0.99), None);
    }
}
