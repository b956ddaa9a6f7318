//! The checks at sockets, files and interfaces that are there. That a real device, engine and personas pass, and fail, is shown by whole
//! runs (`tests/tests/lab_preflight.rs`).
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::routing::get;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tbi_bench::control::CpuTime;
use tbi_bench::control::engine::Trust;
use tbi_bench::control::personas::PersonasStatus;
use tbi_bench::control::practice_dut::{Behaviour, Identity};
use tbi_bench::netplan::Path;
use tbi_bench::plan::Profile;
use tbi_bench::preflight::clock::judge;
use tbi_bench::preflight::{CheckVerdict, Preflight};
use tbi_daemon::{Health, Listener, Shutdown, UnixClient};
use tbi_dut::practice::PracticeDut;
use tempfile::TempDir;

use super::*;
use crate::network::tests::in_namespaces;
use crate::run::place::{PathError, PathLayer};

struct Laid;

impl PathLayer for Laid {
    fn lay(&self, _: Path) -> BoxFuture<'_, Result<(), PathError>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// A certificate of its own authority, valid in these years: PEM and SHA-256.
fn certificate(from: i32, until: i32) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let sha256 = pki::certificates(&pem).unwrap()[0].sha256.clone();
    (pem, sha256)
}

/// A daemon of ours that answers with this router.
async fn daemon(dir: &TempDir, name: &str, router: axum::Router) -> UnixClient {
    let socket = dir.path().join(name);
    let health = Health::new();
    health.set_started();
    health.set_ready(Ok(()));
    let listener = Listener::bind(&socket).unwrap();
    let openapi = utoipa::openapi::OpenApi::default();
    tokio::spawn(tbi_daemon::serve(listener, router, health, openapi, String::new, Shutdown::new()));
    let client = UnixClient::new(&socket);
    client.wait_ready(Duration::from_secs(5)).await.unwrap();
    client
}

/// What the personas tell.
fn personas(ca_sha256: &str, leaves_valid: (i64, i64)) -> axum::Router {
    let status = PersonasStatus {
        sites: 100,
        ca_sha256: ca_sha256.to_owned(),
        ca_not_after: 0,
        leaves_valid,
        cpu: CpuTime::default(),
        handshakes: 0,
        handshake_failures: 0,
        sni_mismatches: 0,
        requests: 0,
    };
    axum::Router::new().route("/v1/status", get(move || async move { Json(status) }))
}

/// What the practice DUT tells; it stays a router, whatever it is told.
fn stubborn_device(ca: (String, String)) -> axum::Router {
    let identity = Identity {
        vendor: "TLSStress.Art".to_owned(),
        model: "practice DUT".to_owned(),
        version: "1".to_owned(),
        ca_sha256: ca.1,
        ca_not_after: 0,
    };
    axum::Router::new()
        .route("/v1/identity", get(move || async move { Json(identity) }))
        .route("/v1/ca.pem", get(move || async move { ca.0 }))
        .route(
            "/v1/behaviour",
            get(|| async { Json(Behaviour::default()) })
                .put(|Json(wanted): Json<Behaviour>| async move { Json(wanted) }),
        )
}

fn plan() -> Plan {
    Plan::of_profile(Profile::Quick)
}

fn floor(personas: UnixClient, dut: UnixClient, trust: Trust) -> Floor {
    let plan = plan();
    Floor {
        network: Box::new(Laid),
        engine: UnixClient::new("/nonexistent/engine.sock"),
        personas,
        dut: Box::new(PracticeDut::new(dut, plan.dut.on, plan.dut.bypass)),
        targets: Vec::new(),
        sources: Vec::new(),
        trust,
        log: "its log is there",
    }
}

fn now() -> i64 {
    Clocks::now().unix()
}

#[track_caller]
fn fails(finding: &Finding, words: &[&str]) {
    assert_eq!(finding.verdict, CheckVerdict::Failed, "{finding:?}");
    for word in words {
        assert!(finding.evidence.contains(word), "'{word}' is not in: {}", finding.evidence);
    }
    assert!(!finding.remedy.is_empty());
}

/// Certificates as in a sound bench, but for what `change` does.
async fn certificates_of(change: impl FnOnce(&mut Trust, &mut (i64, i64))) -> Finding {
    let dir = tempfile::tempdir().unwrap();
    let (persona_ca, device_ca) = (certificate(2020, 2049), certificate(2020, 2049));
    let mut trust = Trust { persona_ca_pem: persona_ca.0, dut_ca_pem: Some(device_ca.0.clone()) };
    let mut leaves = (now() - 3600, now() + 86_400);
    change(&mut trust, &mut leaves);
    let personas = daemon(&dir, "personas", personas(&persona_ca.1, leaves)).await;
    let dut = daemon(&dir, "dut", stubborn_device(device_ca)).await;
    pki::look(&plan(), &floor(personas, dut, trust), now()).await
}

#[tokio::test]
async fn fresh_certificates_that_the_agents_trust() {
    let finding = certificates_of(|_, _| {}).await;
    assert_eq!(finding.verdict, CheckVerdict::Passed, "{finding:?}");
    assert!(finding.evidence.contains("the device's CA until 2049-01-01"), "{}", finding.evidence);
}

#[tokio::test]
async fn an_expired_persona_ca() {
    let expired = certificates_of(|trust, _| trust.persona_ca_pem = certificate(2001, 2002).0).await;
    fails(&expired, &["the persona CA ended on 2002-01-01"]);
    let none = certificates_of(|trust, _| trust.persona_ca_pem = "{}".to_owned()).await;
    fails(&none, &["the persona CA that the agents trust is no certificate in PEM"]);
    let other = certificates_of(|trust, _| trust.persona_ca_pem = certificate(2020, 2049).0).await;
    fails(&other, &["the agents trust the persona CA with SHA-256", "but the one in force has"]);
}

#[tokio::test]
async fn leaves_that_end_before_the_run_does() {
    fails(&certificates_of(|_, leaves| leaves.1 = now() - 1).await, &["the personas' certificates ended on"]);
    fails(&certificates_of(|_, leaves| leaves.1 = now() + 5).await, &["before the planned end of the run"]);
}

#[tokio::test]
async fn a_device_whose_ca_the_agents_do_not_trust() {
    let other = certificates_of(|trust, _| trust.dut_ca_pem = Some(certificate(2020, 2049).0)).await;
    fails(&other, &["the agents trust the device's CA with SHA-256", "but the one in force has"]);
    fails(
        &certificates_of(|trust, _| trust.dut_ca_pem = None).await,
        &["were not given the certificate of the device's CA"],
    );
    // Beside others, in an operator's file.
    let beside = certificates_of(|trust, _| {
        let known = trust.dut_ca_pem.take().unwrap();
        trust.dut_ca_pem = Some(certificate(2001, 2002).0 + &known);
    });
    assert_eq!(beside.await.verdict, CheckVerdict::Passed);
}

#[tokio::test]
async fn a_device_that_stays_in_the_wrong_mode() {
    let dir = tempfile::tempdir().unwrap();
    let trust = Trust { persona_ca_pem: String::new(), dut_ca_pem: None };
    let dut = daemon(&dir, "dut", stubborn_device(certificate(2020, 2049))).await;
    let floor = floor(UnixClient::new(dir.path().join("personas")), dut, trust);
    fails(&device::modes(&plan(), &floor, WITHIN).await, &["another mode than it was switched to (on)"]);
    // Once it obeys, the next thing that is not there is named.
    let floor = Floor {
        dut: Box::new(PracticeDut::new(
            UnixClient::new(dir.path().join("dut")),
            Behaviour::default(),
            Behaviour::default(),
        )),
        ..floor
    };
    fails(&device::modes(&plan(), &floor, WITHIN).await, &["load engine", "engine.sock"]);
}

#[tokio::test]
async fn a_control_socket_that_is_not_the_devices() {
    let dir = tempfile::tempdir().unwrap();
    let trust = || Trust { persona_ca_pem: String::new(), dut_ca_pem: None };
    let other = daemon(&dir, "personas", personas("", (0, 0))).await;
    fails(&device::api(&floor(other.clone(), other.clone(), trust())).await, &["refused to identify itself"]);
    let nobody = UnixClient::new(dir.path().join("nobody"));
    fails(&device::api(&floor(other.clone(), nobody, trust())).await, &["does not answer on", "nobody"]);
    let torn = (certificate(2020, 2049).0, certificate(2020, 2049).1);
    let torn = daemon(&dir, "torn", stubborn_device(torn)).await;
    fails(&device::api(&floor(other.clone(), torn, trust())).await, &["names a CA with SHA-256", "but gives one with"]);
    let right = daemon(&dir, "dut", stubborn_device(certificate(2020, 2049))).await;
    assert_eq!(device::api(&floor(other, right, trust())).await.verdict, CheckVerdict::Passed);
}

#[test]
fn a_management_address_inside_a_range_of_the_bench() {
    let name = "preflight::tests::a_management_address_inside_a_range_of_the_bench";
    in_namespaces(name, || async {
        let ranges = subnets::ranges(&Topology::builtin(), &Catalogue::builtin());
        let look = || async { subnets::judge(&ranges, &machine::look().await.unwrap()) };
        assert_eq!(look().await.verdict, CheckVerdict::Passed);
        let ip = |arguments: &str| {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
        };
        ip("link add management type veth peer name cable");
        ip("link set management up");
        ip("address add 192.0.2.7/24 dev management");
        let passed = look().await;
        assert!(passed.evidence.contains("management 192.0.2.7/24"), "{passed:?}");
        ip("route add 172.16.128.0/17 via 192.0.2.1");
        fails(&look().await, &["inside network 'browser'", "172.16.128.0/17 out of management"]);
        ip("route del 172.16.128.0/17");
        ip("address add 200.130.0.3/24 dev management");
        fails(&look().await, &["the edge", "interface management (200.130.0.3/24)"]);
    });
}

fn sources(dir: &TempDir) -> Sources {
    Sources {
        executable: std::env::current_exe().unwrap(),
        last_known: dir.path().join("clock"),
        service: dir.path().join("timesync"),
        runs: Some(dir.path().join("runs")),
    }
}

#[test]
fn a_clock_before_the_build_of_this_program() {
    let dir = tempfile::tempdir().unwrap();
    let since = Clocks { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000), monotonic: Instant::now() };
    fails(&judge(&clock::read(&sources(&dir), since, since)), &["1970-01-12", "the build of this program is of 20"]);
    assert_eq!(judge(&clock::read(&sources(&dir), Clocks::now(), Clocks::now())).verdict, CheckVerdict::Passed);
}

#[test]
fn a_clock_before_what_was_known_last() {
    let dir = tempfile::tempdir().unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let run = dir.path().join("runs/20991231T000000Z");
    fs::create_dir_all(&run).unwrap();
    for (file, words) in
        [(run.join("run.json"), "an earlier run"), (dir.path().join("clock"), "the time service knew last")]
    {
        File::create(&file).unwrap().set_modified(tomorrow).unwrap();
        fails(&judge(&clock::read(&sources(&dir), Clocks::now(), Clocks::now())), &[words]);
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_clock_that_nobody_keeps_and_one_that_steps() {
    let dir = tempfile::tempdir().unwrap();
    let start = Clocks::now();
    fs::create_dir(dir.path().join("timesync")).unwrap();
    assert_eq!(judge(&clock::read(&sources(&dir), start, start)).verdict, CheckVerdict::Warning);
    fs::write(dir.path().join("timesync/synchronized"), "").unwrap();
    assert_eq!(judge(&clock::read(&sources(&dir), start, start)).verdict, CheckVerdict::Passed);
    let stepped = Clocks { wall: start.wall + Duration::from_secs(3600), ..start };
    fails(&judge(&clock::read(&sources(&dir), start, stepped)), &["stepped forward by 3600.0 s"]);
}

#[tokio::test]
async fn without_a_bench_all_five_are_told_and_the_gate_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (plan, topology, sources) = (plan(), Topology::builtin(), sources(&dir));
    for (no_adapter, api) in [(false, CheckVerdict::Skipped), (true, CheckVerdict::Failed)] {
        let absent = Absent { why: "personas did not become ready: expired.".to_owned(), no_adapter };
        let ground =
            Ground { plan: &plan, topology: &topology, floor: Err(&absent), sources: &sources, since: Clocks::now() };
        let checks = check(&ground).await;
        assert_eq!(checks.iter().map(|check| check.name).collect::<Vec<_>>(), CheckName::ALL);
        assert_eq!(
            [&checks[1], &checks[2], &checks[4]].map(|check| check.verdict),
            [CheckVerdict::Skipped, CheckVerdict::Skipped, api]
        );
        assert!(checks[1].evidence.contains("(personas did not become ready: expired)"), "{}", checks[1].evidence);
        assert!(Preflight { checks, bypass: None }.refusal().is_some());
    }
}

#[tokio::test]
async fn a_check_that_hangs_is_given_up_while_the_others_are_told() {
    let hangs = bounded(Duration::from_millis(10), std::future::pending());
    fails(&hangs.await, &["no answer within 0.01 s"]);
}
