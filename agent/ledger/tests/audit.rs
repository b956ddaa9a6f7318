//! The audit chain: what is appended is sealed, and nothing can be done to it or to an export of it without being found.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Mute, Node, at, note, now, open};
use proptest::prelude::*;
use tbi_ledger::audit::{AuditFilter, CHECKPOINT_EVERY, Export, LONGEST_LINE, NewEntry, What, parse_line, verify};
use tbi_ledger::{FILE, Ledger, LedgerError, Retention, Signer as _};

fn exported(ledger: &Ledger, node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.export("box-1", node, now(), &mut bytes).unwrap();
    bytes
}

/// A chain of `entries` with a checkpoint behind each of `signed`.
fn chain(node: &Node, entries: u64, signed: &[u64]) -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    for seq in 1..=entries {
        assert_eq!(note(&mut ledger, node, &format!("thing {seq}"), now()).seq, seq);
        if signed.contains(&seq) {
            assert_eq!(ledger.checkpoint(node, now()).unwrap().unwrap().seq, seq);
        }
    }
    (dir, ledger)
}

#[test]
fn entries_are_numbered_without_a_gap_and_signed_from_time_to_time() {
    let node = Node::new();
    let (dir, mut ledger) = chain(&node, 2 * CHECKPOINT_EVERY + 10, &[]);
    let proven = ledger.verify_chain().unwrap();
    assert_eq!((proven.entries, proven.checkpoints), (2 * CHECKPOINT_EVERY + 10, 2));
    assert_eq!(proven.signed_through, 2 * CHECKPOINT_EVERY);
    assert!(ledger.checkpoint(&node, now()).unwrap().is_some());
    assert!(ledger.checkpoint(&node, now()).unwrap().is_none(), "signed already");
    drop(ledger);
    let mut ledger = open(dir.path());
    assert_eq!(ledger.verify_chain().unwrap().signed_through, 2 * CHECKPOINT_EVERY + 10);
    let entry = note(&mut ledger, &node, "after the restart", now());
    assert_eq!(ledger.audit_head().unwrap(), (entry.seq, entry.hash));

    let verified = verify(exported(&ledger, &node).as_slice(), Some(node.public_key())).unwrap();
    assert_eq!((verified.first, verified.last, verified.checkpoints), (1, entry.seq, 3));
    assert_eq!((verified.box_id.as_str(), verified.head), ("box-1", entry.hash));
    assert_eq!(verified.key_id, node.key_id());
}

#[test]
fn a_key_that_does_not_sign_delays_the_checkpoint_and_never_the_entry() {
    let node = Node::new();
    let (_dir, mut ledger) = chain(&node, CHECKPOINT_EVERY - 1, &[]);
    let mute = Mute(node);
    note(&mut ledger, &mute, "unsigned", now());
    assert_eq!(ledger.verify_chain().unwrap().checkpoints, 0);
    assert!(matches!(ledger.checkpoint(&mute, now()), Err(LedgerError::Signing(_))));
    note(&mut ledger, &mute.0, "signed", now());
    assert_eq!(ledger.verify_chain().unwrap().signed_through, CHECKPOINT_EVERY + 1);
}

#[test]
fn a_clock_going_backwards_changes_neither_order_nor_proof() {
    let node = Node::new();
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    for when in
        ["2026-06-01T00:00:00Z", "1970-01-01T00:00:00Z", "2199-01-01T00:00:00.123456789Z", "2026-06-02T00:00:00Z"]
    {
        note(&mut ledger, &node, when, at(when));
    }
    ledger.verify_chain().unwrap();
    let newest = ledger.audit_entries(&AuditFilter { limit: 10, ..AuditFilter::default() }).unwrap();
    assert_eq!(newest.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!(newest[1].when, at("2199-01-01T00:00:00.123456Z"), "as it is stored");
    let verified = verify(exported(&ledger, &node).as_slice(), None).unwrap();
    assert_eq!(verified.to, Some(at("2026-06-02T00:00:00Z")));
}

#[test]
fn entries_are_found_by_what_they_say() {
    let node = Node::new();
    let (_dir, mut ledger) = chain(&node, 3, &[]);
    let entry = NewEntry {
        actor: "bob",
        role: "viewer",
        source: "local",
        action: "login.password",
        target: "bob",
        outcome: "refused",
        detail: &serde_json::Value::Null,
        correlation: "c-2",
    };
    ledger.append(&entry, &node, at("2026-06-16T00:00:00Z")).unwrap();
    let found = |filter: AuditFilter<'_>| {
        let found = ledger.audit_entries(&AuditFilter { limit: 100, ..filter }).unwrap();
        found.iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    let any = AuditFilter::default;
    assert_eq!(found(AuditFilter { actor: Some("bob"), ..any() }), [4]);
    assert_eq!(found(AuditFilter { action: Some("settings."), ..any() }), [3, 2, 1]);
    assert_eq!(found(AuditFilter { action: Some("settings_"), ..any() }), [0; 0]);
    assert_eq!(found(AuditFilter { correlation: Some("c-2"), ..any() }), [4]);
    assert_eq!(found(AuditFilter { from: Some(at("2026-06-15T13:00:00Z")), ..any() }), [4]);
    assert_eq!(found(AuditFilter { to: Some(now()), before: Some(3), ..any() }), [2, 1]);
}

#[test]
fn what_a_client_sends_is_bounded_and_never_refused() {
    let node = Node::new();
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    let long = "\u{1}".repeat(100_000) + "é";
    let detail = serde_json::json!({ "after": long });
    let entry = NewEntry {
        actor: &long,
        role: &long,
        source: &long,
        action: &long,
        target: &long,
        outcome: &long,
        detail: &detail,
        correlation: &long,
    };
    let entry = ledger.append(&entry, &node, now()).unwrap();
    assert!(entry.detail.contains("omitted_bytes") && entry.target.len() < 600);
    // The longest entry there is makes a line that the other end takes.
    let largest = serde_json::json!("\u{1}".repeat(2700));
    let entry = NewEntry { detail: &largest, ..new_entry(&long, &largest) };
    assert!(ledger.append(&entry, &node, now()).unwrap().detail.len() > 16_000);
    let bytes = exported(&ledger, &node);
    assert!(bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap() < LONGEST_LINE);
    verify(bytes.as_slice(), None).unwrap();
}

fn new_entry<'a>(text: &'a str, detail: &'a serde_json::Value) -> NewEntry<'a> {
    NewEntry {
        actor: text,
        role: text,
        source: text,
        action: text,
        target: text,
        outcome: text,
        detail,
        correlation: text,
    }
}

#[test]
fn the_tables_refuse_what_is_not_appending() {
    let node = Node::new();
    let (dir, ledger) = chain(&node, 3, &[2]);
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    for statement in [
        "UPDATE audit SET actor = 'eve' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT seq, 0, 'eve', role, source, action, target, outcome, detail, correlation, previous, hash FROM audit WHERE seq = 3",
        "INSERT INTO audit SELECT seq + 4, 0, 'eve', role, source, action, target, outcome, detail, correlation, previous, hash FROM audit WHERE seq = 3",
        "UPDATE audit_checkpoints SET count = 1",
        "DELETE FROM audit_checkpoints",
        "INSERT OR REPLACE INTO audit_checkpoints SELECT seq, zeroblob(32), count, made, public_key, signature FROM audit_checkpoints",
    ] {
        let refused = file.execute(statement, []).unwrap_err().to_string();
        assert!(refused.contains("audit"), "{statement}: {refused}");
    }
    assert_eq!(ledger.verify_chain().unwrap().entries, 3);
}

#[test]
fn whoever_edits_the_tables_themselves_is_found() {
    let triggers = "DROP TRIGGER audit_insert; DROP TRIGGER audit_update; DROP TRIGGER audit_delete;
                    DROP TRIGGER audit_checkpoint_delete; DROP TRIGGER audit_checkpoint_update;";
    for (statement, seq) in [
        ("UPDATE audit SET actor = 'eve' WHERE seq = 2", 2),
        ("UPDATE audit SET happened = happened + 1 WHERE seq = 4", 4),
        ("UPDATE audit SET detail = detail || ' ' WHERE seq = 1", 1),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq >= 4", 4),
        ("DELETE FROM audit_checkpoints WHERE seq = 2", 4),
        ("UPDATE audit_checkpoints SET signature = zeroblob(64) WHERE seq = 2", 2),
        (
            "INSERT INTO audit_anchors SELECT seq, head, made, public_key, signature FROM audit_checkpoints WHERE seq = 2",
            2,
        ),
        ("UPDATE meta SET value = 'other' WHERE key = 'audit_chain'", 1),
    ] {
        let node = Node::new();
        let (dir, ledger) = chain(&node, 5, &[2, 4]);
        let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
        file.execute_batch(triggers).unwrap();
        assert!(file.execute(statement, []).unwrap() > 0, "{statement}");
        match ledger.verify_chain() {
            Err(LedgerError::Chain { seq: found, .. }) => assert_eq!(found, seq, "{statement}"),
            other => unreachable!("{statement}: {other:?}"),
        }
    }
}

#[test]
fn a_different_key_is_found_when_one_is_expected() {
    let (node, other) = (Node::new(), Node::new());
    let (_dir, mut ledger) = chain(&node, 3, &[2]);
    let bytes = exported(&ledger, &node);
    assert_eq!(verify(bytes.as_slice(), Some(other.public_key())).unwrap_err().what, What::Key);
    // The same chain, signed at its end by somebody else: without an expectation it is the chain of that key.
    let bytes = exported(&ledger, &other);
    let verified = verify(bytes.as_slice(), None).unwrap();
    assert_eq!((verified.key_id, verified.earlier_keys), (other.key_id(), vec![node.key_id()]));
    assert_eq!(verify(bytes.as_slice(), Some(node.public_key())).unwrap_err().what, What::Key);
    // The box changed its key: old checkpoints stay good.
    note(&mut ledger, &other, "later", now());
    ledger.checkpoint(&other, now()).unwrap();
    ledger.verify_chain().unwrap();
    verify(exported(&ledger, &other).as_slice(), Some(other.public_key())).unwrap();
}

#[test]
fn retention_leaves_a_signed_anchor_and_the_rest_still_proves() {
    let node = Node::new();
    let (_dir, mut ledger) = chain(&node, 5, &[3]);
    let days =
        |days: i64| Retention { audit: Some(jiff::SignedDuration::from_hours(24 * days)), ..Retention::default() };
    let later = at("2026-07-15T12:00:00Z");
    assert_eq!(ledger.prune(&days(60), &node, later).unwrap().audit, 0, "young enough");
    // An old clock in the middle does not take the young ones before it along.
    note(&mut ledger, &node, "wrong clock", at("1970-01-01T00:00:00Z"));
    let pruned = ledger.prune(&days(7), &node, later).unwrap();
    assert_eq!((pruned.audit, pruned.audit_through), (3, 3), "only behind the checkpoint");
    let proven = ledger.verify_chain().unwrap();
    assert_eq!((proven.entries, proven.last, proven.pruned_through), (3, 6, 3));
    assert_eq!(ledger.prune(&days(7), &node, later).unwrap().audit, 0, "no further checkpoint");
    ledger.checkpoint(&node, later).unwrap();
    let verified = verify(exported(&ledger, &node).as_slice(), Some(node.public_key())).unwrap();
    assert_eq!((verified.first, verified.last, verified.pruned_through), (4, 6, 3));
    // Everything may go; the numbers go on.
    assert_eq!(ledger.prune(&days(7), &node, later).unwrap().audit_through, 6);
    assert_eq!(verify(exported(&ledger, &node).as_slice(), None).unwrap().entries, 0);
    assert_eq!(note(&mut ledger, &node, "after all", later).seq, 7);
    ledger.verify_chain().unwrap();
    let mute = Mute(node);
    ledger.checkpoint(&mute.0, later).unwrap();
    assert!(ledger.prune(&days(-7), &mute, later).is_err(), "no anchor, no pruning");
    assert_eq!(ledger.verify_chain().unwrap().entries, 1);
}

#[test]
fn an_export_goes_on_while_others_append_and_tells_when_entries_were_pruned_under_it() {
    let node = Node::new();
    let (_dir, mut ledger) = chain(&node, 300, &[200]);
    let mut export = Export::begin(&ledger, "box-1", &node).unwrap();
    let mut bytes = export.page(&ledger, &node, now()).unwrap().unwrap();
    while let Some(page) = export.page(&ledger, &node, now()).unwrap() {
        bytes.extend(page);
        note(&mut ledger, &node, "meanwhile", now());
    }
    assert_eq!(verify(bytes.as_slice(), None).unwrap().last, 300);

    let mut export = Export::begin(&ledger, "box-1", &node).unwrap();
    let _header = export.page(&ledger, &node, now()).unwrap().unwrap();
    let all = Retention { audit: Some(jiff::SignedDuration::from_hours(1)), ..Retention::default() };
    assert!(ledger.prune(&all, &node, at("2026-07-15T12:00:00Z")).unwrap().audit > 0);
    let gone = export.page(&ledger, &node, now()).unwrap_err().to_string();
    assert!(gone.contains("repeat the export"), "{gone}");
}

#[test]
fn every_truncation_of_an_export_is_found() {
    let node = Node::new();
    let (_dir, ledger) = chain(&node, 4, &[2, 4]);
    let bytes = exported(&ledger, &node);
    verify(bytes.as_slice(), Some(node.public_key())).unwrap();
    for length in 0..bytes.len() {
        let found = verify(&bytes[..length], Some(node.public_key())).unwrap_err();
        assert_eq!(found.what, What::Length, "{length} bytes: {found}");
    }
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for from in 0..lines.len() {
        for to in from + 1..=lines.len() {
            if (from, to) != (0, lines.len()) {
                assert!(verify(lines[from..to].concat().as_slice(), None).is_err(), "lines {from} to {to}");
            }
        }
    }
    let twice = [bytes.as_slice(), b"\n"].concat();
    assert_eq!(verify(twice.as_slice(), None).unwrap_err().what, What::Length);
}

#[test]
fn every_reordering_of_lines_is_found() {
    let node = Node::new();
    let (_dir, ledger) = chain(&node, 4, &[2, 4]);
    let bytes = exported(&ledger, &node);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() {
        let mut without = lines.clone();
        let line = without.remove(at);
        assert!(verify(without.concat().as_slice(), None).is_err(), "line {at} is missing");
        for to in 0..=without.len() {
            let mut moved = without.clone();
            moved.insert(to, line);
            assert_eq!(verify(moved.concat().as_slice(), None).is_ok(), moved == lines, "line {at} moved to {to}");
            let mut doubled = lines.clone();
            doubled.insert(to, line);
            assert!(verify(doubled.concat().as_slice(), None).is_err(), "line {at} again at {to}");
        }
    }
}

/// All bytes at each place of a small chain: substituted, inserted, deleted. Without the key nothing of it passes, and nothing panics.
#[test]
fn every_single_byte_edit_of_a_small_chain_is_found() {
    let node = Node::new();
    let (_dir, ledger) = chain(&node, 1, &[1]);
    let bytes = exported(&ledger, &node);
    let key = node.public_key();
    let halves = [0..bytes.len() / 2, bytes.len() / 2..bytes.len() + 1];
    std::thread::scope(|scope| {
        for places in halves {
            let bytes = &bytes;
            scope.spawn(move || {
                let mut edited = Vec::with_capacity(bytes.len() + 1);
                for at in places {
                    let (before, after) = bytes.split_at(at);
                    for byte in 0..=255 {
                        edited.clear();
                        edited.extend_from_slice(before);
                        edited.push(byte);
                        let inserted = edited.len();
                        edited.extend_from_slice(after);
                        assert!(verify(edited.as_slice(), Some(key)).is_err(), "{byte} inserted at {at}");
                        if after.first().is_some_and(|was| *was != byte) {
                            edited.remove(inserted);
                            assert!(verify(edited.as_slice(), Some(key)).is_err(), "{byte} put at {at}");
                        }
                    }
                    if !after.is_empty() {
                        let shorter = [before, &after[1..]].concat();
                        assert!(verify(shorter.as_slice(), Some(key)).is_err(), "deleted at {at}");
                    }
                }
            });
        }
    });
}

#[test]
fn another_spelling_of_the_same_line_is_no_line() {
    let node = Node::new();
    let (_dir, ledger) = chain(&node, 1, &[]);
    let bytes = exported(&ledger, &node);
    let line = std::str::from_utf8(bytes.split(|byte| *byte == b'\n').nth(1).unwrap()).unwrap();
    parse_line(line.as_bytes()).unwrap();
    for (from, to) in [
        ("\"seq\":1", "\"seq\": 1"),
        ("\"seq\":1", "\"seq\":1.0"),
        ("\"seq\":1", "\"seq\":1e0"),
        ("\"ada\"", "\"\\u0061da\""),
        ("{\"entry\"", " {\"entry\""),
        ("ä", "\\u00e4"),
        ("12:00:00.25Z", "12:00:00.250Z"),
        ("12:00:00.25Z", "12:00:00.25+00:00"),
        ("\"actor\":\"ada\",\"role\":\"administrator\"", "\"role\":\"administrator\",\"actor\":\"ada\""),
        ("\"actor\":\"ada\"", "\"actor\":\"ada\",\"actor\":\"ada\""),
        ("\"actor\":\"ada\"", "\"actor\":\"ada\",\"more\":1"),
    ] {
        let edited = line.replacen(from, to, 1);
        assert_ne!(edited, line, "{from}");
        assert!(parse_line(edited.as_bytes()).is_err(), "{edited}");
    }
    let long = format!("{{\"entry\":\"{}\"}}\n", "x".repeat(2 * LONGEST_LINE));
    assert!(verify(long.as_bytes(), None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_chains_prove_and_random_edits_of_them_are_found(
        texts in prop::collection::vec(("\\PC{0,12}", ".{0,24}"), 1..12),
        signed in prop::collection::vec(any::<bool>(), 12),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 200),
    ) {
        let node = Node::new();
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = open(dir.path());
        for ((target, text), signed) in texts.iter().zip(signed) {
            let detail = serde_json::json!({ "after": text });
            ledger.append(&new_entry(target, &detail), &node, now()).unwrap();
            if signed {
                ledger.checkpoint(&node, now()).unwrap();
            }
        }
        let bytes = exported(&ledger, &node);
        let verified = verify(bytes.as_slice(), Some(node.public_key())).unwrap();
        prop_assert_eq!(verified.entries, texts.len() as u64);
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len());
            let mut edited = bytes.clone();
            match kind {
                0 => edited[at] = byte,
                1 => edited.insert(at, byte),
                2 => drop(edited.remove(at)),
                _ => edited.swap(at, bytes.len() - 1 - at),
            }
            prop_assert_eq!(verify(edited.as_slice(), Some(node.public_key())).is_ok(), edited == bytes);
        }
    }
}
