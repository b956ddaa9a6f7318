//! The usage spool: numbers that stay, files that are cut or damaged, a disk that is full.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use common::{at, now};
use proptest::prelude::*;
use tbi_ledger::spool::{LOST, Limits, NewTick, Spool, SpoolError, parse_tick};

fn tick(unit: &str) -> NewTick {
    NewTick {
        when: now(),
        kind: "block".to_owned(),
        run: "run 1 \"é\"\n".to_owned(),
        unit: unit.to_owned(),
        quantity: 7,
    }
}

fn spool(dir: &Path) -> Spool {
    Spool::open(dir, Limits::default()).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|it| it.to_string_lossy().starts_with("ticks-")));
    files.sort();
    files
}

fn numbers(spool: &mut Spool) -> Vec<u64> {
    spool.pending(1000).unwrap().into_iter().map(|tick| tick.client_seq).collect()
}

#[test]
fn ticks_keep_their_numbers_until_they_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=5 {
        assert_eq!(ticks.append(tick(&n.to_string())).unwrap(), n);
    }
    assert_eq!(ticks.pending(2).unwrap().iter().map(|it| it.client_seq).collect::<Vec<_>>(), [1, 2]);
    ticks.acknowledge(3).unwrap();
    ticks.acknowledge(1).unwrap();
    assert!(matches!(ticks.acknowledge(6), Err(SpoolError::Unknown { through: 6, last: 5 })));
    drop(ticks);
    let mut ticks = spool(dir.path());
    assert_eq!((ticks.acknowledged(), ticks.last()), (3, 5));
    assert_eq!(numbers(&mut ticks), [4, 5]);
    assert_eq!(ticks.pending(1).unwrap()[0].tick, tick("4"));
    ticks.acknowledge(5).unwrap();
    drop(ticks);
    let mut ticks = spool(dir.path());
    assert_eq!(numbers(&mut ticks), [0; 0]);
    assert_eq!(ticks.append(NewTick { when: at("1970-01-01T00:00:00Z"), ..tick("6") }).unwrap(), 6);
}

#[test]
fn whole_files_go_when_they_are_acknowledged_and_the_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment: 500, total: 1_000_000 };
    let mut ticks = Spool::open(dir.path(), limits).unwrap();
    for n in 1..=40 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    let before = files(dir.path()).len();
    assert!(before > 8, "{before}");
    ticks.acknowledge(20).unwrap();
    assert!(files(dir.path()).len() < before);
    assert_eq!(numbers(&mut ticks), (21..=40).collect::<Vec<_>>());
    ticks.acknowledge(40).unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    drop(ticks);
    // Even when the last file is gone as well.
    fs::remove_file(&files(dir.path())[0]).unwrap();
    assert_eq!(Spool::open(dir.path(), limits).unwrap().append(tick("41")).unwrap(), 41);
}

#[test]
fn a_spool_is_cut_at_any_length_and_keeps_every_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=3 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    let whole = fs::read(&files(dir.path())[0]).unwrap();
    for length in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ticks-00000000000000000001.log"), &whole[..length]).unwrap();
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut ticks = spool(dir.path());
        assert_eq!(numbers(&mut ticks), (1..=lines).collect::<Vec<_>>(), "{length} bytes");
        assert_eq!(ticks.append(tick("next")).unwrap(), lines + 1, "a torn line was never confirmed");
        assert_eq!(numbers(&mut ticks), (1..=lines + 1).collect::<Vec<_>>());
        assert_eq!((ticks.lost(), ticks.set_aside()), (0, 0));
    }
}

/// One byte of a file is another one.
fn spoil(path: &Path, place: u64) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(place)).unwrap();
    file.write_all(b"#").unwrap();
}

/// Pending numbers, and those of them that are lost.
fn lost(spool: &mut Spool) -> (Vec<u64>, Vec<u64>) {
    let pending = spool.pending(1000).unwrap();
    let lost: Vec<_> = pending.iter().filter(|it| it.tick.kind == LOST).collect();
    assert!(lost.iter().all(|it| it.tick.quantity == 0 && it.tick.run.is_empty()), "{lost:?}");
    (pending.iter().map(|it| it.client_seq).collect(), lost.iter().map(|it| it.client_seq).collect())
}

#[test]
fn a_damaged_line_is_set_aside_and_a_lost_tick_takes_its_number_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=3 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    let path = files(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let length = whole.len() as u64;
    for (place, gone) in [(length / 2, 2), (length - 3, 3)] {
        let copy = tempfile::tempdir().unwrap();
        let spoilt = copy.path().join(path.file_name().unwrap());
        fs::write(&spoilt, &whole).unwrap();
        spoil(&spoilt, place);
        let damaged = fs::read(&spoilt).unwrap().split(|byte| *byte == b'\n').nth(gone - 1).unwrap().to_vec();
        let mut ticks = spool(copy.path());
        assert_eq!(lost(&mut ticks), (vec![1, 2, 3], vec![gone as u64]));
        assert_eq!((ticks.lost(), ticks.set_aside()), (1, 1));
        assert_eq!(fs::read(copy.path().join("damaged.log")).unwrap(), [&damaged[..], b"\n"].concat());
        assert_eq!(ticks.append(tick("4")).unwrap(), 4);
        drop(ticks);
        // The disk reads well again: what was said of the number stays, and the other side knows it in the end.
        let mut ticks = spool(copy.path());
        assert_eq!((lost(&mut ticks), ticks.lost()), ((vec![1, 2, 3, 4], vec![gone as u64]), 1));
        ticks.acknowledge(4).unwrap();
        assert_eq!((ticks.lost(), ticks.set_aside()), (0, 1));
        drop(ticks);
        let ticks = spool(copy.path());
        assert_eq!((ticks.lost(), ticks.set_aside()), (0, 1), "it is not said again");
    }
}

#[test]
fn a_line_that_is_damaged_while_the_spool_is_open_is_set_aside_and_the_next_tick_follows() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=3 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    spoil(&files(dir.path())[0], 40);
    assert_eq!(lost(&mut ticks), (vec![1, 2, 3], vec![1]));
    assert_eq!(ticks.append(tick("4")).unwrap(), 4);
    assert_eq!(lost(&mut ticks), (vec![1, 2, 3, 4], vec![1]));
    drop(ticks);
    assert_eq!(lost(&mut spool(dir.path())), (vec![1, 2, 3, 4], vec![1]));
}

#[test]
fn a_damaged_line_feed_costs_its_two_ticks_and_no_number_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=3 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    drop(ticks);
    let path = files(dir.path()).remove(0);
    let second = fs::read(&path).unwrap().iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
    spoil(&path, second as u64);
    let mut ticks = spool(dir.path());
    assert_eq!(lost(&mut ticks), (vec![1, 2, 3], vec![2, 3]));
    assert_eq!(ticks.append(tick("4")).unwrap(), 4);
}

#[test]
fn a_file_that_was_cut_short_or_is_missing_is_mended_when_another_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment: 500, total: 1_000_000 };
    let mut ticks = Spool::open(dir.path(), limits).unwrap();
    for n in 1..=16 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    ticks.acknowledge(1).unwrap();
    drop(ticks);
    let all = files(dir.path());
    let first_of = |path: &PathBuf| -> u64 { path.file_stem().unwrap().to_str().unwrap()[6..].parse().unwrap() };
    let (second, third) = (first_of(&all[1]), first_of(&all[2]));
    assert!(second > 2 && all.len() > 3, "{all:?}");
    let cut = OpenOptions::new().write(true).open(&all[1]).unwrap();
    cut.set_len(cut.metadata().unwrap().len() - 10).unwrap();
    let mut ticks = Spool::open(dir.path(), limits).unwrap();
    assert_eq!(lost(&mut ticks), ((2..=16).collect(), vec![third - 1]));
    drop(ticks);
    // The first one as well: only what was not acknowledged is lost.
    fs::remove_file(&all[0]).unwrap();
    let mut ticks = Spool::open(dir.path(), limits).unwrap();
    assert_eq!(lost(&mut ticks), ((2..=16).collect(), (2..second).chain([third - 1]).collect()));
    // A name that cannot be right is not filled up with millions of lost ticks.
    drop(ticks);
    fs::write(dir.path().join("ticks-00000000000900000000.log"), "").unwrap();
    let error = Spool::open(dir.path(), limits).unwrap_err();
    assert!(matches!(error, SpoolError::Gap { to: 899_999_999, .. }), "{error}");
    assert!(error.to_string().contains("strange files"), "{error}");
}

#[test]
fn a_damaged_acknowledgement_sends_again_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=3 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    ticks.acknowledge(2).unwrap();
    drop(ticks);
    for spoilt in [&b""[..], b"v1 3 0000000000000000\n", b"\xff\xff", b"v1 9999999999999999999999 x\n"] {
        fs::write(dir.path().join("acknowledged"), spoilt).unwrap();
        assert_eq!(numbers(&mut spool(dir.path())), [1, 2, 3]);
    }
}

#[test]
fn a_full_spool_says_so_and_takes_ticks_again_after_the_drain() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = Spool::open(dir.path(), Limits { segment: 300, total: 1000 }).unwrap();
    let mut last = 0;
    let full = loop {
        match ticks.append(tick("x")) {
            Ok(number) => last = number,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SpoolError::Full { .. }) && full.to_string().contains("usage report"), "{full}");
    assert!(ticks.bytes() <= 1000 && last > 3);
    ticks.acknowledge(last).unwrap();
    assert_eq!(ticks.append(tick("x")).unwrap(), last + 1);
    let long = ticks.append(NewTick { run: "x".repeat(5000), ..tick("x") }).unwrap_err();
    assert!(matches!(long, SpoolError::Tick(_)), "{long}");
}

#[test]
fn a_spool_that_cannot_be_written_is_an_error_and_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    for stranger in ["ticks-1.log", "ticks-00000000000000000001.log.old", "ticks-x.log"] {
        fs::write(dir.path().join(stranger), "somebody's").unwrap();
    }
    assert_eq!(spool(dir.path()).append(tick("1")).unwrap(), 1, "strangers are left alone");
    fs::write(dir.path().join("spool"), "a file").unwrap();
    let error = Spool::open(&dir.path().join("spool"), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("the work goes on"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_tick_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_tick(&bytes).is_err());
    }

    #[test]
    fn whatever_happens_to_a_spool_numbers_only_grow(
        steps in prop::collection::vec((0..4_u8, any::<prop::sample::Index>()), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { segment: 400, total: 1_000_000 };
        let mut ticks = Spool::open(dir.path(), limits).unwrap();
        let (mut last, mut acknowledged) = (0, 0);
        for (step, index) in steps {
            match step {
                0 | 1 => {
                    last += 1;
                    prop_assert_eq!(ticks.append(tick(&last.to_string())).unwrap(), last);
                }
                2 if last > 0 => {
                    let through = index.index(usize::try_from(last).unwrap()) as u64 + 1;
                    ticks.acknowledge(through).unwrap();
                    acknowledged = acknowledged.max(through);
                }
                _ => {
                    drop(ticks);
                    // The agent died while it wrote the next line.
                    if let Some(path) = files(dir.path()).pop() {
                        OpenOptions::new().append(true).open(path).unwrap().write_all(b"v1 99").unwrap();
                    }
                    ticks = Spool::open(dir.path(), limits).unwrap();
                }
            }
            prop_assert_eq!(numbers(&mut ticks), (acknowledged + 1..=last).collect::<Vec<_>>());
        }
    }
}
