//! The pre-flight gate (REQUIREMENTS A10): five checks before every run, their verdicts, and what it takes to go on in spite of one.
//!
//! Words and judgement only. Whoever runs a campaign looks at clocks, sockets and routes, hands over what was seen, and gets a
//! [`Finding`]; whether a device shows the right decrypt mode is judged by [`crate::mode_check`], as before every block.
//!
//! | check | judged by |
//! |---|---|
//! | [`CheckName::Subnets`] | [`subnets::judge`] |
//! | [`CheckName::DecryptMode`] | [`crate::mode_check::verify`] |
//! | [`CheckName::PersonaPki`] | [`pki::judge`] |
//! | [`CheckName::Clock`] | [`clock::judge`] |
//! | [`CheckName::DeviceApi`] | [`device::judge`] |
//!
//! Invariants: a gate is open only when each of its five checks passed or warned; what was not looked at has not passed; what failed or
//! warned has a remedy; a bypass has a reason that a person wrote.

pub mod clock;
pub mod device;
mod moment;
pub mod pki;
pub mod subnets;
#[cfg(test)]
mod tests;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use moment::utc;

/// Characters of a bypass reason at least: less explains nothing to whoever reads the report.
pub const LEAST_REASON: usize = 10;
/// Characters of a bypass reason at most: it stands on the report's cover.
pub const LONGEST_REASON: usize = 500;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// No address of the bench is one of this machine's, and personas look public.
    Subnets,
    /// The device passes traffic in the decrypt modes of the plan.
    DecryptMode,
    /// Certificates are valid until the planned end, and the agents trust the authorities in force.
    PersonaPki,
    /// The clock can be believed.
    Clock,
    /// The device's API answers, as the device.
    DeviceApi,
}

impl CheckName {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 5] = [Self::Subnets, Self::DecryptMode, Self::PersonaPki, Self::Clock, Self::DeviceApi];

    /// Words for a reader.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Subnets => "subnet conflict",
            Self::DecryptMode => "device reachable, in the decrypt mode of the plan",
            Self::PersonaPki => "persona PKI fresh",
            Self::Clock => "clock skew",
            Self::DeviceApi => "device API authenticates",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// As it should be.
    Passed,
    /// A run is worth it, but a reader should know.
    Warning,
    /// A run would be wasted.
    Failed,
    /// Not looked at; the evidence says why.
    Skipped,
}

impl CheckVerdict {
    /// Whether a run may begin with it.
    #[must_use]
    pub fn lets_through(self) -> bool {
        matches!(self, Self::Passed | Self::Warning)
    }

    /// Words for a reader.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it says.
    pub verdict: CheckVerdict,
    /// What was looked at, and what was seen there. No capital, no full stop: it is part of sentences.
    pub evidence: String,
    /// What to do, in the imperative; empty when there is nothing to do.
    pub remedy: String,
}

impl Finding {
    /// As it should be.
    pub fn passed(evidence: impl Into<String>) -> Self {
        Self { verdict: CheckVerdict::Passed, evidence: evidence.into(), remedy: String::new() }
    }

    /// A reader should know.
    pub fn warning(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: CheckVerdict::Warning, evidence: evidence.into(), remedy: remedy.into() }
    }

    /// A run would be wasted.
    pub fn failed(evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: CheckVerdict::Failed, evidence: evidence.into(), remedy: remedy.into() }
    }

    /// Not looked at, and why.
    pub fn skipped(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: CheckVerdict::Skipped, evidence: why.into(), remedy: remedy.into() }
    }
}

/// One check, as the record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// What it says.
    pub verdict: CheckVerdict,
    /// What was looked at, and what was seen there; why not, when it was skipped.
    pub evidence: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
}

impl Check {
    /// A finding becomes part of a record.
    #[must_use]
    pub fn new(name: CheckName, finding: Finding, duration_ms: u64) -> Self {
        let Finding { verdict, evidence, remedy } = finding;
        Self { name, verdict, evidence, remedy, duration_ms }
    }
}

/// Why a run goes on in spite of the gate, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bypass {
    /// The operator's words.
    pub reason: String,
    /// Who.
    pub actor: String,
}

/// A reason that explains nothing, or cannot be printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReasonError {
    /// Too short or too long.
    #[error(
        "the reason for a pre-flight bypass has {found} characters; write {LEAST_REASON} to {LONGEST_REASON}, for it is printed on the \
         report's cover"
    )]
    Length {
        /// Without white space at its ends.
        found: usize,
    },
    /// Something that a page does not show.
    #[error(
        "the reason for a pre-flight bypass holds {0:?}, which cannot be printed; write it in one line of plain text"
    )]
    Unprintable(char),
}

impl Bypass {
    /// A bypass by `actor`.
    ///
    /// # Errors
    /// [`ReasonError`] when the reason is not one that can stand on a cover.
    pub fn new(reason: &str, actor: impl Into<String>) -> Result<Self, ReasonError> {
        let reason = reason.trim();
        let found = reason.chars().count();
        if let Some(unprintable) = reason.chars().find(|&character| !printable(character)) {
            return Err(ReasonError::Unprintable(unprintable));
        }
        if !(LEAST_REASON..=LONGEST_REASON).contains(&found) {
            return Err(ReasonError::Length { found });
        }
        Ok(Self { reason: reason.to_owned(), actor: actor.into() })
    }
}

/// Whether a page shows a character where it stands: no control character, no line break, nothing invisible, and nothing that turns the
/// direction of what follows (Unicode TR 9), because that could make a cover read as another sentence.
fn printable(character: char) -> bool {
    let invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !invisible
}

/// The gate, as the record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preflight {
    /// All five, whatever the first of them said.
    pub checks: Vec<Check>,
    /// Ordered bypass, whether or not it was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Bypass>,
}

impl Preflight {
    /// Checks that keep a run from beginning.
    pub fn obstacles(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.verdict.lets_through())
    }

    /// Why the run does not begin, with the remedy; `None` when it may: every check lets it through, or the gate is bypassed.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        if self.bypass.is_some() {
            return None;
        }
        let missing = CheckName::ALL.into_iter().find(|name| !self.checks.iter().any(|check| check.name == *name));
        if let Some(name) = missing {
            return Some(format!(
                "The pre-flight check '{name}' was not made, so nothing was measured; report this as a defect."
            ));
        }
        let mut obstacles = self.obstacles();
        let first = obstacles.next()?;
        let more: Vec<String> = obstacles.map(|check| format!("'{}'", check.name)).collect();
        let more = if more.is_empty() { String::new() } else { format!(" Also not passed: {}.", more.join(", ")) };
        Some(format!(
            "The pre-flight check '{}' {}, so nothing was measured: {}; {}.{more}",
            first.name,
            if first.verdict == CheckVerdict::Skipped { "was skipped" } else { "failed" },
            first.evidence,
            first.remedy,
        ))
    }

    /// What a reader must be told when the gate was bypassed.
    #[must_use]
    pub fn caution(&self) -> Option<String> {
        let Bypass { reason, actor } = self.bypass.as_ref()?;
        let failed: Vec<String> =
            self.obstacles().map(|check| format!("'{}' ({})", check.name, check.evidence)).collect();
        let what = if failed.is_empty() {
            "Every check passed all the same.".to_owned()
        } else {
            format!("Not passed: {}.", failed.join("; "))
        };
        let stop = if reason.ends_with(['.', '!', '?', '…']) { "" } else { "." };
        Some(format!("Pre-flight bypassed by {actor}: {reason}{stop} {what}"))
    }
}
