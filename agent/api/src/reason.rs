//! Why somebody does what cannot be undone: asked for by the pages, taken by every change of the API as `?reason=…`, kept in the audit entry.
//! A type of its own, so that what is in the chain has one line and an end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest reason, characters.
pub const LONGEST: usize = 200;
/// Its name in a query and in an entry's detail.
pub const NAME: &str = "reason";

/// One line of 1 to [`LONGEST`] characters, without blanks around it.
///
/// ```
/// use tbi_api::reason::Reason;
/// assert_eq!(" lost laptop ".parse::<Reason>().unwrap().as_str(), "lost laptop");
/// for wrong in ["", "  ", "two\nlines", &"a".repeat(201)] {
///     assert!(wrong.parse::<Reason>().is_err());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// A text is no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reason has 1 to 200 characters on one line and is given once; write one that somebody understands in a year"
)]
pub struct NoReason;

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is sent in a query.
    #[must_use]
    pub fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).append_pair(NAME, &self.0).finish()
    }

    /// What a query says; `None` when it says nothing about it.
    ///
    /// # Errors
    /// [`NoReason`], also when it comes twice.
    pub fn of_query(query: Option<&str>) -> Result<Option<Self>, NoReason> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut given = pairs.filter(|(name, _text)| name == NAME).map(|(_name, text)| text);
        let first = given.next().map(|text| text.parse()).transpose()?;
        if given.next().is_some() { Err(NoReason) } else { Ok(first) }
    }
}

impl FromStr for Reason {
    type Err = NoReason;

    fn from_str(text: &str) -> Result<Self, NoReason> {
        let text = text.trim();
        let good = (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(breaks);
        if good { Ok(Self(text.to_owned())) } else { Err(NoReason) }
    }
}

impl TryFrom<String> for Reason {
    type Error = NoReason;

    fn try_from(text: String) -> Result<Self, NoReason> {
        text.parse()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// What ends a line or turns the direction of what follows on a screen.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_reason_goes_through_a_query_and_nothing_breaks_out_of_it() {
        let reason: Reason = "saiu da equipe & «a=b» #?ç".parse().unwrap();
        assert_eq!(Reason::of_query(Some(&format!("x=1&{}", reason.query()))), Ok(Some(reason)));
        assert_eq!(Reason::of_query(None), Ok(None));
        assert_eq!(Reason::of_query(Some("other=1")), Ok(None));
    }

    #[test]
    fn what_is_no_reason_is_refused() {
        for wrong in ["reason=", "reason=+%20", "reason=a&reason=b", "reason=a%0Ab", "reason=%E2%80%AEa"] {
            assert_eq!(Reason::of_query(Some(wrong)), Err(NoReason), "{wrong}");
        }
        assert_eq!(Reason::of_query(Some(&format!("reason={}", "%C3%A7".repeat(200)))).unwrap().unwrap().0.len(), 400);
        assert!(Reason::of_query(Some(&format!("reason={}", "a".repeat(201)))).is_err());
    }
}
