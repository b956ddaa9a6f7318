//! Every page in a real browser: accessible, whole when it is zoomed, usable with the keyboard alone and without JavaScript, quiet, light, and
//! deaf to scripts that are typed into it.

use std::time::Duration;

use tbi_tests::awake::Awake;
use tbi_tests::browser::{Dashboard, TINY, Target};

fn walk(story: &str, language: &str, within: Duration) {
    let _awake = Awake::keep();
    Dashboard::start(TINY).walk(story, language, within);
}

#[test]
fn browser_every_page_is_accessible_quiet_and_light() {
    walk("crawl", "en", Duration::from_secs(840));
}

#[test]
fn browser_every_page_is_accessible_quiet_and_light_in_portuguese() {
    walk("crawl", "pt-BR", Duration::from_secs(840));
}

#[test]
fn browser_no_field_runs_what_is_typed_and_none_forgets_it() {
    walk("hostile", "en", Duration::from_secs(840));
}

#[test]
fn browser_without_javascript_an_operators_day_works() {
    walk("plain", "en", Duration::from_secs(300));
}

#[test]
fn browser_checks_see_what_they_are_for() {
    // Its pages are its own; nothing listens there.
    let nobody = Target { url: "https://127.0.0.1:9/", code: "", resolve: None, measures: false, lab: None };
    tbi_tests::browser::walk("selfcheck", "en", &nobody, Duration::from_secs(120));
}
