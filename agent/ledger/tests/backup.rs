//! Backups and their way back, retention, and the way from version 1.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::{self, OpenOptions};
use std::path::Path;

use common::{Mute, Node, at, note, now, open};
use jiff::{SignedDuration, Timestamp};
use tbi_ledger::{BackupError, FILE, Found, Hash, Ledger, LedgerError, NewSession, Retention, Run, backups, restore};

fn names(dir: &Path) -> Vec<String> {
    backups(dir).unwrap().into_iter().map(|it| it.name).collect()
}

#[test]
fn a_backup_is_restored_with_everything_that_was_in_it() {
    let (dir, copies, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    ledger.mint("licence:a", &[100], now()).unwrap();
    ledger.spend(30, "run-1", now()).unwrap();
    note(&mut ledger, &node, "before", now());
    let made = ledger.backup(copies.path(), now(), 7).unwrap();
    assert_eq!((made.name.as_str(), names(copies.path())), ("tbi-2026-06-15.db", vec![made.name.clone()]));
    ledger.spend(30, "run-2", now()).unwrap();
    let after = note(&mut ledger, &node, "after", now());
    drop(ledger);

    let kept = restore(dir.path(), copies.path(), &made.name, now()).unwrap().unwrap();
    let mut ledger = open(dir.path());
    assert_eq!((ledger.balance().unwrap(), ledger.verify_chain().unwrap().last), (70, 1));
    assert_eq!(ledger.spent_by("run-2").unwrap(), None);
    note(&mut ledger, &node, "restored", now());
    ledger.verify_chain().unwrap();
    drop(ledger);
    // What was there is kept whole beside it.
    let aside = tempfile::tempdir().unwrap();
    fs::copy(&kept, aside.path().join(FILE)).unwrap();
    assert_eq!(open(aside.path()).audit_head().unwrap(), (after.seq, after.hash));
    assert_eq!(kept.file_name().unwrap(), "tbi.db.before-restore-20260615T120000Z");
    let again = restore(dir.path(), copies.path(), &made.name, now()).unwrap().unwrap();
    assert!(again.to_string_lossy().ends_with("Z-2"), "the first one is not overwritten");
}

#[test]
fn a_restore_is_an_entry_of_the_audit_chain_at_the_first_opening_and_only_then() {
    let (dir, copies, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    assert_eq!(ledger.note_restore(&node, now()).unwrap(), None, "a database that was not restored");
    let in_the_backup = note(&mut ledger, &node, "before", now());
    let made = ledger.backup(copies.path(), now(), 7).unwrap();
    let lost = note(&mut ledger, &node, "after", now());
    drop(ledger);
    let kept = restore(dir.path(), copies.path(), &made.name, at("2026-06-16T00:00:00Z")).unwrap().unwrap();

    let mut ledger = open(dir.path());
    // A key that does not sign leaves it for the next time.
    assert!(matches!(ledger.note_restore(&Mute(Node::new()), now()), Err(LedgerError::Signing(_))));
    let entry = ledger.note_restore(&node, now()).unwrap().unwrap();
    assert_eq!((entry.seq, entry.action.as_str(), &entry.target), (2, "backup.restore", &made.name));
    let said: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!(said["head_before"], serde_json::json!({ "seq": lost.seq, "hash": lost.hash }));
    assert_eq!(said["head_after"], serde_json::json!({ "seq": in_the_backup.seq, "hash": in_the_backup.hash }));
    assert_eq!((&said["restored"], &said["backup"]), (&"2026-06-16T00:00:00Z".into(), &made.name.into()));
    assert_eq!(said["aside"].as_str(), kept.file_name().unwrap().to_str());
    let written: Timestamp = said["backup_written"].as_str().unwrap().parse().unwrap();
    assert!(written > now(), "by the file system's clock, not by the test's: {written}");
    assert_eq!(ledger.note_restore(&node, now()).unwrap(), None);
    drop(ledger);
    let mut ledger = open(dir.path());
    assert_eq!(ledger.note_restore(&node, now()).unwrap(), None);
    let proven = ledger.verify_chain().unwrap();
    assert_eq!((proven.last, ledger.audit_head().unwrap()), (2, (entry.seq, entry.hash)));
    drop(ledger);

    // Over a database that cannot be read there is no head of before to tell.
    fs::write(dir.path().join(FILE), "x".repeat(9000)).unwrap();
    let name = backups(copies.path()).unwrap().remove(0).name;
    restore(dir.path(), copies.path(), &name, now()).unwrap().unwrap();
    let entry = open(dir.path()).note_restore(&node, now()).unwrap().unwrap();
    assert!(entry.detail.contains("\"head_before\":null"), "{}", entry.detail);
}

#[test]
fn a_backup_is_restored_over_a_corrupt_database_or_none() {
    let (dir, copies, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    note(&mut ledger, &node, "before", now());
    let made = ledger.backup(copies.path(), now(), 7).unwrap();
    drop(ledger);
    fs::write(dir.path().join(FILE), "x".repeat(9000)).unwrap();
    fs::write(dir.path().join(format!("{FILE}-wal")), "a log of another database").unwrap();
    restore(dir.path(), copies.path(), &made.name, now()).unwrap().unwrap();
    assert_eq!(open(dir.path()).verify_chain().unwrap().last, 1);
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(restore(empty.path(), copies.path(), &made.name, now()).unwrap(), None);
    assert_eq!(open(empty.path()).verify_chain().unwrap().last, 1);
}

#[test]
fn a_database_that_is_in_use_is_not_replaced() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = open(dir.path());
    let made = ledger.backup(copies.path(), now(), 7).unwrap();
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    file.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
    file.query_row("SELECT count(*) FROM meta", [], |_row| Ok(())).unwrap();
    let mut other = open(dir.path());
    other.store_settings(0, "{}", now()).unwrap();
    let refused = restore(dir.path(), copies.path(), &made.name, now()).unwrap_err();
    assert!(matches!(refused, BackupError::Ledger(LedgerError::Busy { .. })), "{refused}");
    assert_eq!(other.settings().unwrap().unwrap().version, 1);
}

#[test]
fn a_backup_that_was_cut_short_or_damaged_is_refused() {
    let (dir, copies, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    for n in 0..100 {
        note(&mut ledger, &node, &format!("thing {n}"), now());
    }
    let made = ledger.backup(copies.path(), now(), 7).unwrap();
    let head = ledger.audit_head().unwrap();
    drop(ledger);
    let path = copies.path().join(&made.name);
    let whole = fs::read(&path).unwrap();
    for length in (0..made.bytes).step_by(4096).chain([1, 100, made.bytes - 1]) {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let refused = restore(dir.path(), copies.path(), &made.name, now()).unwrap_err();
        assert!(matches!(refused, BackupError::Unusable { .. }), "{length} bytes: {refused}");
        assert!(refused.to_string().contains("choose another one"), "{refused}");
        fs::write(&path, &whole).unwrap();
    }
    for (what, bytes) in [("no database", vec![b'x'; 8192]), ("another program's", foreign())] {
        fs::write(&path, bytes).unwrap();
        let refused = restore(dir.path(), copies.path(), &made.name, now()).unwrap_err();
        assert!(matches!(refused, BackupError::Unusable { .. }), "{what}: {refused}");
    }
    for name in ["../tbi.db", "tbi-2026-06-15.db.partial", "tbi-2026-13-45.db", "tbi-2026-06-15", ""] {
        assert!(matches!(restore(dir.path(), copies.path(), name, now()), Err(BackupError::Name(_))), "{name}");
    }
    let missing = restore(dir.path(), copies.path(), "tbi-2001-01-01.db", now()).unwrap_err();
    assert!(matches!(missing, BackupError::Io { .. }), "{missing}");
    assert_eq!(open(dir.path()).audit_head().unwrap(), head, "the database in use is as it was");
}

fn foreign() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    fs::read(path).unwrap()
}

#[test]
fn as_many_backups_are_kept_as_asked_and_never_the_new_one_goes() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = open(dir.path());
    fs::write(copies.path().join("tbi-2026-06-01.db.partial"), "of a backup that was cut off").unwrap();
    fs::write(copies.path().join("notes.txt"), "not ours").unwrap();
    for day in 1..=9 {
        ledger.backup(copies.path(), at(&format!("2026-06-0{day}T03:00:00Z")), 3).unwrap();
    }
    ledger.backup(copies.path(), at("2026-06-09T04:00:00Z"), 3).unwrap();
    assert_eq!(names(copies.path()), ["tbi-2026-06-09.db", "tbi-2026-06-08.db", "tbi-2026-06-07.db"]);
    // The clock goes backwards: the backup of now stays, though its name is the oldest.
    ledger.backup(copies.path(), at("1970-01-01T00:00:00Z"), 3).unwrap();
    assert_eq!(names(copies.path()), ["tbi-2026-06-09.db", "tbi-2026-06-08.db", "tbi-1970-01-01.db"]);
    let mut left: Vec<_> = fs::read_dir(copies.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!((left.len(), left[0].to_str()), (4, Some("notes.txt")));
}

#[test]
fn what_is_old_is_forgotten_and_what_counts_is_not() {
    let (dir, node) = (tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    ledger.create_first_administrator("ada", "$argon2id$", now()).unwrap();
    let session = NewSession {
        hash: Hash::of(b"1"),
        account: "ada",
        epoch: 1,
        ends: at("2026-06-16T00:00:00Z"),
        source: "local",
        user_agent: "",
    };
    ledger.begin_session(&session, now()).unwrap();
    ledger.mint("licence:a", &[10], now()).unwrap();
    ledger.spend(1, "run-1", now()).unwrap();
    let run = |id: &str, ended: Option<Timestamp>| Run {
        id: id.to_owned(),
        name: id.to_owned(),
        state: "ended".to_owned(),
        actor: "ada".to_owned(),
        started: now(),
        ended,
        sentence: String::new(),
        plan_sha256: Hash::of(b"plan"),
        record_sha256: None,
        receipt: None,
    };
    ledger.store_run(&run("run-1", Some(now()))).unwrap();
    ledger.store_run(&run("run-2", None)).unwrap();
    let retention = Retention { runs: Some(SignedDuration::from_hours(24)), ..Retention::default() };
    assert_eq!(ledger.prune(&retention, &node, now()).unwrap().runs, 0);
    let pruned = ledger.prune(&retention, &node, at("2026-06-17T00:00:00Z")).unwrap();
    assert_eq!((pruned.runs, pruned.sessions, pruned.audit), (1, 1, 0));
    assert!(ledger.run("run-2").unwrap().is_some(), "it has not ended");
    assert_eq!((ledger.balance().unwrap(), ledger.spent_by("run-1").unwrap().is_some()), (9, true));
}

#[test]
fn a_database_of_version_1_is_migrated_and_keeps_what_it_held() {
    let (dir, node) = (tempfile::tempdir().unwrap(), Node::new());
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    file.execute_batch(include_str!("fixtures/v1.sql")).unwrap();
    drop(file);
    let opened = Ledger::open(dir.path(), now());
    assert_eq!(opened.found, Found::Existing);
    let mut ledger = opened.ledger;
    assert_eq!(ledger.settings().unwrap().unwrap().body, "{\"a\":2}");
    assert_eq!(ledger.topology().unwrap().unwrap().version, 1);
    assert_eq!(ledger.last_boot().unwrap().unwrap().boot_id, "one");
    note(&mut ledger, &node, "first", now());
    ledger.mint("licence:a", &[10], now()).unwrap();
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!((ledger.verify_chain().unwrap().last, ledger.balance().unwrap()), (1, 10));
    // Two boxes have two chains.
    let other = tempfile::tempdir().unwrap();
    assert_ne!(open(other.path()).audit_chain().unwrap(), ledger.audit_chain().unwrap());
}
