//! The record's file format: committed schema, committed fixture, round trip.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::Value;
use tbi_report::ReportError;

const SCHEMA: &str = include_str!("../schema/run-v1.json");
const FIXTURE: &str = include_str!("../fixtures/run-v1.json");

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let committed: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(
        committed,
        tbi_report::schema(),
        "run `cargo run -p tbi-report --example schema > engine/report/schema/run-v1.json` and look at the difference: a change that \
         old readers cannot take needs a new version"
    );
}

#[test]
fn the_committed_fixture_is_read_valid_and_rendered() {
    let record = tbi_report::read(FIXTURE).unwrap();
    let value: Value = serde_json::from_str(FIXTURE).unwrap();
    let errors: Vec<String> = validator().iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(tbi_report::html(&record).unwrap().contains(&record.plan.name));
    assert!(tbi_report::table(&record, 100, tbi_report::Colour::Plain).contains("HTTP/3"));
}

#[test]
fn the_fixture_holds_what_automation_reads() {
    let value: Value = serde_json::from_str(FIXTURE).unwrap();
    for pointer in ["/version", "/valid", "/reasons/0", "/verdict", "/plan/seed"] {
        assert!(value.pointer(pointer).is_some(), "{pointer}");
    }
    for field in ["protocol", "object_bytes", "kpi", "unit", "on", "bypass", "headroom", "bench_limited"] {
        assert!(value["results"][0].get(field).is_some(), "{field}");
    }
    for field in ["ratio", "low", "high", "pairs", "indicative"] {
        assert!(value["results"][0]["cost"].get(field).is_some(), "{field}");
    }
    for field in ["protocol", "arm", "intercepted", "end_to_end", "altered", "unknown"] {
        assert!(value["proof"][0].get(field).is_some(), "{field}");
    }
}

#[test]
fn every_record_is_valid_and_survives_writing_and_reading() {
    for record in [common::small(), common::short(), common::empty()] {
        let text = tbi_report::json(&record).unwrap();
        let errors: Vec<String> =
            validator().iter_errors(&serde_json::from_str(&text).unwrap()).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(tbi_report::json(&tbi_report::read(&text).unwrap()).unwrap(), text);
    }
}

#[test]
fn the_schema_refuses_what_is_no_record() {
    let mut value: Value = serde_json::from_str(FIXTURE).unwrap();
    value["surprise"] = Value::Bool(true);
    assert!(!validator().is_valid(&value));
    assert!(!validator().is_valid(&serde_json::json!({ "version": 1 })));
}

#[test]
fn another_version_is_named() {
    let text = FIXTURE.replacen("\"version\": 1", "\"version\": 2", 1);
    match tbi_report::read(&text) {
        Err(error @ ReportError::Version { .. }) => assert!(error.to_string().contains("version 2"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(tbi_report::read("{}"), Err(ReportError::Json(_))));
}
