//! The ledger as the agent meets it: sound, corrupt, foreign, on a full or read-only disk, and after a power cut.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use tbi_ledger::{BootKind, FILE, Found, Ledger, LedgerError, NewBoot, Past};

fn now() -> Timestamp {
    "2026-01-31T23:59:59Z".parse().unwrap()
}

fn boot<'a>(boot_id: &'a str, past: Past) -> NewBoot<'a> {
    NewBoot { boot_id, started: now(), version: "0.1.0", past }
}

/// Opens a ledger that must be the sound one of before.
fn reopened(dir: &Path) -> Ledger {
    let opened = Ledger::open(dir, now());
    assert_eq!(opened.found, Found::Existing);
    opened.ledger
}

#[test]
fn settings_keep_their_versions_and_a_stale_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Ledger::open(dir.path(), now());
    assert_eq!(opened.found, Found::Fresh);
    let mut ledger = opened.ledger;
    assert_eq!(ledger.settings().unwrap(), None);
    assert_eq!(ledger.store_settings(0, "{\"a\":1}", now()).unwrap().version, 1);
    assert_eq!(ledger.store_settings(1, "{\"a\":2}", now()).unwrap().version, 2);
    let refused = ledger.store_settings(1, "{\"a\":3}", now()).unwrap_err();
    assert!(matches!(refused, LedgerError::Changed { based_on: 1, current: 2 }), "{refused}");
    drop(ledger);
    let ledger = reopened(dir.path());
    let stored = ledger.settings().unwrap().unwrap();
    assert_eq!((stored.version, stored.body.as_str()), (2, "{\"a\":2}"));
    assert_eq!(stored.changed, "2026-01-31T23:59:59Z");
}

#[test]
fn documents_outlive_a_cut_and_do_not_meet_what_the_ledger_notes_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), now()).ledger;
    assert_eq!(ledger.document("readable_by").unwrap(), None, "the ledger's own notes are no documents");
    ledger.keep_document("setup", "{\"a\":1}").unwrap();
    ledger.keep_document("setup", "{\"a\":2}").unwrap();
    let large = "x".repeat(tbi_ledger::LARGEST_DOCUMENT + 1);
    assert!(matches!(ledger.keep_document("setup", &large), Err(LedgerError::Invalid { .. })));
    // No orderly end: the process is as good as killed.
    std::mem::forget(ledger);
    let mut ledger = reopened(dir.path());
    assert_eq!(ledger.document("setup").unwrap().as_deref(), Some("{\"a\":2}"));
    ledger.forget_document("setup").unwrap();
    ledger.forget_document("setup").unwrap();
    assert_eq!(ledger.document("setup").unwrap(), None);
}

#[test]
fn old_versions_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), now()).ledger;
    for version in 0..60 {
        ledger.store_topology(version, "deployment_nodes: single", now()).unwrap();
    }
    assert_eq!(ledger.topology().unwrap().unwrap().version, 60);
    drop(ledger);
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    let kept: i64 = file.query_row("SELECT count(*) FROM topology", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 50);
}

#[test]
fn the_next_boot_knows_why_it_happened() {
    let dir = tempfile::tempdir().unwrap();
    let begin = |ledger: &mut Ledger, id: &str| ledger.begin_boot(&boot(id, Past::Kept)).unwrap();
    let mut ledger = Ledger::open(dir.path(), now()).ledger;
    ledger.mark_clean().unwrap();
    assert_eq!(begin(&mut ledger, "one").kind, BootKind::First);
    assert_eq!(begin(&mut ledger, "one").number, 1, "the agent was restarted, the machine was not");
    drop(ledger);

    let mut ledger = reopened(dir.path());
    assert_eq!(begin(&mut ledger, "two").kind, BootKind::Unclean);
    ledger.mark_ordered("Restart ordered: new settings.").unwrap();
    ledger.mark_clean().unwrap();
    drop(ledger);

    let mut ledger = reopened(dir.path());
    let third = begin(&mut ledger, "three");
    assert_eq!((third.kind, third.sentence.as_str()), (BootKind::Ordered, "Restart ordered: new settings."));
    ledger.mark_clean().unwrap();
    assert_eq!(begin(&mut ledger, "four").kind, BootKind::Clean);
    ledger.mark_ordered("Refused.").unwrap();
    ledger.withdraw_order().unwrap();
    ledger.mark_clean().unwrap();
    assert_eq!(begin(&mut ledger, "four").kind, BootKind::Clean, "a known boot keeps its reason");
    assert_eq!(
        begin(&mut ledger, "five").kind,
        BootKind::Unclean,
        "the agent came back after its orderly end, then the power went"
    );
    assert_eq!(ledger.last_boot().unwrap().unwrap().number, 5);
}

/// What is done to the file, in words and in deed.
type Spoil = (&'static str, fn(&Path));

#[test]
fn a_corrupt_database_is_moved_aside_and_said() {
    let spoil: [Spoil; 3] = [
        ("no database at all", |path| {
            fs::write(path, "this is not a database, it only says so. ".repeat(200)).unwrap()
        }),
        ("pages overwritten", |path| {
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            file.seek(SeekFrom::Start(4096)).unwrap();
            file.write_all(&[0xA5; 12 * 1024]).unwrap();
        }),
        ("cut in half", |path| {
            let length = fs::metadata(path).unwrap().len();
            OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2 / 4096 * 4096).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path(), now()).ledger;
        ledger.store_settings(0, "{}", now()).unwrap();
        drop(ledger);
        let path = dir.path().join(FILE);
        spoil(&path);
        let bad = fs::read(&path).unwrap();

        let mut opened = Ledger::open(dir.path(), now());
        let Found::MovedAside { to, .. } = &opened.found else { panic!("{what}: {:?}", opened.found) };
        assert_eq!(to, &dir.path().join("tbi.db.corrupt-20260131T235959Z"), "{what}");
        assert_eq!(fs::read(to).unwrap(), bad, "{what}: kept as it was");
        let sentence = opened.found.sentence().unwrap();
        assert!(sentence.contains("corrupt-2026") && sentence.contains("check settings"), "{what}: {sentence}");
        assert_eq!(opened.ledger.settings().unwrap(), None, "{what}");
        let first = opened.ledger.begin_boot(&boot("one", opened.found.past())).unwrap();
        assert_eq!(first.kind, BootKind::Unclean, "{what}: it is not the first boot, only the memory of it is lost");
        drop(opened);
        reopened(dir.path());

        // The clock stands still and the new file is spoilt, too: the first one is not overwritten.
        fs::write(&path, "x".repeat(4096)).unwrap();
        let Found::MovedAside { to, .. } = Ledger::open(dir.path(), now()).found else { panic!("{what}") };
        assert!(to.to_string_lossy().ends_with("Z-2"), "{what}: {}", to.display());
    }
}

#[test]
fn a_foreign_database_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE settings (version INTEGER); PRAGMA user_version = 1").unwrap();
    drop(file);
    let Found::MovedAside { why, .. } = Ledger::open(dir.path(), now()).found else { panic!() };
    assert!(why.contains("another program"), "{why}");
}

#[test]
fn a_later_release_that_only_added_leaves_a_usable_file_and_one_that_did_not_is_moved_aside() {
    let later = |readable_by: &str| {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open(dir.path(), now()).ledger.store_settings(0, "{}", now()).unwrap();
        let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
        file.execute_batch("CREATE TABLE later (text TEXT); PRAGMA user_version = 999").unwrap();
        file.execute("UPDATE meta SET value = ?1 WHERE key = 'readable_by'", [readable_by]).unwrap();
        drop(file);
        let opened = Ledger::open(dir.path(), now());
        (opened.ledger.settings().unwrap().map_or(0, |stored| stored.version), opened.found)
    };
    assert_eq!(later("1"), (1, Found::Existing));
    let (version, found) = later("999");
    assert_eq!(version, 0);
    assert!(found.sentence().unwrap().contains("later release"), "{found:?}");
}

#[test]
fn an_unwritable_directory_gives_a_ledger_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    // Root may write everywhere but into a file.
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut opened = Ledger::open(&file.join("state"), now());
    assert!(matches!(opened.found, Found::Memory { full: false, .. }), "{:?}", opened.found);
    assert!(opened.found.sentence().unwrap().contains("forgotten at the next start"));
    assert_eq!(opened.ledger.store_settings(0, "{}", now()).unwrap().version, 1);
    assert_eq!(opened.ledger.begin_boot(&boot("one", opened.found.past())).unwrap().kind, BootKind::Unclean);
}

/// A file system of its own, unmounted at the end of the test.
struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .status()
            .is_ok_and(|it| it.success());
        mounted.then_some(Self { dir })
    }

    fn remount(&self, options: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.dir.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn fill(dir: &Path) {
    let mut filler = File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_gives_a_ledger_in_memory() {
    // Needs the right to mount; ordinary users see the same code through the unwritable directory.
    let Some(disk) = Mounted::tmpfs("size=1m") else { return };
    let dir = disk.dir.path();
    fill(dir);
    let opened = Ledger::open(dir, now());
    assert!(matches!(opened.found, Found::Memory { .. }), "{:?}", opened.found);
    drop(opened);
    fs::remove_file(dir.join("filler")).unwrap();
    let mut ledger = Ledger::open(dir, now()).ledger;
    ledger.store_settings(0, "{\"kept\":true}", now()).unwrap();

    // It fills up while the agent runs: the change is refused in words, and reading goes on.
    fill(dir);
    let big = "x".repeat(512 * 1024);
    let refused = ledger.store_settings(1, &big, now()).unwrap_err().to_string();
    assert!(refused.contains("full") || refused.contains("disk"), "{refused}");
    assert_eq!(ledger.settings().unwrap().unwrap().version, 1);
    // What is small finds the room that was kept.
    ledger.begin_boot(&boot("zero", Past::Kept)).unwrap();
    ledger.mark_ordered("Restart ordered: the disk is full.").unwrap();
    drop(ledger);

    fill(dir);
    let mut opened = Ledger::open(dir, now());
    assert!(matches!(opened.found, Found::Memory { .. }), "{:?}", opened.found);
    // SQLite cannot even read a WAL file without room for its index (SQLITE_IOERR_SHMSIZE); the agent reads settings.json then.
    opened.ledger.begin_boot(&boot("one", opened.found.past())).unwrap();
}

#[test]
fn a_read_only_disk_gives_a_ledger_in_memory() {
    let Some(disk) = Mounted::tmpfs("size=1m") else { return };
    Ledger::open(disk.dir.path(), now()).ledger.store_settings(0, "{}", now()).unwrap();
    disk.remount("ro");
    let mut opened = Ledger::open(disk.dir.path(), now());
    assert!(matches!(opened.found, Found::Memory { .. }), "{:?}", opened.found);
    let version = opened.ledger.settings().unwrap().map_or(0, |stored| stored.version);
    opened.ledger.store_settings(version, "{}", now()).unwrap();
}

/// What a power cut leaves: the files as they were at that moment, the shared-memory index gone.
fn cut(from: &Path, wal_length: Option<u64>) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        fs::copy(from.join(&name), to.path().join(&name)).unwrap();
    }
    if let Some(length) = wal_length {
        OpenOptions::new().write(true).open(to.path().join(format!("{FILE}-wal"))).unwrap().set_len(length).unwrap();
    }
    to
}

#[test]
fn a_power_cut_in_the_middle_of_a_change_keeps_every_confirmed_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), now()).ledger;
    for version in 0..3 {
        ledger.store_settings(version, &format!("{{\"n\":{version}}}"), now()).unwrap();
    }
    // Somebody is in the middle of a transaction so large that a part of it is in the log already.
    let half = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    half.execute_batch("PRAGMA cache_size = 2; BEGIN IMMEDIATE").unwrap();
    half.execute("INSERT INTO settings VALUES (4, 'now', ?1)", ["y".repeat(200_000)]).unwrap();
    half.execute("INSERT INTO settings VALUES (5, 'now', ?1)", ["z".repeat(200_000)]).unwrap();
    let after = cut(dir.path(), None);
    let stored = reopened(after.path()).settings().unwrap().unwrap();
    assert_eq!((stored.version, stored.body.as_str()), (3, "{\"n\":2}"));
}

#[test]
fn a_power_cut_at_any_length_of_the_log_gives_an_earlier_whole_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), now()).ledger;
    for version in 0..4 {
        ledger.store_settings(version, &format!("{{\"n\":{version}}}"), now()).unwrap();
    }
    let whole = fs::metadata(dir.path().join(format!("{FILE}-wal"))).unwrap().len();
    let (mut last, mut seen) = (0, std::collections::BTreeSet::new());
    for length in (0..=whole).step_by(1031).chain([whole]) {
        let after = cut(dir.path(), Some(length));
        let opened = Ledger::open(after.path(), now());
        assert!(matches!(opened.found, Found::Existing), "{length}: {:?}", opened.found);
        let version = opened.ledger.settings().expect("readable").map_or(0, |stored| stored.version);
        assert!(version >= last, "{length} bytes of log give version {version} after {last}");
        (last, _) = (version, seen.insert(version));
    }
    assert_eq!(last, 4);
    assert!(seen.len() >= 4, "the cuts met several states: {seen:?}");
}
