//! Pre-flight check 3: certificates are valid now and until the planned end, and the agents trust the authorities in force.
//!
//! Times are Unix seconds, fingerprints SHA-256 of the DER in lower-case hex. Who reads certificates is the caller.

use super::{Finding, utc};
use crate::campaign::{sequence, trials_of};
use crate::plan::Plan;

/// Seconds that a block needs beside its trials: switching, probing, storing.
const BLOCK_OVERHEAD: u64 = 2;

/// When certificates of one kind are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Which, for sentences.
    pub what: &'static str,
    /// From then on.
    pub from: i64,
    /// Until then.
    pub until: i64,
    /// What to do when they are not.
    pub remedy: &'static str,
}

/// An authority as the agents were told to trust it, and as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Which, for sentences.
    pub what: &'static str,
    /// What the agents trust; `None` when they were given none.
    pub trusted: Option<String>,
    /// What is in force; `None` when nobody tells.
    pub in_force: Option<String>,
    /// What to do when they differ.
    pub remedy: &'static str,
}

/// Seconds that a campaign takes as planned.
#[must_use]
pub fn planned_seconds(plan: &Plan) -> u64 {
    let trial = plan.trial_length().duration().as_secs_f64();
    let blocks = sequence(plan);
    let trials: usize = blocks.iter().map(|block| trials_of(plan, *block).len()).sum();
    (trial * trials as f64).ceil() as u64 + BLOCK_OVERHEAD * blocks.len() as u64
}

/// Judges for a run from `now` until `end`.
#[must_use]
pub fn judge(now: i64, end: i64, validities: &[Validity], authorities: &[Authority]) -> Finding {
    for validity in validities {
        let Validity { what, from, until, remedy } = validity;
        if now < *from {
            return Finding::failed(
                format!("{what} will be valid from {} on, and it is {} now", utc(*from), utc(now)),
                "set this machine's clock and run again",
            );
        }
        if now >= *until {
            return Finding::failed(format!("{what} ended on {}, and it is {} now", utc(*until), utc(now)), *remedy);
        }
        if end >= *until {
            return Finding::failed(
                format!("{what} ends on {}, before the planned end of the run on {}", utc(*until), utc(end)),
                *remedy,
            );
        }
    }
    for authority in authorities {
        let Authority { what, trusted, in_force, remedy } = authority;
        match (trusted, in_force) {
            (None, _) => {
                return Finding::failed(format!("the agents were not given the certificate of {what}"), *remedy);
            }
            (Some(trusted), Some(in_force)) if trusted != in_force => {
                let evidence = format!(
                    "the agents trust {what} with SHA-256 {}, but the one in force has {}",
                    short(trusted),
                    short(in_force)
                );
                return Finding::failed(evidence, *remedy);
            }
            _ => {}
        }
    }
    let valid: Vec<String> =
        validities.iter().map(|validity| format!("{} until {}", validity.what, utc(validity.until))).collect();
    let trusted: Vec<String> = authorities
        .iter()
        .filter_map(|authority| {
            let words = if authority.in_force.is_some() { "" } else { " (which is in force was not told)" };
            Some(format!("{} with SHA-256 {}{words}", authority.what, short(authority.trusted.as_deref()?)))
        })
        .collect();
    Finding::passed(format!(
        "the run ends on {} as planned; valid: {}; trusted by the agents: {}",
        utc(end),
        valid.join(", "),
        trusted.join(", ")
    ))
}

/// Enough of a fingerprint to tell two apart.
fn short(fingerprint: &str) -> String {
    let short: String = fingerprint.chars().take(16).collect();
    if short.len() < fingerprint.len() { short + "…" } else { short }
}
