//! Table test over every pair of state and event, and walks through whole campaigns.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::control::engine::Probe;
use crate::plan::Profile;
use crate::proof::{Interception, InterceptionCounts};
use crate::units::Span;

fn plan() -> Plan {
    Plan { pairs: 2, reference_blocks: 2, ..Plan::of_profile(Profile::Quick) }
}

fn probes(class: Interception) -> ProbeReport {
    let probe = Probe {
        persona: "br-bank".to_owned(),
        interception: class,
        failure: None,
        handshake: Some(Span::from_millis(1)),
        ttfb: Some(Span::from_millis(2)),
        issuer: None,
        alt_svc: Some(true),
        saw: None,
        client_hello: String::new(),
        quic_packets: None,
        fallback: None,
    };
    ProbeReport { probes: vec![probe; 3] }
}

fn trial(succeeded: u64) -> TrialReport {
    TrialReport {
        id: "t".to_owned(),
        stopped: false,
        sustain: Span::from_secs(1),
        attempts: crate::control::engine::Attempts { succeeded, transactions: 10, ..Default::default() },
        errors: Vec::new(),
        body_bytes: 0,
        timings: Default::default(),
        proof: InterceptionCounts::default(),
        observed: Default::default(),
        witness: Default::default(),
        ticks: Vec::new(),
    }
}

/// Answers every action as a healthy bench would.
fn healthy(campaign: &Campaign, action: &Action) -> Event {
    match action {
        Action::LayPath(_) => Event::PathReady,
        Action::SwitchMode(_) => Event::ModeSwitched,
        Action::Probe(_) => Event::Probed(probes(match campaign.current().map(|block| block.arm) {
            Some(Arm::On) => Interception::Intercepted,
            _ => Interception::EndToEnd,
        })),
        Action::RunTrial(_) => Event::TrialEnded(Box::new(trial(10))),
        Action::StoreBlock => Event::BlockStored,
        Action::Finish(_) => unreachable!("the walk ends at Finish"),
    }
}

#[test]
fn a_healthy_campaign_runs_every_block_and_completes() {
    let mut campaign = Campaign::new(plan());
    let mut action = campaign.on(Event::Started).unwrap();
    let (mut stored, mut switched, mut trials) = (0, 0, 0);
    for _ in 0..10_000 {
        match &action {
            Action::Finish(outcome) => {
                assert_eq!(*outcome, Outcome::Completed);
                break;
            }
            Action::StoreBlock => stored += 1,
            Action::SwitchMode(arm) => {
                assert_eq!(Some(*arm), campaign.current().map(|block| block.arm));
                switched += 1;
            }
            Action::RunTrial(_) => trials += 1,
            _ => {}
        }
        let event = healthy(&campaign, &action);
        action = campaign.on(event).unwrap();
    }
    assert_eq!((stored, switched), (6, 4));
    assert_eq!(trials, campaign.blocks().iter().map(|block| trials_of(&plan(), *block).len()).sum::<usize>());
    assert_eq!(campaign.current(), None);
}

#[test]
fn every_pair_of_state_and_event_is_decided() {
    let states = [
        State::Idle,
        State::ChangingPath,
        State::Switching,
        State::Verifying(0),
        State::Measuring(0),
        State::Storing,
        State::Ended,
    ];
    let events = [
        Event::Started,
        Event::PathReady,
        Event::ModeSwitched,
        Event::Probed(probes(Interception::EndToEnd)),
        Event::TrialEnded(Box::new(trial(1))),
        Event::BlockStored,
        Event::Failed(Stop::Interrupt("stopped".to_owned())),
    ];
    for state in states {
        for event in &events {
            let mut campaign = Campaign { state, ..Campaign::new(plan()) };
            let accepted = match (state, event) {
                (State::Ended, _) => false,
                (_, Event::Failed(_)) => true,
                (State::Idle, Event::Started)
                | (State::ChangingPath, Event::PathReady)
                | (State::Switching, Event::ModeSwitched)
                | (State::Verifying(_), Event::Probed(_))
                | (State::Measuring(_), Event::TrialEnded(_))
                | (State::Storing, Event::BlockStored) => true,
                _ => false,
            };
            let answer = campaign.on(event.clone());
            assert_eq!(answer.is_ok(), accepted, "{state:?} {}", event.name());
            if !accepted {
                assert_eq!(campaign.state, state, "a refused event leaves the state alone");
            }
        }
    }
}

#[test]
fn a_block_whose_connections_are_not_what_its_label_says_is_not_measured() {
    let mut campaign = Campaign { state: State::Verifying(0), ..Campaign::new(plan()) };
    campaign.position = campaign.blocks.iter().position(|block| block.arm == Arm::On).unwrap_or_default();
    match campaign.on(Event::Probed(probes(Interception::EndToEnd))) {
        Ok(Action::Finish(Outcome::Stopped(Stop::Invalidate(sentence)))) => {
            assert!(sentence.contains("(on) was not measured, h3"), "{sentence}");
            assert!(sentence.contains("br-bank"), "{sentence}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_that_stops_answering_ends_the_run_with_a_sentence() {
    let mut campaign = Campaign { state: State::Measuring(0), ..Campaign::new(plan()) };
    campaign.position = 1;
    match campaign.on(Event::TrialEnded(Box::new(trial(0)))) {
        Ok(Action::Finish(Outcome::Stopped(Stop::Invalidate(sentence)))) => {
            assert!(sentence.contains("not one of 10 transactions succeeded"), "{sentence}");
            assert!(sentence.contains("stopped answering"), "{sentence}");
        }
        other => panic!("{other:?}"),
    }
}
