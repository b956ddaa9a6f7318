//! Whole runs that pre-flight stops, and one that goes on in spite of it: what the operator sees, and what the record and the report keep.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tbi_tests::child::{Finished, run};
use tbi_tests::lab::Lab;
use tbi_tests::{pki, program};

/// As short as a run can be.
const PLAN: &str = r#"
name = "pre-flight"
pairs = 1
protocols = ["h2"]
objects = ["1KB"]
loads = ["latency"]
personas = 4
drift_limit_per_mille = 1000
handshake_timeout = "1s"
request_timeout = "1s"

[phases]
ramp_up = "50ms"
sustain = "500ms"
"#;

const DEADLINE: Duration = Duration::from_secs(60);

/// Verdicts by name.
#[track_caller]
fn verdicts(record: &Value) -> Vec<(String, String)> {
    let checks = record["preflight"]["checks"].as_array().unwrap();
    let word = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    checks.iter().map(|check| (word(check, "name"), word(check, "verdict"))).collect()
}

/// Nothing was measured; the only check that failed is `failed`, and its words are the operator's.
#[track_caller]
fn stopped_by(lab: &Lab, finished: &Finished, failed: &str, words: &[&str]) {
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    finished.assert_says(words);
    let record = lab.record();
    assert_eq!((&record["verdict"], &record["blocks"]), (&"not_measured".into(), &Value::Array(Vec::new())));
    let verdicts = verdicts(&record);
    let names: Vec<&str> = verdicts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["subnets", "decrypt_mode", "persona_pki", "clock", "device_api"], "all five are made");
    for (name, verdict) in &verdicts {
        let expected = if name == failed { verdict == "failed" } else { verdict == "passed" || verdict == "warning" };
        assert!(expected, "{name} {verdict}: {}", record["preflight"]);
    }
    assert!(record["reasons"][0].as_str().unwrap().contains("pre-flight check"), "{}", record["reasons"]);
    assert!(lab.report().contains("✗ failed"), "the annex shows it");
}

/// Runs into `out`, which has siblings.
fn run_into(lab: &Lab, out: &Path, options: &[&str]) -> Finished {
    let plan = lab.out().join("plan.toml");
    fs::write(&plan, PLAN).unwrap();
    let mut agent = Command::new(program("tbi-agent"));
    agent.args(["lab", "run", "--out"]).arg(out).arg("--plan").arg(plan).args(options);
    run(&mut agent, DEADLINE)
}

#[test]
fn lab_clock_behind_an_earlier_run_and_the_bypass_that_is_on_the_cover() {
    let lab = Lab::new();
    // The end of an earlier run is in the future, so the clock is certainly wrong.
    let earlier = lab.out().join("earlier");
    fs::create_dir(&earlier).unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    File::create(earlier.join("run.json")).unwrap().set_modified(tomorrow).unwrap();
    let out = lab.out().join("now");

    let finished = run_into(&lab, &out, &[]);
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    for name in ["run.json", "report.html"] {
        fs::copy(out.join(name), lab.out().join(name)).unwrap();
    }
    stopped_by(&lab, &finished, "clock", &["'clock skew' failed", "earlier run", "set this machine's clock"]);

    let finished = run_into(&lab, &out, &["--bypass-preflight", "the lab's file times are known to be wrong"]);
    let record: Value = serde_json::from_str(&read("run.json")).unwrap();
    assert_eq!(finished.code(), 0, "{} {}", finished.stderr, record["reasons"]);
    assert_eq!((&record["valid"], &record["verdict"]), (&true.into(), &"passed".into()), "{}", record["reasons"]);
    assert_eq!(record["preflight"]["bypass"]["reason"], "the lab's file times are known to be wrong");
    assert!(record["reasons"][0].as_str().unwrap().starts_with("Pre-flight bypassed by "), "{}", record["reasons"]);
    assert!(verdicts(&record).contains(&("clock".to_owned(), "failed".to_owned())), "{}", record["preflight"]);
    let report = read("report.html");
    let cover = report.split_once("</header>").unwrap().0;
    assert!(cover.contains("Pre-flight bypassed by ") && cover.contains("clock skew"), "{cover}");
    assert!(out.join("admission.json").exists(), "kept before the first block, for a run that is killed");
}

#[test]
fn lab_agents_that_trust_another_ca_than_the_devices() {
    let lab = Lab::new();
    pki::authority(lab.out());
    let finished = lab.run(Some(PLAN), &["--dut-ca", lab.out().join("ca.pem").to_str().unwrap()], DEADLINE);
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    let record = lab.record();
    let pki = &record["preflight"]["checks"][2];
    assert_eq!((&pki["name"], &pki["verdict"]), (&"persona_pki".into(), &"failed".into()), "{}", record["preflight"]);
    assert!(pki["evidence"].as_str().unwrap().contains("the agents trust the device's CA"), "{pki}");
    assert_eq!(record["blocks"], Value::Array(Vec::new()));
}

#[test]
fn lab_device_that_passes_nothing_is_found_before_anything_is_measured() {
    let lab = Lab::new();
    let plan = format!("{PLAN}\n[dut.on]\ntcp = \"decrypt\"\nquic = \"decrypt\"\ndrop_per_mille = 999\n");
    let finished = lab.run(Some(&plan), &[], DEADLINE);
    stopped_by(&lab, &finished, "decrypt_mode", &["device in mode ON", "see that the device is up"]);
}

#[test]
fn lab_bypass_without_a_reason_is_refused_before_anything_is_built() {
    let lab = Lab::new();
    for (reason, words) in [("because", "7 characters"), ("two lines\nare too many", "cannot be printed")] {
        let finished = lab.run(Some(PLAN), &["--bypass-preflight", reason], Duration::from_secs(20));
        assert_eq!(finished.code(), 2, "{}", finished.stderr);
        finished.assert_says(&["pre-flight bypass", words]);
        assert!(!lab.out().join("run.json").exists());
    }
}
