//! A stand for tests: personas on loopback in this process, orders that name them, and trials that run to their end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod faulty;

use std::net::IpAddr;
use std::time::Duration;

use tbi_bench::control::engine::{Load, Phases, Target, TlsProfile, TrialOrder, TrialReport, TrialStatus, Trust};
use tbi_bench::control::personas::{KeyKind, PersonasConfig, Site};
use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;
use tbi_daemon::{Health, Shutdown};
use tbi_engine::order::Trial;
use tbi_engine::trial::Running;
use tbi_personas::Personas;
use tbi_personas::config::Config;

/// Personas with a directory of their own.
pub struct Stand {
    personas: Personas,
    shutdown: Shutdown,
    pub targets: Vec<Target>,
    pub ca_pem: String,
    _directory: tempfile::TempDir,
}

impl Stand {
    /// `sites` personas on 127.0.1.x, any free port.
    pub fn start(sites: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = |i: u8| Site {
            persona: format!("persona{i}"),
            server_name: format!("persona{i}.test"),
            // Only the first has the one IPv6 loopback address there is.
            addresses: std::iter::once(IpAddr::from([127, 0, 1, i + 1]))
                .chain((i == 0).then_some(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)))
                .collect(),
        };
        let words = PersonasConfig {
            sites: (0..sites).map(site).collect(),
            key: KeyKind::EcdsaP256,
            ca_dir: directory.path().to_string_lossy().into_owned(),
            workers: 1,
            port: 0,
        };
        let config = Config::check(words.clone()).unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        let shutdown = Shutdown::new();
        let personas = Personas::start(&config, now, &Health::new(), &shutdown).unwrap();
        let targets = words
            .sites
            .into_iter()
            .map(|site| Target {
                persona: site.persona,
                address: site.addresses[0],
                port: personas.port(),
                server_name: site.server_name,
            })
            .collect();
        let ca_pem = std::fs::read_to_string(directory.path().join("ca.pem")).unwrap();
        Self { personas, shutdown, targets, ca_pem, _directory: directory }
    }

    pub fn run(&self, order: TrialOrder) -> TrialReport {
        run(order, 2)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.shutdown.request();
        self.personas.join();
    }
}

/// Short phases, one object, closed loop with one connection; the test changes what it is about.
pub fn order(stand: &Stand, protocol: Protocol) -> TrialOrder {
    order_for(stand.targets.clone(), stand.ca_pem.clone(), protocol)
}

pub fn order_for(targets: Vec<Target>, ca_pem: String, protocol: Protocol) -> TrialOrder {
    TrialOrder {
        protocol,
        object: Object::Kb1,
        load: Load::Closed { connections: 1, streams: 1 },
        transactions_per_connection: 1,
        phases: Phases {
            init: Span::from_millis(50),
            ramp_up: Span::from_millis(150),
            sustain: Span::from_millis(1000),
            ramp_down: Span::from_millis(400),
        },
        targets,
        sources: vec!["127.0.2.0/28".parse().unwrap()],
        trust: Trust { persona_ca_pem: ca_pem, dut_ca_pem: None },
        tls: TlsProfile::default(),
        handshake_timeout: Span::from_secs(2),
        request_timeout: Span::from_secs(2),
        seed: 7,
    }
}

/// Runs a trial to its end.
pub fn run(order: TrialOrder, workers: u32) -> TrialReport {
    runtime().block_on(async {
        let running = Running::start("test".to_owned(), Trial::new(order).unwrap(), workers);
        let mut progress = running.progress();
        tokio::time::timeout(Duration::from_secs(30), progress.wait_for(|progress| progress.ended))
            .await
            .unwrap()
            .unwrap();
        match running.status().unwrap() {
            TrialStatus::Ended { report } => *report,
            TrialStatus::Running { .. } => panic!("ended but running"),
        }
    })
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The documented invariants of [`tbi_bench::control::engine::Attempts`].
pub fn check_sums(report: &TrialReport) {
    let attempts = &report.attempts;
    assert_eq!(attempts.scheduled, attempts.sent + attempts.skipped, "{attempts:?}");
    assert_eq!(attempts.sent, attempts.succeeded + attempts.failed + attempts.unfinished, "{attempts:?}");
    assert_eq!(attempts.transactions, attempts.sent, "{attempts:?}");
    assert!(attempts.late <= attempts.sent, "{attempts:?}");
    assert_eq!(report.errors.iter().map(|error| error.count).sum::<u64>(), attempts.failed, "{:?}", report.errors);
}
