//! Runs: ordered, watched, stopped, read.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};
use tbi_bench::preflight::Preflight;
use tbi_bench::record::{Authorization, Tool, Verdict};
use utoipa::{IntoParams, ToSchema};

use crate::preflight::Bypass;
use crate::series::Second;

/// Asks for a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RunOrder)]
pub struct Order {
    /// Profile that gives what `plan` leaves out.
    pub profile: Profile,
    /// A plan in the words of a plan file; everything left out takes the profile's default.
    #[schema(value_type = Option<Object>)]
    pub plan: Option<serde_json::Value>,
    /// Goes on although a pre-flight check fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight_bypass: Option<Bypass>,
}

/// How long a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Two pairs, half a minute; every cost is indicative.
    Quick,
    /// Six pairs, minutes.
    #[default]
    Short,
    /// RFC 9411 phases, hours.
    Full,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// `20260131T235959Z`, also the folder's name.
    pub id: String,
    /// The plan's name.
    pub name: String,
    /// Where it is.
    pub state: RunState,
    /// Start, RFC 3339.
    pub started: String,
    /// End, RFC 3339.
    pub ended: Option<String>,
    /// Where it is within itself, while it runs.
    pub progress: Option<Progress>,
    /// One sentence: what it found, or why it did not.
    pub sentence: String,
    /// Account of who ordered it, or `local`; unknown of runs that are older than this word.
    #[serde(default)]
    pub actor: Option<String>,
    /// From where it was ordered: an address, or `local`.
    #[serde(default)]
    pub source: Option<String>,
}

/// See [`Run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Brings up what it needs.
    Preparing,
    /// Measures.
    Running,
    /// Ended by itself: measured, every threshold holds.
    Passed,
    /// Ended by itself: measured, a threshold is broken.
    Failed,
    /// Nothing could be measured, or it is not valid; the sentence says why.
    NotMeasured,
    /// Was stopped, or a program died under it; what was measured before is kept.
    Interrupted,
}

impl RunState {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Preparing | Self::Running)
    }
}

/// A run's record without its measurements: what was planned, what allowed it, what it says as a whole. A record has tens of megabytes; this
/// has some kilobytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunOutline)]
pub struct Outline {
    /// Program that made the record.
    #[schema(value_type = Object)]
    pub tool: Tool,
    /// Whether any claim may be made from it.
    pub valid: bool,
    /// Why not, and every caution a reader needs.
    pub reasons: Vec<String>,
    /// What it says as a whole.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// What allowed it; `None` where nothing has to.
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// The pre-flight gate; `None` when the run ended before it.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
    /// The plan as resolved.
    #[schema(value_type = Object)]
    pub plan: serde_json::Value,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Blocks done.
    pub blocks_done: u32,
    /// Blocks in all.
    pub blocks: u32,
    /// Seconds since its start.
    pub elapsed_seconds: u64,
    /// Seconds it will still take, as far as one can tell.
    pub remaining_seconds: u64,
    /// What the last finished block showed, in a few words.
    pub last_block: String,
    /// Trials done, of all blocks.
    #[serde(default)]
    pub trials_done: u32,
    /// The newest second of the trial under way; `None` before its first, and between trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Second>,
}

/// Runs a list gives at most when it is not told how many.
pub const PAGE: usize = 100;
/// And at most at all.
pub const MOST_IN_A_PAGE: usize = 500;

/// Which runs a list is to have; what is absent leaves nothing out. Newest first, so the next page is `before` the id of the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// States, separated by commas: `passed,failed`.
    #[param(value_type = Option<String>, pattern = "^(preparing|running|passed|failed|not_measured|interrupted)(,(preparing|running|passed|failed|not_measured|interrupted))*$")]
    pub state: Option<States>,
    /// What the plan's name has in it, whatever the case of its letters.
    pub name: Option<String>,
    /// Ordered by this account, or `local`.
    pub actor: Option<String>,
    /// Started then or later, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Started before, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Older than the run with this id.
    pub before: Option<String>,
    /// How many at most; 100 when absent, never more than 500.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    pub limit: Option<Limit>,
}

impl Filter {
    /// Whether a run belongs into the list, apart from how many there are.
    #[must_use]
    pub fn matches(&self, run: &Run) -> bool {
        let started = run.started.parse::<Timestamp>().ok();
        let name = |wanted: &String| run.name.to_lowercase().contains(&wanted.to_lowercase());
        self.state.as_ref().is_none_or(|states| states.0.contains(&run.state))
            && self.name.as_ref().is_none_or(name)
            && self.actor.as_ref().is_none_or(|actor| run.actor.as_ref() == Some(actor))
            && self.from.is_none_or(|from| started.is_some_and(|started| started >= from))
            && self.to.is_none_or(|to| started.is_some_and(|started| started < to))
            && self.before.as_ref().is_none_or(|before| run.id < *before)
    }

    /// How many at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.limit.map_or(PAGE, |limit| limit.0)
    }
}

/// States of a [`Filter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States(Vec<RunState>);

/// Length of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(usize);

impl Limit {
    /// `None` when it is none from 1 to [`MOST_IN_A_PAGE`].
    #[must_use]
    pub fn of(number: usize) -> Option<Self> {
        (1..=MOST_IN_A_PAGE).contains(&number).then_some(Self(number))
    }
}

/// A filter's word is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFilter {
    /// Not a state.
    #[error(
        "there is no state '{0}'; use preparing, running, passed, failed, not_measured or interrupted, separated by commas"
    )]
    State(String),
    /// Not a length.
    #[error("the limit '{0}' is no number from 1 to {MOST_IN_A_PAGE}")]
    Limit(String),
}

impl FromStr for States {
    type Err = NoFilter;

    fn from_str(text: &str) -> Result<Self, NoFilter> {
        let state = |word: &str| {
            let quoted = serde_json::Value::from(word);
            serde_json::from_value(quoted).map_err(|_| NoFilter::State(word.to_owned()))
        };
        text.split(',').map(state).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Limit {
    type Err = NoFilter;

    fn from_str(text: &str) -> Result<Self, NoFilter> {
        text.parse().ok().and_then(Self::of).ok_or_else(|| NoFilter::Limit(text.to_owned()))
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, state) in self.0.iter().enumerate() {
            let word = serde_json::to_value(state).unwrap_or_default();
            write!(f, "{}{}", if index == 0 { "" } else { "," }, word.as_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In a query everything is text.
macro_rules! text_in_a_query {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

text_in_a_query!(States, Limit);

/// How a run is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// Why, in one line of at most 200 characters; it is kept in the audit chain.
    pub reason: Option<String>,
}

/// A reason that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReason {
    /// Nothing, or too much.
    #[error("the reason for stopping a run has {0} characters; write 1 to {LONGEST_REASON}")]
    Length(usize),
    /// Not one line of text.
    #[error("the reason for stopping a run holds {0:?}, which cannot be printed; write it in one line of plain text")]
    Unprintable(char),
}

/// Characters of a reason for stopping a run at most.
pub const LONGEST_REASON: usize = 200;

impl Stop {
    /// The reason as it is kept.
    ///
    /// # Errors
    /// [`NoReason`].
    pub fn checked(reason: &str) -> Result<String, NoReason> {
        let reason = reason.trim();
        let length = reason.chars().count();
        if !(1..=LONGEST_REASON).contains(&length) {
            return Err(NoReason::Length(length));
        }
        match reason.chars().find(|character| character.is_control()) {
            Some(unprintable) => Err(NoReason::Unprintable(unprintable)),
            None => Ok(reason.to_owned()),
        }
    }
}

/// Which runs to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Id of the run that the others are compared with.
    pub baseline: String,
    /// Ids of the others, separated by commas, at most 8.
    pub runs: String,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn run(id: &str, state: RunState) -> Run {
        Run {
            id: id.to_owned(),
            name: "Quick look".to_owned(),
            state,
            started: "2026-01-31T23:59:59Z".to_owned(),
            ended: None,
            progress: None,
            sentence: String::new(),
            actor: Some("anna".to_owned()),
            source: Some("192.0.2.7".to_owned()),
        }
    }

    #[test]
    fn a_filter_leaves_out_what_it_says() {
        let one = run("20260131T235959Z", RunState::Passed);
        let matches = |query: &str| {
            let filter: Filter = serde_json::from_str(query).unwrap();
            filter.matches(&one)
        };
        for query in [
            "{}",
            r#"{"state":"failed,passed"}"#,
            r#"{"name":"quick"}"#,
            r#"{"actor":"anna"}"#,
            r#"{"from":"2026-01-31T23:59:59Z"}"#,
            r#"{"before":"20260201T000000Z"}"#,
        ] {
            assert!(matches(query), "{query}");
        }
        for query in [
            r#"{"state":"failed"}"#,
            r#"{"name":"slow"}"#,
            r#"{"actor":"ann"}"#,
            r#"{"to":"2026-01-31T23:59:59Z"}"#,
            r#"{"before":"20260131T235959Z"}"#,
        ] {
            assert!(!matches(query), "{query}");
        }
    }

    #[test]
    fn a_run_of_before_has_nobody_who_ordered_it() {
        let old = r#"{"id":"x","name":"n","state":"passed","started":"","ended":null,"progress":null,"sentence":""}"#;
        let old: Run = serde_json::from_str(old).unwrap();
        assert_eq!((&old.actor, &old.source), (&None, &None));
        let of_anna: Filter = serde_json::from_str(r#"{"actor":"anna"}"#).unwrap();
        assert!(!of_anna.matches(&old) && Filter::default().matches(&old));
    }

    #[test]
    fn wrong_words_of_a_filter_are_refused_with_the_right_ones() {
        for (query, words) in [
            (r#"{"state":"done"}"#, "not_measured"),
            (r#"{"limit":"0"}"#, "1 to 500"),
            (r#"{"limit":"501"}"#, "1 to 500"),
            (r#"{"colour":"blue"}"#, "unknown field"),
        ] {
            let error = serde_json::from_str::<Filter>(query).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!("passed,not_measured".parse::<States>().unwrap().to_string(), "passed,not_measured");
    }
}
