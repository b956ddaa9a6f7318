//! The wizard over the agent's socket: resumed after a kill, refused once it is finished; trials of the management network that are kept, that
//! time out, and that a kill cuts short; the device whose credential nobody sees again.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tbi_api::device::{Bundle, Kind};
use tbi_api::settings::{Addressing, Change as NewSettings, Management, NicChoice, Settings};
use tbi_api::setup::{FindingVerdict, Locale, Mark, StepState};
use tbi_api::trial::{Order, Outcome};
use tbi_daemon::Shutdown;

use super::node::{Appliance, Place};
use super::seams::Changed;
use super::sysfs::Root;
use super::tests::{booted, code, on_a_box, soon, stand_ins};

const SECRET: &str = "canary-s3cret-of-the-device";

fn fixed() -> Management {
    serde_json::from_value(json!({"addressing": {
        "method": "static", "address": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": ["192.0.2.53"],
    }}))
    .unwrap()
}

fn order(based_on: u64) -> Order {
    Order { based_on, management: fixed(), seconds: None }
}

fn mark(state: StepState) -> Mark {
    Mark::of(state)
}

/// A box in this process, to be killed by dropping it.
async fn opened(state: &Path, root: Root) -> Arc<Appliance> {
    let (seams, _, _) = stand_ins(state);
    let place = Place { root, state: state.to_owned(), run: state.join("run") };
    Appliance::open(place, seams).await.unwrap().0
}

fn on_disk(state: &Path) -> Settings {
    serde_json::from_str(&fs::read_to_string(state.join("settings.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn the_setup_goes_on_where_it_was_after_a_kill_and_is_not_done_twice() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root.clone(), |agent, _, _, _| async move {
        assert_eq!(agent.setup().await.unwrap().current.as_deref(), Some("account"));
        let undone = agent.mark_step("language", &mark(StepState::Done)).await.unwrap_err();
        assert_eq!(code(&undone), "step-not-done");
        let locale = Locale { language: "pt-BR".to_owned(), zone: "America/Sao_Paulo".to_owned() };
        agent.change_locale(&locale).await.unwrap();
        agent.mark_step("language", &mark(StepState::Done)).await.unwrap();
        let wrong = Locale { zone: "<script>".to_owned(), ..locale };
        assert_eq!(code(&agent.change_locale(&wrong).await.unwrap_err()), "locale-refused");
        assert_eq!(code(&agent.mark_step("nothing", &mark(StepState::Done)).await.unwrap_err()), "no-such-step");
    })
    .await;
    // A second agent, and a third that is dropped without an end.
    drop(opened(dir.path(), root.clone()).await);
    on_a_box(dir.path(), root, |agent, socket, _, _| async move {
        assert_eq!(agent.locale().await.unwrap().zone, "America/Sao_Paulo");
        let setup = agent.setup().await.unwrap();
        let language = setup.steps.iter().find(|step| step.name == "language").unwrap();
        assert_eq!((language.state, language.by.as_deref()), (StepState::Done, Some("local")));
        let incomplete = agent.finish_setup().await.unwrap_err();
        assert!(code(&incomplete) == "setup-incomplete" && incomplete.to_string().contains("account"), "{incomplete}");
        for (path, body) in [
            ("/v1/setup/steps/time", json!({"state": "perhaps"})),
            ("/v1/setup/steps/time", json!({"state": "done", "colour": 1})),
            ("/v1/locale", json!({"language": "en"})),
            ("/v1/device", json!({"kind": "toaster"})),
            ("/v1/device/authorities", json!({"pem": 7})),
        ] {
            let refused = socket.put_json::<_, Value>(path, &body).await.unwrap_err();
            assert!(refused.code().is_some(), "{path}: {refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_trial_is_carried_out_at_once_and_stays_when_it_is_confirmed() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, _, _, recorder| async move {
        soon("the first look at the system", || recorder.changes.lock().unwrap().len() == 1).await;
        assert_eq!(code(&agent.confirm_trial().await.unwrap_err()), "no-trial");
        assert_eq!(code(&agent.withdraw_trial().await.unwrap_err()), "no-trial");
        for seconds in [0, 9, 601, u32::MAX] {
            let wrong = Order { seconds: Some(seconds), ..order(0) };
            assert_eq!(code(&agent.begin_trial(&wrong).await.unwrap_err()), "trial-refused");
        }
        let trial = agent.begin_trial(&order(0)).await.unwrap();
        assert_eq!((trial.version, trial.seconds_left, trial.by.as_str()), (1, 60, "local"));
        soon("the trial", || recorder.changes.lock().unwrap().len() == 2).await;
        assert_eq!(recorder.changes.lock().unwrap()[1].what, Changed::Settings);
        assert_eq!(code(&agent.begin_trial(&order(1)).await.unwrap_err()), "trial-under-way");
        let change = NewSettings { based_on: 1, settings: Settings::default() };
        assert_eq!(code(&agent.change_settings(&change).await.unwrap_err()), "trial-under-way");
        assert!(agent.trials().await.unwrap().on.unwrap().seconds_left <= 60);
        assert_eq!(agent.confirm_trial().await.unwrap().last.unwrap().outcome, Outcome::Confirmed);
        assert_eq!(agent.settings().await.unwrap().settings.management, fixed());
        // A second one, taken back by hand.
        let back = Order { management: Management::default(), ..order(1) };
        agent.begin_trial(&back).await.unwrap();
        agent.withdraw_trial().await.unwrap();
        let trials = agent.trials().await.unwrap();
        assert_eq!((trials.on, trials.last.unwrap().outcome), (None, Outcome::Withdrawn));
        assert_eq!(agent.settings().await.unwrap().settings.management, fixed());
    })
    .await;
}

#[tokio::test]
async fn a_trial_that_nobody_confirms_is_taken_back_at_its_deadline() {
    let (dir, root) = booted("one");
    let (seams, _, recorder) = stand_ins(dir.path());
    let place = Place { root, state: dir.path().to_owned(), run: dir.path().join("run") };
    let (appliance, waiting) = Appliance::open(place, seams).await.unwrap();
    let shutdown = Shutdown::new();
    let story = async {
        soon("the first look at the system", || recorder.changes.lock().unwrap().len() == 1).await;
        let by = super::trail::by(&http::HeaderMap::new());
        appliance.begin_trial(order(0), by).await.unwrap();
        assert_eq!(on_disk(dir.path()).management, fixed());
        assert!(appliance.trials().await.unwrap().on.unwrap().seconds_left >= 50, "its time is a minute");
        appliance.let_the_trial_end();
        soon("the end of the trial", || appliance.in_force().trial.is_none()).await;
        assert_eq!(on_disk(dir.path()).management.addressing, Addressing::Dhcp);
        soon("the old network", || recorder.changes.lock().unwrap().len() == 3).await;
        let ended = appliance.trials().await.unwrap().last.unwrap();
        assert!(ended.outcome == Outcome::TimedOut && ended.sentence.contains("nobody confirmed"), "{ended:?}");
        assert!(appliance.status().await.problems.contains(&ended.sentence));
        shutdown.request();
    };
    tokio::join!(appliance.carry_out(waiting, shutdown.clone()), story);
}

#[tokio::test]
async fn a_trial_of_a_killed_agent_is_taken_back_at_the_next_start() {
    let (dir, root) = booted("one");
    let appliance = opened(dir.path(), root.clone()).await;
    appliance.begin_trial(order(0), super::trail::by(&http::HeaderMap::new())).await.unwrap();
    // No orderly end: the process is as good as killed, and its deadline with it.
    drop(appliance);
    assert_eq!(on_disk(dir.path()).management, fixed());
    on_a_box(dir.path(), root, |agent, _, _, recorder| async move {
        soon("the old network", || recorder.changes.lock().unwrap().len() == 2).await;
        assert_eq!(recorder.changes.lock().unwrap()[1].what, Changed::Settings);
        assert_eq!(agent.settings().await.unwrap().settings.management.addressing, Addressing::Dhcp);
        let trials = agent.trials().await.unwrap();
        assert_eq!((trials.on, trials.last.as_ref().unwrap().outcome), (None, Outcome::Restarted));
        assert!(agent.status().await.unwrap().problems[0].contains("started again"));
        let entries = agent.audit(&tbi_api::audit::Filter::default()).await.unwrap();
        let entry = entries.iter().find(|entry| entry.action == "settings.trial.revert").unwrap();
        assert!(entry.actor == "agent" && entry.detail.contains("started again"), "{entry:?}");
    })
    .await;
    assert_eq!(on_disk(dir.path()).management.addressing, Addressing::Dhcp);
}

/// Everything below a folder, as text.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(everything(&entry.path()));
        } else if kind.is_file() {
            all.push((entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn the_credential_of_the_device_is_in_its_file_and_nowhere_else() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, _, _| async move {
        assert_eq!(agent.device().await.unwrap().kind, Kind::Practice);
        let change = json!({"kind": "pan_os", "address": "192.0.2.20", "account": "api", "secret": SECRET});
        let answer = socket.put_json::<_, Value>("/v1/device", &change).await.unwrap();
        assert!(!answer.to_string().contains(SECRET) && answer["secret"] == "state_partition", "{answer}");
        let wrong = json!({"kind": "pan_os", "address": "a b", "secret": SECRET});
        let refused = socket.put_json::<_, Value>("/v1/device", &wrong).await.unwrap_err();
        assert!(code(&refused) == "device-refused" && !refused.to_string().contains(SECRET));
        let device = agent.device().await.unwrap();
        assert_eq!(
            (device.kind, device.address.as_deref(), device.account.as_deref()),
            (Kind::PanOs, Some("192.0.2.20"), Some("api"))
        );
        let entries = agent.audit(&tbi_api::audit::Filter::default()).await.unwrap();
        let entry = entries.iter().find(|entry| entry.action == "device.change" && entry.outcome == "done").unwrap();
        assert!(entry.detail.contains("replaced") && !entry.detail.contains(SECRET), "{entry:?}");
    })
    .await;
    let with: Vec<String> = everything(dir.path())
        .into_iter()
        .filter(|(_, bytes)| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(with, ["device.credential"]);
}

#[tokio::test]
async fn authorities_of_the_device_come_in_once_and_go_again() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, _, _| async move {
        let pem = super::setup::authorities::tests::authority();
        let bundle = Bundle { pem: format!("{pem}{pem}") };
        assert_eq!(agent.add_authorities(&bundle).await.unwrap().len(), 1);
        let known = agent.add_authorities(&bundle).await.unwrap();
        assert_eq!(known, agent.authorities().await.unwrap());
        let none = Bundle { pem: "<script>alert(1)</script>".to_owned() };
        assert_eq!(code(&agent.add_authorities(&none).await.unwrap_err()), "authority-refused");
        agent.remove_authority(&known[0].sha256).await.unwrap();
        assert_eq!(code(&agent.remove_authority(&known[0].sha256).await.unwrap_err()), "no-such-authority");
        assert_eq!(agent.authorities().await.unwrap(), []);
        // A box whose personas are not up, without a trunk.
        let unknown = socket.get_text("/v1/personas/ca.pem").await.unwrap_err();
        assert_eq!(code(&unknown), "personas-silent");
        let trunk = agent.check_trunk().await.unwrap();
        assert_eq!((trunk.mac, trunk.findings[0].verdict), (None, FindingVerdict::NotChecked));
        let refused = agent.probe_trunk().await.unwrap_err();
        assert!(
            code(&refused) == "no-trunk" && refused.to_string().contains("choose one in the settings"),
            "{refused}"
        );
        let time = agent.time().await.unwrap();
        assert!(time.findings.iter().any(|finding| finding.name == "synchronised"), "{time:?}");
    })
    .await;
}

#[tokio::test]
async fn the_wire_is_asked_where_there_is_a_trunk_and_what_it_answered_is_told() {
    const TRUNK: &str = "52:54:00:00:00:03";
    let (dir, root) = booted("one");
    let seen = |vlan: u16, host: &str, answers: &[&str]| {
        json!({
            "when": "2026-01-31T23:59:59Z", "trunk": TRUNK, "took_ms": 5000, "sentence": "",
            "vlans": [{"vlan": vlan, "interface": format!("vlan{vlan}"), "frames": 3, "echoes": 0, "trouble": "",
                "addresses": [{"address": host, "whose": "ours", "probes": 1, "answers": answers}]}],
        })
        .to_string()
    };
    let files = [("agents", seen(30, "172.17.0.2", &["52:54:00:00:00:09"])), ("isp", seen(2001, "200.130.0.2", &[]))];
    for (namespace, text) in &files {
        let folder = root.path(&format!("run/tlsstress-probe/{namespace}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("outcome.json"), text).unwrap();
    }
    on_a_box(dir.path(), root, |agent, _, _, _| async move {
        assert_eq!(code(&agent.probe_trunk().await.unwrap_err()), "no-trunk");
        let trunk = Some(NicChoice { mac: TRUNK.to_owned() });
        let settings = Settings { trunk, ..Settings::default() };
        agent.change_settings(&NewSettings { based_on: 0, settings }).await.unwrap();
        let check = agent.probe_trunk().await.unwrap();
        let duplicates = check.findings.iter().find(|finding| finding.name == "duplicates").unwrap();
        assert_eq!(duplicates.verdict, FindingVerdict::Failed);
        assert!(duplicates.evidence.contains("172.17.0.2 on VLAN 30 (52:54:00:00:00:09)"), "{duplicates:?}");
        assert_eq!(agent.check_trunk().await.unwrap().findings.last().unwrap().name, "tags");
        agent.start_preflight(&tbi_api::bench::Order::default()).await.unwrap();
        assert_eq!(code(&agent.probe_trunk().await.unwrap_err()), "checks-under-way");
        let entries = agent.audit(&Default::default()).await.unwrap();
        assert!(entries.iter().any(|entry| entry.target == "/v1/trunk/probe"), "what was asked is in the chain");
        // The first pre-flight is not done while it goes on, whatever reason is given.
        let mark = Mark { reason: Some("a reason that is long enough".to_owned()), ..Mark::of(StepState::Done) };
        assert_eq!(code(&agent.mark_step("preflight", &mark).await.unwrap_err()), "step-not-done");
    })
    .await;
}
