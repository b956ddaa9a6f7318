//! What the API gives of a run, made from a record as the engine wrote it: the fixture of the report.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tbi_api::client::AgentClient;
use tbi_api::runs::{Compare, RunState, Stop};
use tbi_api::series::MOST_POINTS;
use tbi_bench::control::engine::Tick;
use tbi_bench::record::{BlockRecord, RunRecord};
use tbi_bench::units::Span;

use super::tests::{booted, code, on_a_box};
use crate::run::journal::{OpenSecond, OpenTrial};

const RECORD: &str = include_str!("../../../../engine/report/fixtures/run-v1.json");
const ID: &str = "20260131T235959Z";

fn record() -> RunRecord {
    serde_json::from_str(RECORD).unwrap()
}

fn kept(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}

/// A run under way: `whole` blocks of the record, half a line of the next, and what is open of it.
fn under_way(folder: &Path, record: &RunRecord, whole: usize, open: usize) {
    kept(folder, "plan.json", &serde_json::to_string(&record.plan).unwrap());
    let line = |block: &BlockRecord| serde_json::to_string(block).unwrap() + "\n";
    let mut blocks: String = record.blocks[..whole].iter().map(line).collect();
    blocks.push_str(&line(&record.blocks[whole])[..100]);
    kept(folder, "blocks.jsonl", &blocks);
    let next = &record.blocks[whole];
    let trials = next.trials[..open].iter().map(|trial| {
        let open =
            OpenTrial { block: whole as u32, arm: next.arm, pair: next.pair, block_at: next.at, trial: trial.clone() };
        serde_json::to_string(&open).unwrap() + "\n"
    });
    kept(folder, "open.jsonl", &trials.collect::<String>());
}

#[tokio::test]
async fn the_series_of_a_record_has_its_rows_and_all_its_blocks() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, _socket, runs, _| async move {
        assert_eq!(code(&agent.run_series(ID).await.unwrap_err()), "not-written-yet");
        assert_eq!(code(&agent.run_series("20990101T000000Z").await.unwrap_err()), "no-such-run");
        kept(&runs.folder, "run.json", RECORD);
        let (series, record) = (agent.run_series(ID).await.unwrap(), record());
        assert!(series.over && series.doing.is_none());
        assert_eq!((&series.results, &series.proof), (&record.results, &record.proof));
        assert_eq!(series.done.len(), record.blocks.len());
        let values: usize = record.blocks.iter().flat_map(|block| &block.trials).map(|trial| trial.kpis.len()).sum();
        assert_eq!(series.done.iter().map(|block| block.values.len()).sum::<usize>(), values);
        let points: usize = series.traces.iter().map(|trace| trace.at_s.len()).sum();
        let seconds = record.blocks.iter().flat_map(|block| &block.trials).flat_map(|trial| &trial.ticks);
        assert_eq!(points, seconds.filter(|tick| tick.length > Span::ZERO).count());
        assert!(points > 0, "also a run of seconds has something to draw");
        for trace in &series.traces {
            let columns = [&trace.connections_per_s, &trace.requests_per_s, &trace.failed_per_s, &trace.mbit_per_s];
            assert!(columns.iter().all(|column| column.len() == trace.at_s.len()));
            assert_eq!((trace.ttfb_p50_ms.len(), trace.joined), (trace.at_s.len(), 1));
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_under_way_shows_what_is_on_the_disk_also_of_its_open_block() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, _socket, runs, _| async move {
        let record = record();
        runs.run.send_modify(|run| run.state = RunState::Running);
        kept(&runs.folder, "plan.json", &serde_json::to_string(&record.plan).unwrap());
        let series = agent.run_series(ID).await.unwrap();
        assert!(series.done.is_empty() && series.doing.as_ref().unwrap().block == 1, "{series:?}");
        under_way(&runs.folder, &record, 3, 1);
        let series = agent.run_series(ID).await.unwrap();
        assert!(!series.over);
        assert_eq!(series.done.len(), 4, "three whole ones and the open one");
        assert!(series.done[2].took_s.is_some() && series.done[3].took_s.is_none());
        let doing = series.doing.unwrap();
        assert_eq!((doing.block, doing.trials_done, doing.arm), (4, 1, record.blocks[3].arm));
        let costs = series.results.iter().filter_map(|row| row.cost);
        assert!(costs.clone().count() > 0 && costs.clone().all(|cost| cost.pairs == 1 && cost.low.is_none()));
        assert!(series.results.iter().all(|row| row.note.is_some()), "nothing may be claimed while it is under way");
        // Another agent on the same disk says the same: nothing of it is in memory.
        let again = super::series::Kept::read(&runs.folder, ID, "2026-01-31T23:59:59Z").unwrap().series();
        assert_eq!(again.done, series.done);
        // What was noted before its block was stored is not counted twice.
        under_way(&runs.folder, &record, 3, 2);
        let stored = fs::read_to_string(runs.folder.join("open.jsonl")).unwrap();
        under_way(&runs.folder, &record, 4, 0);
        kept(&runs.folder, "open.jsonl", &stored);
        assert_eq!(agent.run_series(ID).await.unwrap().done.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn seconds_of_the_trial_under_way_are_drawn_once_also_by_another_agent() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, _socket, runs, _| async move {
        let record = record();
        runs.run.send_modify(|run| run.state = RunState::Running);
        under_way(&runs.folder, &record, 3, 1);
        let points = |series: &tbi_api::series::Series| -> usize { series.traces.iter().map(|it| it.at_s.len()).sum() };
        let before = points(&agent.run_series(ID).await.unwrap());
        let (block, trial) = (&record.blocks[3], &record.blocks[3].trials[1]);
        let seconds: Vec<OpenSecond> = (1..=3)
            .map(|at| OpenSecond {
                block: 3,
                trial: 1,
                arm: block.arm,
                protocol: trial.protocol,
                object: trial.object,
                kind: trial.kind,
                trial_at: trial.at,
                tick: Tick { at: Span::from_secs(at), length: Span::from_secs(1), ..trial.ticks[0].clone() },
            })
            .collect();
        let text: String = seconds.iter().map(|it| serde_json::to_string(it).unwrap() + "\n").collect();
        // The line that is being written is half there.
        kept(&runs.folder, "seconds.jsonl", &format!("{text}{}", &text[..40]));
        let series = agent.run_series(ID).await.unwrap();
        assert_eq!(points(&series), before + 3);
        let told = seconds[2].told();
        let line = series.traces.iter().find(|it| (it.kind, it.arm) == (told.kind, told.arm)).unwrap();
        assert_eq!(*line.at_s.last().unwrap(), told.at_ms as f64 / 1000.0, "what is told live is where it is drawn");
        let again = super::series::Kept::read(&runs.folder, ID, "2026-01-31T23:59:59Z").unwrap().series();
        assert_eq!(again.traces, series.traces);
        // The trial is noted, and its seconds are still there.
        under_way(&runs.folder, &record, 3, 2);
        let ticks = trial.ticks.iter().filter(|tick| tick.length > Span::ZERO).count();
        assert_eq!(points(&agent.run_series(ID).await.unwrap()), before + ticks);
    })
    .await;
}

#[tokio::test]
async fn a_line_of_many_seconds_is_thinned() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, _socket, runs, _| async move {
        let mut record = record();
        let trial = &mut record.blocks[0].trials[0];
        let mut tick = trial.ticks[0].clone();
        tick.length = Span::from_secs(1);
        (tick.connections, tick.body_bytes) = (7, 1_000_000);
        trial.ticks = (1..=1000)
            .map(|second| {
                let at = Span::from_secs(second);
                tbi_bench::control::engine::Tick { at, ..tick.clone() }
            })
            .collect();
        let key = (trial.protocol, trial.object, trial.kind, record.blocks[0].arm);
        kept(&runs.folder, "run.json", &serde_json::to_string(&record).unwrap());
        let series = agent.run_series(ID).await.unwrap();
        let trace = series.traces.iter().find(|it| (it.protocol, it.object, it.kind, it.arm) == key).unwrap();
        assert!(trace.at_s.len() <= MOST_POINTS + record.blocks.len(), "{}", trace.at_s.len());
        assert!(trace.joined >= 3 && trace.at_s[..300].windows(2).all(|two| two[0] < two[1]));
        assert!((trace.connections_per_s[0] - 7.0).abs() < 1e-9 && (trace.mbit_per_s[0] - 8.0).abs() < 1e-9);
    })
    .await;
}

async fn twice(agent: &tbi_daemon::UnixClient, path: &str) -> String {
    let first = agent.get_text(path).await.unwrap();
    assert_eq!(first, agent.get_text(path).await.unwrap(), "{path}: the second download differs");
    first
}

#[tokio::test]
async fn exports_are_the_same_bytes_twice_and_have_the_numbers_of_the_record() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |_agent, socket, runs, _| async move {
        kept(&runs.folder, "run.json", RECORD);
        kept(&runs.folder, "report.html", "<html>");
        let record = record();
        let at = |what: &str| format!("/v1/runs/{ID}/{what}");
        assert_eq!(twice(&socket, &at("record")).await, RECORD);
        assert_eq!(twice(&socket, &at("report")).await, "<html>");
        let histograms: Value = serde_json::from_str(&twice(&socket, &at("histograms")).await).unwrap();
        assert_eq!(histograms["distributions"], serde_json::to_value(&record.distributions).unwrap());
        assert_eq!(histograms["id"], record.id.as_str());

        let text = twice(&socket, &at("csv?zone=America/Sao_Paulo")).await;
        let lines: Vec<Vec<&str>> = text.split("\r\n").map(|line| line.split(',').collect()).collect();
        let column = |name: &str| lines[0].iter().position(|it| *it == name).unwrap();
        let results: Vec<_> = lines.iter().filter(|line| line.get(column("line")) == Some(&"result")).collect();
        assert_eq!(results.len(), record.results.len());
        for (line, row) in results.iter().zip(&record.results) {
            let number = |name: &str| line[column(name)].parse::<f64>().ok();
            assert_eq!(number("on"), row.on);
            assert_eq!(number("bypass"), row.bypass);
            assert_eq!(number("cost_ratio"), row.cost.map(|cost| cost.ratio));
            assert_eq!(number("cost_low"), row.cost.and_then(|cost| cost.low));
            assert_eq!(line[column("unit")], row.unit);
        }
        let blocks: Vec<_> = lines.iter().filter(|line| line.get(column("line")) == Some(&"block")).collect();
        let values: usize = record.blocks.iter().flat_map(|block| &block.trials).map(|trial| trial.kpis.len()).sum();
        assert_eq!(blocks.len(), values);
        assert!(blocks.iter().all(|line| line[column("began")].ends_with("-03:00")), "{:?}", blocks[0]);
        let began: jiff::Timestamp = blocks[0][column("began")].parse().unwrap();
        let start: jiff::Timestamp = record.started.parse().unwrap();
        assert!(began >= start && began < record.ended.parse().unwrap());
        assert!(twice(&socket, &at("csv")).await.contains("+00:00"), "UTC when no zone is asked for");
        for wrong in ["Nowhere/At_All", "..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Flocaltime", "", &"A".repeat(5000)] {
            let refused = socket.get_text(&at(&format!("csv?zone={wrong}"))).await.unwrap_err();
            assert_eq!(code(&refused), "no-such-zone", "{wrong}");
        }
        assert!(socket.get_text(&at("csv?colour=blue")).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_record_that_is_damaged_is_none() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, socket, runs, _| async move {
        for damaged in ["", "{", "[]", "{\"plan\":{}}", &RECORD[..RECORD.len() / 2]] {
            kept(&runs.folder, "run.json", damaged);
            assert_eq!(code(&agent.run_series(ID).await.unwrap_err()), "not-written-yet");
            assert_eq!(code(&agent.run_outline(ID).await.unwrap_err()), "not-written-yet");
            let error = socket.get_text(&format!("/v1/runs/{ID}/csv")).await.unwrap_err();
            assert_eq!(code(&error), "not-written-yet");
        }
    })
    .await;
}

#[tokio::test]
async fn the_outline_and_the_comparison_of_a_real_record() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent: AgentClient, _socket, runs, _| async move {
        kept(&runs.folder, "run.json", RECORD);
        let (outline, record) = (agent.run_outline(ID).await.unwrap(), record());
        assert_eq!((outline.valid, outline.verdict), (record.valid, record.verdict));
        assert_eq!((&outline.reasons, &outline.tool), (&record.reasons, &record.tool));
        assert_eq!((&outline.preflight, &outline.authorization), (&record.preflight, &record.authorization));
        assert_eq!(outline.plan, serde_json::to_value(&record.plan).unwrap());
        let wanted = Compare { baseline: ID.to_owned(), runs: ID.to_owned() };
        let compared = agent.compare_runs(&wanted).await.unwrap();
        assert_eq!(compared.rows.len(), record.results.len());
        let change = compared.rows.iter().find_map(|row| row.runs[0].as_ref()?.change).unwrap();
        assert!(!change.differs && (change.ratio - 1.0).abs() < 1e-9);
    })
    .await;
}

#[tokio::test]
async fn a_run_is_stopped_with_a_reason_that_is_in_the_audit_chain() {
    let (dir, root) = booted("one");
    on_a_box(dir.path(), root, |agent, _socket, runs, _| async move {
        for wrong in [" ".to_owned(), "a".repeat(201), "two\nlines".to_owned(), "\u{0}".to_owned()] {
            let stop = Stop { reason: Some(wrong) };
            assert_eq!(code(&agent.stop_run(ID, &stop).await.unwrap_err()), "reason-refused");
        }
        assert_eq!(runs.run.borrow().state, RunState::Preparing, "a refused wish stops nothing");
        let stop = Stop { reason: Some(" wrong device & \"cable\" ".to_owned()) };
        agent.stop_run(ID, &stop).await.unwrap();
        assert_eq!(runs.run.borrow().state, RunState::Interrupted);
        let entries = agent.audit(&tbi_api::audit::Filter::default()).await.unwrap();
        let entry = entries.iter().find(|entry| entry.action == "runs.remove" && entry.outcome == "done").unwrap();
        let detail: Value = serde_json::from_str(&entry.detail).unwrap();
        assert_eq!(detail["reason"], "wrong device & \"cable\"");
    })
    .await;
}
