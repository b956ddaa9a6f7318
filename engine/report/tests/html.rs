//! The HTML report: refers to nothing outside, escapes everything, and says honestly what is missing.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use tbi_bench::object::Object;
use tbi_bench::plan::{PlanFile, PlanFormat, Profile};
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{Kpi, RunRecord, RunStatus, Verdict};
use tbi_bench::units::Span;

fn html(record: &RunRecord) -> String {
    tbi_report::html(record).unwrap()
}

/// Text between tags, style sheet left out: what a reader sees.
fn visible(html: &str) -> String {
    let body = &html[html.find("<body>").unwrap()..];
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

#[track_caller]
fn says_nothing_senseless(html: &str) {
    let text = visible(html);
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        assert!(!matches!(word, "NaN" | "nan" | "inf" | "None" | "Some" | "null"), "{word}");
    }
}

#[test]
fn the_file_refers_to_nothing_outside_itself() {
    let html = html(&common::seconds());
    for forbidden in
        ["http://", "https://", "src=", "<script", "@import", "url(", "<link", "<iframe", "<object", " onload"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for reference in html.split("href=\"").skip(1) {
        assert!(reference.starts_with('#'), "{}", &reference[..40]);
        let target = reference[1..].split('"').next().unwrap();
        assert!(html.contains(&format!("id=\"{target}\"")), "{target}");
    }
    assert!(html.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    assert_eq!(html(&common::small()), html(&common::small()));
}

#[test]
fn hostile_names_are_text() {
    const HOSTILE: &str = "</style><script>alert(1)</script><img src=x onerror=\"y\" '&";
    let mut record = common::small();
    record.plan.name = HOSTILE.to_owned();
    record.id = HOSTILE.to_owned();
    record.reasons = vec![HOSTILE.to_owned()];
    record.dut.model = HOSTILE.to_owned();
    record.dut.configurations[0].text = HOSTILE.to_owned();
    record.environment.cpu = HOSTILE.to_owned();
    record.environment.deviations = vec![HOSTILE.to_owned()];
    record.results[0].note = Some(HOSTILE.to_owned());
    record.results[0].unit = HOSTILE.to_owned();
    record.quic[0].verdict.evidence = HOSTILE.to_owned();
    record.quic[0].verdict.leaks = vec![HOSTILE.to_owned()];
    record.blocks[0].void = Some(HOSTILE.to_owned());
    record.blocks[0].trials[0].observed.client_hello = HOSTILE.to_owned();
    let html = html(&record);
    assert!(!html.contains("<script") && !html.contains("<img"), "a name became markup");
    assert_eq!(html.matches("</style>").count(), 1);
}

#[test]
fn a_run_that_measured_nothing_says_so_everywhere() {
    let html = html(&common::empty());
    says_nothing_senseless(&html);
    for words in [
        "Not measured",
        "No cost is claimed: The personas did not become ready within 10 s",
        "no bench certificate",
        "interrupted",
        "no connection was measured, so nothing is proven",
        "Nothing was measured, so no cost is claimed.",
        "The path was not probed.",
        "No block was run.",
    ] {
        assert!(html.contains(words), "{words}");
    }
}

#[test]
fn results_without_certificate_are_withheld() {
    let mut record = common::short();
    record.certificate = None;
    record.valid = false;
    record.verdict = Verdict::NotMeasured;
    record.reasons =
        vec!["There is no bench certificate, because no reference block was measured; run again.".to_owned()];
    for row in &mut record.results {
        row.headroom = None;
        row.reference = None;
        row.note = Some("no bench certificate for this number, so nothing may be claimed from it".to_owned());
    }
    let html = html(&record);
    // Percentiles and graphs are evidence; cover and results are claims.
    let text = visible(&html[..html.find("id=\"proof\"").unwrap()]);
    assert!(text.contains("withheld: no bench certificate, so nothing may be claimed"));
    assert!(text.contains("no claim"));
    let ratio = format!("{:.2}", record.results[0].cost.unwrap().ratio);
    assert!(!text.contains(&ratio), "a withheld ratio {ratio} is printed");
    let value = format!("{:.2}", record.results[0].on.unwrap());
    assert!(!text.contains(&value), "a withheld value {value} is printed");
}

#[test]
fn one_row_without_headroom_is_withheld_alone() {
    let mut record = common::short();
    record.results[0].headroom = None;
    let html = html(&record);
    assert!(html.contains("withheld: no headroom was measured, so nothing may be claimed"));
    assert!(html.contains("HTTP/2</strong>, 1 KB: handshake time is"), "the other rows keep their claims");
}

#[test]
fn a_run_that_is_not_valid_claims_nothing() {
    let mut record = common::short();
    record.valid = false;
    record.verdict = Verdict::NotMeasured;
    record.reasons = vec!["The bench itself drifted; stop other work on this machine and run again.".to_owned()];
    let html = html(&record);
    assert!(html.contains("measured, not claimed"));
    assert!(html.contains("No cost is claimed: The bench itself drifted"));
    assert!(!html.contains("class=\"cards\""), "large numbers on the cover would be a claim");
}

#[test]
fn bench_limits_are_marked_beside_the_number() {
    let mut record = common::short();
    let html_before = html(&record);
    assert!(html_before.contains("bench-limited: BYPASS could be faster than the bench"));
    assert!(html_before.contains("≤"));
    // Both arms at the bench's limit: not even a bound.
    let row = record
        .results
        .iter_mut()
        .find(|row| (row.protocol, row.object, row.kpi) == (Protocol::H3, Object::Kb1, Kpi::TransactionsPerSecond))
        .unwrap();
    row.on = row.bypass;
    let html = html(&record);
    assert!(html.contains("bench-limited in both arms"));
    assert!(html.contains("requests/s was bench-limited in both arms, so no cost is claimed for it"));
}

#[test]
fn a_cost_that_cannot_be_told_from_none_is_called_that() {
    let mut record = common::short();
    for row in &mut record.results {
        if let Some(cost) = &mut row.cost {
            (cost.ratio, cost.low, cost.high) = (1.01, Some(0.97), Some(1.05));
        }
    }
    assert!(html(&record).contains("which is not distinguishable from no cost"));
}

#[test]
fn few_pairs_are_called_indicative() {
    let html = html(&common::small());
    assert!(html.contains("<strong>indicative</strong>"));
    assert!(html.contains("Indicative only: 2 pairs instead of at least 6."));
}

#[test]
fn a_short_profile_is_not_called_rfc_9411() {
    assert!(html(&common::short()).contains("not RFC 9411: sustain phase 0.7\u{a0}s"));
}

#[test]
fn thin_tails_are_dashes_with_their_reason() {
    let html = html(&common::small());
    assert!(html.contains("A percentile with fewer than 100 samples beyond it would be noise"));
    let row = html.lines().find(|line| line.contains(">handshake</th>") && line.contains("service")).unwrap();
    // 24 samples: none of the five percentiles has a hundred beyond it.
    assert_eq!(row.matches("<td class=\"n\">–</td>").count(), 5, "{row}");
}

#[test]
fn seconds_are_drawn_when_the_sustain_phase_has_some() {
    assert!(html(&common::seconds()).contains("second by second"));
    assert!(!html(&common::short()).contains("(ms), second by second"));
}

#[test]
fn every_combination_of_missing_parts_renders() {
    let full = common::small();
    let empty = common::empty();
    for missing in 0u32..256 {
        let mut record = full.clone();
        let gone = |bit: u32| missing & (1 << bit) != 0;
        if gone(0) {
            record.certificate = None;
        }
        if gone(1) {
            record.results.clear();
        }
        if gone(2) {
            record.proof.clear();
        }
        if gone(3) {
            record.blocks.clear();
        }
        if gone(4) {
            record.distributions.clear();
        }
        if gone(5) {
            record.quic.clear();
            record.dut = empty.dut.clone();
        }
        if gone(6) {
            record.status = RunStatus::Interrupted;
            record.valid = false;
            record.verdict = Verdict::NotMeasured;
            record.reasons.clear();
        }
        if gone(7) {
            for row in &mut record.results {
                (row.on, row.cost, row.headroom) = (None, None, Some(1.0));
            }
        }
        says_nothing_senseless(&html(&record));
        let table = tbi_report::table(&record, 100, tbi_report::Colour::Plain);
        assert!(!table.contains("NaN") && !table.contains("None"), "{table}");
    }
}

#[test]
fn senseless_numbers_are_never_printed() {
    let mut record = common::short();
    for (index, row) in record.results.iter_mut().enumerate() {
        let poison = [f64::NAN, f64::INFINITY, 0.0, -1.0][index % 4];
        row.on = Some(poison);
        row.bypass = Some(poison);
        row.headroom = Some(poison);
        if let Some(cost) = &mut row.cost {
            (cost.ratio, cost.low, cost.high, cost.difference) = (poison, Some(poison), Some(f64::NAN), poison);
        }
    }
    for block in &mut record.blocks {
        block.at = Span::ZERO;
        for trial in &mut block.trials {
            trial.at = Span::ZERO;
            trial.witness.busiest_worker = f64::NAN;
            for value in trial.kpis.values_mut() {
                *value = f64::NAN;
            }
        }
    }
    record.environment.load_average = f64::NAN;
    let html = html(&record);
    assert!(!html.contains("NaN") && !html.contains(">inf"), "a number without sense is printed");
    says_nothing_senseless(&html);
}

#[test]
fn a_blocked_protocol_explains_itself() {
    let mut record = common::small();
    record.plan.dut.on.quic = tbi_bench::control::practice_dut::QuicPolicy::BlockSilent;
    let note = "the device blocks h3 when ON, so there is no handshake time to compare; see the QUIC class and its fallback penalty";
    for row in record.results.iter_mut().filter(|row| row.protocol == Protocol::H3) {
        (row.on, row.cost, row.note) = (None, None, Some(note.to_owned()));
    }
    for row in record.proof.iter_mut().filter(|row| row.protocol == Protocol::H3 && row.arm == Arm::On) {
        (row.unknown, row.intercepted) = (row.intercepted, 0);
    }
    let html = html(&record);
    assert!(html.contains("no cost is claimed; the device blocks h3 when ON"), "headline");
    assert!(html.contains("without any response, as blocking must be"), "proof");
}

#[test]
fn counts_beyond_all_reason_do_not_overflow() {
    let mut record = common::small();
    for block in &mut record.blocks {
        (block.index, block.at, block.took) = (u32::MAX, Span::from_micros(u64::MAX), Span::from_micros(u64::MAX));
        block.pair = block.pair.map(|_| u32::MAX);
        for trial in &mut block.trials {
            (trial.attempts.sent, trial.attempts.late, trial.attempts.skipped) = (u64::MAX, u64::MAX, u64::MAX);
            (trial.proof.intercepted, trial.proof.unknown) = (u64::MAX, u64::MAX);
            trial.witness.udp_receive_drops = u64::MAX;
            for tick in &mut trial.ticks {
                (tick.connections, tick.length) = (u64::MAX, Span::ZERO);
            }
        }
    }
    for row in &mut record.proof {
        (row.intercepted, row.end_to_end, row.altered) = (u64::MAX, u64::MAX, u64::MAX);
    }
    says_nothing_senseless(&html(&record));
    assert!(!tbi_report::table(&record, 100, tbi_report::Colour::Plain).is_empty());
}

#[test]
fn the_plan_that_is_shown_is_a_plan_file() {
    let record = common::seconds();
    let html = html(&record);
    let shown = html.split("<pre class=\"plan\">").nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap();
    let toml = shown.replace("&#34;", "\"").replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&");
    let plan = PlanFile::parse(&toml, PlanFormat::Toml).unwrap().resolve(Profile::Quick).unwrap();
    assert_eq!(plan, record.plan);
}
