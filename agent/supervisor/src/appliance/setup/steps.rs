//! The steps of the wizard: one table, in their order. A later step (updates, egress, recovery key) is one entry here, one in the table of the
//! pages, and what it sets.

use jiff::Timestamp;
use tbi_api::bench::{Examination, Phase};
use tbi_api::device::Kind;

/// The step that ends the setup.
pub(super) const LAST: &str = "summary";

/// What the steps stand for, as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) has_accounts: bool,
    /// Language and zone were chosen.
    pub(super) locale: bool,
    /// A management network is on trial.
    pub(super) on_trial: bool,
    /// SHA-256 of the certificate that browsers see.
    pub(super) door_certificate: Option<String>,
    /// A card towards an outside device is chosen.
    pub(super) trunk: bool,
    /// The device, when it was described.
    pub(super) device: Option<Kind>,
    /// Certificates of the device that were brought.
    pub(super) authorities: usize,
    /// The pre-flight checks since the setup began.
    pub(super) preflight: Checked,
}

/// How the pre-flight checks stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Checked {
    /// Not made since the setup began, as far as this agent knows.
    #[default]
    Not,
    Going,
    /// A run would begin.
    Open,
    /// A run would not.
    Shut,
}

impl Checked {
    /// The setup began when the first account was made.
    pub(super) fn of(examination: &Examination, claimed: Option<Timestamp>, now: Timestamp) -> Self {
        // A clock that was ahead when the box was claimed and was put right since would make everything look older than the setup.
        let began = claimed.filter(|at| *at <= now);
        let started = examination.started.parse::<Timestamp>().ok();
        if began.is_some_and(|began| started.is_some_and(|started| started < began)) {
            return Self::Not;
        }
        match (examination.phase, examination.open) {
            (Phase::Never | Phase::Cancelled, _) => Self::Not,
            (Phase::Preparing | Phase::Checking, _) => Self::Going,
            (Phase::Done, Some(true)) => Self::Open,
            // Checks that ended before their time prove nothing.
            (Phase::Done, Some(false) | None) => Self::Shut,
        }
    }
}

/// One step.
pub(super) struct StepKind {
    pub(super) name: &'static str,
    /// Whether it may be left out.
    pub(super) optional: bool,
    /// Whether it counts as done without a mark as soon as what it stands for is there.
    pub(super) by_itself: bool,
    pub(super) sentence: &'static str,
    /// Whether what it stands for is there; why not, and what to do.
    pub(super) is_done: fn(&Facts) -> Result<(), String>,
}

pub(super) const STEPS: &[StepKind] = &[
    StepKind {
        name: "account",
        optional: false,
        by_itself: true,
        sentence: "The first administrator, made with the claim code of the console.",
        is_done: |facts| facts.has_accounts.or("there is no account; make one with the claim code of the console"),
    },
    StepKind {
        name: "language",
        optional: false,
        by_itself: false,
        sentence: "Language and time zone of pages and console, where a person has not chosen.",
        is_done: |facts| facts.locale.or("language and zone were not chosen; send them with PUT /v1/locale"),
    },
    StepKind {
        name: "name",
        optional: true,
        by_itself: false,
        sentence: "Name by which the box is known on its network and in its certificate.",
        is_done: |_| Ok(()),
    },
    StepKind {
        name: "management",
        optional: false,
        by_itself: false,
        sentence: "Addresses of the box on the network from which it is operated: tried, confirmed, or taken back.",
        is_done: |facts| (!facts.on_trial).or("a network is on trial; confirm it or take it back first"),
    },
    StepKind {
        name: "time",
        optional: true,
        by_itself: false,
        sentence: "Where the box has the time from, and how far its clock is off.",
        is_done: |_| Ok(()),
    },
    StepKind {
        name: "certificate",
        optional: true,
        by_itself: false,
        sentence: "The certificate that browsers see, its fingerprint compared with the console.",
        is_done: |_| Ok(()),
    },
    StepKind {
        name: "topology",
        optional: false,
        by_itself: false,
        sentence: "Whether the device under test is the practice device of the box or stands outside, and with which networks.",
        is_done: |_| Ok(()),
    },
    StepKind {
        name: "trunk",
        optional: true,
        by_itself: false,
        sentence: "The network card towards an outside device: link, speed, VLANs, duplicate addresses.",
        is_done: |facts| {
            facts.trunk.or("no card is chosen as trunk; choose one in the settings, or leave this step out")
        },
    },
    StepKind {
        name: "device",
        optional: false,
        by_itself: false,
        sentence: "What the device under test is, where it answers, and what is known of its kind.",
        is_done: |facts| match (facts.device, facts.trunk) {
            (None, _) => Err("the device was not described; send it with PUT /v1/device".to_owned()),
            (Some(Kind::Practice), true) => {
                Err("a card is chosen as trunk, so the device stands outside; say which it is".to_owned())
            }
            (Some(Kind::Practice), false) | (Some(_), true) => Ok(()),
            (Some(_), false) => {
                Err("the device stands outside, but no card is chosen as trunk; choose one in the step before"
                    .to_owned())
            }
        },
    },
    StepKind {
        name: "authorities",
        optional: true,
        by_itself: false,
        sentence: "Certificates exchanged: the persona CA goes to the device, the device's CA comes to the box.",
        is_done: |facts| {
            let needed = facts.device.is_some_and(|kind| kind != Kind::Practice);
            (!needed || facts.authorities > 0)
                .or("no CA certificate of the device was brought; bring it, or leave this step out")
        },
    },
    StepKind {
        name: "preflight",
        optional: true,
        by_itself: false,
        sentence: "The five checks that are made before every run, made for the first time.",
        is_done: |facts| {
            let why = match facts.preflight {
                Checked::Open => return Ok(()),
                Checked::Not => "the checks were not made since the setup began; make them with POST /v1/preflight",
                Checked::Going => "the checks are being made; wait for their end, which GET /v1/preflight tells",
                Checked::Shut => {
                    "a check did not pass; do what its remedy says and make them again, or say why the setup goes on (reason)"
                }
            };
            Err(why.to_owned())
        },
    },
    StepKind {
        name: LAST,
        optional: false,
        by_itself: false,
        sentence: "What was set up, to print: addresses and fingerprint among it.",
        is_done: |_| Err("it is done with POST /v1/setup/finish".to_owned()),
    },
];

pub(super) fn named(name: &str) -> Option<&'static StepKind> {
    STEPS.iter().find(|step| step.name == name)
}

impl Facts {
    /// Whether a fingerprint, in whatever spelling, is that of the certificate browsers see.
    pub(super) fn certificate_is(&self, seen: Option<&str>) -> Result<(), String> {
        let Some(shown) = &self.door_certificate else {
            return Err("the front door has not said which certificate it shows; try again in a moment".to_owned());
        };
        let plain = |text: &str| {
            text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_lowercase()).collect::<String>()
        };
        match seen.map(plain) {
            None => Err("say which fingerprint was seen (certificate_sha256)".to_owned()),
            Some(seen) if seen == plain(shown) => Ok(()),
            Some(_) => Err(
                "the fingerprint that was seen is not that of the certificate the box shows; somebody may stand in between: compare \
                 it with the console"
                    .to_owned(),
            ),
        }
    }
}

/// A condition with its remedy.
trait Or {
    fn or(self, otherwise: &str) -> Result<(), String>;
}

impl Or for bool {
    fn or(self, otherwise: &str) -> Result<(), String> {
        if self { Ok(()) } else { Err(otherwise.to_owned()) }
    }
}
