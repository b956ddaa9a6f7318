//! Accounts, sessions, tokens, certificates, idempotency keys and runs, as the agent keeps them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Node, at, note, now, open};
use tbi_ledger::{
    ADMINISTRATOR, AccountChange, Answer, Begun, Hash, LARGEST_ANSWER, Ledger, LedgerError, NewAccount, NewRequest,
    NewSession, NewToken, Run, RunFilter, SecondFactor,
};

fn with_accounts() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(dir.path());
    ledger.create_first_administrator("ada", "$argon2id$ada", now()).unwrap();
    ledger.create_account(&NewAccount { name: "bob", role: "viewer", password: Some("$argon2id$bob") }, now()).unwrap();
    (dir, ledger)
}

fn factor(secret: &str) -> Option<Option<SecondFactor>> {
    Some(Some(SecondFactor { secret: secret.to_owned(), last_step: Some(99) }))
}

fn session<'a>(id: &[u8], account: &'a str, epoch: u64) -> NewSession<'a> {
    NewSession {
        hash: Hash::of(id),
        account,
        epoch,
        ends: at("2026-06-16T00:00:00Z"),
        source: "192.0.2.7",
        user_agent: "curl",
    }
}

#[test]
fn the_first_administrator_is_made_once() {
    let (_dir, mut ledger) = with_accounts();
    let again = ledger.create_first_administrator("eve", "$argon2id$eve", now()).unwrap_err();
    assert!(matches!(again, LedgerError::Exists { .. }), "{again}");
    assert_eq!(ledger.accounts().unwrap().iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["ada", "bob"]);
    for wrong in ["", "Ada", "a b", "1a", "local", "ä", &"a".repeat(33)] {
        let refused = ledger.create_account(&NewAccount { name: wrong, role: "viewer", password: None }, now());
        assert!(matches!(refused, Err(LedgerError::Invalid { .. })), "{wrong}");
    }
}

#[test]
fn the_last_enabled_administrator_stays() {
    let (_dir, mut ledger) = with_accounts();
    let demote = AccountChange { role: Some("viewer".to_owned()), ..AccountChange::default() };
    let disable = AccountChange { enabled: Some(false), ..AccountChange::default() };
    for change in [&demote, &disable] {
        let refused = ledger.change_account("ada", change, now()).unwrap_err();
        assert!(matches!(refused, LedgerError::LastAdministrator { .. }), "{refused}");
    }
    assert!(matches!(ledger.remove_account("ada"), Err(LedgerError::LastAdministrator { .. })));
    assert_eq!(ledger.account("ada").unwrap().unwrap().role, ADMINISTRATOR);
    let promote = AccountChange { role: Some(ADMINISTRATOR.to_owned()), ..AccountChange::default() };
    ledger.change_account("bob", &promote, now()).unwrap();
    ledger.change_account("ada", &disable, now()).unwrap();
    assert!(matches!(ledger.remove_account("bob"), Err(LedgerError::LastAdministrator { .. })));
    ledger.remove_account("ada").unwrap();
}

#[test]
fn the_epoch_grows_with_what_ends_sessions_and_with_nothing_else() {
    let (_dir, mut ledger) = with_accounts();
    let epoch = |ledger: &Ledger| ledger.account("bob").unwrap().unwrap().epoch;
    let change = |ledger: &mut Ledger, change: AccountChange| ledger.change_account("bob", &change, now()).unwrap();
    assert_eq!(epoch(&ledger), 1);
    let any = AccountChange::default;
    change(&mut ledger, any());
    change(&mut ledger, AccountChange { role: Some("viewer".to_owned()), ..any() });
    ledger.note_login("bob", now()).unwrap();
    assert!(ledger.rehash_password("bob", "$argon2id$bob", "$argon2id$bob2").unwrap());
    assert!(!ledger.rehash_password("bob", "$argon2id$bob", "$argon2id$bob3").unwrap());
    assert_eq!(epoch(&ledger), 1);
    change(&mut ledger, AccountChange { role: Some("operator".to_owned()), ..any() });
    change(&mut ledger, AccountChange { password: Some("$argon2id$bob2".to_owned()), ..any() });
    change(&mut ledger, AccountChange { second_factor: factor("JBSWY3DP"), ..any() });
    let account = change(&mut ledger, AccountChange { recovery: Some(vec!["h1".into(), "h2".into()]), ..any() });
    // Whoever makes new codes stays logged in.
    assert_eq!((epoch(&ledger), account.last_login), (4, Some(now())));
    change(&mut ledger, AccountChange { end_sessions: true, ..any() });
    assert_eq!(epoch(&ledger), 5);
    assert_eq!(account.password_changed, Some(now()));
}

#[test]
fn a_one_time_code_and_a_recovery_code_are_used_once() {
    let (_dir, mut ledger) = with_accounts();
    assert!(!ledger.use_totp_step("bob", 100).unwrap(), "no second factor");
    let change = AccountChange {
        second_factor: factor("JBSWY3DP"),
        recovery: Some(vec!["h1".to_owned(), "h2".to_owned()]),
        ..AccountChange::default()
    };
    let epoch = ledger.change_account("bob", &change, now()).unwrap().epoch;
    assert!(!ledger.use_totp_step("bob", 99).unwrap(), "it was confirmed with this one");
    assert!(ledger.use_totp_step("bob", 100).unwrap());
    assert!(!ledger.use_totp_step("bob", 100).unwrap());
    assert!(!ledger.use_totp_step("bob", 99).unwrap(), "the clock went backwards");
    assert!(ledger.use_totp_step("bob", 101).unwrap());
    assert!(ledger.use_recovery_code("bob", "h1").unwrap());
    assert!(!ledger.use_recovery_code("bob", "h1").unwrap());
    let account = ledger.account("bob").unwrap().unwrap();
    assert_eq!((account.recovery, account.epoch, account.totp_step), (vec!["h2".to_owned()], epoch, Some(101)));
    assert!(matches!(ledger.use_totp_step("eve", 1), Err(LedgerError::Missing { .. })));
    let stale = AccountChange { based_on: Some(1), second_factor: Some(None), ..AccountChange::default() };
    assert!(matches!(ledger.change_account("bob", &stale, now()), Err(LedgerError::Changed { current: 2, .. })));
    let without = AccountChange { based_on: Some(2), ..stale };
    let account = ledger.change_account("bob", &without, now()).unwrap();
    assert_eq!((account.totp_secret, account.totp_step, account.recovery, account.epoch), (None, None, vec![], 3));
}

#[test]
fn secrets_are_not_in_debug() {
    let (_dir, mut ledger) = with_accounts();
    let change = AccountChange {
        password: Some("$argon2id$SECRET".to_owned()),
        second_factor: factor("SECRET"),
        recovery: Some(vec!["SECRET".to_owned()]),
        ..AccountChange::default()
    };
    let new = NewAccount { name: "eve", role: "viewer", password: Some("SECRET") };
    let account = ledger.change_account("bob", &change, now()).unwrap();
    let shown = format!("{change:?} {new:?} {account:?} {:?}", ledger.accounts().unwrap());
    assert!(shown.contains("bob") && !shown.contains("SECRET") && !shown.contains("argon2"), "{shown}");
}

#[test]
fn sessions_end_with_their_account_their_end_or_when_revoked() {
    let (_dir, mut ledger) = with_accounts();
    ledger.begin_session(&session(b"1", "bob", 1), now()).unwrap();
    ledger.begin_session(&session(b"2", "bob", 1), now()).unwrap();
    ledger.begin_session(&session(b"3", "ada", 1), now()).unwrap();
    assert!(matches!(ledger.begin_session(&session(b"4", "ada", 2), now()), Err(LedgerError::Changed { .. })));
    assert!(matches!(ledger.begin_session(&session(b"4", "eve", 1), now()), Err(LedgerError::Missing { .. })));

    let later = at("2026-06-15T12:30:00Z");
    ledger.see_session(&Hash::of(b"1"), later).unwrap();
    ledger.see_session(&Hash::of(b"1"), now()).unwrap();
    ledger.step_up_session(&Hash::of(b"1"), Some(later)).unwrap();
    let seen = ledger.session(&Hash::of(b"1")).unwrap().unwrap();
    assert_eq!((seen.last_seen, seen.stepped_up_until), (later, Some(later)), "never backwards");
    assert_eq!(ledger.sessions(Some("bob")).unwrap().len(), 2);
    assert_eq!(ledger.end_sessions_of("bob", Some(&Hash::of(b"1"))).unwrap(), 1);
    ledger.end_session(&Hash::of(b"1")).unwrap();
    assert!(matches!(ledger.end_session(&Hash::of(b"1")), Err(LedgerError::Missing { .. })));

    ledger.begin_session(&session(b"5", "bob", 1), now()).unwrap();
    assert_eq!(ledger.purge_sessions(now()).unwrap(), 0);
    let password = AccountChange { password: Some("$argon2id$new".to_owned()), ..AccountChange::default() };
    ledger.change_account("bob", &password, now()).unwrap();
    assert_eq!(ledger.purge_sessions(now()).unwrap(), 1, "of an earlier epoch");
    ledger.begin_session(&session(b"6", "bob", 2), now()).unwrap();
    ledger.remove_account("bob").unwrap();
    assert_eq!(ledger.sessions(None).unwrap().len(), 1);
    assert_eq!(ledger.purge_sessions(at("2026-06-16T00:00:00Z")).unwrap(), 1, "past its end");
}

#[test]
fn an_account_cannot_fill_the_disk_with_sessions() {
    let (_dir, mut ledger) = with_accounts();
    for n in 0..120_u8 {
        let when = now() + jiff::SignedDuration::from_secs(i64::from(n));
        ledger.begin_session(&session(&[n], "bob", 1), when).unwrap();
    }
    assert_eq!(ledger.sessions(Some("bob")).unwrap().len(), 100);
    assert!(ledger.session(&Hash::of(&[0])).unwrap().is_none() && ledger.session(&Hash::of(&[119])).unwrap().is_some());
}

#[test]
fn a_revoked_token_is_not_found_any_more() {
    let (_dir, mut ledger) = with_accounts();
    let new = NewToken {
        id: "t1",
        account: "bob",
        label: "ci",
        prefix: "tbi_abcdefgh",
        hash: Hash::of(b"secret"),
        scopes: "read run",
        expires: at("2026-12-01T00:00:00Z"),
    };
    let token = ledger.create_token(&new, now()).unwrap();
    assert!(matches!(ledger.create_token(&new, now()), Err(LedgerError::Exists { .. })));
    let stale = NewToken { id: "t2", hash: Hash::of(b"2"), expires: now(), ..new };
    assert!(matches!(ledger.create_token(&stale, now()), Err(LedgerError::Invalid { .. })));
    assert_eq!(ledger.token(&Hash::of(b"secret")).unwrap(), Some(token));
    ledger.note_token_used("t1", at("2026-07-01T00:00:00Z")).unwrap();
    ledger.note_token_used("t1", now()).unwrap();
    assert_eq!(ledger.tokens(Some("bob")).unwrap()[0].last_used, Some(at("2026-07-01T00:00:00Z")));
    ledger.revoke_token("t1", now()).unwrap();
    assert_eq!(ledger.token(&Hash::of(b"secret")).unwrap(), None);
    assert!(matches!(ledger.revoke_token("t1", now()), Err(LedgerError::Missing { .. })));
    assert_eq!(ledger.tokens(None).unwrap()[0].revoked, Some(now()));
}

#[test]
fn a_certificate_names_one_account() {
    let (_dir, mut ledger) = with_accounts();
    let print = Hash::of(b"der");
    ledger.add_certificate(print, "bob", "robot", now()).unwrap();
    assert!(matches!(ledger.add_certificate(print, "ada", "robot", now()), Err(LedgerError::Exists { .. })));
    assert_eq!(ledger.certificate_account(&print).unwrap().as_deref(), Some("bob"));
    assert_eq!(ledger.certificates(Some("ada")).unwrap(), []);
    ledger.remove_certificate(&print).unwrap();
    assert!(matches!(ledger.remove_certificate(&print), Err(LedgerError::Missing { .. })));
}

#[test]
fn an_idempotency_key_replays_its_answer_and_refuses_another_body() {
    let (dir, mut ledger) = with_accounts();
    let new = NewRequest { key: "k", account: "bob", operation: "POST /v1/runs", body_sha256: Hash::of(b"body") };
    let answer = Answer { status: 201, content_type: "application/json".to_owned(), body: b"{}".to_vec() };
    assert_eq!(ledger.begin_request(&new, now()).unwrap(), Begun::Fresh);
    assert_eq!(ledger.begin_request(&new, now()).unwrap(), Begun::InProgress);
    let large = Answer { body: vec![0; LARGEST_ANSWER + 1], ..answer.clone() };
    assert!(matches!(ledger.finish_request("bob", "k", &large), Err(LedgerError::Invalid { .. })));
    ledger.finish_request("bob", "k", &answer).unwrap();
    assert!(matches!(ledger.finish_request("bob", "k", &answer), Err(LedgerError::Missing { .. })));
    drop(ledger);
    let mut ledger = open(dir.path());
    assert_eq!(ledger.begin_request(&new, now()).unwrap(), Begun::Replay(answer.clone()));
    let body = NewRequest { body_sha256: Hash::of(b"other"), ..new };
    assert_eq!(ledger.begin_request(&body, now()).unwrap(), Begun::Reused);
    assert_eq!(ledger.begin_request(&NewRequest { operation: "POST /v1/x", ..new }, now()).unwrap(), Begun::Reused);
    assert_eq!(ledger.begin_request(&NewRequest { account: "ada", ..new }, now()).unwrap(), Begun::Fresh);
    ledger.abandon_request("ada", "k").unwrap();
    assert_eq!(ledger.begin_request(&NewRequest { account: "ada", ..new }, now()).unwrap(), Begun::Fresh);
    // 24 hours, whatever the clock does meanwhile.
    assert_eq!(ledger.begin_request(&new, at("2026-06-16T12:00:00Z")).unwrap(), Begun::Replay(answer.clone()));
    assert_eq!(ledger.begin_request(&new, at("2020-01-01T00:00:00Z")).unwrap(), Begun::Replay(answer));
    assert_eq!(ledger.begin_request(&new, at("2020-01-02T00:00:00Z")).unwrap(), Begun::Fresh);
}

#[test]
fn answers_that_are_kept_cannot_fill_the_disk() {
    let (dir, mut ledger) = with_accounts();
    let answer = Answer { status: 200, content_type: "text/plain".to_owned(), body: vec![b'x'; LARGEST_ANSWER] };
    let new = NewRequest { key: "", account: "bob", operation: "POST /", body_sha256: Hash::of(b"") };
    for n in 0..70 {
        let key = n.to_string();
        assert_eq!(ledger.begin_request(&NewRequest { key: &key, ..new }, now()).unwrap(), Begun::Fresh);
        ledger.finish_request("bob", &key, &answer).unwrap();
    }
    assert_eq!(ledger.begin_request(&NewRequest { key: "69", ..new }, now()).unwrap(), Begun::Replay(answer));
    assert_eq!(ledger.begin_request(&NewRequest { key: "0", ..new }, now()).unwrap(), Begun::Fresh, "the oldest went");
    drop(ledger);
    assert!(std::fs::metadata(dir.path().join(tbi_ledger::FILE)).unwrap().len() < 70 * 1024 * 1024);
}

#[test]
fn after_a_crash_a_key_in_progress_is_free_again() {
    let (dir, mut ledger) = with_accounts();
    let new = NewRequest { key: "k", account: "bob", operation: "POST /", body_sha256: Hash::of(b"") };
    assert_eq!(ledger.begin_request(&new, now()).unwrap(), Begun::Fresh);
    drop(ledger);
    assert_eq!(open(dir.path()).begin_request(&new, now()).unwrap(), Begun::Fresh);
}

fn run(id: &str, name: &str) -> Run {
    Run {
        id: id.to_owned(),
        name: name.to_owned(),
        state: "running".to_owned(),
        actor: "ada".to_owned(),
        started: now(),
        ended: None,
        sentence: "Under way.".to_owned(),
        plan_sha256: Hash::of(b"plan"),
        record_sha256: None,
        receipt: None,
    }
}

#[test]
fn runs_are_listed_page_by_page_and_a_sealed_one_stays() {
    let (_dir, mut ledger) = with_accounts();
    for n in 0..25 {
        let name = if n % 2 == 0 { "Nightly" } else { "soak 100%" };
        // The clock goes backwards all the while.
        let started = now() - jiff::SignedDuration::from_secs(n);
        ledger.store_run(&Run { started, ..run(&format!("r{n}"), name) }).unwrap();
    }
    let mut filter = RunFilter { limit: 10, ..RunFilter::default() };
    let mut ids = Vec::new();
    loop {
        let page = ledger.runs(&filter).unwrap();
        ids.extend(page.runs.into_iter().map(|run| run.id));
        filter.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(ids, (0..25).rev().map(|n| format!("r{n}")).collect::<Vec<_>>());
    let count = |filter: RunFilter<'_>| ledger.runs(&RunFilter { limit: 100, ..filter }).unwrap().runs.len();
    assert_eq!(count(RunFilter { name_contains: Some("NIGHT"), ..RunFilter::default() }), 13);
    assert_eq!(count(RunFilter { name_contains: Some("%"), ..RunFilter::default() }), 12);
    assert_eq!(count(RunFilter { state: Some("ended"), ..RunFilter::default() }), 0);
    assert_eq!(count(RunFilter { actor: Some("ada"), from: Some(now()), ..RunFilter::default() }), 1);

    let done = Run {
        state: "ended".to_owned(),
        ended: Some(now()),
        record_sha256: Some(Hash::of(b"record")),
        ..run("r0", "Nightly")
    };
    ledger.store_run(&done).unwrap();
    ledger.store_run(&done).unwrap();
    let renamed = Run { name: "other".to_owned(), ..done.clone() };
    assert!(matches!(ledger.store_run(&renamed), Err(LedgerError::Sealed { .. })));
    assert_eq!(ledger.run("r0").unwrap(), Some(done));
    ledger.remove_run("r0").unwrap();
    assert_eq!(ledger.run("r0").unwrap(), None);
}

#[test]
fn a_change_and_its_audit_entry_are_stored_both_or_neither() {
    let (_dir, mut ledger) = with_accounts();
    let node = Node::new();
    let new = NewAccount { name: "eve", role: "viewer", password: None };
    let failed: Result<(), LedgerError> = ledger.together(|ledger| {
        ledger.create_account(&new, now())?;
        note(ledger, &node, "eve", now());
        ledger.remove_account("nobody")
    });
    assert!(matches!(failed, Err(LedgerError::Missing { .. })));
    assert_eq!((ledger.account("eve").unwrap(), ledger.audit_head().unwrap().0), (None, 0));
    let done: Result<(), LedgerError> = ledger.together(|ledger| {
        // A part that fails alone is told, and the rest goes on.
        assert!(ledger.remove_account("nobody").is_err());
        ledger.create_account(&new, now())?;
        ledger.store_settings(0, "{}", now())?;
        note(ledger, &node, "eve", now());
        Ok(())
    });
    done.unwrap();
    assert_eq!(ledger.audit_head().unwrap().0, 1);
    assert!(ledger.account("eve").unwrap().is_some() && ledger.settings().unwrap().is_some());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _never: Result<(), LedgerError> = ledger.together(|ledger| {
            ledger.remove_account("eve")?;
            unreachable!("in the middle")
        });
    }));
    assert!(panicked.is_err());
    assert!(ledger.account("eve").unwrap().is_some(), "taken back");
    ledger.remove_account("eve").unwrap();
}
