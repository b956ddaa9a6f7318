//! Judges what was found and seen: one component per part of the box that is no workload, each with what is wrong and what to do. Pure.

use tbi_api::health::{Component, State};
use tbi_ledger::Found;

use super::memory::InForce;
use super::nic::Roles;
use super::observe::{Clock, Observed, StateDisk};

/// A run of the full profile writes some 40 MB; below this the next one may not fit.
const LEAST_FREE: u64 = 256 << 20;
/// Below this share file systems get slow and fragmented, and there is little time left to look.
const LEAST_FREE_PERCENT: u64 = 10;
/// A zone or a day of drift is no reason to complain; a clock before the release was built is.
const SLACK: i64 = 24 * 3600;
/// No release is in use for longer; a clock beyond is wrong (a battery that died shows 2099 as well as 1970).
const LONGEST_LIFE: i64 = 20 * 365 * 24 * 3600;
/// Time servers get this long after a start.
const SYNCHRONISED_WITHIN: u64 = 180;

/// Everything that is judged.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) found: &'a Found,
    pub(crate) in_force: &'a InForce,
    pub(crate) identity: &'a Option<(State, String)>,
    pub(crate) roles: &'a Roles,
    pub(crate) seen: &'a Observed,
    /// When this release was built, seconds since 1970, where it says so.
    pub(crate) built: Option<i64>,
    /// Why the last change could not be carried out.
    pub(crate) reapply: &'a Option<String>,
}

/// One component per part.
pub(crate) fn components(evidence: &Evidence<'_>) -> Vec<Component> {
    let Evidence { found, in_force, identity, roles, seen, .. } = evidence;
    let mut parts = vec![
        part("state", state_disk(&seen.state)),
        part("database", database(found)),
        part("identity", Option::clone(identity)),
        part("clock", clock(seen.clock, seen.uptime_seconds, evidence)),
        part("topology", in_force.topology_sentence.clone().map(degraded)),
        part("settings", settings(evidence)),
        part("management", management(roles, seen)),
        part("network", network(seen)),
    ];
    if in_force.checked.wanted.trunk.is_some() {
        parts.push(part("trunk", trunk(roles, seen)));
    }
    parts
}

type Trouble = Option<(State, String)>;

fn part(name: &str, trouble: Trouble) -> Component {
    let (state, sentence) = trouble.unwrap_or((State::Healthy, String::new()));
    Component { name: name.to_owned(), state, sentence, restarts: 0, memory_bytes: None }
}

fn degraded(sentence: String) -> (State, String) {
    (State::Degraded, sentence)
}

fn state_disk(disk: &StateDisk) -> Trouble {
    let megabytes = |bytes: u64| bytes >> 20;
    if let Some(why) = &disk.unwritable {
        return Some((
            State::Failed,
            format!(
                "The state partition cannot be written ({why}; {} MB free); runs cannot be kept and changes are refused: delete old runs if it is \
                 full, else restart and check the disk.",
                megabytes(disk.free)
            ),
        ));
    }
    if let Some(told) = &disk.told {
        return Some(degraded(told.clone()));
    }
    let little = disk.free < LEAST_FREE || disk.free < disk.total / 100 * LEAST_FREE_PERCENT;
    little.then(|| {
        degraded(format!(
            "The state partition has {} of {} MB left; a long run may not fit: delete old runs or use a larger disk.",
            megabytes(disk.free),
            megabytes(disk.total)
        ))
    })
}

fn database(found: &Found) -> Trouble {
    let state = if matches!(found, Found::Memory { .. }) { State::Failed } else { State::Degraded };
    found.sentence().map(|sentence| (state, sentence))
}

fn clock(clock: Clock, uptime_seconds: u64, evidence: &Evidence<'_>) -> Trouble {
    if let Some(built) = evidence.built {
        // Where the machine's clock was before the release, systemd has put the system's to the release's date: a guess, and to be told as one.
        let moved = clock.hardware.filter(|hardware| !clock.synchronised && *hardware < built - SLACK);
        let shown = moved.unwrap_or(clock.now);
        let said = jiff::Timestamp::from_second(shown).map_or_else(|_| "nonsense".to_owned(), |now| now.to_string());
        let wrong = if shown < built - SLACK {
            Some("before this release was built")
        } else if shown > built.saturating_add(LONGEST_LIFE) {
            Some("long after any use of this release")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Some(degraded(format!(
                "The clock says {said}, which is {wrong}; records carry wrong times and certificates may not verify: set the clock in the \
                 firmware or name a time server in the settings."
            )));
        }
    }
    // A box without any network has no time servers and is none the worse for it; one that was given some should hear from them.
    let asked_for = !evidence.in_force.checked.time_servers.is_empty();
    (asked_for && !clock.synchronised && uptime_seconds > SYNCHRONISED_WITHIN).then(|| {
        degraded(
            "None of the time servers in the settings has answered yet, so times may be off: check that they can be reached over the \
             management network."
                .to_owned(),
        )
    })
}

fn settings(evidence: &Evidence<'_>) -> Trouble {
    let mut sentences: Vec<String> = evidence.in_force.settings_sentence.iter().cloned().collect();
    sentences.extend(
        evidence.reapply.iter().map(|why| format!("The last change is stored but could not be carried out: {why}.")),
    );
    if let Some(outcome) = &evidence.seen.settings {
        // What both say about stored settings is said once.
        let new = outcome.sentences.iter().filter(|_| evidence.in_force.settings_sentence.is_none());
        sentences.extend(new.cloned());
    }
    (!sentences.is_empty()).then(|| degraded(sentences.join(" ")))
}

fn management(roles: &Roles, seen: &Observed) -> Trouble {
    if let Some(sentence) = &roles.management_sentence {
        let state = if roles.management.is_none() { State::Failed } else { State::Degraded };
        return Some((state, sentence.clone()));
    }
    let name = roles.management.as_ref().map_or("", |nic| nic.name.as_str());
    if !seen.management_carrier {
        return Some(degraded(format!(
            "The management interface {name} has no link: plug the cable in, or check the other end."
        )));
    }
    seen.addresses.is_empty().then(|| {
        degraded(format!(
            "The management interface {name} has no address: check that a DHCP server answers there, or set a fixed address in the settings."
        ))
    })
}

fn trunk(roles: &Roles, seen: &Observed) -> Trouble {
    if let Some(sentence) = &roles.trunk_sentence {
        return Some((State::Failed, sentence.clone()));
    }
    let name = roles.trunk.as_ref().map_or("", |nic| nic.name.as_str());
    (!seen.trunk_carrier)
        .then(|| degraded(format!("The trunk {name} has no link, so the device under test cannot be reached: plug the cable in, or check the other end.")))
}

fn network(seen: &Observed) -> Trouble {
    match &seen.network {
        None => Some((
            State::Starting,
            "The bench's network has not been laid yet: wait, and if it stays so, read the journal of tbi-network@through-dut.service.".to_owned(),
        )),
        Some(outcome) if outcome.ok => None,
        // What of the network does not need the card is laid; the part `trunk` says what is wrong. An update is not to blame for it.
        Some(outcome) if outcome.trunk.state == "missing" => None,
        Some(outcome) => Some((State::Failed, outcome.sentence.clone())),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use tbi_api::settings::{Settings, Snapshot};

    use super::*;
    use crate::appliance::memory::BUILTIN_TOPOLOGY;
    use crate::appliance::nic::{Wanted, choose, tests::nic};
    use crate::appliance::observe::{NetworkOutcome, TrunkOutcome};
    use crate::appliance::settings::CheckedSettings;

    const BUILT: i64 = 1_790_000_000;

    fn in_force() -> InForce {
        InForce {
            snapshot: Snapshot { version: 0, changed: String::new(), settings: Settings::default() },
            checked: CheckedSettings::default_of_a_box(),
            settings_sentence: None,
            stored_topology: BUILTIN_TOPOLOGY.to_owned(),
            topology: BUILTIN_TOPOLOGY.to_owned(),
            topology_sentence: None,
            trial: None,
            trial_sentence: None,
        }
    }

    fn laid(ok: bool, sentence: &str, trunk: &str) -> NetworkOutcome {
        NetworkOutcome { ok, sentence: sentence.to_owned(), trunk: TrunkOutcome { state: trunk.to_owned() } }
    }

    fn sound() -> Observed {
        Observed {
            state: StateDisk { free: 4 << 30, total: 8 << 30, unwritable: None, told: None },
            clock: Clock { now: BUILT + 1000, synchronised: true, hardware: Some(BUILT + 1000) },
            uptime_seconds: 1000,
            management_carrier: true,
            addresses: vec!["10.0.2.15/24".to_owned()],
            trunk_carrier: true,
            settings: None,
            network: Some(laid(true, "", "not_used")),
        }
    }

    struct Box {
        found: Found,
        in_force: InForce,
        seen: Observed,
        wanted: Wanted,
        cards: usize,
    }

    impl Box {
        fn sound() -> Self {
            Self { found: Found::Existing, in_force: in_force(), seen: sound(), wanted: Wanted::default(), cards: 2 }
        }

        /// Every part that is not healthy.
        fn complaints(mut self) -> Vec<(String, State, String)> {
            let cards = [nic("ens3", "52:54:00:00:00:03", "a1/ens3"), nic("ens4", "52:54:00:00:00:04", "a2/ens4")];
            self.in_force.checked.wanted = self.wanted;
            let roles = choose(&cards[..self.cards], self.wanted);
            let evidence = Evidence {
                found: &self.found,
                in_force: &self.in_force,
                identity: &None,
                roles: &roles,
                seen: &self.seen,
                built: Some(BUILT),
                reapply: &None,
            };
            let all = components(&evidence).into_iter().filter(|it| it.state != State::Healthy);
            all.map(|it| (it.name, it.state, it.sentence)).collect()
        }

        fn only(self) -> (String, State, String) {
            let mut complaints = self.complaints();
            assert_eq!(complaints.len(), 1, "{complaints:?}");
            complaints.remove(0)
        }
    }

    #[test]
    fn a_sound_box_has_nothing_to_complain_about() {
        assert_eq!(Box::sound().complaints(), []);
    }

    #[test]
    fn a_full_state_partition() {
        let mut it = Box::sound();
        it.seen.state =
            StateDisk { free: 0, total: 8 << 30, unwritable: Some("No space left on device".to_owned()), told: None };
        let (name, state, sentence) = it.only();
        assert_eq!((name.as_str(), state), ("state", State::Failed));
        assert!(sentence.contains("delete old runs"), "{sentence}");
        for (free, total) in [(200 << 20, 1 << 30), (700 << 20, 8 << 30)] {
            let mut it = Box::sound();
            it.seen.state = StateDisk { free, total, unwritable: None, told: None };
            let (name, state, sentence) = it.only();
            assert_eq!((name.as_str(), state), ("state", State::Degraded));
            assert!(sentence.contains("larger disk"), "{sentence}");
        }
    }

    #[test]
    fn a_corrupt_state_database() {
        let mut it = Box::sound();
        it.found = Found::MovedAside { to: "/state/tbi.db.corrupt-x".into(), why: "file is not a database".to_owned() };
        let (name, state, sentence) = it.only();
        assert_eq!((name.as_str(), state), ("database", State::Degraded));
        assert!(sentence.contains("check settings"), "{sentence}");
        let mut it = Box::sound();
        it.found = Found::Memory { why: "disk I/O error".to_owned(), full: false };
        assert_eq!(it.only().1, State::Failed);
    }

    #[test]
    fn a_wrong_clock() {
        for (now, word) in [(0, "1970"), (BUILT + LONGEST_LIFE + 1, "long after"), (i64::MAX, "nonsense")] {
            let mut it = Box::sound();
            it.seen.clock.now = now;
            let (name, state, sentence) = it.only();
            assert_eq!((name.as_str(), state), ("clock", State::Degraded));
            assert!(sentence.contains(word) && sentence.contains("time server"), "{sentence}");
        }
    }

    #[test]
    fn a_wrong_clock_is_told_although_the_system_was_moved_to_the_date_of_the_release() {
        let mut it = Box::sound();
        it.seen.clock.hardware = Some(978_307_200);
        assert_eq!(it.complaints(), [], "time servers have put it right");
        let mut it = Box::sound();
        it.seen.clock.hardware = Some(978_307_200);
        it.seen.clock.synchronised = false;
        let (name, state, sentence) = it.only();
        assert_eq!((name.as_str(), state), ("clock", State::Degraded));
        assert!(sentence.contains("2001-01-01") && sentence.contains("before this release"), "{sentence}");
    }

    #[test]
    fn an_unsynchronised_clock_matters_only_where_time_servers_were_named() {
        let mut it = Box::sound();
        it.seen.clock.synchronised = false;
        assert_eq!(it.complaints(), []);
        let mut it = Box::sound();
        it.seen.clock.synchronised = false;
        it.in_force.checked.time_servers = vec!["192.0.2.1".parse().unwrap()];
        assert_eq!(it.only().0, "clock");
    }

    #[test]
    fn no_network() {
        let mut it = Box::sound();
        it.cards = 0;
        let (name, state, sentence) = it.only();
        assert_eq!((name.as_str(), state), ("management", State::Failed));
        assert!(sentence.contains("console only"), "{sentence}");
        let mut it = Box::sound();
        it.seen.management_carrier = false;
        assert!(it.only().2.contains("plug the cable in"));
        let mut it = Box::sound();
        it.seen.addresses.clear();
        assert!(it.only().2.contains("DHCP"));
    }

    #[test]
    fn no_trunk() {
        let mut it = Box::sound();
        it.wanted.trunk = "52:54:00:00:00:77".parse().ok();
        let (name, state, _) = it.only();
        assert_eq!((name.as_str(), state), ("trunk", State::Failed));
        let mut it = Box::sound();
        it.wanted.trunk = "52:54:00:00:00:04".parse().ok();
        it.seen.trunk_carrier = false;
        let (name, state, sentence) = it.only();
        assert_eq!((name.as_str(), state), ("trunk", State::Degraded));
        assert!(sentence.contains("ens4"), "{sentence}");
    }

    #[test]
    fn a_wrong_topology_file() {
        let mut it = Box::sound();
        it.in_force.topology_sentence = Some("wrong".to_owned());
        assert_eq!(it.only(), ("topology".to_owned(), State::Degraded, "wrong".to_owned()));
    }

    #[test]
    fn a_network_that_is_not_laid_is_starting_and_one_that_failed_says_why() {
        let mut it = Box::sound();
        it.seen.network = None;
        assert_eq!(it.only().1, State::Starting);
        let mut it = Box::sound();
        it.seen.network = Some(laid(false, "the plan is wrong", "not_used"));
        assert_eq!(it.only(), ("network".to_owned(), State::Failed, "the plan is wrong".to_owned()));
        let mut it = Box::sound();
        it.seen.network = Some(laid(false, "the card is not there", "missing"));
        it.wanted.trunk = "52:54:00:00:00:77".parse().ok();
        assert_eq!(it.only().0, "trunk");
    }
}
