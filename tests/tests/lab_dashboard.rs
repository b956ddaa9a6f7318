//! A lab with its dashboard: reached from outside the sandbox, with the run that was asked for, taken down whole, and nothing shared with a
//! second lab by accident.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tbi_tests::awake::Awake;
use tbi_tests::browser::{DOWN, Dashboard, TINY};
use tbi_tests::child::{run, until};
use tbi_tests::door::{As, Client};
use tbi_tests::{processes, program};

const SOON: Duration = Duration::from_secs(30);
const RUNS: &str = "/api/v1/agent/runs";

fn client(lab: &Dashboard) -> Client {
    let url = lab.url();
    let authority = url.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let ca = lab.path("state/door/ca.crt");
    until("the dashboard's CA", SOON, || ca.is_file().then_some(()));
    let client = Client::of_address(&authority, &ca);
    until("the dashboard to be ready", SOON, || {
        (client.try_ask(As::Nobody, "GET", "/health/ready", &[], None)?.status == 200).then_some(())
    });
    client
}

#[test]
fn lab_dashboard_shows_the_run_takes_the_next_and_leaves_nothing() {
    let _awake = Awake::keep();
    let lab = Dashboard::start(TINY);
    let client = client(&lab);
    let ada = client.first_administrator(&lab.code());
    let ask = |path: &str| client.ask(As::Session(&ada), "GET", path, None).expect(200).json();
    let first =
        until("the run that was asked for", SOON, || Some(ask(RUNS).as_array()?.first()?["id"].as_str()?.to_owned()));
    let over = |id: &str| {
        until("the end of a run", Duration::from_secs(120), || {
            let run = ask(&format!("{RUNS}/{id}"));
            run["ended"].is_string().then_some(run)
        })
    };
    assert_eq!(over(&first)["state"], "passed");
    let health = ask("/api/v1/agent/health");
    assert_eq!(health["state"], "healthy", "a lab lacks what only a box has, and complains of nothing: {health}");
    let order: Value = serde_json::json!({ "profile": "quick" });
    let second = client.ask(As::Session(&ada), "POST", RUNS, Some(&order)).expect(202).json();
    let second = second["id"].as_str().unwrap().to_owned();
    until("the second run to measure", Duration::from_secs(60), || {
        (ask(&format!("{RUNS}/{second}"))["state"] == "running").then_some(())
    });
    let url = lab.url();
    let programs = processes::below(lab.pid());
    assert!(programs.values().any(|name| name == "tbi-dashboard"), "{programs:?}");

    // In the middle of the second run.
    let (finished, took, home) = lab.interrupt();
    assert!(took < DOWN, "the lab was down only {took:?} after Ctrl-C");
    assert_eq!(finished.code(), 0, "the code is the first run's: {}", finished.stdout);
    assert!(finished.stdout.contains("What decryption costs"), "{}", finished.stdout);
    assert!(!programs.keys().any(|pid| processes::lives(*pid)), "something is left of {programs:?}");
    let _free = TcpListener::bind(url.trim_start_matches("https://").trim_end_matches('/')).unwrap();
    let out = home.path().join("lab");
    let record = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(out.join(path)).unwrap()).unwrap() };
    assert_eq!(record("run.json")["id"], *first, "--out promises the record of the run that was asked for");
    assert_eq!(record(&format!("runs/{second}/run.json"))["status"], "interrupted");
}

#[test]
fn lab_dashboard_is_not_served_where_nobody_sits() {
    // Standard output is a pipe here, as in a script.
    let help = run(Command::new(program("tbi-agent")).args(["lab", "run", "--help"]), SOON);
    help.assert_says(&["--no-dashboard"]);
    let _awake = Awake::keep();
    let home = tempfile::tempdir().unwrap();
    let plan = home.path().join("plan.toml");
    std::fs::write(&plan, TINY).unwrap();
    let mut agent = Command::new(program("tbi-agent"));
    let finished =
        run(agent.args(["lab", "run", "--terse", "--plan"]).arg(plan).arg("--out").arg(home.path()), SOON * 4);
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    assert!(home.path().join("run.json").is_file());
    assert!(!home.path().join("state").exists() && !finished.stderr.contains("dashboard"), "{}", finished.stderr);
}

#[test]
fn lab_dashboard_refuses_a_second_lab_on_the_same_state() {
    let _awake = Awake::keep();
    let lab = Dashboard::start(TINY);
    let _up = lab.url();
    let mut second = Command::new(program("tbi-agent"));
    second.args(["lab", "run", "--dashboard", "--listen", "127.0.0.1:0", "--out"]).arg(lab.path(""));
    let refused = run(&mut second, SOON);
    assert_eq!(refused.code(), 2);
    refused.assert_says(&["error:", "another lab", "--no-dashboard"]);
}
