//! An operator's day in a real browser, in the lab: claim, wizard, overview, run, live, report, compare, audit, users, logout. Once in each
//! language, each on a lab of its own.

use std::time::Duration;

use tbi_tests::awake::Awake;
use tbi_tests::browser::{DOWN, Dashboard, TINY};

fn day_in(language: &str) {
    let _awake = Awake::keep();
    let lab = Dashboard::start(TINY);
    lab.walk("story", language, Duration::from_secs(400));
    let (finished, took, _home) = lab.interrupt();
    assert_eq!(finished.code(), 0, "{}", finished.stdout);
    assert!(took < DOWN, "the lab was down only {took:?} after Ctrl-C");
}

#[test]
fn browser_story_in_english() {
    day_in("en");
}

#[test]
fn browser_story_in_portuguese() {
    day_in("pt-BR");
}
