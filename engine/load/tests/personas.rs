//! Trials against real personas on loopback: the engine's record agrees with itself and with what the personas saw.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Stand, order};
use tbi_bench::control::engine::{Arrivals, Load};
use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Rate;

#[test]
fn closed_loop_keeps_connections_busy_on_every_protocol() {
    let stand = Stand::start(3);
    for protocol in Protocol::ALL {
        let mut order = order(&stand, protocol);
        order.load = Load::Closed { connections: 4, streams: if protocol == Protocol::H1 { 1 } else { 5 } };
        order.transactions_per_connection = 50;
        let report = stand.run(order);
        assert!(report.errors.is_empty(), "{protocol}: {:?}", report.errors);
        common::check_sums(&report);
        assert!(report.attempts.succeeded > 100, "{protocol}: {:?}", report.attempts);
        assert_eq!(report.proof.end_to_end, report.proof.total(), "{protocol}: {:?}", report.proof);
        assert_eq!(report.body_bytes, report.attempts.succeeded * 1024);
        assert!(!report.timings.dut_added.is_empty() && report.observed.resumed == 0);
        assert_eq!(report.observed.alt_svc > 0, protocol != Protocol::H3, "{protocol}: {:?}", report.observed);
        assert_eq!(report.observed.quic_packets_sent > 0, protocol == Protocol::H3);
        assert!(report.ticks.len() >= 2, "{:?}", report.ticks.len());
    }
}

#[test]
fn open_loop_keeps_its_schedule_and_a_connection_per_arrival() {
    let stand = Stand::start(3);
    for protocol in Protocol::ALL {
        let mut order = order(&stand, protocol);
        order.object = Object::Mix;
        order.load =
            Load::Open { rate: Rate::per_second(50).unwrap(), arrivals: Arrivals::Poisson, max_in_flight: 100 };
        let report = stand.run(order);
        assert!(report.errors.is_empty(), "{protocol}: {:?}", report.errors);
        common::check_sums(&report);
        assert!((20..=100).contains(&report.attempts.scheduled), "{protocol}: {:?}", report.attempts);
        assert_eq!(report.attempts.scheduled, report.attempts.connections);
        assert_eq!(report.timings.schedule_lag.len(), report.attempts.sent);
        assert_eq!(report.timings.handshake_response.len(), report.attempts.connections);
        assert_eq!(report.proof.end_to_end, report.proof.total(), "{protocol}: {:?}", report.proof);
    }
}

#[test]
fn what_the_end_of_the_trial_cuts_off_is_unfinished_and_nobodys_fault() {
    let stand = Stand::start(1);
    for protocol in Protocol::ALL {
        let mut order = order(&stand, protocol);
        order.load =
            Load::Open { rate: Rate::per_second(5).unwrap(), arrivals: Arrivals::Constant, max_in_flight: 100 };
        order.transactions_per_connection = 1_000_000;
        let report = stand.run(order);
        common::check_sums(&report);
        let attempts = report.attempts;
        assert!(attempts.failed == 0 && report.errors.is_empty(), "{protocol}: {:?}", report.errors);
        assert!(attempts.succeeded > 0 && attempts.unfinished > 0, "{protocol}: {attempts:?}");
    }
}

#[test]
fn large_bodies_arrive_whole_and_both_families_work() {
    let mut stand = Stand::start(1);
    let v6 = std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    for protocol in Protocol::ALL {
        for address in [stand.targets[0].address, v6] {
            stand.targets[0].address = address;
            let mut order = order(&stand, protocol);
            order.object = Object::Kb256;
            order.transactions_per_connection = 0;
            order.sources.clear();
            order.load = Load::Closed { connections: 2, streams: if protocol == Protocol::H1 { 1 } else { 3 } };
            let report = stand.run(order);
            common::check_sums(&report);
            assert!(
                report.errors.is_empty() && report.attempts.succeeded > 5,
                "{protocol} {address}: {:?}",
                report.errors
            );
            assert_eq!(report.body_bytes, report.attempts.succeeded * 262_144);
            assert_eq!(report.proof.end_to_end, 2, "{protocol} {address}: {:?}", report.proof);
        }
    }
}
