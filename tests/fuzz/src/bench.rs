//! Bodies of the fuzz targets for the parsers of `tbi-bench`: each takes any bytes and panics only when a promise is broken.
//!
//! They use nothing but stable Rust and `tbi-bench`, so that `engine/bench/tests/fuzz_corpus.rs` replays the committed corpus in
//! every test run; libFuzzer comes in only through `fuzz_targets/`.

use tbi_bench::catalogue::Catalogue;
use tbi_bench::control::engine::{Arrivals, Phases, ProbeReport};
use tbi_bench::histogram::LatencyHistogram;
use tbi_bench::isp::vyos as config_boot;
use tbi_bench::mode_check::{self, Expected};
use tbi_bench::netplan::MacAddress;
use tbi_bench::object::Object;
use tbi_bench::phases::Phase;
use tbi_bench::plan::{PlanFile, PlanFormat, Profile};
use tbi_bench::proof::{Answer, Echo, Interception, KEYING_MATERIAL_LEN, Token};
use tbi_bench::quic_class;
use tbi_bench::schedule::Schedule;
use tbi_bench::stats::{paired, steady};
use tbi_bench::topology::Topology;
use tbi_bench::units::{Rate, Span};
use tbi_bench::wire::ServerTiming;

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[
    ("bench_catalogue", catalogue),
    ("bench_histogram", histogram),
    ("bench_mac_address", mac_address),
    ("bench_object", object),
    ("bench_plan", plan),
    ("bench_probes", probes),
    ("bench_proof", proof),
    ("bench_schedule", schedule),
    ("bench_server_timing", server_timing),
    ("bench_statistics", statistics),
    ("bench_topology", topology),
    ("bench_units", units),
    ("bench_vyos", vyos),
];

/// Spans and rates that parse are written so that they parse to the same.
pub fn units(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.to_string().parse(), Ok(span));
    }
    if let Ok(rate) = text.parse::<Rate>() {
        assert_eq!(rate.to_string().parse(), Ok(rate));
        assert!(rate.as_per_second() > 0.0 && rate.as_per_second() <= Rate::MAX_PER_SECOND as f64);
    }
}

/// Paths and names of objects: what a class asks for is what the path stands for, and no other path stands for anything.
pub fn object(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(bytes) = Object::size_of_path(text) {
        let known = Object::ALL.into_iter().any(|object| (0..10).any(|n| object.request(n) == (text, bytes)));
        assert!(known, "{text}");
    }
    if let Ok(object) = text.parse::<Object>() {
        assert!(object.to_string().eq_ignore_ascii_case(text));
    }
}

/// Server timing that parses is written so that it parses to the same.
pub fn server_timing(data: &[u8]) {
    if let Some(timing) = ServerTiming::parse(data) {
        assert_eq!(ServerTiming::parse(timing.to_header().as_bytes()), Some(timing));
    }
}

/// A histogram that parses survives another round through JSON, and merging counts everything.
pub fn histogram(data: &[u8]) {
    let Ok(one) = serde_json::from_slice::<LatencyHistogram>(data) else { return };
    let json = serde_json::to_string(&one).expect("a histogram serialises");
    let two: LatencyHistogram = serde_json::from_str(&json).expect("what was written is read");
    assert_eq!(one, two);
    let mut both = one.clone();
    both.merge(&two);
    assert_eq!(both.len(), one.len().saturating_mul(2));
    assert_eq!(both.min(), one.min());
    assert!(one.quantile(0.5) <= one.quantile(0.999) && one.clipped() <= one.len());
}

/// Hex that parses is written back as its lower case, and every answer has one class.
pub fn proof(data: &[u8]) {
    let parsed = Token::from_hex(data);
    assert_eq!(parsed.is_some(), Echo::from_hex(data).is_some());
    if let Some(token) = parsed {
        assert_eq!(&token.to_hex()[..], data.to_ascii_lowercase());
    }
    let own = Echo::from_keying_material(&[7; KEYING_MATERIAL_LEN]);
    let class = Interception::classify(own, Answer::Response(Some(data)));
    assert_eq!(class == Interception::Altered, parsed.is_none());
    assert_eq!(class == Interception::EndToEnd, data.eq_ignore_ascii_case(&own.to_hex()));
}

/// A plan is refused with a sentence or resolved; in either language, never a panic. One that is resolved and kept in a record is the
/// same plan when it is run again.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for format in [PlanFormat::Toml, PlanFormat::Json] {
        let resolved = PlanFile::parse(text, format).and_then(|file| file.resolve(Profile::Quick));
        match resolved {
            Ok(plan) => {
                let kept = serde_json::to_string(&plan).expect("a plan serialises");
                let again = PlanFile::parse(&kept, PlanFormat::Json).and_then(|file| file.resolve(Profile::Short));
                assert_eq!(again.expect("a resolved plan resolves"), plan);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Personas and pool, parted by a NUL byte.
pub fn catalogue(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (personas, pool) = text.split_once('\0').unwrap_or((text, ""));
    if let Err(error) = Catalogue::parse(personas, pool) {
        assert!(!error.to_string().is_empty());
    }
}

/// A topology for the catalogue that ships.
pub fn topology(data: &[u8]) {
    thread_local!(static CATALOGUE: Catalogue = Catalogue::builtin());
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = CATALOGUE.with(|catalogue| Topology::parse(text, catalogue)) {
        assert!(!error.to_string().is_empty());
    }
}

/// A MAC address that parses is written as its lower case; every other text gets a sentence.
pub fn mac_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<MacAddress>() {
        Ok(mac) => assert_eq!(mac.to_string(), text.to_ascii_lowercase()),
        Err(error) => assert!(error.to_string().len() < 400),
    }
}

/// A router's configuration that is read is written so that it is read as the same, and is judged; what is refused gets a sentence.
pub fn vyos(data: &[u8]) {
    thread_local!(static WORLD: (Topology, Catalogue) = (Topology::builtin(), Catalogue::builtin()));
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config_boot::Tree::parse(text) {
        Ok(tree) => {
            let again = config_boot::Tree::parse(&tree.to_string());
            assert_eq!(again.as_ref(), Ok(&tree));
            let sentences = WORLD.with(|(topology, catalogue)| config_boot::missing(&tree, topology, catalogue));
            assert!(sentences.iter().all(|sentence| sentence.ends_with('.')));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Probe reports, judged: two JSON documents parted by a NUL byte, HTTP/3 and HTTP/2.
pub fn probes(data: &[u8]) {
    let split = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (h3, h2) = data.split_at(split);
    let Ok(h3) = serde_json::from_slice::<ProbeReport>(h3) else { return };
    let h2 = serde_json::from_slice(h2.get(1..).unwrap_or_default()).unwrap_or(ProbeReport { probes: Vec::new() });
    let verdict = quic_class::classify(&h3, &h2);
    assert!(verdict.evidence.ends_with('.'));
    assert_eq!(verdict.leaks.is_empty(), verdict.class != quic_class::QuicClass::Mixed);
    for expected in
        [Expected::Class(Interception::Intercepted), Expected::Class(Interception::EndToEnd), Expected::Blocked]
    {
        if let Err(error) = mode_check::verify(&h3, expected) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Any rate and phases give ordered arrivals inside the phases: rate per 1000 s, seed, four phases in µs, 8 bytes each.
pub fn schedule(data: &[u8]) {
    let mut numbers = eights(data).map(u64::from_le_bytes);
    let mut number = || numbers.next().unwrap_or(0);
    let Ok(rate) = format!("{}/min", number() % 10_000_000_000).parse::<Rate>() else { return };
    let seed = number();
    let mut span = || Span::from_micros(number());
    let phases = Phases { init: span(), ramp_up: span(), sustain: span(), ramp_down: span() };
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let whole = Schedule::new(rate, arrivals, seed, &phases);
        assert!(whole.expected() >= 0.0);
        let first: Vec<u64> = whole.clone().take(1000).collect();
        assert!(first.is_sorted());
        assert!(first.iter().all(|&at| matches!(phases.at(at), Phase::RampUp | Phase::Sustain | Phase::RampDown)));
        let second_of_three: Vec<u64> = whole.worker(1, 3).take(100).collect();
        assert!(second_of_three.iter().zip(first.iter().skip(1).step_by(3)).all(|(share, all)| share == all));
    }
}

/// Any floats give an estimate or a refusal, and what is given is a number.
pub fn statistics(data: &[u8]) {
    let values: Vec<f64> = eights(data).map(f64::from_le_bytes).take(64).collect();
    let pairs: Vec<paired::Pair> = values.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    if let Ok(cost) = paired::estimate(&pairs, 1, 100) {
        assert!(cost.ratio.is_finite() && cost.ratio > 0.0 && cost.difference.is_finite());
        assert!(
            [cost.low, cost.high, cost.difference_low, cost.difference_high]
                .iter()
                .flatten()
                .all(|end| end.is_finite())
        );
        assert!(cost.low.is_none_or(|low| low <= cost.ratio * (1.0 + 1e-9)));
    }
    if let Some(trend) = steady::mann_kendall(&values) {
        assert!((0.0..=1.0).contains(&trend.p));
    }
    let _steadiness = steady::judge(&values, &values, values.len());
    if let [sd, width, ..] = values[..] {
        assert!(
            paired::required_pairs(sd, width).is_ok_and(|pairs| pairs >= 2)
                || paired::required_pairs(sd, width).is_err()
        );
    }
}

fn eights(data: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    data.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok())
}
