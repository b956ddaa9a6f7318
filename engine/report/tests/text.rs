//! The closing table: its layout as a snapshot, its width, its honesty.

mod common;

use tbi_bench::record::Verdict;
use tbi_report::{Colour, table};

#[test]
fn the_closing_table_of_a_short_run() {
    insta::assert_snapshot!(table(&common::short(), 100, Colour::Plain));
}

#[test]
fn the_closing_table_of_a_quick_run() {
    insta::assert_snapshot!(table(&common::small(), 100, Colour::Plain));
}

#[test]
fn the_closing_table_of_a_run_that_measured_nothing() {
    insta::assert_snapshot!(table(&common::empty(), 100, Colour::Plain));
}

#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    for mut record in [common::short(), common::seconds(), common::small(), common::empty()] {
        record.reasons.push("a reason that goes on and on ".repeat(12));
        for line in table(&record, 100, Colour::Plain).lines() {
            assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        }
    }
}

#[test]
fn results_without_certificate_are_withheld() {
    let mut record = common::short();
    record.certificate = None;
    record.valid = false;
    record.verdict = Verdict::NotMeasured;
    for row in &mut record.results {
        row.headroom = None;
    }
    let text = table(&record, 100, Colour::Plain);
    assert!(text.contains("withheld: no bench certificate, so nothing may be claimed"), "{text}");
    let cost = record.results.iter().find_map(|row| row.cost).map(|cost| format!("{:.2}", cost.ratio));
    assert!(cost.is_some_and(|cost| !text.contains(&cost)), "a withheld ratio is printed: {text}");
}

#[test]
fn escape_sequences_of_others_do_not_reach_the_terminal() {
    let mut record = common::small();
    record.reasons = vec!["\u{1b}[2Jcleared\u{7}".to_owned()];
    record.results[0].note = Some("\u{1b}]0;title\u{7}".to_owned());
    record.results[1].unit = "\u{1b}[31m".to_owned();
    let text = table(&record, 100, Colour::Plain);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}

#[test]
fn colour_changes_no_word() {
    let record = common::short();
    let mut plain = String::new();
    let mut inside = false;
    for c in table(&record, 100, Colour::Ansi).chars() {
        match c {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    assert_eq!(plain, table(&record, 100, Colour::Plain));
}
