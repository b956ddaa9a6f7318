//! How far the setup of the box is, in a few rows: how many steps are done, where to go on, and each step with its state. Read-only: a browser
//! does all of them better. Pure.

use tbi_api::setup::{Setup, StepState};
use tbi_api::status::Status;

use super::{LABEL, field, url, usable};
use crate::text::{plain, wrap, wrap_most};

/// What the marks before the names mean.
const LEGEND: &str = "(+ done, - left out, > next)";

/// At most `most` rows; none for a setup that is finished.
pub(super) fn rows(setup: &Setup, status: &Status, width: usize, most: usize) -> Vec<String> {
    if setup.finished.is_some() || setup.steps.is_empty() {
        return Vec::new();
    }
    let room = width.saturating_sub(LABEL + 1);
    let mut lines = wrap(&lead(setup, status), room);
    if lines.len() > most.min(2) {
        // The address stands above as well.
        lines = wrap_most(&short(setup), room, most.min(1));
    }
    // The steps whole or not at all, and what their marks mean only with them.
    for more in [wrap(&names(setup), room), wrap(LEGEND, room)] {
        if lines.len() + more.len() > most {
            break;
        }
        lines.extend(more);
    }
    lines.iter().enumerate().map(|(index, line)| field(if index == 0 { "Setup" } else { "" }, line)).collect()
}

/// `2 of 12 done, 1 left out`.
fn far(setup: &Setup) -> String {
    let count = |state| setup.steps.iter().filter(|step| step.state == state).count();
    let (done, skipped) = (count(StepState::Done), count(StepState::Skipped));
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} left out") };
    format!("{done} of {} done{skipped}", setup.steps.len())
}

fn short(setup: &Setup) -> String {
    let next = setup.current.as_deref().map(|current| format!("; next: {}", plain(current)));
    format!("{}{}", far(setup), next.unwrap_or_default())
}

fn lead(setup: &Setup, status: &Status) -> String {
    let far = far(setup);
    let Some(home) = usable(&status.addresses).map(url).next() else {
        return format!("{far}; goes on in a browser once the box has an address");
    };
    // Whoever has no account comes to the page for the claim code, whatever the path.
    let path = match &setup.current {
        _ if status.claim_code.is_some() => String::new(),
        Some(current) => format!("setup/{}", plain(current)),
        None => "setup/summary".to_owned(),
    };
    format!("{far}; go on at {home}{path}")
}

fn names(setup: &Setup) -> String {
    let current = setup.current.as_deref();
    let name = |step: &tbi_api::setup::Step| {
        let mark = match step.state {
            StepState::Done => '+',
            StepState::Skipped => '-',
            StepState::Todo if current == Some(step.name.as_str()) => '>',
            StepState::Todo => '.',
        };
        format!("{mark}{}", step.name)
    };
    setup.steps.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use tbi_api::setup::Step;

    use super::super::tests::status;
    use super::super::{Known, Size, View, frame};
    use super::*;

    const STEPS: [&str; 12] = [
        "account",
        "language",
        "name",
        "management",
        "time",
        "certificate",
        "topology",
        "trunk",
        "device",
        "authorities",
        "preflight",
        "summary",
    ];

    /// The first `done` are done, and the last of them is left out.
    pub(in super::super) fn setup(current: &str, names: &[&str], done: usize) -> Setup {
        let step = |(at, name): (usize, &&str)| Step {
            name: (*name).to_owned(),
            state: match at + 1 {
                at if at < done => StepState::Done,
                at if at == done => StepState::Skipped,
                _ => StepState::Todo,
            },
            when: None,
            by: None,
            reason: None,
            optional: true,
            sentence: String::new(),
        };
        Setup { steps: names.iter().enumerate().map(step).collect(), current: Some(current.to_owned()), finished: None }
    }

    fn shown(status: &Status, setup: Setup, width: usize) -> Vec<String> {
        let known = Known { status: status.clone(), setup: Some(setup) };
        frame(&View::Answered(Box::new(known)), Size { width, height: 24 })
    }

    #[test]
    fn a_setup_under_way_says_how_far_it_is_and_where_it_goes_on() {
        let mut status = status();
        status.run = None;
        let rows = shown(&status, setup("management", &STEPS, 3), 80);
        let expected = " Setup         2 of 12 done, 1 left out; go on at
               https://10.0.2.15/setup/management
               +account +language -name >management .time .certificate
               .topology .trunk .device .authorities .preflight .summary
               (+ done, - left out, > next)";
        let at = rows.iter().position(|row| row.starts_with(" Setup")).unwrap_or_default();
        assert_eq!(rows[at..at + 5].join("\n"), expected, "{rows:#?}");
        assert_eq!(rows[23], " This screen only shows. To change something, open the address above.");
    }

    #[test]
    fn what_is_wrong_keeps_a_row_and_the_rows_are_the_screens() {
        let mut status = status();
        status.claim_code = Some("23456-789AB-CDEFG-HJKLM".to_owned());
        status.problems = vec!["The clock is not synchronised.".to_owned(), "The network was not laid.".to_owned()];
        let rows = shown(&status, setup("account", &STEPS, 0), 80);
        assert_eq!(rows.len(), 24);
        assert!(rows.iter().any(|row| row.contains("0 of 12 done; go on at https://10.0.2.15/")), "{rows:#?}");
        for problem in &status.problems {
            assert!(rows.iter().any(|row| row.contains(problem)), "{rows:#?}");
        }
        assert!(rows[23].starts_with(" This screen only shows"), "{rows:#?}");
    }

    #[test]
    fn where_rows_are_few_what_is_wrong_is_told_whole_and_the_setup_in_one() {
        let mut status = status();
        status.claim_code = Some("23456-789AB-CDEFG-HJKLM".to_owned());
        status.addresses = Vec::new();
        status.run = None;
        status.problems =
            ["card", "clock"].map(|what| format!("There is no {what} {}", "and that is long ".repeat(11))).into();
        let rows = shown(&status, setup("account", &STEPS, 0), 80);
        let has = |what: &str| rows.iter().any(|row| row.starts_with(what));
        assert_eq!(rows.iter().filter(|row| row.starts_with("   * ")).count(), 2, "{rows:#?}");
        assert!(!has("     and "), "both are told whole: {rows:#?}");
        assert!(has(" Setup         0 of 12 done; goes on in a browser once the box has an address"), "{rows:#?}");
        assert!(!rows.iter().any(|row| row.contains(">account")), "{rows:#?}");
        // And what it comes down to when there is hardly any room for it.
        status.addresses = vec!["2001:db8:1234:5678:9abc:def0:1234:5678/64".to_owned()];
        let one = super::rows(&setup("account", &STEPS, 0), &status, 79, 1);
        assert_eq!(one, [" Setup         0 of 12 done; next: account"]);
    }

    #[test]
    fn a_narrow_screen_a_box_without_an_address_and_a_setup_that_is_over() {
        let mut status = status();
        let rows = shown(&status, setup("time", &STEPS, 4), 40);
        assert_eq!(rows.len(), 24);
        assert!(rows.iter().all(|row| row.len() < 40), "{rows:#?}");
        status.addresses = vec!["fe80::1/64".to_owned()];
        let rows = shown(&status, setup("time", &STEPS, 4), 80).join(" ");
        assert!(rows.contains("3 of 12 done, 1 left out; goes on in a browser once the box has"), "{rows}");
        let over = Setup { finished: Some("2026-01-31T12:00:00Z".to_owned()), ..setup("", &STEPS, 12) };
        assert!(!shown(&status, over, 80).iter().any(|row| row.starts_with(" Setup")));
    }

    #[test]
    fn there_are_never_more_rows_than_asked_for() {
        let setup = setup("time", &STEPS, 4);
        for most in 0..8 {
            for width in [39, 79, 119] {
                assert!(rows(&setup, &status(), width, most).len() <= most, "{most} at {width}");
            }
        }
    }
}
