//! What the door counts: per operation the answers by class, how long they took to their first byte, bytes, and requests in flight; and the
//! connections. Atomics only; text is made anew for each scrape.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

/// Upper bounds of the histogram, µs. Fixed, so that boxes and versions can be compared and added.
const BUCKETS: [(u64, &str); 14] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_000, "0.002"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Numbers of one operation.
#[derive(Debug)]
pub(crate) struct Meter {
    labels: String,
    by_class: [AtomicU64; 5],
    buckets: [AtomicU64; 15],
    sum_us: AtomicU64,
    in_flight: AtomicU64,
    bytes: AtomicU64,
}

/// One request that is not over.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Meter>);

impl Meter {
    /// `daemon` and `route` are labels; routes are templates, so their number is that of the operations.
    pub(crate) fn new(daemon: &str, method: &str, route: &str) -> Arc<Self> {
        Arc::new(Self {
            labels: format!("daemon=\"{}\",method=\"{method}\",route=\"{}\"", escape(daemon), escape(route)),
            by_class: Default::default(),
            buckets: Default::default(),
            sum_us: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// The head of the answer goes out.
    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.by_class[class].fetch_add(1, Relaxed);
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BUCKETS.partition_point(|(bound, _)| *bound < us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    fn write(&self, text: &mut Lines) {
        let labels = &self.labels;
        let answered: u64 = self.by_class.iter().map(|count| count.load(Relaxed)).sum();
        let in_flight = self.in_flight.load(Relaxed);
        if answered == 0 && in_flight == 0 {
            return;
        }
        for (class, count) in CLASSES.iter().zip(&self.by_class) {
            let count = count.load(Relaxed);
            if count > 0 {
                let _infallible =
                    writeln!(text.answers, "tbi_door_requests_total{{{labels},status=\"{class}\"}} {count}");
            }
        }
        let mut below = 0;
        for ((_, bound), count) in BUCKETS.iter().zip(&self.buckets) {
            below += count.load(Relaxed);
            let _infallible =
                writeln!(text.durations, "tbi_door_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {below}");
        }
        let count = below + self.buckets[BUCKETS.len()].load(Relaxed);
        let sum = self.sum_us.load(Relaxed) as f64 / 1e6;
        let _infallible = writeln!(
            text.durations,
            "tbi_door_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {count}\n\
             tbi_door_request_duration_seconds_sum{{{labels}}} {sum}\n\
             tbi_door_request_duration_seconds_count{{{labels}}} {count}"
        );
        let _infallible = writeln!(text.bytes, "tbi_door_sent_bytes_total{{{labels}}} {}", self.bytes.load(Relaxed));
        let _infallible = writeln!(text.in_flight, "tbi_door_requests_in_flight{{{labels}}} {in_flight}");
    }
}

impl InFlight {
    pub(crate) fn sent(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Connections, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) http1: AtomicU64,
    pub(crate) http2: AtomicU64,
    pub(crate) http3: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
}

#[derive(Default)]
struct Lines {
    answers: String,
    durations: String,
    bytes: String,
    in_flight: String,
}

/// Prometheus text of all meters. Operations that were never asked for are left out.
pub(crate) fn text<'a>(meters: impl Iterator<Item = &'a Arc<Meter>>) -> String {
    let mut lines = Lines::default();
    for meter in meters {
        meter.write(&mut lines);
    }
    let mut text = String::new();
    for (name, help, kind, samples) in [
        (
            "tbi_door_requests_total",
            "Requests answered, by operation and class of the status.",
            "counter",
            lines.answers,
        ),
        (
            "tbi_door_request_duration_seconds",
            "Time from the request's head to the answer's.",
            "histogram",
            lines.durations,
        ),
        ("tbi_door_sent_bytes_total", "Bytes of answers' bodies.", "counter", lines.bytes),
        ("tbi_door_requests_in_flight", "Requests that are not over.", "gauge", lines.in_flight),
    ] {
        let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Puts `daemon="NAME"` into every sample of a daemon's text, and leaves out what was described before.
pub(crate) fn labelled(text: &str, daemon: &str, described: &mut std::collections::HashSet<String>) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            // A family may be described once in a text.
            let words: Vec<&str> = comment.split_whitespace().take(2).collect();
            if words.len() == 2 && !described.insert(words.join(" ")) {
                continue;
            }
            let _infallible = writeln!(out, "{line}");
        } else if let Some(end) = line.find(['{', ' ']) {
            let (name, rest) = line.split_at(end);
            let _infallible = match rest.strip_prefix('{') {
                Some(labels) => writeln!(out, "{name}{{daemon=\"{daemon}\",{labels}"),
                None => writeln!(out, "{name}{{daemon=\"{daemon}\"}}{rest}"),
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_where_it_belongs() {
        let meter = Meter::new("agent", "GET", "/v1/runs/{id}");
        let request = meter.begin();
        meter.answered(StatusCode::NOT_FOUND, Duration::from_micros(500));
        request.sent(12);
        let text = text([&meter].into_iter());
        for line in [
            "tbi_door_requests_total{daemon=\"agent\",method=\"GET\",route=\"/v1/runs/{id}\",status=\"4xx\"} 1",
            "tbi_door_request_duration_seconds_bucket{daemon=\"agent\",method=\"GET\",route=\"/v1/runs/{id}\",le=\"0.00025\"} 0",
            "tbi_door_request_duration_seconds_bucket{daemon=\"agent\",method=\"GET\",route=\"/v1/runs/{id}\",le=\"0.0005\"} 1",
            "tbi_door_sent_bytes_total{daemon=\"agent\",method=\"GET\",route=\"/v1/runs/{id}\"} 12",
            "tbi_door_requests_in_flight{daemon=\"agent\",method=\"GET\",route=\"/v1/runs/{id}\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is missing in\n{text}");
        }
        drop(request);
        assert_eq!(meter.in_flight.load(Relaxed), 0);
    }

    #[test]
    fn a_daemons_text_gets_its_name_and_is_described_once() {
        let mut described = std::collections::HashSet::new();
        let text = "# HELP a b c\n# TYPE a counter\na{x=\"1\"} 2\na 3\n";
        assert_eq!(
            labelled(text, "agent", &mut described),
            "# HELP a b c\n# TYPE a counter\na{daemon=\"agent\",x=\"1\"} 2\na{daemon=\"agent\"} 3\n"
        );
        assert_eq!(labelled(text, "load", &mut described), "a{daemon=\"load\",x=\"1\"} 2\na{daemon=\"load\"} 3\n");
    }
}
