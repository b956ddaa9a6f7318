//! The usage report from a real agent by the real program to a reference endpoint: whatever dies or lies on the way, in the end the endpoint
//! has each tick exactly once. One test per fault, named after it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bridge;
mod endpoint;
mod points;
mod world;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use rcgen::{CertificateParams, SanType};
use tbi_api::settings::{Change, Settings, Usage};

use endpoint::{Endpoint, Manner, Papers, When};
use world::{Said, World};

const SOON: Duration = Duration::from_secs(20);
/// More points than a report of [`TICKS`] ticks has.
const ENDLESS: usize = 100;
/// Counted before each kill: three reports of two at most.
const TICKS: usize = 5;
/// At least so many places to die at are tried.
const PLACES: usize = 30;

#[test]
fn every_tick_is_reported_once() {
    let papers = Papers::new("127.0.0.1", |_| {});
    let mut world = World::unconfigured(&papers, 7);
    world.report(&[]).assert(0, &["No endpoint is configured", "usage.url"]);
    assert_eq!(world.report(&["--json"]).json()["outcome"], "not-configured");
    let url = world.endpoint.url();
    world.report_to(&url, &papers.ca_pem);

    // One run sends as much as it may, the next goes on.
    world.report(&["--batches", "1"]).assert(0, &["Reported 2 ticks in 1 reports", "the next run goes on"]);
    world.assert_is_there(2);
    let said = world.report(&["--json"]);
    said.assert(0, &["everything through 7 of 7"]);
    let result = said.json();
    assert_eq!((&result["outcome"], &result["ticks"], &result["reports"]), (&"done".into(), &5.into(), &3.into()));
    world.assert_all_is_there_once();
    world.report(&[]).assert(0, &["Nothing to report", "through 7"]);
    let book = world.endpoint.book();
    assert_eq!((book.reports, book.duplicates), (4, 0));

    // Numbers go on after a restart.
    world.stop_agent();
    world.count(1);
    world.start_agent();
    world.report(&[]).assert(0, &["Reported 1 ticks", "the endpoint has everything"]);
    world.assert_all_is_there_once();
}

#[test]
fn kill_9_of_the_report_program_at_every_point() {
    let mut world = World::new(0);
    let mut places = Vec::new();
    loop {
        world.stop_agent();
        world.count(TICKS);
        world.start_agent();
        let child = world.points.arm(places.len(), || {
            let child = world.program(&[]).spawn().unwrap();
            let pid = child.id();
            (child, pid)
        });
        let output = child.wait_with_output().unwrap();
        let Some(place) = world.points.killed_at() else {
            Said::of(&output).assert(0, &["the endpoint has everything"]);
            break;
        };
        assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32), "{place}: {output:?}");
        places.push(place);
        assert!(places.len() < ENDLESS, "{places:?}");
    }
    assert!(places.len() >= PLACES, "{places:?}");
    assert!(places.iter().any(|place| place == "report taken"), "{places:?}");
    world.assert_all_is_there_once();
    assert!(world.endpoint.book().duplicates > 0, "no report was sent twice: the kills missed the dangerous place");
}

#[test]
fn kill_9_of_the_agent_at_every_point() {
    let mut world = World::new(0);
    world.stop_agent();
    let mut places = Vec::new();
    loop {
        world.count(TICKS);
        world.start_agent();
        let agent = world.agent_pid();
        let child = world.points.arm(places.len(), || (world.program(&[]).spawn().unwrap(), agent));
        let said = Said::of(&child.wait_with_output().unwrap());
        let Some(place) = world.points.killed_at() else {
            said.assert(0, &["the endpoint has everything"]);
            break;
        };
        assert_eq!(world.agent_ended().signal(), Some(Signal::SIGKILL as i32), "{place}");
        // Its last answer may have been all that was needed.
        if said.code != Some(0) {
            said.assert(2, &["nobody answers on", "check that the daemon runs"]);
        }
        places.push(place);
        assert!(places.len() < ENDLESS, "{places:?}");
    }
    assert!(places.len() >= PLACES, "{places:?}");
    world.assert_all_is_there_once();
    assert!(world.endpoint.book().duplicates > 0, "no report was sent twice: the kills missed the dangerous place");
}

#[test]
fn an_endpoint_that_answers_500() {
    let world = World::new(3);
    world.endpoint.behave(Manner::Says(500, "{}"));
    let said = world.report(&["--json"]);
    said.assert(1, &["refused the report with status 500", "look at the endpoint"]);
    assert_eq!(said.json()["outcome"], "refused");
    assert_eq!(world.standing().acknowledged, 0);
    world.endpoint.behave(Manner::Right);
    world.report(&[]).assert(0, &["Reported 3 ticks"]);
    world.assert_all_is_there_once();
}

#[test]
fn an_endpoint_that_hangs() {
    let world = World::new(3);
    world.endpoint.behave(Manner::Hangs);
    world.report(&["--timeout", "1"]).assert(2, &["no complete answer within 1 s"]);
    assert_eq!(world.standing().acknowledged, 0);
    world.endpoint.behave(Manner::Right);
    world.report(&[]).assert(0, &["Reported 3 ticks"]);
    world.assert_all_is_there_once();
}

#[test]
fn an_endpoint_that_cuts_the_connection() {
    let world = World::new(3);
    for (when, stored) in [(When::BeforeStoring, 0), (When::AfterStoring, 2)] {
        world.endpoint.behave(Manner::Cuts(when));
        world.report(&[]).assert(2, &["ended before its answer", "sent again the next time"]);
        world.assert_is_there(stored);
        assert_eq!(world.standing().acknowledged, 0, "{when:?}");
    }
    world.endpoint.behave(Manner::Right);
    world.report(&[]).assert(0, &["Reported 3 ticks"]);
    world.assert_all_is_there_once();
    assert_eq!(world.endpoint.book().duplicates, 2);
}

#[test]
fn an_endpoint_that_answers_nonsense() {
    let world = World::new(3);
    for (manner, words) in [
        (Manner::Says(200, "thank you"), "is not understood"),
        (Manner::Says(200, ""), "is not understood"),
        (Manner::Says(204, ""), "is not understood"),
        (Manner::Says(200, r#"{"through":-1}"#), "is not understood"),
        (Manner::Says(200, r#"{"through":3}"#), "but the report ended with 2"),
        (Manner::Says(200, r#"{"through":18446744073709551615}"#), "but the report ended with 2"),
        (Manner::Says(200, r#"{"through":0}"#), "took none of the ticks 1 to 2"),
        (Manner::Says(302, ""), "status 302"),
        (Manner::Floods(1 << 20), "more than 65536 bytes"),
    ] {
        world.endpoint.behave(manner);
        world.report(&[]).assert(1, &[words]);
        let standing = world.standing();
        assert_eq!((standing.acknowledged, standing.last), (0, 3), "{words}");
    }
    world.endpoint.behave(Manner::Right);
    world.report(&["--batches", "1"]).assert(0, &["Reported 2 ticks"]);
    world.endpoint.behave(Manner::Says(200, r#"{"through":1}"#));
    world.report(&[]).assert(1, &["it had 2 before", "restore the endpoint's data"]);
    world.endpoint.behave(Manner::Right);
    world.report(&[]).assert(0, &["Reported 1 ticks"]);
    world.assert_all_is_there_once();
}

#[test]
fn a_wrong_certificate() {
    let good = Papers::new("127.0.0.1", |_| {});
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let other_name = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("usage.example.net".try_into().unwrap())];
    };
    let spoiled = [Papers::new("127.0.0.1", expired), Papers::new("127.0.0.1", other_name)];
    let other_authority = Papers::new("127.0.0.1", |_| {});
    let mut world = World::unconfigured(&good, 3);
    let url = world.endpoint.url();
    world.report_to(&url, &other_authority.ca_pem);
    world.report(&[]).assert(2, &["certificate of 127.0.0.1", "is refused", "usage.ca_pem"]);
    for papers in &spoiled {
        let endpoint = Endpoint::start(papers, &world.points, endpoint::Book::default());
        world.report_to(&endpoint.url(), &papers.ca_pem);
        world.report(&[]).assert(2, &["certificate of 127.0.0.1", "is refused", "this box's clock"]);
        assert_eq!(endpoint.book().reports, 0);
    }
    assert_eq!((world.endpoint.book().reports, world.standing().acknowledged), (0, 0));
    world.report_to(&url, &good.ca_pem);
    world.report(&[]).assert(0, &["Reported 3 ticks"]);
    world.assert_all_is_there_once();
}

#[test]
fn an_endpoint_that_goes_away() {
    let papers = Papers::new("127.0.0.1", |_| {});
    let mut world = World::unconfigured(&papers, 5);
    let url = world.endpoint.url();
    world.report_to(&url, &papers.ca_pem);
    world.report(&["--batches", "1"]).assert(0, &["the next run goes on"]);
    let book = world.endpoint.book();
    // The old one ends with this assignment, and what it had goes on elsewhere.
    world.endpoint = Endpoint::start(&papers, &world.points, book);
    let said = world.report(&["--json"]);
    said.assert(2, &["cannot be reached", "check usage.url"]);
    assert_eq!(said.json()["outcome"], "unreachable");
    assert_eq!(world.standing().acknowledged, 2);
    let url = world.endpoint.url();
    world.report_to(&url, &papers.ca_pem);
    world.report(&[]).assert(0, &["Reported 3 ticks"]);
    world.assert_all_is_there_once();
}

#[test]
fn an_agent_that_is_not_there() {
    let mut world = World::new(1);
    world.stop_agent();
    world.report(&[]).assert(2, &["nobody answers on"]);
    assert_eq!(world.endpoint.book().reports, 0);
}

#[test]
fn a_report_on_demand_without_systemd_is_a_clear_problem() {
    let papers = Papers::new("127.0.0.1", |_| {});
    let mut world = World::unconfigured(&papers, 1);
    let order = |world: &World| {
        world.ask(async |_, socket| {
            let socket = socket.with_timeout(SOON);
            socket.post_json::<_, serde_json::Value>("/v1/usage/report", &serde_json::json!({})).await.unwrap_err()
        })
    };
    assert_eq!(order(&world).code(), Some("no-usage-endpoint"));
    let url = world.endpoint.url();
    world.report_to(&url, &papers.ca_pem);
    let refused = order(&world);
    assert_eq!(refused.code(), Some("cannot-report"));
    assert!(refused.to_string().contains("systemd cannot be asked"), "{refused}");
    world.report(&[]).assert(0, &["Reported 1 ticks"]);
}

#[test]
fn two_reports_at_once() {
    let world = World::new(20);
    let start = || world.program(&[]).spawn().unwrap();
    let both = [start(), start()];
    for child in both {
        let said = Said::of(&child.wait_with_output().unwrap());
        assert!(said.code == Some(0) && !said.stderr.contains("cannot be read"), "{said:?}");
    }
    world.assert_all_is_there_once();
}

/// The endpoint refuses gaps; the damaged tick takes its number and counts nothing, and everything else is there once.
#[test]
fn a_damaged_line_of_the_spool_does_not_stop_the_report() {
    for damaged_while_the_agent_runs in [false, true] {
        let mut world = World::new(5);
        if !damaged_while_the_agent_runs {
            world.stop_agent();
        }
        let file = fs::read_dir(world.spool()).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|it| it == "log")).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let damaged = text.lines().nth(3).unwrap().replace("\"run-4\"", "\"run-9\"");
        fs::write(&file, text.replace("\"run-4\"", "\"run-9\"")).unwrap();
        if !damaged_while_the_agent_runs {
            world.start_agent();
            assert!(world.part("usage").sentence.contains("1 usage ticks cannot be read any more"));
            let standing = world.standing();
            assert_eq!((standing.lost, standing.set_aside, standing.last), (1, 1, 5));
            assert!(world.metrics().contains("tbi_agent_usage_ticks_lost 1\n"), "{}", world.metrics());
        }
        world.lose(4);
        let said = world.report(&[]);
        said.assert(0, &["Reported 5 ticks in 3 reports", "the endpoint has everything"]);
        said.assert(0, &["1 of them were damaged on this box and are reported as lost"]);
        world.assert_all_is_there_once();
        assert_eq!(fs::read_to_string(world.spool().join("damaged.log")).unwrap(), damaged + "\n");
        // The endpoint knows it, so the box is well again; that there was something stays.
        assert_eq!(world.part("usage").sentence, "");
        assert!(world.metrics().contains("tbi_agent_usage_lines_set_aside_total 1\n"), "{}", world.metrics());
        // Numbers go on, also when the endpoint is asked again with what it has.
        world.stop_agent();
        fs::remove_file(world.spool().join("acknowledged")).unwrap();
        world.count(2);
        world.start_agent();
        world.report(&[]).assert(0, &["the endpoint has everything"]);
        world.assert_all_is_there_once();
        assert_eq!(world.endpoint.book().duplicates, 5);
    }
}

/// The report was sent whole, its answer was lost, and then a line of it was damaged: the endpoint keeps what it has.
#[test]
fn a_line_that_is_damaged_after_the_endpoint_has_it() {
    let mut world = World::new(3);
    world.endpoint.behave(Manner::Cuts(When::AfterStoring));
    world.report(&[]).assert(2, &["ended before its answer"]);
    world.stop_agent();
    let file = world.spool().join("ticks-00000000000000000001.log");
    fs::write(&file, fs::read_to_string(&file).unwrap().replace("\"run-2\"", "\"run-9\"")).unwrap();
    world.start_agent();
    world.endpoint.behave(Manner::Right);
    world.report(&[]).assert(0, &["the endpoint has everything"]);
    world.assert_all_is_there_once();
    assert_eq!(world.endpoint.book().duplicates, 2);
}

#[test]
fn an_endpoint_that_takes_only_the_beginning_of_each_report() {
    let world = World::new(4);
    world.endpoint.behave(Manner::TakesOne);
    world.report(&[]).assert(0, &["Reported 4 ticks in 4 reports", "the endpoint has everything"]);
    world.assert_all_is_there_once();
    assert_eq!(world.endpoint.book().duplicates, 0, "what was not taken was not stored");
}

#[test]
fn settings_that_name_no_endpoint_are_refused_when_they_are_made() {
    let world = World::new(0);
    world.ask(async |agent, _| {
        let before = agent.settings().await.unwrap();
        let ca_pem = before.settings.usage.ca_pem.clone();
        for (url, ca_pem, words) in [
            (Some("http://127.0.0.1:1"), ca_pem.clone(), "does not begin with https://"),
            (Some("https://ada:secret@127.0.0.1"), ca_pem.clone(), "carries a user or a password"),
            (Some("https://127.0.0.1"), None, "without usage.ca_pem"),
            (Some("https://127.0.0.1"), Some("text".to_owned()), "holds no certificate"),
            (None, ca_pem, "without usage.url"),
        ] {
            let usage = Usage { url: url.map(str::to_owned), ca_pem };
            let settings = Settings { usage, ..Settings::default() };
            let refused = agent.change_settings(&Change { based_on: before.version, settings }).await.unwrap_err();
            let sentence = refused.to_string();
            assert!(sentence.contains(words) && !sentence.contains("secret"), "{sentence}");
        }
        assert_eq!(agent.settings().await.unwrap(), before);
    });
}

#[test]
fn help_has_an_example_and_wrong_numbers_are_refused() {
    let world = World::new(0);
    let help = world.report(&["--help"]);
    help.assert(0, &["Example: tbi-agent usage report --json"]);
    for wrong in [["--batch", "0"], ["--batch", "1001"], ["--batches", "0"], ["--timeout", "0"]] {
        let mut command = std::process::Command::new(world::PROGRAM);
        let output = command.args(["usage", "report"]).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
