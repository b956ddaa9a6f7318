//! What is known of the agent, from the answers it gave and did not give. Pure: time comes in. One lost answer changes nothing on the
//! screen; only a silence that lasts becomes a screen of its own.

use std::time::{Duration, Instant};

use crate::frame::{Known, Silence, View};

/// A shorter silence is a slow answer, and keeps the last screen.
const PATIENCE: Duration = Duration::from_secs(5);

/// The agent, seen from here.
#[derive(Debug)]
pub(crate) struct Watch {
    since: Instant,
    last: Option<Known>,
}

impl Watch {
    /// Nothing heard yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, last: None }
    }

    /// Takes the outcome of one question and says what to show.
    pub(crate) fn heard(&mut self, answer: Result<Known, String>, now: Instant) -> View {
        match answer {
            Ok(known) => {
                self.since = now;
                self.last = Some(known.clone());
                View::Answered(Box::new(known))
            }
            Err(reason) => {
                let lasts = now.saturating_duration_since(self.since);
                match &self.last {
                    Some(known) if lasts < PATIENCE => View::Answered(Box::new(known.clone())),
                    last => {
                        let last = last.as_ref().map(|known| known.status.clone());
                        View::Silent(Box::new(Silence { lasts, reason, last }))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::status;

    #[test]
    fn one_lost_answer_keeps_the_screen_and_a_lasting_silence_is_said() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lost = || Err("nobody answers".to_owned());
        let mut watch = Watch::new(start);
        assert!(matches!(watch.heard(lost(), at(1)), View::Silent(silence) if silence.last.is_none()));
        assert!(matches!(watch.heard(Ok(status().into()), at(2)), View::Answered(_)));
        assert!(matches!(watch.heard(lost(), at(6)), View::Answered(_)));
        let View::Silent(silence) = watch.heard(lost(), at(9)) else { unreachable!("7 s of silence") };
        assert_eq!((silence.lasts, silence.reason.as_str()), (Duration::from_secs(7), "nobody answers"));
        assert_eq!(silence.last, Some(status()));
        assert!(matches!(watch.heard(Ok(status().into()), at(10)), View::Answered(_)));
        assert!(matches!(watch.heard(lost(), at(14)), View::Answered(_)), "the silence begins anew");
    }
}
