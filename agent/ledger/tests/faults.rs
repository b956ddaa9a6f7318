//! Disks that are full, databases that are locked or corrupt: each gives its own sentence, and nothing that was confirmed is lost.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Node, note, now, open};
use tbi_ledger::audit::NewEntry;
use tbi_ledger::spool::{Limits, NewTick, Spool, SpoolError};
use tbi_ledger::{BackupError, FILE, Found, Hash, Ledger, LedgerError, Policy, Request, backups};

fn append(ledger: &mut Ledger, node: &Node) -> Result<u64, LedgerError> {
    let detail = serde_json::json!({ "after": "x".repeat(2000) });
    let entry = NewEntry {
        actor: "ada",
        role: "operator",
        source: "local",
        action: "run.start",
        target: "run",
        outcome: "done",
        detail: &detail,
        correlation: "c",
    };
    ledger.append(&entry, node, now()).map(|entry| entry.seq)
}

fn tick() -> NewTick {
    NewTick { when: now(), kind: "block".into(), run: "run-1".into(), unit: "u".repeat(300), quantity: 1 }
}

#[test]
fn a_locked_database_says_so_and_works_when_the_lock_is_gone() {
    let (dir, node) = (tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    note(&mut ledger, &node, "before", now());
    let other = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = append(&mut ledger, &node).unwrap_err();
    assert!(matches!(refused, LedgerError::Busy { .. }), "{refused:?}");
    assert!(refused.to_string().contains("locked by another program"), "{refused}");
    let refused: Result<(), LedgerError> = ledger.together(|_ledger| Ok(()));
    assert!(matches!(refused, Err(LedgerError::Busy { .. })));
    assert_eq!(ledger.audit_head().unwrap().0, 1, "reading goes on");
    assert!(matches!(Ledger::open(dir.path(), now()).found, Found::Memory { .. }));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(append(&mut ledger, &node).unwrap(), 2);
    ledger.verify_chain().unwrap();
}

#[test]
fn a_database_that_becomes_corrupt_under_the_agent_says_so_and_is_moved_aside_at_the_next_start() {
    let (dir, node) = (tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    for _ in 0..400 {
        append(&mut ledger, &node).unwrap();
    }
    let other = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(())).unwrap();
    drop(other);
    let mut file = OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(40 * 4096)).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(length).unwrap() - 40 * 4096]).unwrap();
    let found = ledger.verify_chain().unwrap_err();
    assert!(matches!(found, LedgerError::Corrupt { .. }), "{found:?}");
    assert!(found.to_string().contains("corrupt") && found.to_string().contains("restore a backup"), "{found}");
    let copies = tempfile::tempdir().unwrap();
    assert!(ledger.backup(copies.path(), now(), 3).is_err(), "no backup is made of it");
    assert_eq!(backups(copies.path()).unwrap(), []);
    drop(ledger);
    assert!(matches!(Ledger::open(dir.path(), now()).found, Found::MovedAside { .. }));
}

#[test]
fn a_power_cut_at_any_length_of_the_log_leaves_a_chain_that_proves_and_a_sum_that_is_conserved() {
    let (dir, node) = (tempfile::tempdir().unwrap(), Node::new());
    let mut ledger = open(dir.path());
    ledger.mint("licence:a", &[1000], now()).unwrap();
    let policy = Policy { enforce: false, ..Policy::default() };
    for n in 0..12_u64 {
        ledger.spend(n, &format!("run-{n}"), now()).unwrap();
        let run = format!("authorised-{n}");
        let request = Request {
            run: &run,
            plan_sha256: Hash::of(b"plan"),
            features: &[],
            tsu: 1,
            actor: "ada",
            role: "operator",
            source: "local",
            correlation: "c",
            runs_under_way: 0,
        };
        ledger.authorize(&request, &policy, &node, now()).unwrap();
    }
    let wal = dir.path().join(format!("{FILE}-wal"));
    let whole = fs::metadata(&wal).unwrap().len();
    let mut seen = std::collections::BTreeSet::new();
    for length in (0..=whole).step_by(6151).chain([whole]) {
        let after = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join(FILE), after.path().join(FILE)).unwrap();
        let cut = after.path().join(format!("{FILE}-wal"));
        fs::copy(&wal, &cut).unwrap();
        OpenOptions::new().write(true).open(&cut).unwrap().set_len(length).unwrap();
        let ledger = open(after.path());
        let last = ledger.verify_chain().unwrap().last;
        let receipts = (0..12).filter(|n| ledger.receipt(&format!("authorised-{n}")).unwrap().is_some()).count();
        assert_eq!(receipts as u64, last, "a receipt for each sealed run, at {length} bytes");
        let spent: u64 =
            (0..12).filter_map(|n| ledger.spent_by(&format!("run-{n}")).unwrap()).map(|it| it.amount).sum();
        let granted = ledger.balance().unwrap() + spent;
        assert!(granted == 1000 || (granted, last) == (0, 0), "{granted} at {length} bytes");
        seen.insert(last);
    }
    assert!(seen.len() >= 6 && seen.contains(&12), "the cuts met several states: {seen:?}");
}

/// A small disk of its own; needs the right to mount, and the test is left out without it.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(dir.path()).status();
        mount.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        while filler.write_all(&[1; 512]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_in_words_and_loses_nothing_confirmed() {
    let Some(disk) = Disk::new() else { return };
    let node = Node::new();
    let mut ledger = open(disk.path());
    ledger.mint("licence:a", &[1000], now()).unwrap();
    let mut ticks = Spool::open(&disk.path().join("spool"), Limits::default()).unwrap();
    let (mut confirmed, mut counted, mut spent) = (0, 0, 0);
    disk.fill();
    let full = loop {
        match append(&mut ledger, &node) {
            Ok(seq) => confirmed = seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LedgerError::Full { .. }) && full.to_string().contains("partition is full"), "{full:?}");
    for run in 0..1000 {
        match ledger.spend(1, &format!("run-{run}"), now()) {
            Ok(_spent) => spent += 1,
            Err(error) => {
                assert!(matches!(error, LedgerError::Full { .. }), "{error:?}");
                break;
            }
        }
    }
    let full = loop {
        match ticks.append(tick()) {
            Ok(number) => counted = number,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SpoolError::Io { .. }) && full.to_string().contains("the work goes on"), "{full}");
    let full = ledger.backup(&disk.path().join("backups"), now(), 3).unwrap_err();
    assert!(matches!(full, BackupError::Ledger(LedgerError::Full { .. }) | BackupError::Io { .. }), "{full:?}");
    // A change in several parts does not leave a part of itself.
    let head = ledger.audit_head().unwrap();
    let refused: Result<(), LedgerError> = ledger.together(|ledger| {
        append(ledger, &node)?;
        ledger.store_settings(0, &"x".repeat(400_000), now())?;
        Ok(())
    });
    assert!(matches!(refused, Err(LedgerError::Full { .. })), "{refused:?}");
    // Not even when whoever makes it goes on after a part that failed, and the later parts would find room.
    let refused: Result<(), LedgerError> = ledger.together(|ledger| {
        let large = ledger.store_settings(0, &"x".repeat(400_000), now());
        assert!(matches!(large, Err(LedgerError::Full { .. })), "{large:?}");
        ledger.see_time(now() + jiff::SignedDuration::from_secs(1)).map(|_seen| ())
    });
    assert!(ledger.settings().unwrap().is_none());
    let went_on = refused.is_ok();
    assert_eq!(ledger.audit_head().unwrap(), head);
    assert_eq!(ledger.verify_chain().unwrap().last, confirmed, "reading goes on");

    fs::remove_file(disk.filler()).unwrap();
    assert_eq!(ledger.see_time(now()).unwrap() > now(), went_on, "all of a change or nothing");
    assert_eq!(append(&mut ledger, &node).unwrap(), confirmed + 1);
    assert_eq!(ticks.append(tick()).unwrap(), counted + 1);
    drop((ledger, ticks));
    let ledger = open(disk.path());
    assert_eq!(ledger.verify_chain().unwrap().last, confirmed + 1);
    assert_eq!(ledger.balance().unwrap(), 1000 - spent);
    let mut ticks = Spool::open(&disk.path().join("spool"), Limits::default()).unwrap();
    assert_eq!((ticks.pending(10_000).unwrap().len() as u64, ticks.set_aside()), (counted + 1, 0));
}

const CHILD: &str = "TBI_LEDGER_LIMITED";

/// Not a test of its own: what the next one runs under a limit of the size of files.
#[test]
fn child_with_limited_files() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let node = Node::new();
    let mut ledger = open(&dir);
    let refused = (0..100_000).find_map(|_| append(&mut ledger, &node).err()).expect("no file grows beyond the limit");
    let said = refused.to_string();
    assert!(said.contains("cannot append to the audit chain"), "{said}");
    let last = ledger.verify_chain().unwrap().last;
    let mut ticks = Spool::open(&dir.join("spool"), Limits { segment: 1 << 30, total: 1 << 30 }).unwrap();
    let refused = (0..100_000).find_map(|_| ticks.append(tick()).err()).expect("no file grows beyond the limit");
    assert!(refused.to_string().contains("the work goes on"), "{refused}");
    let pending = ticks.pending(100_000).unwrap();
    assert_eq!(pending.len() as u64, ticks.last());
    fs::write(dir.join("confirmed"), format!("{last} {}", ticks.last())).unwrap();
}

#[test]
fn a_limit_of_the_size_of_files_refuses_in_words_and_loses_nothing_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    // The limit is 512 kB; the signal that comes with it is ignored, so that the write fails as on a full disk.
    let done = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact child_with_limited_files"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let confirmed = fs::read_to_string(dir.path().join("confirmed")).unwrap();
    let ledger = open(dir.path());
    let ticks = Spool::open(&dir.path().join("spool"), Limits::default()).unwrap();
    assert_eq!(confirmed, format!("{} {}", ledger.verify_chain().unwrap().last, ticks.last()));
    assert!(ticks.last() > 100);
}
