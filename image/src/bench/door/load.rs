//! The load tools nobody here wrote: wrk for HTTP/1.1 as fast as it goes, h2load for HTTP/2, for every fixed rate and for many connections.
//!
//! A fixed rate is meant to be offered whatever comes back (open loop), from many clients with few requests a second each: one every 20 ms or
//! less often, because h2load's clock ticks every 10 ms and would send bursts at higher rates. Each client sends by a clock of its own that
//! begins with its connection, so connections are made one after another: made at once, all would send in the same moment, and the answer
//! times would be those of a queue that the tool itself made. Over HTTP/2 a client has streams enough never
//! to wait. Over HTTP/1.1, which is also how the daemon's socket is asked, it has one request in flight, and one that is due while an answer
//! is slower than 20 ms goes out late, with a delay that no answer time shows. A run in which one in twenty was not sent at all is an error,
//! not a figure. Every answer other than 2xx is an error, unless the caller wants to count them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::costs::OPEN_STREAMS;
use super::stand::{DAEMONS, Stand, bearer};
use crate::bench::clients::Protocol;
use crate::bench::servers::CLIENT_CORE;
use crate::bench::wait;

/// Most requests a second of one client.
const CLIENT_RATE: f64 = 50.0;
/// From one connection of a fixed rate to the next. Shares no factor with the periods in which clients send, so these begin everywhere in them.
const APART: Duration = Duration::from_millis(7);
/// With all connections open, before anything counts: first connections to the daemon. And after, so that nobody ends before the others.
const WARM_UP: Duration = Duration::from_secs(1);
/// Share of the offered requests that must have been sent.
const OFFERED: f64 = 0.95;
/// How often a watched run is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long h2load may need beyond what it was told.
const BEYOND: Duration = Duration::from_secs(60);

/// Where requests go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// TLS on loopback.
    Tls { port: u16, token: Option<String> },
    /// Plain HTTP/1.1 on a unix socket.
    Socket(PathBuf),
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(super) target: Target,
    pub(super) protocol: Protocol,
    pub(super) connections: u32,
    /// Requests in flight on each connection.
    pub(super) streams: u32,
    /// Each connection asks them in this order, again and again.
    pub(super) paths: Vec<String>,
    pub(super) headers: Vec<String>,
}

/// Answers of a run, by what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) requests: u64,
    /// With a status of 2xx.
    pub(crate) good: u64,
}

/// Answer times of a fixed rate, µs, in order.
#[derive(Debug, Clone)]
pub(super) struct Times(Vec<u64>);

impl Times {
    /// The value below which the share `q` lies.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((self.0.len() as f64 * q).ceil() as usize).max(1);
        self.0.get(rank - 1).map(|us| *us as f64)
    }
}

/// h2load's words for `each` requests a second of every client.
pub(crate) fn steady_words(each: u32, time: Duration) -> [String; 3] {
    [format!("--rps={each}"), "-D".to_owned(), seconds(time)]
}

impl Load {
    /// A mix of the daemon's routes over HTTP/2.
    pub(crate) fn steady(stand: &Stand, clients: u32) -> Self {
        let path = |rest: &str| format!("/api/v1/{}/{rest}", DAEMONS[0]);
        let paths = vec![path("constant"), path("items/17"), path("large")];
        let (target, protocol) = (stand.door().target(), Protocol::H2);
        Self { target, protocol, connections: clients, streams: OPEN_STREAMS, paths, headers: Vec::new() }
    }

    /// As fast as it goes for `time`; requests per second.
    pub(super) fn closed(&self, time: Duration) -> Result<u64> {
        let answers = match (self.protocol, &self.target) {
            (Protocol::H1, Target::Tls { .. }) => self.wrk(time)?,
            _ => return self.closed_by_h2load(time),
        };
        if answers.good == 0 || answers.good < answers.requests {
            bail!("{} of {} answers were other than 2xx", answers.requests - answers.good, answers.requests);
        }
        Ok(answers.good)
    }

    /// The same, also over HTTP/1.1 by the tool that sends at fixed rates.
    pub(super) fn closed_by_h2load(&self, time: Duration) -> Result<u64> {
        Ok(self.h2load(&["-D".to_owned(), seconds(time)])?.good)
    }

    /// `rate` requests per second for `time`, from as many clients as it takes; their answer times.
    pub(super) fn open(&self, rate: f64, time: Duration, log: &Path) -> Result<Times> {
        let clients = ((rate / CLIENT_RATE).ceil() as u32).max(self.connections);
        let load = Load { connections: clients, ..self.clone() };
        // h2load adds to a file that is there.
        match fs::remove_file(log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", log.display()));
            }
            _ => {}
        }
        let each = rate / f64::from(clients);
        let begins = APART * clients + WARM_UP;
        let requests = ((begins + time + WARM_UP).as_secs_f64() * each).ceil() as u32;
        let words = [
            format!("--rps={each}"),
            "--rate=1".to_owned(),
            format!("--rate-period={}ms", APART.as_millis()),
            format!("--log-file={}", log.display()),
            "-n".to_owned(),
            (requests * clients).to_string(),
        ];
        load.h2load(&words)?;
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        let times = times(&text, begins, time)?;
        let offered = rate * time.as_secs_f64();
        if (times.0.len() as f64) < offered * OFFERED {
            bail!("{} of {offered:.0} requests were sent in time; the machine cannot offer this rate", times.0.len());
        }
        Ok(times)
    }

    /// h2load with `words`, while `look` is called again and again until it ends.
    pub(crate) fn watched(
        &self,
        words: &[String],
        time: Duration,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<Answers> {
        let typed = self.h2load_words(words);
        let mut command = Command::new(&typed[0]);
        command.args(&typed[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().context("h2load cannot be started")?;
        let mut running = Running(child);
        let mut next = Duration::ZERO;
        let began = std::time::Instant::now();
        // It prints little more than a page, which a pipe holds.
        let status = wait::until("h2load did not end", time + BEYOND, || {
            if began.elapsed() >= next {
                look()?;
                next = began.elapsed() + LOOK;
            }
            Ok(running.0.try_wait()?)
        })?;
        let mut said = String::new();
        if let Some(mut stdout) = running.0.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut said)?;
        }
        if !status.success() {
            bail!("h2load failed ({status}): {}", said.trim());
        }
        answers(&said).with_context(|| format!("h2load printed something new: {said}"))
    }

    fn h2load(&self, words: &[String]) -> Result<Answers> {
        let typed = self.h2load_words(words);
        let said = crate::command::output_of(Command::new(&typed[0]).args(&typed[1..]))?;
        let answers = answers(&said).with_context(|| format!("h2load printed something new: {said}"))?;
        if answers.good < answers.requests {
            bail!("{} of {} answers were other than 2xx", answers.requests - answers.good, answers.requests);
        }
        Ok(answers)
    }

    fn h2load_words(&self, words: &[String]) -> Vec<String> {
        let mut all = pinned("h2load");
        let mut add = |word: &str| all.push(word.to_owned());
        add("-t1");
        add(&format!("-c{}", self.connections));
        add(&format!("-m{}", self.streams));
        if self.protocol == Protocol::H1 {
            add("--h1");
        }
        for header in self.all_headers() {
            add("-H");
            add(&header);
        }
        words.iter().for_each(|word| add(word));
        let base = match &self.target {
            Target::Tls { port, .. } => {
                add("--groups=X25519");
                format!("https://127.0.0.1:{port}")
            }
            Target::Socket(socket) => {
                add("-B");
                add(&format!("unix:{}", socket.display()));
                "http://daemon".to_owned()
            }
        };
        self.paths.iter().for_each(|path| add(&format!("{base}{path}")));
        all
    }

    fn wrk(&self, time: Duration) -> Result<Answers> {
        let Target::Tls { port, .. } = &self.target else { bail!("wrk speaks to no unix socket") };
        let mut all = pinned("wrk");
        all.extend(["-t1".to_owned(), format!("-c{}", self.connections), format!("-d{}s", seconds(time))]);
        for header in self.all_headers() {
            all.extend(["-H".to_owned(), header]);
        }
        let path = self.paths.first().context("nothing to ask for")?;
        all.push(format!("https://127.0.0.1:{port}{path}"));
        let said = crate::command::output_of(Command::new(&all[0]).args(&all[1..]))?;
        wrk_answers(&said).with_context(|| format!("wrk printed something new: {said}"))
    }

    fn all_headers(&self) -> Vec<String> {
        let token = match &self.target {
            Target::Tls { token: Some(token), .. } => Some(bearer(token)),
            _ => None,
        };
        token.into_iter().chain(self.headers.iter().cloned()).collect()
    }
}

/// Ended with its scope, also when looking failed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A program on the client core, with as many descriptors as the machine gives; the kernel ends it when we die. It gives way to the daemon with
/// which it shares the core: else an answer waits for as long as the scheduler lets the tool go on, which is the tool's time and not the door's.
fn pinned(program: &str) -> Vec<String> {
    let raised = "ulimit -Sn hard; exec \"$@\"";
    [
        "setpriv",
        "--pdeathsig",
        "TERM",
        "--",
        "bash",
        "-c",
        raised,
        "bash",
        "nice",
        "taskset",
        "--cpu-list",
        CLIENT_CORE,
        program,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn seconds(time: Duration) -> String {
    time.as_secs().max(1).to_string()
}

/// From `requests: 100 total, 100 started, 100 done, …` and `status codes: 98 2xx, 0 3xx, 2 4xx, 0 5xx`.
fn answers(said: &str) -> Option<Answers> {
    let count = |line: &str, kind: &str| {
        let line = said.lines().find_map(|all| all.strip_prefix(line))?;
        line.split(',').find_map(|part| part.trim().strip_suffix(kind))?.trim().parse::<u64>().ok()
    };
    // `total` is what was asked for; where a duration was asked for it is what was done.
    let requests = count("requests:", " total")?.max(count("requests:", " done")?);
    Some(Answers { requests, good: count("status codes:", " 2xx")? })
}

/// From `  123456 requests in 4.00s, 1.23GB read`, `Non-2xx or 3xx responses: 7` and `Socket errors: connect 0, read 1, …`.
fn wrk_answers(said: &str) -> Option<Answers> {
    let requests: u64 =
        said.lines().find(|line| line.contains(" requests in "))?.split_whitespace().next()?.parse().ok()?;
    let after = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name));
    let bad = after("Non-2xx or 3xx responses:").and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    let broken: u64 = after("Socket errors:")
        .map_or(0, |line| line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum());
    Some(Answers { requests, good: requests.saturating_sub(bad + broken) })
}

/// Lines of h2load's log: start (µs), status and µs to the end of the answer, between tabs, by the end of the answer. What began within `time`
/// from `begins` after the first request counts; every request must have succeeded.
fn times(log: &str, begins: Duration, time: Duration) -> Result<Times> {
    let mut requests: Vec<(u64, u64)> = Vec::new();
    for line in log.lines() {
        let mut fields = line.split('\t');
        let start = fields.next().and_then(|us| us.parse().ok());
        let (status, us) = (fields.next(), fields.next().and_then(|us| us.parse().ok()));
        match (start, status, us) {
            (Some(start), Some("200"), Some(us)) => requests.push((start, us)),
            _ => bail!("h2load logged a request that did not succeed: {line}"),
        }
    }
    let first = requests.iter().map(|(start, _us)| *start).min().unwrap_or(0);
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let counts = first + us(begins)..first + us(begins + time);
    let mut times: Vec<u64> =
        requests.into_iter().filter(|(start, _us)| counts.contains(start)).map(|(_start, us)| us).collect();
    times.sort_unstable();
    Ok(Times(times))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_what_the_tools_print() {
        let h2load = "requests: 9 total, 9 started, 9 done, 7 succeeded, 2 failed, 2 errored, 0 timeout\n\
                      status codes: 7 2xx, 0 3xx, 1 4xx, 0 5xx\n";
        assert_eq!(answers(h2load), Some(Answers { requests: 9, good: 7 }));
        let wrk = "  61234 requests in 4.01s, 75.5MB read\n";
        assert_eq!(wrk_answers(wrk), Some(Answers { requests: 61_234, good: 61_234 }));
        let bad =
            format!("{wrk}  Socket errors: connect 0, read 1, write 0, timeout 3\n  Non-2xx or 3xx responses: 200\n");
        assert_eq!(wrk_answers(&bad).unwrap().good, 61_030);
        assert_eq!(wrk_answers("unable to connect"), None);
    }

    #[test]
    fn a_log_gives_quantiles_and_a_failed_request_none() {
        let (begins, time) = (Duration::from_secs(1), Duration::from_secs(1));
        let counted = (1..=100).rev().map(|us| format!("{}\t200\t{us}\n", 1_700_000_001_000_000_u64 + us));
        let others = ["1700000000000000\t200\t7777\n", "1700000002000000\t200\t8888\n"].map(str::to_owned);
        let log: String = counted.chain(others).collect();
        let times = times(&log, begins, time).unwrap();
        assert_eq!(
            (times.quantile(0.5), times.quantile(0.99), times.quantile(1.0)),
            (Some(50.0), Some(99.0), Some(100.0))
        );
        assert!(super::times("1700000000000000\t503\t12\n", begins, time).is_err());
        assert!(super::times("1700000000000000\t-1\t12\n", begins, time).is_err());
    }
}
