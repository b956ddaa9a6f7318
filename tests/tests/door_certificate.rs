//! The door's certificate through the whole appliance: real agent and real door. What openssl, which nobody here wrote, sees on the port is
//! what the console's source says, before and after an operator brings a certificate for a key that never left the box.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tbi_tests::child::{run, until};
use tbi_tests::door::{As, Door, Limits, SOON};
use tbi_tests::stand::write;

const CERTIFICATE: &str = "/api/v1/access/certificate";

/// SHA-256 of the leaf on the port, lower case without colons.
fn seen(door: &Door) -> String {
    let script = format!(
        "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256",
        door.authority()
    );
    let said = run(Command::new("sh").args(["-c", &script]), SOON);
    let (_, digits) = said.stdout.trim().split_once('=').unwrap();
    digits.replace(':', "").to_lowercase()
}

/// Asks the agent on its own socket, as the console does.
fn agent(door: &Door, path: &str) -> Value {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--unix-socket"]).arg(door.path("agent.sock")).arg(format!("http://agent{path}"));
    serde_json::from_str(&run(&mut curl, SOON).stdout).unwrap()
}

/// What the agent tells the console, once it is what openssl sees.
fn told(door: &Door) -> (String, Value) {
    until("the agent to be told what is on the port", SOON, || {
        let (leaf, status) = (seen(door), agent(door, "/v1/status"));
        (status["door_certificate"]["leaf_sha256"] == leaf).then_some((leaf, status))
    })
}

fn openssl(door: &Door, arguments: &[&str]) {
    let said = run(Command::new("openssl").args(arguments).current_dir(door.path("")), Duration::from_secs(60));
    assert_eq!(said.code(), 0, "{}", said.stderr);
}

#[test]
fn door_certificate_on_the_port_is_the_one_that_the_console_shows_also_after_it_was_brought() {
    let mut door = Door::start(Limits::HIGH);
    door.wait_ready();
    let ada = door.first_administrator();
    let (own, status) = told(&door);
    let shown = &status["door_certificate"];
    assert_eq!(shown["origin"], "own");
    let ca = shown["ca_sha256"].clone();
    // Of the flags, and of the machine that the test runs on, as far as it has a network.
    let names = shown["names"].as_array().unwrap();
    assert!(names.contains(&json!("tbi.local")) && names.contains(&json!("127.0.0.1")), "{names:?}");
    for address in status["addresses"].as_array().unwrap() {
        let address = address.as_str().unwrap().split('/').next().unwrap();
        let reached = !address.starts_with("fe80") && !address.starts_with("127.");
        assert_eq!(names.contains(&json!(address)), reached || address == "127.0.0.1", "{address} {names:?}");
    }

    // An operator's CA signs a request of the box.
    let order = json!({"names": ["tbi.local", "bench.test", "127.0.0.1"]});
    let made = door.ask(As::Session(&ada), "POST", &format!("{CERTIFICATE}/request"), Some(&order)).expect(201).json();
    write(&door.path("box.csr"), made["request_pem"].as_str().unwrap());
    let subject = ["-subj", "/CN=An operator's CA"];
    openssl(
        &door,
        &[&["req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "o.key", "-out", "o.crt"], &subject[..]]
            .concat(),
    );
    openssl(&door, &["req", "-in", "box.csr", "-verify", "-noout"]);
    let sign = ["x509", "-req", "-in", "box.csr", "-CA", "o.crt", "-CAkey", "o.key", "-days", "30"];
    openssl(&door, &[&sign[..], &["-copy_extensions", "copyall", "-out", "box.crt"]].concat());
    let chain = std::fs::read_to_string(door.path("box.crt")).unwrap();
    let brought = door.ask(As::Session(&ada), "PUT", CERTIFICATE, Some(&json!({"chain": chain}))).expect(200).json();
    let leaf = brought["shown"]["leaf_sha256"].as_str().unwrap().to_owned();
    // The stand's curl trusts the box's CA; this certificate is not under it.
    assert!(leaf != own && seen(&door) == leaf, "{brought}");
    let theirs = format!("curl --silent --cacert o.crt --noproxy '*' https://{}/health/live", door.authority());
    let said = run(Command::new("sh").args(["-c", &theirs]).current_dir(door.path("")), SOON);
    assert_eq!(said.stdout, "{\"status\":\"ok\"}");

    // It outlives the door, and the audit chain knows how it came.
    door.stop_door();
    door.start_door(Limits::HIGH);
    let (again, status) = told(&door);
    assert_eq!(again, leaf);
    let shown = &status["door_certificate"];
    assert_eq!((&shown["origin"], &shown["ca_sha256"]), (&json!("brought"), &ca));
    let entries = agent(&door, "/v1/audit?action=door.certificate&limit=10");
    let entries: Vec<_> = entries.as_array().unwrap().iter().collect();
    let what: Vec<_> = entries.iter().map(|entry| (&entry["action"], &entry["outcome"], &entry["actor"])).collect();
    let [done, ada] = [json!("done"), json!("ada")];
    let [change, request] = [json!("door.certificate.change"), json!("door.certificate.request")];
    assert_eq!(what, [(&change, &done, &ada), (&request, &done, &ada)]);
    let detail: Value = serde_json::from_str(entries[0]["detail"].as_str().unwrap()).unwrap();
    assert_eq!((&detail["before"]["leaf_sha256"], &detail["after"]["leaf_sha256"]), (&json!(own), &json!(leaf)));
}
