//! Bad state: the box still has its console and its API, and both say what is wrong and what to do.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use tbi_api::health::State;
use tbi_tests::vm::Machine;
use tbi_tests::vm::image::Image;
use tbi_tests::vm::until;

const TOLD: Duration = Duration::from_secs(90);
const STATE: &str = "/var/lib/tlsstress";

/// The part of the box is not well, says so in a sentence with `words`, and the screen shows the same.
#[track_caller]
fn assert_told(machine: &mut Machine, part: &str, words: &[&str]) {
    let component = until(&format!("{part} to be told"), TOLD, || {
        machine.api().component(part).filter(|component| component.state >= State::Degraded)
    });
    for word in words {
        assert!(component.sentence.contains(word), "'{word}' is not in: {}", component.sentence);
    }
    // The screen may cut a long list; the beginning of the worst is always there.
    machine.until_screen(component.sentence.get(..40).unwrap_or(&component.sentence), Duration::from_secs(60));
}

/// Not a byte is left for anybody but root's reserve: one large file, then small ones into what remains.
fn fill_state(machine: &mut Machine) {
    let fill = "fallocate -l $(df --output=avail --block-size=1 /var | tail -1) /var/filler; \
                dd if=/dev/zero of=/var/rest bs=4k status=none; sync; true";
    machine.sh_within(fill, Duration::from_secs(180)).ok();
}

/// The first pages, where SQLite keeps its schema, become noise.
fn break_database(machine: &mut Machine) {
    let noise = format!("dd if=/dev/urandom of={STATE}/tbi.db bs=4k count=4 conv=notrunc status=none");
    machine.sh(&format!("rm -f {STATE}/tbi.db-wal {STATE}/tbi.db-shm && {noise} && sync")).ok();
}

fn stop_agent(machine: &mut Machine) {
    machine.sh("systemctl stop tbi-agent.socket tbi-agent.service").ok();
}

fn start_agent(machine: &mut Machine) {
    machine.sh("systemctl start tbi-agent.socket tbi-agent.service").ok();
    until("the agent", TOLD, || machine.api().status());
}

#[test]
fn vm_faults_full_state_partition() {
    let mut machine = Machine::booted(&Image::built());
    fill_state(&mut machine);
    assert_told(&mut machine, "state", &["state partition"]);
    let answer = machine.api().send("POST", "/v1/runs", &json!({ "profile": "quick" }));
    assert!(answer.status != 202 || answer.text().contains("id"), "{}", answer.text());
    stop_agent(&mut machine);
    start_agent(&mut machine);
    assert_told(&mut machine, "state", &["state partition"]);
    machine.sh("rm -f /var/filler /var/rest").ok();
    until("the state partition to be well again", TOLD, || {
        machine.api().component("state").filter(|component| component.state == State::Healthy)
    });
}

#[test]
fn vm_faults_corrupt_database() {
    let mut machine = Machine::booted(&Image::built());
    let identity: Value = machine.api().get("/v1/identity");
    stop_agent(&mut machine);
    break_database(&mut machine);
    start_agent(&mut machine);
    assert_told(&mut machine, "database", &["database"]);
    assert_eq!(machine.api().get::<Value>("/v1/identity"), identity, "the box is still the same");
    let kept = machine.sh(&format!("ls {STATE}")).ok();
    assert!(
        kept.lines().any(|name| name.starts_with("tbi.db") && name.contains("corrupt")),
        "what was there is kept aside: {kept}"
    );
}

#[test]
fn vm_faults_wrong_topology() {
    let mut machine = Machine::booted(&Image::built());
    let good: Value = machine.api().get("/v1/topology");
    let wrong = good["yaml"].as_str().unwrap().replace("vlan: 30", "vlan: 20");
    assert_ne!(wrong, good["yaml"].as_str().unwrap());
    let answer = machine.api().send("PUT", "/v1/topology", &json!({ "yaml": wrong }));
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("20"), "the sentence names the VLAN: {}", answer.text());
    assert_eq!(machine.api().get::<Value>("/v1/topology"), good, "the good one stays");
    assert!(machine.api().component("topology").is_none_or(|component| component.state == State::Healthy));

    // The same, as a file that an older or a broken program left.
    stop_agent(&mut machine);
    let file = format!("{STATE}/topology.yaml");
    machine.sh(&format!("rm -f {STATE}/tbi.db*; printf 'inside: 5\\n' > {file}; chown tbi-agent: {file}; sync")).ok();
    start_agent(&mut machine);
    assert_told(&mut machine, "topology", &["topology"]);
}

/// All of it at once, over a restart without shutdown: the box boots, answers, and names each part.
#[test]
fn vm_faults_boot_with_everything_wrong() {
    let mut machine = Machine::booted(&Image::built());
    stop_agent(&mut machine);
    break_database(&mut machine);
    fill_state(&mut machine);
    let mut machine = machine.power_cut().clock("2001-01-01T00:00:00").start();
    let status = until("the status", tbi_tests::vm::machine::BOOT, || machine.api().status());
    assert!(status.health >= State::Degraded, "{status:?}");
    for part in ["state", "database", "clock"] {
        let component = until(&format!("{part} to be told"), TOLD, || {
            machine.api().component(part).filter(|component| component.state >= State::Degraded)
        });
        assert!(component.sentence.len() > 20, "{component:?}");
    }
    let worst = status.problems.first().cloned().unwrap_or_default();
    machine.until_screen(worst.get(..40).unwrap_or(&worst), Duration::from_secs(90));
}

/// A unit that never becomes ready: the box stays usable, and the part is named.
#[test]
fn vm_faults_unit_that_never_becomes_ready() {
    let mut machine = Machine::booted(&Image::built());
    let file = "/run/systemd/system/tbi-personas.service.d/90-never.conf";
    let again = "systemctl daemon-reload && systemctl kill --signal=KILL tbi-personas.service";
    let words = r"[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n";
    machine.sh(&format!("mkdir -p $(dirname {file}) && printf '{words}' > {file} && {again}")).ok();
    let component = until("personas to be told", Duration::from_secs(180), || {
        let component = machine.api().component("personas")?;
        // Past the moment between its end and its next start.
        (component.state == State::Starting && component.sentence.contains("is starting")).then_some(component)
    });
    assert!(component.sentence.contains("KILL"), "it says how it ended: {component:?}");
    machine.until_screen(component.sentence.get(..22).unwrap_or(&component.sentence), Duration::from_secs(60));
    machine.sh(&format!("rm {file} && {again}")).ok();
    until("personas to be well again", Duration::from_secs(180), || {
        machine.api().component("personas").filter(|component| component.state == State::Healthy)
    });
}
