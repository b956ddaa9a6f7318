//! The gate "mode verified": do the probes show the decrypt mode the campaign is about to measure?
//!
//! Asked after every mode switch and before anything is measured. With a few dozen probes the bar of 99.99 % means that every one of
//! them must agree, so one that does not is enough to refuse; a probe without an answer is no proof either.

use std::collections::BTreeMap;

use crate::control::engine::{Probe, ProbeReport};
use crate::proof::Interception;

/// What the probes of one protocol should show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Every connection of this class.
    Class(Interception),
    /// No connection at all: the device blocks this protocol.
    Blocked,
}

/// The probes do not show the expected mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// Nothing to judge by.
    #[error(
        "the decrypt mode cannot be verified because no connection was probed; give the probe order at least one target"
    )]
    NoProbes,
    /// Some probes disagree.
    #[error(
        "{leaking} of {probes} probes are not {wanted} as the plan says but {found}, to {personas}; correct the device's policy for them"
    )]
    Leaks {
        /// Probes that disagree.
        leaking: usize,
        /// All probes.
        probes: usize,
        /// The expectation in words.
        wanted: &'static str,
        /// What they were instead, with counts.
        found: String,
        /// Personas concerned, with counts, at most ten by name.
        personas: String,
    },
}

/// Accepts the probes, or names the personas to which the mode leaks.
///
/// # Errors
/// When there are no probes or one of them is not what was expected.
pub fn verify(report: &ProbeReport, expected: Expected) -> Result<(), ModeError> {
    if report.probes.is_empty() {
        return Err(ModeError::NoProbes);
    }
    let agrees = |probe: &Probe| match expected {
        Expected::Class(class) => probe.interception == class && probe.failure.is_none(),
        Expected::Blocked => probe.failure.is_some() && probe.interception == Interception::Unknown,
    };
    let leaks: Vec<&Probe> = report.probes.iter().filter(|probe| !agrees(probe)).collect();
    if leaks.is_empty() {
        return Ok(());
    }
    Err(ModeError::Leaks {
        leaking: leaks.len(),
        probes: report.probes.len(),
        wanted: match expected {
            Expected::Class(class) => in_words(class),
            Expected::Blocked => "blocked",
        },
        found: counted(leaks.iter().map(|probe| found(probe)), usize::MAX),
        personas: counted(leaks.iter().map(|probe| probe.persona.clone()), 10),
    })
}

fn in_words(class: Interception) -> &'static str {
    match class {
        Interception::EndToEnd => "end to end",
        Interception::Intercepted => "decrypted",
        Interception::Altered => "altered",
        Interception::Unknown => "unanswered",
    }
}

fn found(probe: &Probe) -> String {
    match &probe.failure {
        Some(failure) => format!("{} ({:?})", in_words(probe.interception), failure.cause),
        None => in_words(probe.interception).to_owned(),
    }
}

/// `a (3), b (1)`, most frequent first, then by name; beyond `most` only how many more.
fn counted(items: impl Iterator<Item = String>, most: usize) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let more = counts.len().saturating_sub(most);
    let mut named: Vec<String> =
        counts.into_iter().take(most).map(|(item, count)| format!("{item} ({count})")).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::control::engine::{Cause, Fault, ProbeFailure};
    use crate::quic_class::probe_for_tests as probe;
    use crate::units::Span;

    fn failed(persona: &str, interception: Interception) -> Probe {
        let failure = ProbeFailure {
            cause: Cause::HandshakeTimeout,
            fault: Fault::Path,
            active: false,
            after: Span::from_secs(1),
            detail: String::new(),
        };
        Probe { failure: Some(failure), ..probe(persona, interception) }
    }

    fn report(probes: Vec<Probe>) -> ProbeReport {
        ProbeReport { probes }
    }

    #[test]
    fn only_unanimity_is_accepted() {
        use Interception::{Altered, EndToEnd, Intercepted, Unknown};
        for class in [EndToEnd, Intercepted, Altered, Unknown] {
            for wanted in [EndToEnd, Intercepted] {
                let verdict = verify(&report(vec![probe("a", wanted), probe("b", class)]), Expected::Class(wanted));
                assert_eq!(verdict.is_ok(), class == wanted, "{class:?} {wanted:?}");
            }
        }
        assert!(verify(&report(vec![failed("a", Intercepted)]), Expected::Class(Intercepted)).is_err());
        assert!(verify(&report(vec![failed("a", Unknown), failed("b", Unknown)]), Expected::Blocked).is_ok());
        assert!(verify(&report(vec![failed("a", Unknown), probe("b", EndToEnd)]), Expected::Blocked).is_err());
        assert!(verify(&report(vec![failed("a", EndToEnd)]), Expected::Blocked).is_err());
    }

    #[test]
    fn no_probes_is_no_proof() {
        assert_eq!(verify(&report(Vec::new()), Expected::Blocked), Err(ModeError::NoProbes));
    }

    #[test]
    fn the_sentence_names_the_leaking_personas_and_stays_short() {
        let mut probes: Vec<Probe> = (0..30).map(|i| probe(&format!("leak-{i:02}"), Interception::EndToEnd)).collect();
        probes.push(probe("leak-29", Interception::EndToEnd));
        probes.push(failed("dead", Interception::Unknown));
        probes.push(probe("good", Interception::Intercepted));
        let text = verify(&report(probes), Expected::Class(Interception::Intercepted)).unwrap_err().to_string();
        assert!(text.starts_with("32 of 33 probes are not decrypted as the plan says but end to end (31), unanswered (HandshakeTimeout) (1), to leak-29 (2), dead (1), leak-00 (1)"), "{text}");
        assert!(text.contains("21 more") && !text.contains("good"), "{text}");
    }
}
