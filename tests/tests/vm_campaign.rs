//! The main job inside the machine: a quick campaign over the API, through the box's own practice DUT. Judged by what was proven, not by how
//! fast it was: an emulated processor is slow.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use tbi_api::runs::RunState;
use tbi_tests::vm::Machine;
use tbi_tests::vm::image::Image;
use tbi_tests::vm::until;

#[test]
fn vm_campaign_ends_with_a_report_whose_classes_are_right() {
    let machine = Machine::booted(&Image::built());
    let api = machine.api();
    let run = api.start_run(&json!({ "profile": "quick" }));
    assert!(matches!(run.state, RunState::Preparing | RunState::Running), "{run:?}");
    let second = api.send("POST", "/v1/runs", &json!({ "profile": "quick" }));
    assert_eq!(second.status, 409, "one run at a time: {}", second.text());

    let ended =
        until("the end of the run", Duration::from_secs(600), || api.run(&run.id).filter(|run| run.state.is_over()));
    let record: Value = match api.request("GET", &format!("/v1/runs/{}/record", run.id), None) {
        answer if answer.status == 200 => answer.json(),
        answer => panic!("no record ({}): {}; the run: {ended:?}", answer.status, answer.text()),
    };
    assert!(!matches!(ended.state, RunState::Interrupted), "{ended:?}");

    let proof = record["proof"].as_array().unwrap();
    let row = |protocol: &str, arm: &str| {
        let found = proof.iter().find(|row| row["protocol"] == protocol && row["arm"] == arm);
        found.unwrap_or_else(|| panic!("nothing is proven for {protocol} in arm {arm}: {proof:?}; the run: {ended:?}"))
    };
    for protocol in ["h3", "h2"] {
        let (on, bypass) = (row(protocol, "on"), row(protocol, "bypass"));
        assert!(on["intercepted"].as_u64().unwrap() > 0 && on["end_to_end"] == 0, "{protocol} ON: {on}");
        assert!(
            bypass["end_to_end"].as_u64().unwrap() > 0 && bypass["intercepted"] == 0,
            "{protocol} BYPASS: {bypass}"
        );
        for row in [on, bypass] {
            assert_eq!(row["altered"], 0, "{protocol}: {row}");
        }
        // Corroborated by whose certificates the agents saw.
        assert!(on["issuer_dut_ca"].as_u64().unwrap() > 0 && on["issuer_persona_ca"] == 0, "{protocol} ON: {on}");
        assert!(
            bypass["issuer_persona_ca"].as_u64().unwrap() > 0 && bypass["issuer_dut_ca"] == 0,
            "{protocol} BYPASS: {bypass}"
        );
    }
    let classes: Vec<&str> =
        record["quic"].as_array().unwrap().iter().filter_map(|row| row["verdict"]["class"].as_str()).collect();
    assert!(classes.contains(&"decrypt") && classes.contains(&"pass"), "{classes:?}");

    let report = api.request("GET", &format!("/v1/runs/{}/report", run.id), None).expect(200).text();
    assert!(
        report.contains("<html") && report.contains(&run.id),
        "no report: {}",
        report.chars().take(300).collect::<String>()
    );
    assert_eq!(api.status().unwrap().run.map(|run| run.id), Some(run.id));
}
