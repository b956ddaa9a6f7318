//! Pre-flight, its bypass and the receipt: printed where a reader cannot miss them, escaped, and valid in the record.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use tbi_bench::preflight::{Bypass, Check, CheckName, Finding, Preflight};
use tbi_bench::record::{Authorization, RunRecord, Verdict};
use tbi_report::Colour;

/// A record of a run that began although its clock was wrong.
fn bypassed() -> RunRecord {
    let check = |name| match name {
        CheckName::Clock => Check::new(name, Finding::failed("the clock shows 1970 <b>", "set it"), 2),
        _ => Check::new(name, Finding::passed("as it should be"), 14),
    };
    let bypass = Some(Bypass::new("no battery in this <i>box</i> until Monday", "anna").unwrap());
    let preflight = Preflight { checks: CheckName::ALL.map(check).into(), bypass };
    let mut record = common::short();
    record.reasons.insert(0, preflight.caution().unwrap());
    record.preflight = Some(preflight);
    record
}

fn receipt() -> Authorization {
    Authorization {
        run: "20261121T101500Z".to_owned(),
        plan_sha256: "5e".repeat(32),
        licence: "lab-7".to_owned(),
        tsu: 12,
        burned: vec!["note-0001".to_owned(), "note-0002".to_owned()],
        change: Some("note-0003".to_owned()),
        balance_after: 4988,
        audit_seq: 1234,
        sealed_hash: "ab".repeat(32),
        when: "2026-11-21T10:15:01Z".to_owned(),
        key_id: "node-key-1".to_owned(),
        signature: "c2lnbmF0dXJl".to_owned(),
    }
}

/// The HTML before the list of contents.
fn cover(record: &RunRecord) -> String {
    let html = tbi_report::html(record).unwrap();
    let (_, body) = html.split_once("<header class=\"cover\">").unwrap();
    body.split_once("</header>").unwrap().0.to_owned()
}

#[test]
fn a_bypass_is_printed_on_the_cover_with_its_reason_and_what_had_failed() {
    let record = bypassed();
    let cover = cover(&record);
    let sentence = "Pre-flight bypassed by anna: no battery in this &#60;i&#62;box&#60;/i&#62; until Monday.";
    assert!(cover.contains(sentence), "{cover}");
    assert!(cover.contains("clock skew") && cover.contains("1970 &#60;b&#62;"), "{cover}");
    assert_eq!(cover.matches("Pre-flight bypassed by anna").count(), 1, "once is enough");
    assert!(cover.contains("<li>pre-flight bypassed</li>"), "among the labels");
    assert_eq!(record.verdict, Verdict::Passed, "thresholds decide as before");
    assert!(cover.contains("The run is valid, with its pre-flight bypassed"), "{cover}");
    let table = tbi_report::table(&record, 100, Colour::Plain);
    assert!(table.contains("Pre-flight bypassed by anna") && table.contains("with its pre-flight bypassed"), "{table}");
}

#[test]
fn a_run_without_bypass_says_nothing_of_one() {
    let mut record = bypassed();
    record.reasons.remove(0);
    record.preflight.as_mut().unwrap().bypass = None;
    for text in [cover(&record), tbi_report::table(&record, 100, Colour::Plain)] {
        assert!(!text.contains("bypassed"), "{text}");
    }
}

#[test]
fn every_check_is_in_the_annex_with_evidence_remedy_and_time() {
    let html = tbi_report::html(&bypassed()).unwrap();
    let (_, annex) = html.split_once("<section id=\"preflight\"").unwrap();
    let annex = annex.split_once("</section>").unwrap().0;
    for name in CheckName::ALL {
        assert!(annex.contains(name.title()), "{name}");
    }
    for words in ["set it", "✗ failed", "✓ passed", ">14<", "as it should be"] {
        assert!(annex.contains(words), "{words}");
    }
    let html = tbi_report::html(&common::short()).unwrap();
    assert!(html.contains("The record holds no pre-flight checks."));
}

#[test]
fn the_receipt_is_printed_whole() {
    let record = RunRecord { authorization: Some(receipt()), ..common::small() };
    let html = tbi_report::html(&record).unwrap();
    let (_, annex) = html.split_once("<section id=\"authorization\"").unwrap();
    let annex = annex.split_once("</section>").unwrap().0;
    let receipt = receipt();
    for words in [&receipt.sealed_hash, &receipt.plan_sha256, &receipt.licence, &receipt.key_id, &receipt.signature] {
        assert!(annex.contains(words.as_str()), "{words}");
    }
    assert!(annex.contains("note-0001, note-0002") && annex.contains("note-0003"), "{annex}");
    let html = tbi_report::html(&common::small()).unwrap();
    assert!(html.contains("The record holds no receipt"));
}

#[test]
fn a_record_with_pre_flight_and_receipt_is_valid_and_survives_writing_and_reading() {
    let schema = serde_json::from_str(include_str!("../schema/run-v1.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let record = RunRecord { authorization: Some(receipt()), ..bypassed() };
    let text = tbi_report::json(&record).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let read = tbi_report::read(&text).unwrap();
    assert_eq!((read.preflight, read.authorization), (record.preflight, record.authorization));
    value["preflight"]["checks"][0]["verdict"] = "maybe".into();
    assert!(!validator.is_valid(&value), "the schema knows the verdicts");
}
