//! The boundary of the two windows, by example and by property.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    short: Window { requests: 20, length: Duration::from_secs(10) },
    long: Window { requests: 50, length: Duration::from_secs(60) },
};

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn limiter() -> RateLimiter<u32> {
    RateLimiter::new(LIMITS, 1000)
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    headers.get(name).unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn at_exactly_the_limit_nobody_is_refused_and_one_above_is() {
    let mut limiter = RateLimiter::new(Limits::PER_ADDRESS, ROOM);
    for request in 0..200_u32 {
        let standing = limiter.take(&1_u32, ms(u64::from(request)));
        assert!(standing.admitted, "request {request}");
        let mut headers = HeaderMap::new();
        standing.put_into(&mut headers);
        assert_eq!(number(&headers, "x-ratelimit-limit"), 200);
        assert_eq!(number(&headers, "x-ratelimit-remaining"), u64::from(199 - request));
        assert!(headers.get("retry-after").is_none());
    }
    let refused = limiter.take(&1, ms(200));
    assert!(!refused.admitted);
    let mut headers = HeaderMap::new();
    refused.put_into(&mut headers);
    assert_eq!(number(&headers, "x-ratelimit-remaining"), 0);
    assert_eq!(number(&headers, "retry-after"), number(&headers, "x-ratelimit-reset"));
    assert_eq!(number(&headers, "retry-after"), 10);
    assert!(limiter.take(&2, ms(200)).admitted, "another client has its own windows");
}

#[test]
fn the_long_window_refuses_who_is_patient_and_its_figures_are_shown() {
    let mut limiter = limiter();
    for request in 0..50_u64 {
        assert!(limiter.take(&1, ms(request * 600)).admitted, "request {request}");
    }
    let refused = limiter.take(&1, ms(30_000));
    assert_eq!((refused.admitted, refused.limit, refused.remaining), (false, 50, 0));
    assert!(limiter.take(&1, ms(30_000) + Duration::from_secs(refused.reset_seconds())).admitted);
}

#[test]
fn the_identity_has_the_double() {
    assert_eq!((Limits::PER_ADDRESS.times(2).short.requests, Limits::PER_ADDRESS.times(2).long.requests), (400, 6_000));
}

#[test]
fn a_clock_that_jumps_neither_opens_nor_locks_for_longer_than_a_window() {
    for jump in [0_u64, 1, 3_600_000] {
        let mut limiter = limiter();
        let start = ms(10_000_000);
        for _ in 0..20 {
            assert!(limiter.take(&1, start).admitted);
        }
        // Back by an hour: still full, and free again one short window later by the clock as it is now.
        let back = start - ms(jump.min(3_600_000));
        assert!(!limiter.take(&1, back).admitted);
        assert!(limiter.take(&1, back + LIMITS.short.length).admitted);
        // Forward by an hour looks like an idle hour; then the limit holds as ever.
        let ahead = start + ms(7_200_000);
        let admitted = (0..1000).filter(|_| limiter.take(&1, ahead).admitted).count();
        assert!(admitted <= 20, "{admitted}");
    }
    // A clock that swings gives nothing away.
    let mut limiter = limiter();
    let admitted = (0..10_000_u64).filter(|n| limiter.take(&1, ms(50_000 - (n % 2) * 3)).admitted).count();
    assert!(admitted <= 60, "3 ms forward each second request is 15 s in all: {admitted}");
}

#[test]
fn when_full_of_active_clients_newcomers_share_one_bucket() {
    let mut limiter = RateLimiter::new(LIMITS, 1000);
    for key in 0..1000_u32 {
        assert!(limiter.take(&key, ms(0)).admitted);
    }
    let admitted = (1000..101_000_u32).filter(|key| limiter.take(key, ms(1)).admitted).count();
    assert_eq!(admitted, 20, "a hundred thousand newcomers have one limit together");
    assert!(limiter.take(&7, ms(2)).admitted, "who was there is served as before");
    assert_eq!(limiter.counters.len(), 1000);
    assert!(limiter.take(&200_000, ms(62_000)).admitted, "idle ones made room");
}

#[test]
fn extreme_times_do_not_panic() {
    let mut limiter = limiter();
    for time in [Duration::ZERO, Duration::MAX, Duration::from_secs(5), Duration::MAX, ms(u64::MAX)] {
        limiter.take(&1, time);
    }
}

fn most_in_any(window: Duration, times: &[Duration]) -> usize {
    times
        .iter()
        .map(|end| times.iter().filter(|time| *time <= end && **time + window > *end).count())
        .max()
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn who_keeps_the_limit_in_every_window_is_never_refused(pauses in prop::collection::vec(0_u64..2_000, 1..200)) {
        let mut limiter = limiter();
        let mut now = ms(0);
        let mut kept: Vec<Duration> = Vec::new();
        for pause in pauses {
            now += ms(pause);
            let mut with = kept.clone();
            with.push(now);
            if most_in_any(LIMITS.short.length, &with) <= 20 && most_in_any(LIMITS.long.length, &with) <= 50 {
                prop_assert!(limiter.take(&1, now).admitted, "refused at {now:?} after {}", kept.len());
                kept = with;
            }
        }
    }

    #[test]
    fn nobody_gets_more_than_the_limit_in_nine_tenths_of_a_window(pauses in prop::collection::vec(0_u64..700, 1..400)) {
        let mut limiter = limiter();
        let mut now = ms(0);
        let mut admitted = Vec::new();
        for pause in pauses {
            now += ms(pause);
            if limiter.take(&1, now).admitted {
                admitted.push(now);
            }
        }
        prop_assert!(most_in_any(LIMITS.short.length * 9 / 10, &admitted) <= 20);
        prop_assert!(most_in_any(LIMITS.long.length * 9 / 10, &admitted) <= 50);
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in_and_not_before_it_is_time(
        pauses in prop::collection::vec(0_u64..400, 1..300),
        start in 0_u64..1_000_000,
    ) {
        let mut limiter = limiter();
        let mut now = ms(start);
        let _first = limiter.take(&1, now);
        for pause in pauses {
            now += ms(pause);
            let standing = limiter.take(&1, now);
            if !standing.admitted {
                prop_assert!(standing.reset_seconds() >= 1 && standing.reset <= LIMITS.long.length);
                let early = standing.reset.saturating_sub(ms(1));
                prop_assert!(early.is_zero() || !limiter.take(&1, now + early).admitted);
                now += Duration::from_secs(standing.reset_seconds());
                prop_assert!(limiter.take(&1, now).admitted);
            }
        }
    }
}
