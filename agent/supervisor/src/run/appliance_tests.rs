//! Runs ordered at the desk of an appliance whose units are run by a real systemd; what stands in for the daemons only says that it is
//! ready, so no run measures anything here: these tests are about how runs end.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tbi_api::access::By;
use tbi_api::bench::{self, Phase};
use tbi_api::preflight::Bypass;
use tbi_api::runs::{Order, Profile, Run, RunState};
use tbi_bench::netplan::Path;
use tbi_bench::preflight::{CheckName, CheckVerdict};
use tbi_bench::record::Authorization;
use tbi_bench::topology::Topology;
use tokio::time::timeout;

use super::appliance::{Appliance, AppliancePaths, Directories, Site};
use super::authorize::{Authorizer, Developer, Finished, OpenPage, Request, plan_sha256};
use super::desk::{DeskError, RunDesk};
use super::place::PathLayer as _;
use crate::appliance::seams::ChosenRouter;
use crate::network::tests::in_namespaces;
use crate::process::State;
use crate::systemd::Systemd;
use crate::systemd::tests::{BUS, SOON, Stand, daemon, service, unit_text, until};

const RUNS: &str = "/run/state/runs";

fn directories() -> Directories {
    Directories {
        config: "/run/config".into(),
        sockets: "/run".into(),
        records: "/run/records".into(),
        personas_ca: "/run/personas-ca".into(),
        dut_ca: "/run/dut-ca".into(),
        outcome: "/run/outcome.json".into(),
    }
}

fn appliance(ready_within: Duration, trunk: bool) -> Arc<Appliance> {
    routed_by(ChosenRouter::Frr, ready_within, trunk)
}

fn routed_by(router: ChosenRouter, ready_within: Duration, trunk: bool) -> Arc<Appliance> {
    let site = Site { topology: Topology::builtin(), trunk, router, ready_within };
    Arc::new(Appliance::new(directories(), Systemd::on(BUS), site))
}

fn oneshot(line: &str) -> String {
    unit_text("", &format!("[Service]\nType=oneshot\nExecStart={line}\n"))
}

/// The units of an appliance; `engine` and `reference` as given.
fn units(engine: String, reference: String) -> Vec<(&'static str, String)> {
    let isp =
        "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 4716'\n";
    vec![
        ("tbi-network-prepare.service", oneshot("/bin/true")),
        ("tbi-network@through-dut.service", oneshot("/bin/true")),
        ("tbi-network@reference.service", reference),
        ("tbi-personas.service", daemon("personas", "")),
        ("tbi-practice-dut.service", daemon("practice-dut", "")),
        ("tbi-engine.service", engine),
        ("tbi-isp.service", unit_text("", isp)),
    ]
}

fn quick() -> Order {
    let reason = "the stand-ins only say that they are ready".to_owned();
    Order { preflight_bypass: Some(Bypass { reason }), ..unbypassed() }
}

fn unbypassed() -> Order {
    Order { profile: Profile::Quick, ..Order::default() }
}

fn by(actor: &str) -> By {
    By { actor: actor.to_owned(), role: None, source: "local".to_owned(), correlation_id: String::new() }
}

fn local() -> By {
    by("local")
}

async fn over(desk: &RunDesk, run: &Run) -> Run {
    let mut watch = desk.watch(&run.id).unwrap();
    timeout(SOON, watch.wait_for(|run| run.state.is_over())).await.unwrap().unwrap().clone()
}

/// The desk is as usable as before: another run can be ordered and ends, too.
async fn usable(desk: &RunDesk) {
    until("the desk is free", || !matches!(desk.start(&quick(), local()), Err(DeskError::UnderWay { .. }))).await;
    let run = desk.list().into_iter().next().unwrap();
    drop(desk.stop(&run.id));
    over(desk, &run).await;
}

#[test]
fn an_idle_appliance_keeps_everything_up_and_replaces_only_what_a_plan_changes() {
    let name = "run::appliance_tests::an_idle_appliance_keeps_everything_up_and_replaces_only_what_a_plan_changes";
    in_namespaces(name, || async {
        let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/true"))).await;
        let appliance = appliance(SOON, false);
        let all = ["engine", "isp", "personas", "practice-dut"];
        let ready = || all.iter().all(|name| appliance.standing().is_ready(name));
        until("everything is up", ready).await;
        assert_eq!(appliance.trouble(), None);
        let config = PathBuf::from("/run/config");
        for file in ["personas.json", "practice-dut.json", "engine.env", "persona-ca.pem"] {
            assert!(config.join(file).exists(), "{file}");
        }
        let pids = || {
            let states = appliance.standing().states;
            all.map(|name| match states.get(name) {
                Some(State::Ready { pid, .. }) => *pid,
                _ => 0,
            })
        };
        let before = pids();
        let mut plan = tbi_bench::plan::Plan::of_profile(tbi_bench::plan::Profile::Short);
        plan.workers.engine += 1;
        let up = appliance.up(&plan).await.unwrap();
        assert_eq!(up.floor.trust.persona_ca_pem, "{}", "as the stand-in says");
        let text = fs::read_to_string(config.join("engine.env")).unwrap();
        assert_eq!(text, format!("TBI_ENGINE_WORKERS={}\n", plan.workers.engine));
        let after = pids();
        assert_ne!(before[0], after[0], "the engine has other threads");
        assert_eq!(before[1..], after[1..], "nothing else changed");
    });
}

#[test]
fn an_operators_own_router_runs_in_the_place_of_the_one_that_ships() {
    let name = "run::appliance_tests::an_operators_own_router_runs_in_the_place_of_the_one_that_ships";
    in_namespaces(name, || async {
        let mut units = units(daemon("engine", ""), oneshot("/bin/true"));
        let text = "[Service]\nType=exec\nExecStart=/bin/sleep 4725\n";
        units.push(("tbi-isp-own.service", unit_text("Conflicts=tbi-isp.service\nAfter=tbi-isp.service\n", text)));
        let _stand = Stand::with(&units).await;
        let before = appliance(SOON, false);
        until("FRR is up", || before.standing().is_ready("isp")).await;
        drop(before);

        let empty = routed_by(ChosenRouter::Own(None), SOON, false);
        until("the rest is up", || empty.standing().is_ready("practice-dut")).await;
        until("FRR has gone", || !empty.standing().states.contains_key("isp")).await;
        assert!(empty.lacks_router() && empty.names().any(|name| name == "isp-own"));
        let plan = tbi_bench::plan::Plan::of_profile(tbi_bench::plan::Profile::Short);
        let refused = empty.up(&plan).await.err().unwrap().to_string();
        assert!(refused.contains("PUT /v1/isp/root"), "{refused}");
        drop(empty);

        let own = routed_by(ChosenRouter::Own(Some("ab12".to_owned())), SOON, false);
        until("the own router is up", || own.standing().is_ready("isp-own")).await;
        assert!(!own.names().any(|name| name == "isp"));
        assert!(own.life().isp.contains("own router") && own.life().isp.contains("ab12"), "{:?}", own.life());
    });
}

#[test]
fn a_workload_killed_during_a_run_ends_it_with_its_name() {
    in_namespaces("run::appliance_tests::a_workload_killed_during_a_run_ends_it_with_its_name", || async {
        let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/sleep 4717"))).await;
        let appliance = appliance(SOON, false);
        let desk = RunDesk::open(RUNS.into(), Arc::clone(&appliance), Arc::new(Developer)).unwrap();
        let run = desk.start(&quick(), by("anna")).unwrap();
        assert!(matches!(desk.start(&quick(), local()), Err(DeskError::UnderWay { id }) if id == run.id));
        let mut watch = desk.watch(&run.id).unwrap();
        timeout(SOON, watch.wait_for(|run| run.state == RunState::Running)).await.unwrap().unwrap();
        let states = appliance.standing().states;
        let Some(State::Ready { pid, .. }) = states.get("engine") else { unreachable!("{states:?}") };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        let ended = over(&desk, &run).await;
        assert_eq!(ended.state, RunState::Interrupted);
        assert!(ended.sentence.contains("engine died (killed by SIGKILL)"), "{}", ended.sentence);
        assert!(ended.sentence.contains("the box's journal"), "{}", ended.sentence);
        let folder = desk.folder(&run.id).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
        assert_eq!(record["environment"]["life"], "appliance");
        assert_eq!(record["environment"]["isp"], "FRR in a container, static routes");
        assert_eq!(record["id"], run.id.as_str());
        usable(&desk).await;
        // What a new agent reads from the folders is what this one knew.
        let again = RunDesk::open(RUNS.into(), appliance, Arc::new(Developer)).unwrap();
        assert_eq!(again.get(&run.id), desk.get(&run.id));
        assert_eq!((ended.actor.as_deref(), ended.source.as_deref()), (Some("anna"), Some("local")));
    });
}

#[test]
fn a_workload_that_never_becomes_ready_ends_the_run_with_its_name() {
    in_namespaces("run::appliance_tests::a_workload_that_never_becomes_ready_ends_the_run_with_its_name", || async {
        let _stand = Stand::with(&units(service("/bin/sleep 4718"), oneshot("/bin/true"))).await;
        let desk =
            RunDesk::open(RUNS.into(), appliance(Duration::from_millis(1500), false), Arc::new(Developer)).unwrap();
        let run = desk.start(&quick(), local()).unwrap();
        let ended = over(&desk, &run).await;
        assert_eq!(ended.state, RunState::Interrupted);
        assert!(ended.sentence.contains("engine"), "{}", ended.sentence);
        usable(&desk).await;
    });
}

#[test]
fn a_stopped_run_and_one_whose_agent_was_killed_are_interrupted() {
    in_namespaces("run::appliance_tests::a_stopped_run_and_one_whose_agent_was_killed_are_interrupted", || async {
        let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/sleep 4719"))).await;
        let appliance = appliance(SOON, false);
        let desk = RunDesk::open(RUNS.into(), Arc::clone(&appliance), Arc::new(Developer)).unwrap();
        let run = desk.start(&quick(), local()).unwrap();
        desk.stop(&run.id).unwrap();
        let ended = over(&desk, &run).await;
        assert_eq!(ended.state, RunState::Interrupted);
        assert!(ended.sentence.contains("Stopped by the operator"), "{}", ended.sentence);
        assert!(matches!(desk.stop(&run.id), Err(DeskError::Over { .. })));
        assert!(matches!(desk.stop("20000101T000000Z"), Err(DeskError::Unknown { .. })));

        let cut = PathBuf::from(RUNS).join("20260131T235959Z");
        fs::create_dir(&cut).unwrap();
        let plan = tbi_bench::plan::Plan::of_profile(tbi_bench::plan::Profile::Quick);
        fs::write(cut.join("plan.json"), serde_json::to_string(&plan).unwrap()).unwrap();
        fs::write(cut.join("blocks.jsonl"), "").unwrap();
        let again = RunDesk::open(RUNS.into(), appliance, Arc::new(Developer)).unwrap();
        let closed = again.get("20260131T235959Z").unwrap();
        assert_eq!(closed.state, RunState::Interrupted);
        assert!(closed.sentence.contains("The agent was killed"), "{}", closed.sentence);
        assert_eq!(again.list().first().map(|run| run.id.clone()), Some(run.id));
    });
}

#[test]
fn checks_are_made_without_a_run_and_neither_waits_in_the_others_way() {
    in_namespaces(
        "run::appliance_tests::checks_are_made_without_a_run_and_neither_waits_in_the_others_way",
        || async {
            let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/true"))).await;
            let desk = RunDesk::open(RUNS.into(), appliance(SOON, false), Arc::new(Developer)).unwrap();
            assert_eq!(desk.examination().phase, Phase::Never);
            let order = bench::Order { profile: Profile::Quick };
            let begun = desk.examine(&order).unwrap();
            assert_eq!((begun.phase, begun.checks.len(), begun.open), (Phase::Preparing, 0, None));
            assert!(matches!(desk.examine(&order), Err(DeskError::Checking)));
            assert!(matches!(desk.start(&quick(), local()), Err(DeskError::Checking)));
            until("the checks are made", || desk.examination().phase == Phase::Done).await;
            let made = desk.examination();
            assert_eq!((made.checks.len(), made.open), (5, Some(false)), "{made:?}");
            // The stand-ins answer nothing but that they are ready.
            let failed =
                |name| made.checks.iter().any(|check| check.name == name && check.verdict == CheckVerdict::Failed);
            assert!(failed(CheckName::DecryptMode) && failed(CheckName::DeviceApi), "{made:?}");
            assert!(made.elapsed_ms > 0 && desk.list().is_empty(), "nothing is kept");
            assert_eq!(fs::read_dir(RUNS).unwrap().count(), 0);
            assert!(!desk.cancel_checks(), "they are over");
            // The second time it is known how long they take; and they end at once when somebody does not want to wait.
            desk.examine(&order).unwrap();
            let going = desk.examination();
            assert!(going.remaining_ms.is_some_and(|left| left <= made.elapsed_ms), "{going:?}");
            assert!(desk.cancel_checks());
            until("the checks are cancelled", || desk.examination().phase == Phase::Cancelled).await;
            let cancelled = desk.examination();
            assert_eq!((cancelled.open, cancelled.remaining_ms), (None, None), "they prove nothing: {cancelled:?}");
            usable(&desk).await;
            let run = desk.start(&quick(), local()).unwrap();
            assert!(matches!(desk.examine(&order), Err(DeskError::UnderWay { id }) if id == run.id));
        },
    );
}

#[test]
fn checks_of_a_bench_that_does_not_come_up_say_so() {
    in_namespaces("run::appliance_tests::checks_of_a_bench_that_does_not_come_up_say_so", || async {
        let _stand = Stand::with(&units(service("/bin/sleep 4728"), oneshot("/bin/true"))).await;
        let appliance = appliance(Duration::from_millis(1500), false);
        let desk = RunDesk::open(RUNS.into(), appliance, Arc::new(Developer)).unwrap();
        desk.examine(&bench::Order::default()).unwrap();
        until("the checks are over", || desk.examination().phase == Phase::Done).await;
        let made = desk.examination();
        assert_eq!((made.checks.len(), made.open), (5, Some(false)));
        let skipped = made.checks.iter().filter(|check| check.verdict == CheckVerdict::Skipped);
        assert!(skipped.clone().count() == 3 && skipped.clone().all(|it| it.evidence.contains("engine")), "{made:?}");
    });
}

#[test]
fn a_full_disk_refuses_a_run_and_leaves_the_desk_usable() {
    in_namespaces("run::appliance_tests::a_full_disk_refuses_a_run_and_leaves_the_desk_usable", || async {
        let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/sleep 4720"))).await;
        fs::create_dir_all("/run/state").unwrap();
        let small = Some("size=1m");
        nix::mount::mount(Some("tmpfs"), "/run/state", Some("tmpfs"), nix::mount::MsFlags::empty(), small).unwrap();
        let desk = RunDesk::open(RUNS.into(), appliance(SOON, false), Arc::new(Developer)).unwrap();
        let error = desk.start(&quick(), local()).unwrap_err().to_string();
        assert!(error.contains("is full") && error.contains("deleting runs"), "{error}");
        assert_eq!(desk.list(), []);
        let larger = Some("size=64m");
        nix::mount::mount(None::<&str>, "/run/state", None::<&str>, nix::mount::MsFlags::MS_REMOUNT, larger).unwrap();
        usable(&desk).await;
    });
}

/// Gives a receipt, or says why not; remembers who asked.
struct Ledger {
    answer: Result<(), &'static str>,
    asked: Mutex<Vec<Request>>,
    finished: Mutex<Vec<Finished>>,
}

impl Authorizer for Ledger {
    fn authorize(&self, request: Request) -> BoxFuture<'_, Result<Option<Authorization>, String>> {
        self.asked.lock().unwrap().push(request.clone());
        let receipt = Authorization {
            run: request.run,
            plan_sha256: request.plan_sha256,
            licence: "lab-7".to_owned(),
            tsu: 1,
            burned: vec!["note-1".to_owned()],
            change: None,
            balance_after: 41,
            audit_seq: 7,
            sealed_hash: "ab".repeat(32),
            when: "2026-11-21T10:15:01Z".to_owned(),
            key_id: "key".to_owned(),
            signature: "signature".to_owned(),
        };
        std::future::ready(self.answer.map(|()| Some(receipt)).map_err(str::to_owned)).boxed()
    }

    fn finished(&self, finished: Finished) -> BoxFuture<'_, ()> {
        self.finished.lock().unwrap().push(finished);
        std::future::ready(()).boxed()
    }

    fn open_pages(&self) -> BoxFuture<'_, Vec<OpenPage>> {
        std::future::ready(Vec::new()).boxed()
    }
}

fn record(desk: &RunDesk, run: &Run) -> serde_json::Value {
    serde_json::from_slice(&fs::read(desk.folder(&run.id).unwrap().join("run.json")).unwrap()).unwrap()
}

#[test]
fn pre_flight_stops_a_run_before_it_is_authorized_and_a_bypass_does_not() {
    in_namespaces(
        "run::appliance_tests::pre_flight_stops_a_run_before_it_is_authorized_and_a_bypass_does_not",
        || async {
            let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/true"))).await;
            let ledger = Arc::new(Ledger { answer: Ok(()), asked: Mutex::default(), finished: Mutex::default() });
            let desk = RunDesk::open(RUNS.into(), appliance(SOON, false), Arc::clone(&ledger) as Arc<_>).unwrap();

            let run = desk.start(&unbypassed(), by("anna")).unwrap();
            let ended = over(&desk, &run).await;
            assert_eq!(ended.state, RunState::Interrupted);
            assert!(ended.sentence.starts_with("The pre-flight check '"), "{}", ended.sentence);
            let refused = record(&desk, &run);
            assert_eq!(refused["preflight"]["checks"].as_array().unwrap().len(), 5);
            assert!(ledger.asked.lock().unwrap().is_empty(), "nothing is spent on a run that does not begin");

            let mut next = None;
            until("the desk is free", || {
                next = desk.start(&quick(), by("anna")).ok();
                next.is_some()
            })
            .await;
            let run = next.unwrap();
            over(&desk, &run).await;
            let asked = ledger.asked.lock().unwrap().clone();
            assert_eq!(asked.len(), 1);
            assert_eq!((&asked[0].run, asked[0].by.actor.as_str()), (&run.id, "anna"));
            assert_eq!(asked[0].plan_sha256, plan_sha256(&asked[0].plan).unwrap());
            assert_eq!(asked[0].bypass.as_ref().map(|bypass| bypass.actor.as_str()), Some("anna"));
            let bypassed = record(&desk, &run);
            until("the book is closed", || {
                ledger.finished.lock().unwrap().iter().any(|it| it.run.id == run.id && it.record_sha256.is_some())
            })
            .await;
            assert_eq!(bypassed["authorization"]["burned"][0], "note-1");
            assert_eq!(bypassed["authorization"]["plan_sha256"], asked[0].plan_sha256.as_str());
            assert_eq!(bypassed["preflight"]["bypass"]["actor"], "anna");
            assert!(desk.folder(&run.id).unwrap().join("admission.json").exists());

            let bypass = Some(Bypass { reason: "because".to_owned() });
            let error = desk.start(&Order { preflight_bypass: bypass, ..unbypassed() }, by("anna")).unwrap_err();
            assert!(matches!(error, DeskError::Bypass(_)), "{error}");
        },
    );
}

#[test]
fn a_run_that_is_not_authorized_measures_nothing_and_says_why() {
    in_namespaces("run::appliance_tests::a_run_that_is_not_authorized_measures_nothing_and_says_why", || async {
        let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/true"))).await;
        let answer = Err("the licence ended; install a new one.");
        let ledger = Arc::new(Ledger { answer, asked: Mutex::default(), finished: Mutex::default() });
        let desk = RunDesk::open(RUNS.into(), appliance(SOON, false), ledger).unwrap();
        let run = desk.start(&quick(), by("anna")).unwrap();
        let ended = over(&desk, &run).await;
        assert!(
            ended.sentence.contains("was not authorized") && ended.sentence.contains("install a new one"),
            "{ended:?}"
        );
        let record = record(&desk, &run);
        assert_eq!((&record["verdict"], &record["authorization"]), (&"not_measured".into(), &serde_json::Value::Null));
        assert_eq!(record["blocks"].as_array().map(Vec::len), Some(0));
    });
}

#[test]
fn a_device_outside_the_box_is_refused_with_a_sentence() {
    in_namespaces("run::appliance_tests::a_device_outside_the_box_is_refused_with_a_sentence", || async {
        let _stand = Stand::with(&units(daemon("engine", ""), oneshot("/bin/true"))).await;
        let desk = RunDesk::open(RUNS.into(), appliance(SOON, true), Arc::new(Developer)).unwrap();
        let run = desk.start(&quick(), local()).unwrap();
        let ended = over(&desk, &run).await;
        assert!(ended.sentence.contains("the device under test is outside the box"), "{}", ended.sentence);
        let checks = record(&desk, &run)["preflight"]["checks"].clone();
        assert_eq!((&checks[4]["name"], &checks[4]["verdict"]), (&"device_api".into(), &"failed".into()), "{checks}");
        assert!(checks[4]["evidence"].as_str().unwrap().contains("no adapter"), "{checks}");
    });
}

#[test]
fn a_path_that_cannot_be_laid_says_why_in_the_words_of_who_tried() {
    in_namespaces("run::appliance_tests::a_path_that_cannot_be_laid_says_why_in_the_words_of_who_tried", || async {
        let said = r#"{"path":"through_dut","ok":false,"sentence":"the trunk has no carrier; plug its cable in"}"#;
        let lay = "/bin/sh -c 'cp /run/said /run/outcome.json; exit 1'";
        let units = [
            ("tbi-network-prepare.service", oneshot(lay)),
            ("tbi-network@through-dut.service", oneshot(lay)),
            ("tbi-network@reference.service", oneshot("/bin/true")),
        ];
        let _stand = Stand::with(&units).await;
        fs::write("/run/said", said).unwrap();
        let layer = AppliancePaths { systemd: Systemd::on(BUS), outcome: "/run/outcome.json".into() };
        layer.lay(Path::Reference).await.unwrap();
        let error = layer.lay(Path::ThroughDut).await.unwrap_err().to_string();
        assert_eq!(error, "the trunk has no carrier; plug its cable in");
        fs::write("/run/said", "{").unwrap();
        let error = layer.lay(Path::ThroughDut).await.unwrap_err().to_string();
        assert!(error.contains("unit tbi-network@through-dut.service did not do its work"), "{error}");
        layer.lay(Path::Reference).await.unwrap();

        // A run ordered now says so, and so does the box.
        fs::write("/run/said", said).unwrap();
        let appliance = appliance(SOON, false);
        let desk = RunDesk::open(RUNS.into(), Arc::clone(&appliance), Arc::new(Developer)).unwrap();
        let ended = over(&desk, &desk.start(&quick(), local()).unwrap()).await;
        assert!(ended.sentence.contains("the trunk has no carrier"), "{}", ended.sentence);
        until("the box says so, too", || appliance.trouble().is_some_and(|why| why.contains("no carrier"))).await;
    });
}
