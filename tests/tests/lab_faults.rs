//! Whole runs with one thing broken each: the sentence the operator sees, what is kept, and that nothing is left behind.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tbi_tests::child::{Finished, Running, run, until};
use tbi_tests::lab::Lab;
use tbi_tests::{processes, program};

/// Long enough to be broken in the middle, short enough to wait for.
const PLAN: &str = r#"
name = "a run that is broken"
pairs = 3
protocols = ["h2"]
objects = ["1KB"]
handshake_timeout = "1s"
request_timeout = "1s"

[phases]
ramp_up = "50ms"
sustain = "1s"
"#;

const DEADLINE: Duration = Duration::from_secs(90);

/// Starts a run and waits until its first block is on disk.
fn under_way(lab: &Lab) -> Running {
    let running = lab.start(Some(PLAN), &[]);
    until("the first block", Duration::from_secs(40), || {
        fs::read_to_string(lab.out().join("blocks.jsonl")).ok().filter(|text| text.contains('\n'))
    });
    running
}

/// The run ended without a claim, says why in one line, keeps its blocks, and left no process.
#[track_caller]
fn ended_without_claim(lab: &Lab, finished: &Finished, words: &[&str]) {
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    finished.assert_says(words);
    let record = lab.record();
    assert_eq!(record["valid"], false);
    assert_eq!(record["verdict"], "not_measured");
    let reason = record["reasons"][0].as_str().unwrap();
    for word in words {
        assert!(reason.contains(word), "'{word}' is not in: {reason}");
    }
    assert!(!record["blocks"].as_array().unwrap().is_empty(), "what was measured is kept");
    assert!(
        lab.report().contains("No cost is claimed") || lab.report().contains("not measured"),
        "the report says so too"
    );
    assert!(!lab.out().join("reserve").exists());
}

#[test]
fn lab_persona_killed_mid_run() {
    let lab = Lab::new();
    let running = under_way(&lab);
    processes::signal(processes::find(running.pid(), "tbi-personas").unwrap(), Signal::SIGKILL);
    ended_without_claim(&lab, &running.finish(DEADLINE), &["personas", "died", "what was measured before is kept"]);
}

#[test]
fn lab_engine_killed_mid_run() {
    let lab = Lab::new();
    let running = under_way(&lab);
    processes::signal(processes::find(running.pid(), "tbi-engine").unwrap(), Signal::SIGKILL);
    ended_without_claim(&lab, &running.finish(DEADLINE), &["engine", "died", "what was measured before is kept"]);
}

#[test]
fn lab_dut_stops_answering_in_the_middle_of_a_block() {
    let lab = Lab::new();
    let running = under_way(&lab);
    // Stopped, not dead: its sockets stay and nothing answers.
    processes::signal(processes::find(running.pid(), "tbi-practice-dut").unwrap(), Signal::SIGSTOP);
    let finished = running.finish(DEADLINE);
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    let record = lab.record();
    let reason = record["reasons"][0].as_str().unwrap();
    assert!(reason.contains("answer") && (reason.contains("device") || reason.contains("transactions")), "{reason}");
    assert_eq!(record["valid"], false);
    assert!(!record["blocks"].as_array().unwrap().is_empty());
}

#[test]
fn lab_stopped_by_ctrl_c() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let lab = Lab::new();
        let running = under_way(&lab);
        let inside: Vec<u32> = processes::below(running.pid()).into_keys().collect();
        running.signal(signal);
        ended_without_claim(&lab, &running.finish(DEADLINE), &["Stopped by the operator", "--again"]);
        until("every process to be gone", Duration::from_secs(5), || {
            inside.iter().all(|pid| !processes::lives(*pid)).then_some(())
        });
    }
}

#[test]
fn lab_kill_9_leaves_nothing_behind() {
    let lab = Lab::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let links = fs::read_to_string("/proc/net/dev").unwrap().lines().count();
    let running = under_way(&lab);
    let inside: Vec<u32> = processes::below(running.pid()).into_keys().collect();
    assert!(inside.len() >= 5, "supervisor, engine, personas, device: {inside:?}");
    running.signal(Signal::SIGKILL);
    until("every process to be gone", Duration::from_secs(5), || {
        inside.iter().all(|pid| !processes::lives(*pid)).then_some(())
    });
    let blocks = fs::read_to_string(lab.out().join("blocks.jsonl")).unwrap();
    assert!(blocks.contains("\"arm\":\"reference\""), "what was measured is kept");
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), mounts);
    assert_eq!(fs::read_to_string("/proc/net/dev").unwrap().lines().count(), links);
    drop(running);

    // Nobody was left to close the run; that can be done at any time later.
    let closed = run(Command::new(program("tbi-agent")).args(["lab", "close"]).arg(lab.out()), Duration::from_secs(20));
    assert_eq!(closed.code(), 0, "{}", closed.stderr);
    let record = lab.record();
    assert_eq!((&record["status"], &record["valid"]), (&"interrupted".into(), &false.into()));
    assert!(record["reasons"][0].as_str().unwrap().contains("agent was killed"));
}

#[test]
fn lab_full_disk_for_the_record() {
    let lab = Lab::new();
    let out = lab.out().join("small");
    fs::create_dir(&out).unwrap();
    fs::write(lab.out().join("plan.toml"), PLAN).unwrap();
    // A file system of one megabyte in a mount namespace of the test's own; the reserve does not fit.
    let finished = run(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=1m small \"$1\" && exec \"$2\" lab run --plan \"$3\" --out \"$1\"")
            .arg("sh")
            .arg(&out)
            .arg(program("tbi-agent"))
            .arg(lab.out().join("plan.toml")),
        DEADLINE,
    );
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    finished.assert_says(&["disk that holds", "small", "is full", "--out"]);
}

#[test]
fn lab_disk_that_fills_up_mid_run_keeps_what_was_measured() {
    let lab = Lab::new();
    let out = lab.out().join("small");
    fs::create_dir(&out).unwrap();
    fs::write(lab.out().join("plan.toml"), PLAN).unwrap();
    // Room for the reserve and little more; then something else fills the rest as soon as the first block is written.
    let script = "mount -t tmpfs -o size=36m small \"$1\" || exit 9
        (while ! grep -q . \"$1/blocks.jsonl\" 2>/dev/null; do :; done; cat /dev/zero > \"$1/hog\" 2>/dev/null) &
        \"$2\" lab run --plan \"$3\" --out \"$1\"; code=$?
        rm -f \"$1/hog\"; cp \"$1/run.json\" \"$1/report.html\" \"$4/\" && exit $code";
    let finished = run(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(&out)
            .arg(program("tbi-agent"))
            .arg(lab.out().join("plan.toml"))
            .arg(lab.out()),
        DEADLINE,
    );
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    finished.assert_says(&["disk that holds", "is full", "free some space"]);
    let record = lab.record();
    assert_eq!(record["status"], "interrupted");
    assert!(!record["blocks"].as_array().unwrap().is_empty());
}

#[test]
fn lab_clock_that_steps() {
    let lab = Lab::new();
    let rc = lab.out().join("clock");
    fs::write(&rc, "+0").unwrap();
    fs::write(lab.out().join("plan.toml"), PLAN).unwrap();
    // libfaketime moves the wall clock of every program of the run and leaves the monotonic one alone.
    let library = fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketime.so.1"))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("libfaketime is not installed; `cargo tbi test` installs the package faketime"));
    let mut agent = Command::new(program("tbi-agent"));
    agent
        .args(["lab", "run", "--out"])
        .arg(lab.out())
        .arg("--plan")
        .arg(lab.out().join("plan.toml"))
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &rc)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let running = Running::start(&mut agent);
    until("the first block", Duration::from_secs(40), || {
        fs::read_to_string(lab.out().join("blocks.jsonl")).ok().filter(|text| text.contains('\n'))
    });
    fs::write(&rc, "+3600").unwrap();
    ended_without_claim(&lab, &running.finish(DEADLINE), &["wall clock stepped forward", "run again"]);
}

#[test]
fn lab_bad_input_is_refused_before_anything_is_built() {
    let lab = Lab::new();
    for (plan, words) in [
        ("colour = \"red\"", ["plan.toml", "colour"]),
        ("[latency]\nrate = \"99000000/s\"", ["latency.rate", "no engine"]),
        ("[phases]\nsustain = 3", ["plan.toml", "string"]),
        ("protocols = [\"h4\"]", ["plan.toml", "h4"]),
    ] {
        let finished = lab.run(Some(plan), &[], Duration::from_secs(20));
        assert_eq!(finished.code(), 2, "{plan}");
        finished.assert_says(&words[1..]);
        assert!(finished.stderr.contains(words[0]));
        assert!(!lab.out().join("run.json").exists());
    }
    let finished = lab.run(None, &["--again", "/nonexistent/run.json"], Duration::from_secs(20));
    assert_eq!(finished.code(), 2);
    finished.assert_says(&["/nonexistent/run.json", "check the path"]);
}

#[test]
fn lab_dut_ca_that_is_missing() {
    let lab = Lab::new();
    let finished = lab.run(Some(PLAN), &["--dut-ca", "/nonexistent/ca.pem"], Duration::from_secs(30));
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    finished.assert_says(&["/nonexistent/ca.pem", "--dut-ca"]);
}

#[test]
fn lab_persona_ca_that_has_expired() {
    let lab = Lab::new();
    let ca = lab.out().join("ca");
    fs::create_dir(&ca).unwrap();
    tbi_tests::pki::expired_ca(&ca);
    let finished = lab.run(Some(PLAN), &["--persona-ca", ca.to_str().unwrap()], Duration::from_secs(40));
    assert_eq!(finished.code(), 2, "{}", finished.stderr);
    finished.assert_says(&["expired", "ca.pem"]);
}
