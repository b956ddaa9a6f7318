//! Formats that left the box once and must be read for ever: an exported chain, a receipt, a licence, a line of the spool. The fixtures are
//! never edited; a new version of a format gets fixtures of its own beside them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::at;
use tbi_ledger::audit::{Line, parse_line, verify};
use tbi_ledger::licence::{Issuers, Standing, judge, open};
use tbi_ledger::spool::parse_tick;
use tbi_ledger::{Receipt, from_hex};

const CHAIN: &str = include_str!("fixtures/audit-v1.jsonl");
const RECEIPT: &str = include_str!("fixtures/receipt-v1.json");
const LICENCE: &str = include_str!("fixtures/licence-v1.json");
const ISSUER: &str = include_str!("fixtures/issuer-v1.hex");
const TICK: &str = include_str!("fixtures/tick-v1.log");

fn node_key() -> Vec<u8> {
    match parse_line(CHAIN.lines().next().unwrap().as_bytes()).unwrap() {
        Line::Header(header) => header.public_key.0,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_chain_of_version_1_proves() {
    let verified = verify(CHAIN.as_bytes(), Some(&node_key())).unwrap();
    assert_eq!((verified.pruned_through, verified.first, verified.last, verified.checkpoints), (2, 3, 6, 2));
    assert_eq!(verified.box_id, "box-1");
}

#[test]
fn a_receipt_of_version_1_proves_and_is_the_one_that_the_chain_seals() {
    let receipt: Receipt = serde_json::from_str(RECEIPT).unwrap();
    receipt.verify(&node_key()).unwrap();
    let entries = CHAIN.lines().filter_map(|line| match parse_line(line.as_bytes()).unwrap() {
        Line::Entry(entry) => Some((entry.seq, entry.hash)),
        _ => None,
    });
    assert!(entries.into_iter().any(|sealed| sealed == (receipt.audit_seq, receipt.sealed_hash)));
}

#[test]
fn a_licence_of_version_1_is_genuine() {
    let issuers = Issuers::new(vec![from_hex(ISSUER.trim()).unwrap().try_into().unwrap()]);
    let (envelope, when) = (open(LICENCE, &issuers).unwrap(), at("2026-06-15T12:00:00Z"));
    assert_eq!((envelope.id.as_str(), envelope.tsu), ("L-1", 1000));
    assert_eq!(judge(LICENCE, &issuers, when, when), Standing::Valid);
}

#[test]
fn a_tick_of_version_1_is_read() {
    let tick = parse_tick(TICK.trim_end().as_bytes()).unwrap();
    assert_eq!((tick.client_seq, tick.tick.unit.as_str(), tick.tick.quantity), (1, "block-1", 7));
}
