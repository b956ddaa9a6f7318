//! Licences and the gate: who may start a run, what it costs, and that every answer is sealed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Issuer, Mute, Node, at, envelope, now, open};
use jiff::Timestamp;
use tbi_ledger::audit::AuditFilter;
use tbi_ledger::licence::{self, EnvelopeError, Issuers, Standing, judge};
use tbi_ledger::{Bytes, Hash, Ledger, LedgerError, Policy, ReceiptError, Refused, Request, Signer};

struct Asked {
    run: &'static str,
    features: Vec<String>,
    tsu: u64,
    under_way: u32,
}

fn asked(run: &'static str, tsu: u64) -> Asked {
    Asked { run, features: vec!["decrypt".to_owned()], tsu, under_way: 0 }
}

fn request(asked: &Asked) -> Request<'_> {
    Request {
        run: asked.run,
        plan_sha256: Hash::of(b"plan"),
        features: &asked.features,
        tsu: asked.tsu,
        actor: "ada",
        role: "operator",
        source: "192.0.2.7",
        correlation: "c-7",
        runs_under_way: asked.under_way,
    }
}

/// A box with one licence of 1,000 units, enforced.
struct Case {
    _dir: tempfile::TempDir,
    ledger: Ledger,
    node: Node,
    policy: Policy,
}

impl Case {
    fn new() -> Self {
        let (issuer, dir) = (Issuer::new(), tempfile::tempdir().unwrap());
        let mut ledger = open(dir.path());
        let policy = Policy { enforce: true, issuers: issuer.known() };
        ledger.install_licence(&issuer.sign(&envelope("L-1")), &policy.issuers, now()).unwrap();
        Self { _dir: dir, ledger, node: Node::new(), policy }
    }

    fn ask(&mut self, asked: &Asked, when: Timestamp) -> Result<tbi_ledger::Receipt, Refused> {
        self.ledger.authorize(&request(asked), &self.policy, &self.node, when)
    }

    fn last_outcome(&self) -> (String, String) {
        let entry = self.ledger.audit_entries(&AuditFilter { limit: 1, ..AuditFilter::default() }).unwrap().remove(0);
        (entry.outcome, entry.detail)
    }
}

#[test]
fn with_the_ledger_only_in_memory_nothing_is_spent_under_enforcement() {
    let (issuer, dir, node) = (Issuer::new(), tempfile::tempdir().unwrap(), Node::new());
    // Root may write everywhere but into a file.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let opened = Ledger::open(&file.join("state"), now());
    let trail = opened.found.trail_sentence().unwrap();
    assert!(trail.contains("lost at the next start"), "{trail}");
    let mut ledger = opened.ledger;
    let mut policy = Policy { enforce: true, issuers: issuer.known() };
    ledger.install_licence(&issuer.sign(&envelope("L-1")), &policy.issuers, now()).unwrap();
    let refused = ledger.authorize(&request(&asked("run-1", 300)), &policy, &node, now()).unwrap_err();
    let sentence = refused.to_string();
    assert_eq!(refused.code(), "ledger-not-durable");
    assert!(sentence.contains("the disk cannot be written") && sentence.contains("restart the box"), "{sentence}");
    assert_eq!((ledger.balance().unwrap(), ledger.receipt("run-1").unwrap()), (1000, None));
    let entry = ledger.audit_entries(&AuditFilter { limit: 1, ..AuditFilter::default() }).unwrap().remove(0);
    assert!(entry.outcome == "refused" && entry.detail.contains("ledger-not-durable"), "{entry:?}");
    // Without enforcement nothing is spent, so nothing can be forgotten.
    policy.enforce = false;
    assert_eq!(ledger.authorize(&request(&asked("run-1", 300)), &policy, &node, now()).unwrap().tsu, 0);
    // On a disk that works the same licence lets the same run begin.
    assert_eq!(Case::new().ask(&asked("run-1", 300), now()).unwrap().tsu, 300);
}

#[test]
fn an_authorised_run_has_a_receipt_that_proves_itself() {
    let mut case = Case::new();
    let receipt = case.ask(&asked("run-1", 300), now()).unwrap();
    assert_eq!((receipt.licence.as_str(), receipt.tsu, receipt.balance_after), ("L-1", 300, 700));
    assert_eq!((receipt.burned.len(), receipt.change.is_some()), (1, true));
    assert_eq!((receipt.audit_seq, receipt.sealed_hash), case.ledger.audit_head().unwrap());
    receipt.verify(case.node.public_key()).unwrap();
    let (outcome, detail) = case.last_outcome();
    assert_eq!(outcome, "allowed");
    assert!(detail.contains(&receipt.burned[0]) && detail.contains("L-1"), "{detail}");
    case.ledger.verify_chain().unwrap();

    // It survives its way through a run record.
    let text = serde_json::to_string(&receipt).unwrap();
    let read: tbi_ledger::Receipt = serde_json::from_str(&text).unwrap();
    read.verify(case.node.public_key()).unwrap();
    assert!(matches!(read.verify(Node::new().public_key()), Err(ReceiptError::OtherKey { .. })));
    let edits: [fn(&mut tbi_ledger::Receipt); 10] = [
        |it| it.run.push('1'),
        |it| it.plan_sha256 = Hash::of(b"x"),
        |it| it.licence = "developer".to_owned(),
        |it| it.tsu = 1,
        |it| it.burned.clear(),
        |it| it.change = None,
        |it| it.balance_after += 1,
        |it| it.audit_seq += 1,
        |it| it.sealed_hash = Hash::of(b"x"),
        |it| it.signature = Bytes(vec![0; 70]),
    ];
    for (n, edit) in edits.iter().enumerate() {
        let mut edited = receipt.clone();
        edit(&mut edited);
        assert!(matches!(edited.verify(case.node.public_key()), Err(ReceiptError::Forged { .. })), "edit {n}");
    }
    let other_time = tbi_ledger::Receipt { when: at("2026-01-01T00:00:00Z"), ..receipt };
    assert!(other_time.verify(case.node.public_key()).is_err());
}

#[test]
fn the_same_run_again_gets_the_same_receipt_and_pays_once() {
    let mut case = Case::new();
    let first = case.ask(&asked("run-1", 300), now()).unwrap();
    let again = case.ask(&asked("run-1", 300), at("2026-07-01T00:00:00Z")).unwrap();
    assert_eq!(first, again);
    assert_eq!(case.ledger.balance().unwrap(), 700);
    assert_eq!(case.ledger.audit_head().unwrap().0, 1);
    assert_eq!(case.ledger.receipt("run-1").unwrap(), Some(first));
    let one = asked("run-1", 300);
    let other = Request { plan_sha256: Hash::of(b"other"), ..request(&one) };
    let refused = case.ledger.authorize(&other, &case.policy, &case.node, now()).unwrap_err();
    assert!(matches!(refused, Refused::OtherPlan { .. }), "{refused}");
}

#[test]
fn refusals_are_audited_spend_nothing_and_say_the_remedy() {
    let mut case = Case::new();
    let mut too_much = asked("run-1", 1001);
    let feature = Asked { features: vec!["soak".to_owned()], ..asked("run-1", 1) };
    let crowded = Asked { under_way: 2, ..asked("run-1", 1) };
    for (asked, when, code, remedy) in [
        (&too_much, now(), "tsu-insufficient", "grants more"),
        (&feature, now(), "licence-feature-missing", "leave it out"),
        (&crowded, now(), "licence-concurrency", "wait until one has ended"),
        (&asked("run-1", 1), at("2027-01-31T00:00:00Z"), "licence-expired", "install a new one"),
    ] {
        let before = case.ledger.audit_head().unwrap().0;
        let refused = case.ask(asked, when).unwrap_err();
        assert_eq!(refused.code(), code);
        assert!(refused.to_string().contains(remedy), "{refused}");
        let (outcome, detail) = case.last_outcome();
        assert_eq!((outcome.as_str(), case.ledger.audit_head().unwrap().0), ("refused", before + 1));
        assert!(detail.contains(code) && detail.contains(remedy), "{detail}");
        assert_eq!(case.ledger.balance().unwrap(), 1000, "{code}");
        assert_eq!(case.ledger.receipt("run-1").unwrap(), None);
    }
    case.ledger.remove_licence("L-1", now()).unwrap();
    too_much.tsu = 1;
    assert!(matches!(case.ask(&too_much, now()), Err(Refused::NoLicence)));
    case.ledger.verify_chain().unwrap();
}

#[test]
fn a_key_that_does_not_sign_refuses_the_run_and_keeps_the_notes() {
    let mut case = Case::new();
    let mute = Mute(Node::new());
    let one = asked("run-1", 300);
    let refused = case.ledger.authorize(&request(&one), &case.policy, &mute, now()).unwrap_err();
    assert!(matches!(refused, Refused::Ledger(LedgerError::Signing(_))), "{refused}");
    assert_eq!((case.ledger.balance().unwrap(), case.last_outcome().0.as_str()), (1000, "refused"));
    assert_eq!(case.ask(&one, now()).unwrap().balance_after, 700);
    case.ledger.verify_chain().unwrap();
}

#[test]
fn without_enforcement_the_developer_envelope_allows_always_and_spends_nothing() {
    let mut case = Case::new();
    case.policy = Policy::default();
    let crowded = Asked { under_way: 99, features: vec!["anything".to_owned()], ..asked("run-1", 5000) };
    let receipt = case.ask(&crowded, at("2099-01-01T00:00:00Z")).unwrap();
    assert_eq!((receipt.licence.as_str(), receipt.tsu, receipt.burned.len()), ("developer", 0, 0));
    assert_eq!(receipt.balance_after, 1000);
    receipt.verify(case.node.public_key()).unwrap();
}

#[test]
fn an_issued_developer_envelope_spends_nothing() {
    let mut case = Case::new();
    let issuer = Issuer::new();
    case.policy.issuers = issuer.known();
    let mut developer = envelope("D-1");
    (developer.developer, developer.tsu) = (true, 0);
    case.ledger.install_licence(&issuer.sign(&developer), &issuer.known(), now()).unwrap();
    let receipt = case.ask(&asked("run-1", 5000), now()).unwrap();
    assert_eq!((receipt.licence.as_str(), receipt.tsu), ("D-1", 0));
}

#[test]
fn in_grace_runs_start_and_the_chain_says_so_and_a_clock_set_back_revives_nothing() {
    let mut case = Case::new();
    case.ask(&asked("run-1", 1), at("2027-01-05T00:00:00Z")).unwrap();
    assert!(case.last_outcome().1.contains("\"grace_until\":\"2027-01-31T00:00:00Z\""), "{}", case.last_outcome().1);
    assert!(matches!(case.ask(&asked("run-2", 1), at("2027-02-01T00:00:00Z")), Err(Refused::Expired { .. })));
    assert!(matches!(case.ask(&asked("run-3", 1), now()), Err(Refused::Expired { .. })), "the clock was set back");
}

#[test]
fn an_envelope_is_judged_by_the_highest_time_ever_seen() {
    let issuer = Issuer::new();
    let (document, known) = (issuer.sign(&envelope("L-1")), issuer.known());
    let judged = |when: &str, seen: &str| judge(&document, &known, at(when), at(seen));
    let long_ago = "1970-01-01T00:00:00Z";
    assert_eq!(judged("2025-12-31T23:59:59Z", long_ago), Standing::NotYet { from: at("2026-01-01T00:00:00Z") });
    assert_eq!(judged("2026-01-01T00:00:00Z", long_ago), Standing::Valid);
    assert_eq!(judged("2026-12-31T23:59:59Z", long_ago), Standing::Valid);
    assert_eq!(judged("2027-01-01T00:00:00Z", long_ago), Standing::Grace { until: at("2027-01-31T00:00:00Z") });
    assert_eq!(judged("2027-01-31T00:00:00Z", long_ago), Standing::Expired { since: at("2027-01-31T00:00:00Z") });
    assert_eq!(judged(long_ago, "2027-03-01T00:00:00Z"), Standing::Expired { since: at("2027-01-31T00:00:00Z") });
    assert_eq!(judge(&document, &Issuers::default(), now(), now()), Standing::UnknownIssuer);
    assert_eq!(judge("{}", &known, now(), now()), Standing::Unreadable);
}

#[test]
fn every_edit_of_an_envelope_is_found() {
    let issuer = Issuer::new();
    let document = issuer.sign(&envelope("L-1"));
    licence::open(&document, &issuer.known()).unwrap();
    // The text that is signed cannot be changed at all; what stands around it may be spelt otherwise, and means the same then.
    let genuine = licence::open(&document, &issuer.known()).unwrap();
    for at in 0..document.len() {
        for byte in [b'0', b'1', b'a', b'f', b'"', b' ', b'\\', b'Z', b'-'] {
            let mut edited = document.clone().into_bytes();
            if edited[at] == byte {
                continue;
            }
            edited[at] = byte;
            let Ok(text) = String::from_utf8(edited) else { continue };
            if let Ok(opened) = licence::open(&text, &issuer.known()) {
                assert_eq!(opened, genuine, "{text}");
            }
        }
    }
    let forged = document.replacen("\\\"tsu\\\":1000", "\\\"tsu\\\":9000", 1);
    assert_ne!(forged, document);
    assert_eq!(licence::open(&forged, &issuer.known()), Err(EnvelopeError::Forged));
    assert_eq!(judge(&forged, &issuer.known(), now(), now()), Standing::Forged);
}

#[test]
fn an_envelope_that_says_impossible_things_is_refused_even_when_signed() {
    let issuer = Issuer::new();
    let text = serde_json::to_string(&envelope("L-1")).unwrap();
    for (from, to) in [
        ("\"L-1\"", "\"../L\""),
        ("\"L-1\"", "\"\""),
        ("Example AG", "a\\nb"),
        ("\"concurrency\":2", "\"concurrency\":0"),
        ("\"concurrency\":2", "\"concurrency\":-1"),
        ("\"grace_days\":30", "\"grace_days\":400"),
        ("\"expires\":\"2027", "\"expires\":\"2025"),
        ("\"tsu\":1000", "\"tsu\":1000000000001"),
        ("\"tsu\":1000", "\"tsu\":1000,\"admin\":true"),
        ("\"decrypt\"", "\"\""),
        ("\"tsu\":1000,", ""),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        let refused = licence::open(&issuer.sign_text(&edited), &issuer.known()).unwrap_err().to_string();
        assert!(refused.contains("issuer") || refused.contains("send the file"), "{edited}: {refused}");
    }
    let large = issuer.sign_text(&" ".repeat(licence::LARGEST));
    assert_eq!(licence::open(&large, &issuer.known()), Err(EnvelopeError::TooLarge));
}

#[test]
fn an_envelope_grants_its_units_once_however_often_it_is_installed() {
    let (issuer, dir) = (Issuer::new(), tempfile::tempdir().unwrap());
    let mut ledger = open(dir.path());
    let (document, known) = (issuer.sign(&envelope("L-1")), issuer.known());
    for _ in 0..2 {
        ledger.install_licence(&document, &known, now()).unwrap();
    }
    ledger.remove_licence("L-1", now()).unwrap();
    assert!(matches!(ledger.remove_licence("L-1", now()), Err(LedgerError::Missing { .. })));
    assert_eq!(ledger.licences(&known, now()).unwrap(), []);
    ledger.install_licence(&document, &known, now()).unwrap();
    assert_eq!(ledger.balance().unwrap(), 1000);
    let listed = ledger.licences(&known, now()).unwrap();
    assert_eq!((listed.len(), &listed[0].standing, &listed[0].document), (1, &Standing::Valid, &document));

    let mut renewed = envelope("L-1");
    renewed.expires = at("2030-01-01T00:00:00Z");
    let refused = ledger.install_licence(&issuer.sign(&renewed), &known, now()).unwrap_err();
    assert!(matches!(refused, LedgerError::Exists { .. }), "{refused}");
    let stranger = Issuer::new().sign(&envelope("L-2"));
    assert!(matches!(ledger.install_licence(&stranger, &known, now()), Err(LedgerError::Invalid { .. })));
    let late = ledger.install_licence(&issuer.sign(&envelope("L-3")), &known, at("2028-01-01T00:00:00Z"));
    assert!(late.unwrap_err().to_string().contains("expired"));
    assert_eq!(ledger.balance().unwrap(), 1000);
}
