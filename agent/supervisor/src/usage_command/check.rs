//! Whether what an endpoint answers can be true: the rule at [`Accepted`]. Pure. The agent forgets what is acknowledged, so an answer that
//! claims too much would lose ticks, and one that takes nothing would be asked for ever.

use tbi_api::usage::{Accepted, Tick};

/// An answer that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Contradiction {
    #[error(
        "it says that it has ticks through {through}, but the report ended with {sent}; nothing was forgotten, look at the endpoint"
    )]
    Beyond { through: u64, sent: u64 },
    #[error(
        "it says that it has ticks through {through} only, but it had {acknowledged} before, which this box has forgotten; restore the endpoint's data"
    )]
    Below { through: u64, acknowledged: u64 },
    #[error("it took none of the ticks {first} to {sent}; nothing was forgotten, look at the endpoint")]
    Nothing { first: u64, sent: u64 },
}

/// Number to acknowledge after `sent` was answered with `accepted`.
///
/// # Errors
/// [`Contradiction`]; nothing may be acknowledged then.
pub(super) fn through(acknowledged: u64, sent: &[Tick], accepted: Accepted) -> Result<u64, Contradiction> {
    let through = accepted.through;
    let first = sent.first().map_or(acknowledged, |tick| tick.client_seq);
    let last = sent.last().map_or(acknowledged, |tick| tick.client_seq);
    if through > last {
        Err(Contradiction::Beyond { through, sent: last })
    } else if through < acknowledged {
        Err(Contradiction::Below { through, acknowledged })
    } else if through < first {
        Err(Contradiction::Nothing { first, sent: last })
    } else {
        Ok(through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(numbers: &[u64]) -> Vec<Tick> {
        let tick = |client_seq: &u64| Tick {
            client_seq: *client_seq,
            when: jiff::Timestamp::UNIX_EPOCH,
            kind: "run".to_owned(),
            run: "r".to_owned(),
            unit: "run".to_owned(),
            quantity: 1,
        };
        numbers.iter().map(tick).collect()
    }

    #[test]
    fn an_answer_is_believed_between_what_was_had_and_what_was_sent() {
        let sent = ticks(&[4, 5, 6]);
        let say = |number| through(3, &sent, Accepted { through: number });
        assert_eq!([say(4), say(5), say(6)], [Ok(4), Ok(5), Ok(6)]);
        assert_eq!(say(7), Err(Contradiction::Beyond { through: 7, sent: 6 }));
        assert_eq!(say(u64::MAX), Err(Contradiction::Beyond { through: u64::MAX, sent: 6 }));
        assert_eq!(say(3), Err(Contradiction::Nothing { first: 4, sent: 6 }));
        assert_eq!(say(2), Err(Contradiction::Below { through: 2, acknowledged: 3 }));
        assert_eq!(say(0), Err(Contradiction::Below { through: 0, acknowledged: 3 }));
    }

    /// A report that was cut off before its answer came leaves the endpoint with more than the next, smaller report brings. It speaks of that
    /// report all the same, so the box goes on, report by report.
    #[test]
    fn an_endpoint_that_has_more_than_was_sent_says_the_last_that_was_sent() {
        let sent = ticks(&[4, 5]);
        assert_eq!(through(3, &sent, Accepted { through: 5 }), Ok(5));
        assert_eq!(
            through(3, &sent, Accepted { through: 6 }),
            Err(Contradiction::Beyond { through: 6, sent: 5 }),
            "ticks that were not sent are not acknowledged"
        );
    }

    #[test]
    fn an_answer_behind_a_gap_takes_nothing() {
        let sent = ticks(&[8, 9]);
        let none = Err(Contradiction::Nothing { first: 8, sent: 9 });
        assert_eq!(through(3, &sent, Accepted { through: 7 }), none);
    }
}
