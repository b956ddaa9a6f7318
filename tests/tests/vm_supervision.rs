//! Programs that die: each is back within seconds, and a run that was under way ends, one way or the other.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tbi_api::health::State;
use tbi_api::runs::RunState;
use tbi_tests::vm::Machine;
use tbi_tests::vm::image::Image;
use tbi_tests::vm::until;

/// Units with a daemon of ours, or the router.
const UNITS: [&str; 6] = [
    "tbi-engine.service",
    "tbi-personas.service",
    "tbi-practice-dut.service",
    "tbi-isp.service",
    "tbi-agent.service",
    "tbi-console@ttyS0.service",
];
const ROUNDS: u32 = 10;
/// Generous, for an emulated processor with all of them starting at once.
const BACK: Duration = Duration::from_secs(60);

/// Main processes of the units that have one.
fn main_pids(machine: &mut Machine) -> BTreeMap<&'static str, u32> {
    let text = machine.sh(&format!("systemctl show --property=MainPID --value {}", UNITS.join(" "))).ok();
    let pids = text.split_whitespace().map(|pid| pid.parse().unwrap());
    UNITS.into_iter().zip(pids).filter(|(_unit, pid)| *pid != 0).collect()
}

fn kill(machine: &mut Machine, unit: &str) {
    machine.sh(&format!("systemctl kill --kill-whom=main --signal=KILL {unit}")).ok();
}

fn healthy(machine: &Machine) -> Option<()> {
    let health = machine.api().health()?;
    (health.state == State::Healthy).then_some(())
}

#[test]
fn vm_supervision_every_daemon_killed_ten_times_is_back_within_seconds() {
    let mut machine = Machine::booted(&Image::built());
    until("a healthy box", BACK, || healthy(&machine));
    for round in 1..=ROUNDS {
        let before = main_pids(&mut machine);
        assert_eq!(before.len(), UNITS.len(), "round {round}: not every unit runs: {before:?}");
        // In turn, the agent among them, so that each death meets a box that is still recovering from the one before.
        for unit in UNITS {
            kill(&mut machine, unit);
            until(&format!("{unit} back in round {round}"), BACK, || {
                let now = main_pids(&mut machine);
                now.get(unit).is_some_and(|pid| before.get(unit) != Some(pid)).then_some(())
            });
        }
        until(&format!("a healthy box after round {round}"), BACK, || healthy(&machine));
    }
    // Restarts are counted, not hidden; since the agent's own start, so they begin anew with it.
    let counted = machine.api().component("engine").unwrap().restarts;
    kill(&mut machine, "tbi-engine.service");
    until("the engine's restart to be counted", BACK, || {
        machine.api().component("engine").filter(|component| component.restarts > counted)
    });
    until("a healthy box", BACK, || healthy(&machine));
    machine.until_screen("healthy", Duration::from_secs(30));
}

/// A run, waited for until it measures.
fn run_under_way(machine: &Machine) -> String {
    let run = machine.api().start_run(&json!({ "profile": "quick" }));
    until("the run to measure", Duration::from_secs(180), || {
        let now = machine.api().run(&run.id)?;
        assert!(!now.state.is_over(), "the run ended before anything was killed: {now:?}");
        (now.state == RunState::Running && now.progress.is_some_and(|progress| progress.blocks_done > 0)).then_some(())
    });
    run.id
}

#[test]
fn vm_supervision_engine_killed_in_a_run_ends_it_and_the_next_run_starts() {
    let mut machine = Machine::booted(&Image::built());
    let id = run_under_way(&machine);
    kill(&mut machine, "tbi-engine.service");
    let ended = until("the end of the run", Duration::from_secs(120), || {
        machine.api().run(&id).filter(|run| run.state.is_over())
    });
    assert!(ended.state != RunState::Passed || ended.sentence.is_empty(), "{ended:?}");
    assert!(ended.sentence.contains("engine"), "the sentence names what died: {}", ended.sentence);
    until("a healthy box", BACK, || healthy(&machine));
    let next = machine.api().start_run(&json!({ "profile": "quick" }));
    let stopped = machine.api().request("DELETE", &format!("/v1/runs/{}", next.id), None);
    assert_eq!(stopped.status, 202, "{}", stopped.text());
    let stopped = until("the stopped run", Duration::from_secs(120), || {
        machine.api().run(&next.id).filter(|run| run.state.is_over())
    });
    assert_eq!(stopped.state, RunState::Interrupted, "{stopped:?}");
}

#[test]
fn vm_supervision_agent_killed_in_a_run_closes_it_as_interrupted() {
    let mut machine = Machine::booted(&Image::built());
    let id = run_under_way(&machine);
    let before = main_pids(&mut machine);
    kill(&mut machine, "tbi-agent.service");
    let ended = until("the agent's word on the run", BACK, || machine.api().run(&id).filter(|run| run.state.is_over()));
    assert_eq!(ended.state, RunState::Interrupted, "{ended:?}");
    let record = machine.api().request("GET", &format!("/v1/runs/{id}/record"), None);
    assert_eq!(record.status, 200, "what was measured before is kept: {}", record.text());
    // What was running is found as it is, not started anew.
    let after = main_pids(&mut machine);
    for unit in ["tbi-personas.service", "tbi-isp.service"] {
        assert_eq!(before.get(unit), after.get(unit), "{unit} was started anew though only the agent died");
    }
}

#[test]
fn vm_supervision_isp_router_stopped_breaks_the_path_and_is_reported() {
    let mut machine = Machine::booted(&Image::built());
    until("a healthy box", BACK, || healthy(&machine));
    // Stopped as the unit says (masking would take its words away), and forbidden to start, so that the agent cannot simply do that.
    let forbid = "/run/systemd/system/tbi-isp.service.d/90-forbidden.conf";
    let words = r"[Unit]\nConditionPathExists=/nowhere\n";
    machine.sh(&format!("mkdir -p $(dirname {forbid}) && printf '{words}' > {forbid} && systemctl daemon-reload")).ok();
    machine.sh("systemctl stop tbi-isp.service").ok();
    until("the ISP router's trouble", BACK, || {
        let isp = machine.api().component("isp")?;
        (isp.state > State::Starting && isp.sentence.contains("the path between device and personas is broken"))
            .then_some(())
    });
    machine.until_screen("The ISP router does not run", Duration::from_secs(30));
    // Not only said: the way back to the agents is gone.
    let routes = "nsenter --net=/run/netns/isp ip route show 172.16.0.0/16 && nsenter --net=/run/netns/isp ip -6 route show fd00:172:16::/48";
    assert_eq!(machine.sh(routes).ok().trim(), "", "the router's routes outlive it");
    let answer = machine.api().send("POST", "/v1/runs", &json!({ "profile": "quick" }));
    match answer.status {
        // Refused at once, with a reason …
        409 | 422 | 503 => assert!(!answer.text().is_empty()),
        // … or begun and ended without a claim.
        202 => {
            let run: tbi_api::runs::Run = answer.json();
            let ended = until("the end of the run", Duration::from_secs(240), || {
                machine.api().run(&run.id).filter(|run| run.state.is_over())
            });
            assert!(matches!(ended.state, RunState::NotMeasured | RunState::Interrupted), "{ended:?}");
        }
        other => panic!("status {other}: {}", answer.text()),
    }
    machine.sh(&format!("rm {forbid} && systemctl daemon-reload")).ok();
    until("a healthy box", Duration::from_secs(120), || healthy(&machine));
}
