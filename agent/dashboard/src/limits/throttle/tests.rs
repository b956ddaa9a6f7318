//! Attacks on the throttle with a clock of their own.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn at(place: Place, name: &str, device: Option<Device>) -> Attempt {
    Attempt { place, subject: Subject::Account(name.to_owned()), device }
}

fn network(number: u32) -> Place {
    Place::of(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)))
}

fn throttle() -> Throttle {
    Throttle::new(Delays::default(), 100_000)
}

/// A million attempts, fifty a second, from as many places; gives how many were judged and the time at the end.
fn million(throttle: &mut Throttle, places: u32) -> (u32, Duration) {
    let mut judged = 0;
    for attempt in 0..1_000_000_u32 {
        let now = Duration::from_millis(u64::from(attempt) * 20);
        judged += u32::from(throttle.begin(&at(network(attempt % places), "admin", None), now).is_ok());
    }
    (judged, Duration::from_millis(1_000_000 * 20))
}

#[test]
fn a_million_wrong_passwords_do_not_lock_out_the_administrator_at_the_console() {
    for places in [1, 1000, 1_000_000] {
        let mut throttle = throttle();
        let (judged, end) = million(&mut throttle, places);
        assert!(judged < 100, "{judged} guesses were judged in five and a half hours");
        assert_eq!(throttle.begin(&at(Place::Local, "admin", None), end), Ok(()), "from {places} places");
    }
}

#[test]
fn a_million_wrong_passwords_do_not_lock_out_a_device_with_a_good_history() {
    for places in [1, 1000, 1_000_000] {
        let mut throttle = throttle();
        let (_judged, end) = million(&mut throttle, places);
        // Even from the attacker's own address.
        assert_eq!(throttle.begin(&at(network(0), "admin", Some([7; 16])), end), Ok(()));
        // A stranger waits, and not for longer than the longest delay.
        let Wait(wait) = throttle.begin(&at(network(5_000_000), "admin", None), end).unwrap_err();
        assert!(wait <= Delays::default().subject.longest, "{wait:?}");
    }
}

#[test]
fn memory_stays_bounded_and_strangers_share_when_full() {
    let mut throttle = Throttle::new(Delays::default(), 1000);
    let mut judged = 0;
    for attempt in 0..1_000_000_u32 {
        // Always another place and another name.
        let name = format!("a{attempt}");
        judged += u32::from(throttle.begin(&at(network(attempt), &name, None), seconds(0)).is_ok());
    }
    assert!(judged < 1100, "the first thousand, and what is shared: {judged}");
    assert_eq!((throttle.places.len(), throttle.subjects.len()), (1000, 1000));
    assert_eq!(throttle.begin(&at(Place::Local, "admin", None), seconds(0)), Ok(()));
}

#[test]
fn delays_double_and_are_bounded_and_are_forgotten() {
    let mut throttle = throttle();
    let attempt = at(network(1), "admin", None);
    let mut now = seconds(100);
    let mut waits = Vec::new();
    for _ in 0..20 {
        if let Err(Wait(wait)) = throttle.begin(&attempt, now) {
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(throttle.begin(&attempt, now), Ok(()), "who waited as told is judged");
        }
    }
    assert_eq!(waits[..4], [1, 2, 4, 8]);
    assert_eq!(waits.iter().max(), Some(&900));
    now += seconds(3600) + seconds(900);
    for _ in 0..5 {
        assert_eq!(throttle.begin(&attempt, now), Ok(()));
    }
}

#[test]
fn a_thousand_attempts_at_once_are_not_a_thousand_guesses() {
    let mut throttle = throttle();
    let attempt = at(network(1), "admin", None);
    let judged = (0..1000).filter(|_| throttle.begin(&attempt, seconds(1)).is_ok()).count();
    assert_eq!(judged, 6, "the free ones and the one that sets the first delay");
}

#[test]
fn knocking_does_not_prolong_the_wait() {
    let mut throttle = throttle();
    let attempt = at(network(1), "admin", None);
    while throttle.begin(&attempt, seconds(1)).is_ok() {}
    for _ in 0..1000 {
        assert!(throttle.begin(&attempt, seconds(1)).is_err());
    }
    assert_eq!(throttle.begin(&attempt, seconds(2)), Ok(()));
}

#[test]
fn success_clears_the_account_and_not_the_place() {
    let mut throttle = throttle();
    // The attacker logs in with an account of its own between guesses at others.
    let mut guesses = 0;
    for round in 0..100 {
        let own = at(network(1), "mallory", None);
        if throttle.begin(&own, seconds(1)).is_ok() {
            throttle.succeeded(&own, seconds(1));
        }
        guesses += u32::from(throttle.begin(&at(network(1), &format!("victim{round}"), None), seconds(1)).is_ok());
    }
    assert_eq!(guesses, 11);
    // Who mistypes four times a day is not slowed down.
    for day in 1..100 {
        let attempt = at(network(2), "anna", None);
        for _ in 0..4 {
            assert_eq!(throttle.begin(&attempt, seconds(day * 86_400)), Ok(()));
        }
        throttle.succeeded(&attempt, seconds(day * 86_400));
    }
}

#[test]
fn what_was_not_judged_does_not_count() {
    let mut throttle = throttle();
    let attempt = at(network(1), "admin", None);
    for _ in 0..1000 {
        assert_eq!(throttle.begin(&attempt, seconds(1)), Ok(()));
        throttle.not_judged(&attempt, seconds(1));
    }
}

#[test]
fn a_clock_that_jumps_neither_opens_nor_locks_for_longer() {
    let mut throttle = throttle();
    let attempt = at(network(1), "admin", None);
    let start = seconds(1_000_000);
    let mut now = start;
    for _ in 0..30 {
        if let Err(Wait(wait)) = throttle.begin(&attempt, now) {
            now += wait;
        }
    }
    let Wait(before) = throttle.begin(&attempt, now).unwrap_err();
    // Back by eleven days: the wait is the same, and over after as long by the clock as it is now.
    let back = seconds(5);
    assert_eq!(throttle.begin(&attempt, back), Err(Wait(before)));
    assert_eq!(throttle.begin(&attempt, back + before), Ok(()));
    // Forward by less than it takes to forget: one guess, then the longest delay again.
    assert_eq!(throttle.begin(&attempt, back + before + seconds(1000)), Ok(()));
    assert!(throttle.begin(&attempt, back + before + seconds(1000)).is_err());
}
