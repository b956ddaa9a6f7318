//! The usage spool: numbers that stay, files that are cut or damaged, a disk that is full.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use common::{at, now};
use proptest::prelude::*;
use tbi_ledger::spool::{Limits, NewTick, Spool, SpoolError, parse_tick};

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
    files.retain(|path| path.extension().is_some_and(|it| it == "log"));
    files.sort();
    files
}

fn numbers(spool: &Spool) -> Vec<u64> {
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
    assert_eq!((ticks.acknowledged(), ticks.last(), numbers(&ticks)), (3, 5, vec![4, 5]));
    assert_eq!(ticks.pending(1).unwrap()[0].tick, tick("4"));
    ticks.acknowledge(5).unwrap();
    drop(ticks);
    let mut ticks = spool(dir.path());
    assert_eq!(numbers(&ticks), [0; 0]);
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
    assert_eq!(numbers(&ticks), (21..=40).collect::<Vec<_>>());
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
        assert_eq!(numbers(&ticks), (1..=lines).collect::<Vec<_>>(), "{length} bytes");
        assert_eq!(ticks.append(tick("next")).unwrap(), lines + 1, "a torn line was never confirmed");
        assert_eq!((numbers(&ticks), ticks.damaged()), ((1..=lines + 1).collect(), 0));
    }
}

#[test]
fn a_damaged_line_is_left_out_and_its_number_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut ticks = spool(dir.path());
    for n in 1..=3 {
        ticks.append(tick(&n.to_string())).unwrap();
    }
    let path = files(dir.path()).remove(0);
    let length = fs::metadata(&path).unwrap().len();
    for (place, left) in [(length / 2, [1, 3]), (length - 3, [1, 2])] {
        let copy = tempfile::tempdir().unwrap();
        let spoilt = copy.path().join(path.file_name().unwrap());
        fs::copy(&path, &spoilt).unwrap();
        let mut file = OpenOptions::new().write(true).open(&spoilt).unwrap();
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(b"#").unwrap();
        let mut ticks = spool(copy.path());
        assert_eq!((numbers(&ticks), ticks.damaged()), (left.to_vec(), 1));
        assert_eq!(ticks.append(tick("4")).unwrap(), 4);
    }
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
        assert_eq!(numbers(&spool(dir.path())), [1, 2, 3]);
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
            prop_assert_eq!(numbers(&ticks), (acknowledged + 1..=last).collect::<Vec<_>>());
        }
    }
}
