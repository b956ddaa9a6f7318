//! The front door keeps to its own OpenAPI document: schemathesis, which nobody here wrote, reads the document and asks what it allows and what
//! it does not, as each role. No answer is a server error, none is undocumented, none differs from its schema, and what needs a login is not
//! answered without one. What is left out, and why, is in `data/schemathesis.toml`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tbi_api::access::Role;
use tbi_tests::child::run;
use tbi_tests::door::{As, Door, Limits};
use tbi_tests::python::python;
use tbi_tests::repository::root;
use tbi_tests::stand::{read, write};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// For one role on a busy machine.
const LONGEST: Duration = Duration::from_secs(240);
/// The operation that is asked with idempotency keys.
const KEYED: &str = "/api/v1/agent/usage/acknowledgement";
/// The only server errors: true without a service manager and a bench, and documented.
const TRUE_HERE: [&str; 3] = ["cannot-measure", "personas-silent", "power-refused"];

fn keeps_its_contract(role: Role) {
    let schemathesis = python(SCHEMATHESIS).with_file_name("schemathesis");
    let door = Door::start(Limits::HIGH);
    door.wait_ready();
    let session = door.first_administrator();
    let token = door.token(&session, "greta", role);
    // Somebody to be changed and removed.
    let _spare = door.token(&session, "spare", Role::Viewer);
    let mut document = door.ask(As::Token(&token), "GET", "/openapi.json", None).expect(200).json();
    prepare(&mut document);
    write(&door.path("openapi.json"), &document.to_string());
    let record = door.path("record.har");

    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(root().join("tests/tests/data/schemathesis.toml"));
    command.arg("run").arg(door.path("openapi.json")).args(["--url", &format!("https://{}", door.authority())]);
    command.arg("--tls-verify").arg(door.ca()).args(["--report", "har", "--report-har-path"]).arg(&record);
    // It leaves a directory where it runs.
    command.arg("--no-color").env("TBI_TOKEN", &token).env("COLUMNS", "160").current_dir(door.path(""));
    let finished = run(&mut command, LONGEST);
    assert_eq!(finished.code(), 0, "{}\n{}", finished.stdout, finished.stderr);

    // That it asked at all, and with a proof that was good to the end.
    let whoami = door.ask(As::Token(&token), "GET", "/api/v1/access/whoami", None).expect(200).json();
    assert_eq!(whoami["proof"], "token", "{whoami}");
    let seen = Seen::of(&read(&record));
    let operations = operations(&document);
    assert!(seen.answers > 5 * operations, "{} answers from {operations} operations", seen.answers);
    assert!(seen.answered_well > 0, "nothing was answered with 2xx");
    let codes: Vec<_> = seen.codes_of_server_errors.iter().filter(|code| !TRUE_HERE.contains(&code.as_str())).collect();
    assert!(codes.is_empty(), "{codes:?}");
}

/// Takes out of the document what would only get in schemathesis' way.
///
/// Of the ways to prove who one is, all but the token: it would try wrong passwords, and the door would make it wait for them
/// (`login-throttled`), which is right and would be a finding. What needs no proof stays so. Of the idempotency keys, all but one: it sends the
/// same few with every body, and nearly all its requests would end as `idempotency-key-reused` instead of reaching what they are for.
fn prepare(document: &mut Value) {
    for (path, item) in document["paths"].as_object_mut().unwrap() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            operation["security"].as_array_mut().unwrap().retain(|way| way.get("token").is_some());
            if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut)
                && path != KEYED
            {
                parameters.retain(|parameter| parameter["name"] != "idempotency-key");
            }
        }
    }
}

fn operations(document: &Value) -> usize {
    document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum()
}

/// What came back, from the record that schemathesis keeps (HAR).
struct Seen {
    answers: usize,
    answered_well: usize,
    codes_of_server_errors: BTreeSet<String>,
}

impl Seen {
    fn of(record: &str) -> Self {
        let record: Value = serde_json::from_str(record).unwrap();
        let mut seen = Self { answers: 0, answered_well: 0, codes_of_server_errors: BTreeSet::new() };
        for entry in record["log"]["entries"].as_array().unwrap() {
            seen.answers += 1;
            match entry["response"]["status"].as_u64().unwrap() {
                200..300 => seen.answered_well += 1,
                500.. => {
                    let text = entry["response"]["content"]["text"].as_str().unwrap_or_default();
                    let problem: Value = serde_json::from_str(text).unwrap_or_default();
                    seen.codes_of_server_errors.insert(problem["code"].as_str().unwrap_or(text).to_owned());
                }
                _ => {}
            }
        }
        seen
    }
}

#[test]
fn door_contract_holds_for_a_viewer() {
    keeps_its_contract(Role::Viewer);
}

#[test]
fn door_contract_holds_for_an_operator() {
    keeps_its_contract(Role::Operator);
}

#[test]
fn door_contract_holds_for_an_administrator() {
    keeps_its_contract(Role::Administrator);
}

#[test]
fn door_contract_holds_for_an_auditor() {
    keeps_its_contract(Role::Auditor);
}
