//! One round of questions: when each is asked, what is made of what comes in, and when it is over. Pure; time is what has passed since the
//! beginning, chance comes in. The times are those of RFC 5227, section 1.1; IPv6 is asked at the same times, three times instead of RFC 4862's
//! one, because the answer is for a person and not for the kernel.
//!
//! Invariants: [`PROBES`] questions an address at most, none for one that was answered, and an end after [`LONGEST`] whatever comes in.

use std::net::IpAddr;
use std::time::Duration;

use super::frames::{self, Octets};
use super::outcome::{Probed, VlanSeen, Whose};

/// PROBE_NUM.
const PROBES: u32 = 3;
/// PROBE_WAIT: the first one comes after a random time up to this.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// PROBE_MIN and PROBE_MAX: a random time between one and the next.
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
/// ANNOUNCE_WAIT: an answer to the last one may take this long.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
/// The longest a round takes.
pub(super) const LONGEST: Duration = Duration::from_secs(1 + 2 * 2 + 2);
/// More who claim one address are not told apart.
const CLAIMANTS: usize = 4;

/// A VLAN interface of the trunk and what is asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) vlan: u16,
    pub(crate) interface: String,
    pub(crate) mac: Octets,
    pub(crate) addresses: Vec<(IpAddr, Whose)>,
}

#[derive(Debug)]
struct Asked {
    line: usize,
    address: IpAddr,
    whose: Whose,
    /// When the questions that are left are asked, the next one last.
    left: Vec<Duration>,
    probes: u32,
    answers: Vec<Octets>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Round {
    lines: Vec<Line>,
    frames: Vec<u64>,
    echoes: Vec<u64>,
    trouble: Vec<String>,
    asked: Vec<Asked>,
    end: Duration,
}

/// A frame to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) line: usize,
    pub(crate) frame: Vec<u8>,
}

impl Round {
    /// `chance` gives numbers from 0 to 1.
    pub(crate) fn new(lines: Vec<Line>, mut chance: impl FnMut() -> f64) -> Self {
        let mut between =
            |least: Duration, most: Duration| least + most.saturating_sub(least).mul_f64(chance().clamp(0.0, 1.0));
        let (mut asked, mut last) = (Vec::new(), Duration::ZERO);
        for (line, of) in lines.iter().enumerate() {
            for &(address, whose) in &of.addresses {
                let mut at = between(Duration::ZERO, PROBE_WAIT);
                let mut left = vec![at];
                for _ in 1..PROBES {
                    at += between(PROBE_MIN, PROBE_MAX);
                    left.push(at);
                }
                last = last.max(at);
                left.reverse();
                asked.push(Asked { line, address, whose, left, probes: 0, answers: Vec::new() });
            }
        }
        let count = lines.len();
        let end = (last + ANNOUNCE_WAIT).min(LONGEST);
        Self { lines, frames: vec![0; count], echoes: vec![0; count], trouble: vec![String::new(); count], asked, end }
    }

    /// What is to be sent by now.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<Question> {
        let mut questions = Vec::new();
        for asked in &mut self.asked {
            if asked.left.pop_if(|at| *at <= now).is_some() {
                asked.probes += 1;
                let frame = self.lines.get(asked.line).map(|line| frames::question(line.mac, asked.address));
                questions.extend(frame.map(|frame| Question { line: asked.line, frame }));
            }
        }
        questions
    }

    /// Takes a frame that came in on a line.
    pub(crate) fn heard(&mut self, line: usize, frame: &[u8]) {
        let Some(of) = self.lines.get(line) else { return };
        self.frames[line] += 1;
        // A card never hears itself, unless the network sends everything back or another card has its address.
        if frames::sender(frame) == Some(of.mac) {
            self.echoes[line] += 1;
            return;
        }
        let Some(claim) = frames::claim(frame).filter(|claim| claim.mac != of.mac) else { return };
        let claimed = |asked: &&mut Asked| asked.line == line && asked.address == claim.address;
        if let Some(asked) = self.asked.iter_mut().find(claimed) {
            asked.left.clear();
            if !asked.answers.contains(&claim.mac) && asked.answers.len() < CLAIMANTS {
                asked.answers.push(claim.mac);
            }
        }
    }

    /// A question could not be sent, in words of the kernel; the first time counts.
    pub(crate) fn not_sent(&mut self, line: usize, why: &str) {
        if let Some(trouble) = self.trouble.get_mut(line).filter(|trouble| trouble.is_empty()) {
            why.clone_into(trouble);
        }
    }

    /// How long to listen before there is something to do again; `None` when the round is over.
    pub(crate) fn wait(&self, now: Duration) -> Option<Duration> {
        let next = self.asked.iter().filter_map(|asked| asked.left.last()).min().copied();
        let next = next.unwrap_or(self.end).min(self.end);
        (now < self.end).then(|| next.saturating_sub(now))
    }

    /// What came of it.
    pub(crate) fn seen(self) -> Vec<VlanSeen> {
        let mut seen: Vec<VlanSeen> = self
            .lines
            .into_iter()
            .zip(self.frames.into_iter().zip(self.echoes).zip(self.trouble))
            .map(|(line, ((frames, echoes), trouble))| VlanSeen {
                vlan: line.vlan,
                interface: line.interface,
                frames,
                echoes,
                trouble,
                addresses: Vec::new(),
            })
            .collect();
        for asked in self.asked {
            if let Some(vlan) = seen.get_mut(asked.line) {
                vlan.addresses.push(Probed {
                    address: asked.address,
                    whose: asked.whose,
                    probes: asked.probes,
                    answers: asked.answers.into_iter().map(frames::written).collect(),
                });
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::super::frames::tests::{THEIRS, answer};
    use super::*;

    const OURS: Octets = [0x52, 0x54, 0, 0, 0, 1];

    fn lines() -> Vec<Line> {
        let line = |vlan: u16, addresses: &[&str]| Line {
            vlan,
            interface: format!("vlan{vlan}"),
            mac: OURS,
            addresses: addresses.iter().map(|text| (text.parse().unwrap(), Whose::Ours)).collect(),
        };
        vec![line(20, &["172.16.0.2", "fd00:172:16::2"]), line(30, &["172.17.0.2"])]
    }

    /// Lets a round go by; every question is shown to `network`, whose frames come back on the same line.
    fn play(
        mut round: Round,
        mut network: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>>,
    ) -> (Vec<VlanSeen>, Duration, usize) {
        let (mut now, mut sent) = (Duration::ZERO, 0);
        for _ in 0..1000 {
            for question in round.due(now) {
                sent += 1;
                for frame in network(question.line, &question.frame) {
                    round.heard(question.line, &frame);
                }
            }
            let Some(wait) = round.wait(now) else { return (round.seen(), now, sent) };
            now += wait;
        }
        unreachable!("a round ends")
    }

    #[test]
    fn nobody_answers_and_every_address_was_asked_three_times() {
        let (seen, took, sent) = play(Round::new(lines(), || 1.0), |_, _| Vec::new());
        assert_eq!((took, sent), (LONGEST, 9));
        assert!(
            seen.iter().flat_map(|vlan| &vlan.addresses).all(|probed| probed.probes == 3 && probed.answers.is_empty())
        );
        assert_eq!(seen.iter().map(|vlan| vlan.frames).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn an_address_that_is_answered_is_asked_no_more_and_told_with_who_has_it() {
        let taken: IpAddr = "172.17.0.2".parse().unwrap();
        let (seen, _, sent) = play(Round::new(lines(), || 0.0), |line, _| match line {
            1 => vec![answer(THEIRS, taken), answer(THEIRS, taken)],
            _ => vec![answer(THEIRS, taken), b"anything".to_vec()],
        });
        assert_eq!(sent, 3 + 3 + 1);
        let on_30 = &seen[1].addresses[0];
        assert_eq!((on_30.probes, &on_30.answers[..]), (1, &["52:54:00:00:00:09".to_owned()][..]));
        assert!(
            seen[0].addresses.iter().all(|probed| probed.answers.is_empty()),
            "an answer counts on its own VLAN only"
        );
        assert_eq!((seen[0].frames, seen[1].frames), (12, 2));
    }

    #[test]
    fn a_network_that_sends_everything_back_is_no_duplicate() {
        let (seen, _, _) = play(Round::new(lines(), || 0.5), |_, question| vec![question.to_vec()]);
        assert!(seen.iter().flat_map(|vlan| &vlan.addresses).all(|probed| probed.answers.is_empty()));
        assert_eq!(seen.iter().map(|vlan| vlan.echoes).collect::<Vec<_>>(), [6, 3]);
    }

    #[test]
    fn what_could_not_be_sent_is_told_once() {
        let mut round = Round::new(lines(), || 0.0);
        round.not_sent(0, "Network is down");
        round.not_sent(0, "again");
        round.not_sent(7, "nowhere");
        assert_eq!(round.seen()[0].trouble, "Network is down");
    }

    proptest! {
        #[test]
        fn a_round_is_bounded_in_time_and_number_whatever_chance_and_network_do(
            chances in prop::collection::vec(-1.0_f64..2.0, 1..20),
            noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..5),
        ) {
            let mut at = 0;
            let chance = || { at += 1; chances[at % chances.len()] };
            let (seen, took, sent) = play(Round::new(lines(), chance), |_, _| noise.clone());
            prop_assert!(took <= LONGEST && sent <= 9, "{took:?}, {sent}");
            prop_assert!(took >= PROBE_MIN * 2 + ANNOUNCE_WAIT);
            prop_assert_eq!(seen.len(), 2);
        }

        #[test]
        fn no_crowd_of_claimants_fills_the_memory(macs in prop::collection::vec(any::<Octets>(), 0..50)) {
            let taken: IpAddr = "172.16.0.2".parse().unwrap();
            let mut round = Round::new(lines(), || 0.0);
            for mac in &macs {
                round.heard(0, &answer(*mac, taken));
            }
            let seen = round.seen();
            prop_assert!(seen[0].addresses[0].answers.len() <= CLAIMANTS);
        }
    }
}
