//! Notes: granted once, burned once, the sum conserved, whoever asks at the same time.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::{at, now, open};
use proptest::prelude::*;
use tbi_ledger::{FILE, Ledger, LedgerError, Minted, Spent};

/// Asks again while another connection has the lock.
fn spend(ledger: &mut Ledger, amount: u64, run: &str) -> Result<Spent, LedgerError> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match ledger.spend(amount, run, now()) {
            Err(LedgerError::Busy { .. }) if Instant::now() < deadline => {}
            other => return other,
        }
    }
}

#[test]
fn a_source_is_granted_once_and_a_run_spends_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    assert!(matches!(ledger.mint("licence:a", &[10, 5], now()).unwrap(), Minted::Now(notes) if notes.len() == 2));
    assert_eq!(ledger.mint("licence:a", &[10, 5], now()).unwrap(), Minted::Before);
    let other = ledger.mint("licence:a", &[10, 6], now()).unwrap_err();
    assert!(matches!(other, LedgerError::Exists { .. }), "{other}");
    assert_eq!(ledger.balance().unwrap(), 15);

    let spent = ledger.spend(7, "run-1", now()).unwrap();
    assert_eq!((spent.burned.len(), spent.balance_after), (1, 8));
    assert!(spent.change.is_some());
    drop(ledger);
    let mut ledger = open(dir.path());
    assert_eq!(ledger.spend(7, "run-1", now()).unwrap(), spent, "the same run again");
    assert_eq!(ledger.spent_by("run-1").unwrap(), Some(spent));
    assert!(matches!(ledger.spend(8, "run-1", now()), Err(LedgerError::Exists { .. })));
    assert!(matches!(ledger.spend(9, "run-2", now()), Err(LedgerError::Insufficient { needed: 9, balance: 8 })));
    let rest = ledger.spend(8, "run-2", at("1970-01-01T00:00:00Z")).unwrap();
    assert_eq!((rest.burned.len(), rest.change, rest.balance_after), (2, None, 0));
    assert_eq!(ledger.spend(0, "run-3", now()).unwrap().burned.len(), 0);
    for wrong in [&[][..], &[0], &[u64::MAX]] {
        assert!(matches!(ledger.mint("licence:b", wrong, now()), Err(LedgerError::Invalid { .. })), "{wrong:?}");
    }
}

#[test]
fn the_tables_refuse_to_burn_a_note_twice_or_to_make_one_disappear() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    ledger.mint("licence:a", &[10, 5], now()).unwrap();
    ledger.spend(5, "run-1", now()).unwrap();
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    for statement in [
        "UPDATE notes SET burned_by = 'run-2' WHERE burned_by = 'run-1'",
        "UPDATE notes SET burned_by = NULL, burned = NULL",
        "UPDATE notes SET amount = 100 WHERE burned_by IS NULL",
        "DELETE FROM notes",
        "INSERT OR REPLACE INTO notes SELECT serial, amount, origin, made, NULL, NULL FROM notes",
    ] {
        assert!(file.execute(statement, []).is_err(), "{statement}");
    }
    assert_eq!(ledger.balance().unwrap(), 10);
}

#[test]
fn thirty_two_concurrent_writers_never_double_spend() {
    const WRITERS: u64 = 32;
    const EACH: u64 = 8;
    const GRANTED: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    // Less than they ask for together (each asks for 1 + 2 + ... = 36 or more), so that some must be refused.
    ledger.mint("licence:a", &[100; 4], now()).unwrap();
    let mut writers: Vec<Ledger> = (0..WRITERS).map(|_| open(dir.path())).collect();
    let barrier = Barrier::new(writers.len());
    let spent: Vec<Spent> = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(writer, ledger)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let mut spent = Vec::new();
                    for n in 0..EACH {
                        // Two writers each share their runs: the second to come must get the answer of the first.
                        match spend(ledger, n + 1, &format!("run-{}-{n}", writer / 2)) {
                            Ok(it) => spent.push(it),
                            Err(LedgerError::Insufficient { .. }) => {}
                            Err(error) => unreachable!("{error}"),
                        }
                    }
                    spent
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });

    let mut by_run = std::collections::BTreeMap::new();
    for it in &spent {
        assert_eq!(*by_run.entry(it.run.clone()).or_insert_with(|| it.clone()), *it, "one run, one answer");
    }
    assert!(spent.len() > by_run.len(), "some runs were asked for twice");
    let sum: u64 = by_run.values().map(|it| it.amount).sum();
    assert_eq!(ledger.balance().unwrap() + sum, GRANTED, "nothing came or went");
    let burned: Vec<&String> = by_run.values().flat_map(|it| &it.burned).collect();
    assert_eq!(burned.iter().collect::<BTreeSet<_>>().len(), burned.len(), "each serial is burned once");
    let unspent = ledger.unspent().unwrap();
    assert!(unspent.iter().all(|note| !burned.contains(&&note.serial)));
    assert!((by_run.len() as u64) < WRITERS / 2 * EACH, "more was asked for than there was");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_granted_and_spent_the_sum_is_conserved(
        steps in prop::collection::vec((any::<bool>(), 0..60_u64), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = open(dir.path());
        let mut balance = 0;
        for (n, (grant, amount)) in steps.into_iter().enumerate() {
            if grant {
                ledger.mint(&format!("grant-{n}"), &[amount + 1, 1], now()).unwrap();
                balance += amount + 2;
            } else {
                match ledger.spend(amount, &format!("run-{n}"), now()) {
                    Ok(spent) => {
                        balance -= amount;
                        prop_assert_eq!(spent.balance_after, balance);
                    }
                    Err(LedgerError::Insufficient { .. }) => prop_assert!(amount > balance),
                    Err(error) => return Err(TestCaseError::fail(error.to_string())),
                }
            }
            prop_assert_eq!(ledger.balance().unwrap(), balance);
        }
    }
}
