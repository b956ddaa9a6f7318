//! Pre-flight check 4: the clock is not behind what has already happened, keeps pace with the monotonic one, and is kept by somebody.
//!
//! Without a second clock nobody can know that a clock is right; but one that shows a time before this program was built, or before a
//! run that is over, is certainly wrong.

use super::{Finding, utc};

/// Seconds by which a clock may be behind a file's time: file systems keep coarser times than clocks.
const SLACK: i64 = 2;

/// Something that has happened already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// What, for sentences.
    pub what: String,
    /// When, Unix seconds.
    pub at: i64,
}

/// What was seen of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it shows, Unix seconds.
    pub now: i64,
    /// What it cannot be behind of.
    pub pasts: Vec<Past>,
    /// Whether the time service says that it keeps the clock; `None` where there is none to ask.
    pub synchronised: Option<bool>,
    /// How long it was compared with the monotonic clock, milliseconds.
    pub compared_ms: u64,
    /// A sentence, when it stepped meanwhile.
    pub stepped: Option<String>,
}

/// Judges.
#[must_use]
pub fn judge(reading: &Reading) -> Finding {
    let Reading { now, pasts, synchronised, compared_ms, stepped } = reading;
    let latest = pasts.iter().max_by_key(|past| past.at);
    if let Some(Past { what, at }) = latest.filter(|past| now.saturating_add(SLACK) < past.at) {
        return Finding::failed(
            format!("the clock shows {}, but {what} is of {}", utc(*now), utc(*at)),
            "set this machine's clock, or its time servers in the settings, then run again",
        );
    }
    if let Some(sentence) = stepped {
        return Finding::failed(
            format!("the clock does not keep pace with the monotonic one ({})", sentence.trim_end_matches('.')),
            "let the time service settle, then run again",
        );
    }
    let behind = latest.map_or_else(String::new, |past| format!(", after {} ({})", past.what, utc(past.at)));
    let seen = format!(
        "the clock shows {}{behind}, and kept pace with the monotonic one over {:.1} s",
        utc(*now),
        *compared_ms as f64 / 1000.0
    );
    match synchronised {
        Some(true) => Finding::passed(seen + "; the time service says that it is synchronised"),
        None => Finding::passed(seen + "; there is no time service here to ask whether it is synchronised"),
        Some(false) => Finding::warning(
            seen + "; but the time service says that it is not synchronised",
            "give the box time servers that it reaches, so that its records can be lined up with those of others",
        ),
    }
}
