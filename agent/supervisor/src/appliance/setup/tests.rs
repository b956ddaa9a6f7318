//! The setup as the console and the pages ask for it: an agent on its socket, killed and started again in between.
#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::Timestamp;
use tbi_api::access::{By, LOCAL};
use tbi_api::bench::{Examination, Phase};
use tbi_api::device::Kind;
use tbi_api::setup::{Locale, Mark, StepState};

use super::steps::{Checked, Facts, STEPS};
use super::{Record, SetupError, check_locale};

fn by() -> By {
    By { actor: "anna".to_owned(), role: None, source: LOCAL.to_owned(), correlation_id: String::new() }
}

fn now() -> Timestamp {
    "2026-01-31T23:59:59Z".parse().unwrap()
}

fn mark(state: StepState) -> Mark {
    Mark::of(state)
}

fn done(record: &mut Record, name: &str, facts: &Facts) -> Result<(), SetupError> {
    record.mark(name, &mark(StepState::Done), facts, &by(), now())
}

/// Everything that steps stand for, on a box with its practice device.
fn ready() -> Facts {
    Facts {
        has_accounts: true,
        locale: true,
        door_certificate: Some("ab".repeat(32)),
        device: Some(Kind::Practice),
        ..Facts::default()
    }
}

#[test]
fn the_steps_have_names_of_their_own_and_end_with_the_summary() {
    let names: std::collections::BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
    assert_eq!(names.len(), STEPS.len());
    assert_eq!(STEPS.last().unwrap().name, super::steps::LAST);
    assert!(STEPS.iter().all(|step| step.name.bytes().all(|byte| byte.is_ascii_lowercase())));
}

#[test]
fn steps_come_in_their_order_and_back_is_allowed() {
    let (mut record, facts) = (Record::default(), ready());
    assert_eq!(record.shown(&Facts::default()).current.as_deref(), Some("account"));
    assert_eq!(record.shown(&facts).current.as_deref(), Some("language"), "the account is done by its claim");
    done(&mut record, "language", &facts).unwrap();
    assert_eq!(record.shown(&facts).current.as_deref(), Some("name"));
    done(&mut record, "name", &facts).unwrap();
    done(&mut record, "management", &facts).unwrap();
    assert_eq!(record.shown(&facts).current.as_deref(), Some("time"));
    record.mark("language", &mark(StepState::Todo), &facts, &by(), now()).unwrap();
    assert_eq!(record.shown(&facts).current.as_deref(), Some("language"));
    done(&mut record, "language", &facts).unwrap();
    done(&mut record, "language", &facts).unwrap();
    let shown = record.shown(&facts);
    let language = shown.steps.iter().find(|step| step.name == "language").unwrap();
    assert_eq!((language.state, language.by.as_deref()), (StepState::Done, Some("anna")));
}

#[test]
fn a_step_is_not_done_because_somebody_says_so() {
    let mut record = Record::default();
    let none = Facts::default();
    for name in ["account", "language", "trunk", "device", "certificate", "preflight", "summary"] {
        let refused = done(&mut record, name, &none);
        assert!(matches!(refused, Err(SetupError::NotDone { .. })), "{name}: {refused:?}");
    }
    let on_trial = Facts { on_trial: true, ..ready() };
    assert!(done(&mut record, "management", &on_trial).is_err());
    let outside = Facts { trunk: true, ..ready() };
    assert!(done(&mut record, "device", &outside).is_err(), "a trunk leads to no practice device");
    let no_trunk = Facts { device: Some(Kind::PanOs), ..ready() };
    assert!(done(&mut record, "device", &no_trunk).is_err());
    assert!(done(&mut record, "authorities", &no_trunk).is_err());
    assert!(done(&mut record, "authorities", &Facts { authorities: 1, ..no_trunk }).is_ok());
    for name in ["account", "management", "device", "summary"] {
        let skipped = record.mark(name, &mark(StepState::Skipped), &none, &by(), now());
        assert!(matches!(skipped, Err(SetupError::NotOptional(_))), "{name}");
    }
    for name in ["", "nothing", "../account", "<script>"] {
        assert!(matches!(done(&mut record, name, &none), Err(SetupError::NoSuchStep)), "{name}");
    }
    assert_eq!(record.marks.len(), 1);
}

#[test]
fn the_certificate_is_done_with_its_own_fingerprint_only() {
    let (mut record, facts) = (Record::default(), ready());
    let mut with = |seen: &str| {
        let mark = Mark { certificate_sha256: Some(seen.to_owned()), ..Mark::of(StepState::Done) };
        record.mark("certificate", &mark, &facts, &by(), now())
    };
    for wrong in ["", "ab", &"ac".repeat(32), &"ab".repeat(33)] {
        assert!(with(wrong).is_err(), "{wrong}");
    }
    assert!(with(&["AB"; 32].join(":")).is_ok());
}

#[test]
fn the_preflight_is_done_when_it_passed_since_the_setup_began_or_with_a_reason_that_is_kept() {
    let mut record = Record::default();
    let with = |preflight| Facts { preflight, ..ready() };
    let because = |reason: &str| Mark { reason: Some(reason.to_owned()), ..Mark::of(StepState::Done) };
    let mut send = |mark: &Mark, checked| record.mark("preflight", mark, &with(checked), &by(), now());
    for checked in [Checked::Not, Checked::Going, Checked::Shut] {
        assert!(matches!(send(&mark(StepState::Done), checked), Err(SetupError::NotDone { .. })), "{checked:?}");
    }
    let reason = "the device gets its licence on Monday";
    for checked in [Checked::Not, Checked::Going] {
        assert!(send(&because(reason), checked).is_err(), "a reason does not stand for checks that nobody made");
    }
    for wrong in ["", "so what", "two lines of\nreason", &"a".repeat(501)] {
        let refused = send(&because(wrong), Checked::Shut).unwrap_err().to_string();
        assert!(refused.starts_with("the step 'preflight' is not done") && refused.len() < 400, "{refused}");
    }
    send(&because(reason), Checked::Shut).unwrap();
    let text = serde_json::to_string(&record).unwrap();
    let kept: Record = serde_json::from_str(&text).unwrap();
    let shown = kept.shown(&Facts::default());
    let step = shown.steps.iter().find(|step| step.name == "preflight").unwrap();
    assert_eq!((step.state, step.reason.as_deref()), (StepState::Done, Some(reason)));
    // Made again, and passed: the reason goes.
    record.mark("preflight", &because(reason), &with(Checked::Open), &by(), now()).unwrap();
    assert_eq!(record.marks["preflight"].reason, None);
}

#[test]
fn checks_of_before_the_setup_and_checks_that_ended_early_prove_nothing() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let (claimed, later) = (at("2026-01-31T12:00:00Z"), at("2026-01-31T13:00:00Z"));
    let made =
        |started: &str, phase, open| Examination { started: started.to_owned(), phase, open, ..Examination::default() };
    for (examination, expected) in [
        (Examination::default(), Checked::Not),
        (made("2026-01-31T11:59:59Z", Phase::Done, Some(true)), Checked::Not),
        (made("2026-01-31T12:30:00Z", Phase::Preparing, None), Checked::Going),
        (made("2026-01-31T12:30:00Z", Phase::Done, Some(true)), Checked::Open),
        (made("2026-01-31T12:30:00Z", Phase::Done, Some(false)), Checked::Shut),
        (made("2026-01-31T12:30:00Z", Phase::Done, None), Checked::Shut),
        (made("2026-01-31T12:30:00Z", Phase::Cancelled, None), Checked::Not),
    ] {
        assert_eq!(Checked::of(&examination, Some(claimed), later), expected, "{examination:?}");
    }
    // The clock was ahead when the box was claimed.
    let made = made("2026-01-31T12:30:00Z", Phase::Done, Some(true));
    assert_eq!(Checked::of(&made, Some(at("2031-01-01T00:00:00Z")), later), Checked::Open);
}

#[test]
fn a_finished_setup_cannot_be_done_again() {
    let (mut record, facts) = (Record::default(), ready());
    let refused = record.finish(&facts, &by(), now());
    assert!(matches!(refused, Err(SetupError::Incomplete("language"))), "{refused:?}");
    for step in STEPS.iter().filter(|step| step.name != super::steps::LAST && step.name != "account") {
        let state = if step.optional { StepState::Skipped } else { StepState::Done };
        record.mark(step.name, &mark(state), &facts, &by(), now()).unwrap();
    }
    record.finish(&facts, &by(), now()).unwrap();
    let shown = record.shown(&Facts::default());
    assert!(shown.finished.is_some() && shown.current.is_none());
    assert!(shown.steps.iter().all(|step| step.state != StepState::Todo), "what was done stays done: {shown:?}");
    assert!(matches!(record.finish(&facts, &by(), now()), Err(SetupError::Finished(_))));
    for state in [StepState::Todo, StepState::Done, StepState::Skipped] {
        assert!(matches!(record.mark("language", &mark(state), &facts, &by(), now()), Err(SetupError::Finished(_))));
    }
}

#[test]
fn a_record_of_a_later_release_is_understood() {
    let text =
        r#"{"marks":{"recovery":{"state":"done","when":"2026-01-31T23:59:59Z","by":"anna","more":1}},"later":true}"#;
    let record: Record = serde_json::from_str(text).unwrap();
    assert_eq!(record.shown(&ready()).current.as_deref(), Some("language"));
}

#[test]
fn languages_and_zones_that_are_none_are_refused_in_a_line() {
    let locale = |language: &str, zone: &str| Locale { language: language.to_owned(), zone: zone.to_owned() };
    for zone in ["UTC", "America/Sao_Paulo", "America/Argentina/Buenos_Aires", "Etc/GMT+3"] {
        assert!(check_locale(&locale("pt-BR", zone)).is_ok(), "{zone}");
    }
    let huge = "a".repeat(10_000);
    for zone in ["", "/", "../../etc/passwd", "a b", "a\nb", "<script>", "A/", huge.as_str()] {
        let error = check_locale(&locale("en", zone)).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() < 500, "{error}");
    }
    for language in ["", "de", "EN", "en\n", huge.as_str()] {
        assert!(check_locale(&locale(language, "UTC")).is_err(), "{language}");
    }
}
