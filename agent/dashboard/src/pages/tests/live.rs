//! Runs ordered, followed, stopped and compared on the pages, with what a real record says.

use http::StatusCode;
use tbi_api::runs::{Profile, RunState};
use tbi_api::series::{Block, Doing, Series, Trace, Value};
use tbi_bench::preflight::{Check, CheckName, CheckVerdict, Preflight};
use tbi_bench::protocol::Arm;
use tbi_bench::record::{RunRecord, TrialKind};

use super::agent::{RECORD, outline, run};
use super::hostile::{HOSTILE, harmless, shown};
use super::markup::well_made;
use super::{Browser, Page, Stand};

const ID: &str = "20260131T230000Z";
const OTHER: &str = "20260131T220000Z";

fn record() -> RunRecord {
    serde_json::from_str(RECORD).unwrap()
}

/// What the agent makes of a record; of its first `blocks` blocks, with one more under way, when the run is not over.
fn series(blocks: usize, over: bool) -> Series {
    let record = record();
    let block = |block: &tbi_bench::record::BlockRecord| Block {
        number: block.index + 1,
        arm: block.arm,
        pair: block.pair.map(|pair| pair + 1),
        at_s: block.at.as_secs_f64(),
        took_s: Some(block.took.as_secs_f64()),
        void: None,
        connections: 1000,
        intercepted: if block.arm == Arm::On { 1000 } else { 0 },
        failed: 3,
        values: block
            .trials
            .iter()
            .flat_map(|trial| {
                trial.kpis.iter().map(|(kpi, value)| Value {
                    protocol: trial.protocol,
                    object: trial.object,
                    kpi: *kpi,
                    unit: kpi.unit().to_owned(),
                    value: *value,
                })
            })
            .collect(),
    };
    let done: Vec<Block> = record.blocks.iter().take(blocks).map(block).collect();
    let results = match over {
        true => record.results.clone(),
        false => tbi_bench::analysis::results(&record.plan, &record.blocks[..blocks], None),
    };
    Series {
        over,
        blocks: record.blocks.len() as u32,
        pairs: record.plan.pairs,
        results,
        proof: tbi_bench::analysis::proof(&record.plan, &record.blocks[..blocks]),
        doing: (!over).then(|| Doing {
            block: blocks as u32 + 1,
            arm: Arm::On,
            pair: Some(1),
            trials_done: 2,
            trials: 10,
            trial: Some("h3 1KB latency".to_owned()),
        }),
        traces: done
            .first()
            .map(|_| Trace {
                protocol: record.plan.protocols[0],
                object: record.plan.objects[0],
                kind: TrialKind::Latency,
                arm: Arm::On,
                joined: 1,
                at_s: vec![0.9],
                connections_per_s: vec![100.0],
                requests_per_s: vec![100.0],
                failed_per_s: vec![0.0],
                mbit_per_s: vec![0.8],
                ttfb_p50_ms: vec![Some(3.9)],
            })
            .into_iter()
            .collect(),
        done,
    }
}

/// Values of all fields of a form as a browser would send it back.
fn form(page: &Page, action: &str) -> Vec<(String, String)> {
    let form =
        page.body.split("<form ").find(|form| form.contains(&format!("method=\"post\" action=\"{action}\""))).unwrap();
    let form = form.split("</form>").next().unwrap();
    let attribute = |tag: &str, name: &str| {
        let lead = format!(" {name}=\"");
        tag.split(&lead).nth(1).map(|rest| rest.split('"').next().unwrap().to_owned())
    };
    let mut fields = Vec::new();
    for tag in form.split("<input ").skip(1).map(|rest| format!(" {}", rest.split('>').next().unwrap())) {
        let ticked = !tag.contains("type=\"checkbox\"") || tag.contains(" checked");
        if ticked && let Some(name) = attribute(&tag, "name") {
            fields.push((name, attribute(&tag, "value").unwrap_or_default()));
        }
    }
    fields
}

/// Sends a form with some fields typed over.
async fn send(browser: &mut Browser, stand: &Stand, page: &Page, action: &str, typed: &[(&str, &str)]) -> Page {
    let mut fields = form(page, action);
    for (name, value) in typed {
        fields.retain(|(known, _)| known != name);
        fields.push(((*name).to_owned(), (*value).to_owned()));
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post(stand, action, &fields).await
}

#[tokio::test]
async fn a_run_is_checked_drawn_and_started_once() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, "/runs/new").await.is(403);
    vera.get(&stand, "/runs").await.is(200).has_not("href=\"/runs/new\"");
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    olaf.get(&stand, "/runs").await.is(200).has("href=\"/runs/new\"");
    let page = olaf.get(&stand, "/runs/new?profile=short").await.is(200);
    let page = page.has("value=\"decryption cost, short profile\"").has("value=\"700ms\"").has_not("<svg");
    let page = send(&mut olaf, &stand, &page, "/runs/new", &[("pairs", "3"), ("act", "check")]).await.is(200);
    let page = page.has("<svg").has("98,800 TSU are left").has("value=\"3\"").has("--json").has("Copy as API call");
    // Three pairs, two reference blocks, each a rectangle and a line of the table.
    assert_eq!(page.body.matches("<rect class=\"block-on\"").count(), 3);
    assert_eq!(page.body.matches("<rect class=\"block-reference\"").count(), 2);
    assert!(stand.agent.asked().iter().all(|(path, _)| path != "POST"), "checking orders nothing");
    stand.agent.change(|told| assert!(told.orders.is_empty()));
    let started = send(&mut olaf, &stand, &page, "/runs/new", &[("act", "start")]).await;
    started.leads_to("/runs/20260201T000000Z");
    stand.agent.change(|told| {
        let order = told.orders.first().unwrap();
        assert_eq!((order.profile, &order.plan.as_ref().unwrap()["pairs"]), (Profile::Short, &serde_json::json!(3)));
        assert!(order.preflight_bypass.is_none());
    });
    let keys = |stand: &Stand| -> Vec<String> {
        let asked = stand.agent.asked();
        asked
            .iter()
            .filter_map(|(_, headers)| Some(headers.get("idempotency-key")?.to_str().unwrap().to_owned()))
            .collect()
    };
    let first = keys(&stand);
    assert!(first.len() == 1 && first[0].len() == 32, "{first:?}");
    // Sent again from the same page (a double click, a page from the history): the same key.
    send(&mut olaf, &stand, &page, "/runs/new", &[("act", "start")]).await.is(303);
    assert_eq!(keys(&stand), [first[0].clone(), first[0].clone()]);
    stand.stop().await;
}

#[tokio::test]
async fn wrong_and_hostile_fields_of_a_plan_are_said_at_the_field_and_kept() {
    let stand = Stand::start().await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, "/runs/new").await.is(200);
    for (name, wrong) in [
        ("name", ""),
        ("pairs", "0"),
        ("pairs", HOSTILE),
        ("reference_blocks", "many"),
        ("sustain", "5"),
        ("sustain", HOSTILE),
        ("rate", HOSTILE),
        ("connections", "-1"),
        ("streams", "0"),
        ("transactions", "1e9"),
        ("personas", "1000"),
        ("seed", HOSTILE),
        ("expert", HOSTILE),
        ("expert", "pairs = 0"),
        ("bypass", "no"),
    ] {
        // An empty name is the template's.
        if wrong.is_empty() {
            send(&mut olaf, &stand, &page, "/runs/new", &[(name, wrong), ("act", "check")]).await.is(200);
            continue;
        }
        let typed =
            [(name, wrong), ("act", "start"), ("transactions", if name == "transactions" { wrong } else { "17" })];
        let typed = if name == "transactions" { &typed[..2] } else { &typed[..] };
        let answer = send(&mut olaf, &stand, &page, "/runs/new", typed).await.is(422);
        harmless(&answer);
        well_made("/runs/new", &answer);
        let answer = answer.has(&format!("id=\"{name}-error\"")).has("aria-invalid=\"true\"");
        assert_eq!(answer.body.matches("class=\"error\"").count(), 1, "{name}: one message");
        if name != "transactions" {
            answer.has("value=\"17\"");
        }
    }
    for group in ["protocols", "objects", "loads"] {
        let fields = form(&page, "/runs/new");
        let fields: Vec<_> = fields
            .iter()
            .filter(|(name, _)| !name.starts_with(&format!("{group}-")))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        olaf.post(&stand, "/runs/new", &fields).await.is(422).has(&format!("id=\"{group}-error\""));
    }
    let large = "#".repeat(70_000);
    send(&mut olaf, &stand, &page, "/runs/new", &[("expert", &large)]).await.is(413);
    stand.agent.change(|told| assert!(told.orders.is_empty(), "nothing of this began"));
    stand.stop().await;
}

#[tokio::test]
async fn two_operators_at_once_the_second_sees_who_runs_what() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    let page = anna.get(&stand, "/runs/new").await.is(200).has_not("One run at a time");
    stand.agent.change(|told| {
        told.runs = vec![run(ID, "night & day", RunState::Running)];
        told.refusal = Some((StatusCode::CONFLICT, "run-under-way", "the run X is under way".to_owned()));
    });
    let page = send(&mut anna, &stand, &page, "/runs/new", &[("act", "start"), ("pairs", "4")]).await.is(409);
    let page = page.has("olaf runs &#34;night &#38; day&#34; since 2026-01-31 23:00:00 +00:00");
    let page = page.has(&format!("href=\"/runs/{ID}\"")).has("value=\"4\"");
    well_made("/runs/new", &page);
    // And before anything is typed.
    anna.get(&stand, "/runs/new").await.is(200).has("olaf runs");
    stand.agent.change(|told| {
        told.runs.clear();
        told.refusal = Some((StatusCode::UNPROCESSABLE_ENTITY, "plan-refused", "pairs: 4 is odd".to_owned()));
    });
    send(&mut anna, &stand, &page, "/runs/new", &[("act", "start")])
        .await
        .is(422)
        .has("id=\"expert-error\"")
        .has("4 is odd");
    stand.agent.change(|told| {
        told.refusal = Some((StatusCode::SERVICE_UNAVAILABLE, "cannot-measure", "the engine is down".to_owned()));
    });
    send(&mut anna, &stand, &page, "/runs/new", &[("act", "start")]).await.is(503).has("the engine is down");
    stand.stop().await;
}

#[tokio::test]
async fn a_run_under_way_shows_proof_costs_and_what_cannot_be_claimed() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        told.runs = vec![run(ID, "short", RunState::Running)];
        told.series = Some(series(3, false));
    });
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, &format!("/runs/{ID}")).await.is(200);
    well_made("/runs/{id}", &page);
    let page = page.has("Block 4 of").has("trial 3 of 10: h3 1KB latency").has("http-equiv=\"refresh\"");
    let page = page.has("Proof of decryption").has("as expected").has("100 %");
    let page = page.has("class=\"tiles\"").has("Nothing may be claimed from them before the run is over");
    let page = page.has("1 of at least 6 pairs").has("no interval yet").has("indicative");
    let page = page.has(&format!("data-events=\"/api/v1/agent/runs/{ID}/events\"")).has("type=\"module\"");
    let page = page.has("Block 1 of").has("1,000 connections").has(&format!("href=\"/runs/{ID}/stop\""));
    page.has("Every KPI of every block, as a table").has_not("The checks before the run stopped it");
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, &format!("/runs/{ID}")).await.is(200).has_not("/stop\"");
    // A run of seconds: one block, no pair, and yet something is there.
    stand.agent.change(|told| told.series = Some(series(1, false)));
    let page = vera.get(&stand, &format!("/runs/{ID}")).await.is(200).has("No pair of ON and BYPASS is whole yet");
    page.has("data-charts").has("Every KPI of every block, as a table").has("Block 1 of");
    vera.language = "pt-BR";
    well_made("/runs/{id}", &vera.get(&stand, &format!("/runs/{ID}")).await.is(200).has("Prova de decriptação"));
    stand.stop().await;
}

#[tokio::test]
async fn a_run_that_is_over_shows_its_records_costs_and_documents_in_the_zone_of_the_page() {
    let stand = Stand::start().await;
    let record = record();
    stand.agent.change(|told| {
        told.runs = vec![run(ID, "short", RunState::Passed)];
        told.outline = Some(outline());
        told.series = Some(series(record.blocks.len(), true));
    });
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    olaf.post(&stand, "/preferences", &[("zone", "America/Sao_Paulo"), ("language", "en")]).await.leads_to("/");
    let path = format!("/runs/{ID}");
    let page = olaf.get(&stand, &path).await.is(200).has_not("http-equiv").has_not("data-live").has_not("/stop\"");
    well_made(&path, &page);
    let cost = record.results.iter().find_map(|row| row.cost.filter(|_| !row.bench_limited)).unwrap();
    let page = page.has(&format!("{:.2} – {:.2}", cost.low.unwrap(), cost.high.unwrap()));
    let page = page.has("≤ 0.38").has("decryption costs at least what the ratio says");
    assert!(page.body.find("id=\"verdict\"").unwrap() < page.body.find("id=\"proof\"").unwrap());
    for link in ["report\"", "record\"", "csv?zone=America%2FSao_Paulo\"", "histograms\""] {
        assert!(page.body.contains(&format!("href=\"/api/v1/agent/runs/{ID}/{link}")), "{link}");
    }
    page.has(&format!("/runs/compare?run={ID}")).has(&format!("/runs/new?again={ID}"));
    // A run that is not valid has no cost.
    stand.agent.change(|told| told.outline.as_mut().unwrap().valid = false);
    let page = olaf.get(&stand, &path).await.is(200);
    page.has_not(&format!("{:.2} – {:.2}", cost.low.unwrap(), cost.high.unwrap()));
    stand.stop().await;
}

#[tokio::test]
async fn a_run_that_pre_flight_stopped_shows_the_checks_and_offers_a_bypass() {
    let stand = Stand::start().await;
    let check = |name| Check {
        name,
        verdict: if name == CheckName::Clock { CheckVerdict::Failed } else { CheckVerdict::Passed },
        evidence: format!("seen of {name}"),
        remedy: if name == CheckName::Clock { "name a time server".to_owned() } else { String::new() },
        duration_ms: 3,
    };
    stand.agent.change(|told| {
        told.runs = vec![run(ID, "short", RunState::Interrupted)];
        let mut stopped = outline();
        stopped.preflight = Some(Preflight { checks: CheckName::ALL.map(check).into(), bypass: None });
        let mut plan = record().plan;
        plan.pairs = 5;
        stopped.plan = serde_json::to_value(plan).unwrap();
        told.outline = Some(stopped);
    });
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, &format!("/runs/{ID}")).await.is(200).has("The checks before the run stopped it");
    well_made("/runs/{id}", &page);
    let page = page.has("name a time server").has("seen of clock skew").has("state-check-failed");
    assert_eq!(page.body.matches("seen of ").count(), 5);
    page.has(&format!("/runs/new?again={ID}"));
    let page = olaf
        .get(&stand, &format!("/runs/new?again={ID}"))
        .await
        .is(200)
        .has("id=\"pairs\" name=\"pairs\" type=\"text\" inputmode=\"numeric\" value=\"5\"");
    let bypass = [("bypass", "the clock is set by hand today"), ("act", "start")];
    send(&mut olaf, &stand, &page, "/runs/new", &bypass).await.is(303);
    stand.agent.change(|told| {
        let order = told.orders.first().unwrap();
        assert_eq!(order.preflight_bypass.as_ref().unwrap().reason, "the clock is set by hand today");
        assert_eq!(order.plan.as_ref().unwrap()["pairs"], 5);
    });
    stand.stop().await;
}

#[tokio::test]
async fn a_run_is_stopped_with_a_reason_and_not_without() {
    let stand = Stand::start().await;
    stand.agent.change(|told| told.runs = vec![run(ID, HOSTILE, RunState::Running)]);
    let path = format!("/runs/{ID}/stop");
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, &path).await.is(403);
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, &path).await.is(200).has("-X DELETE");
    well_made(&path, &page);
    shown(&page);
    for wrong in ["", "   ", &"a".repeat(201), "two\nlines"] {
        let answer = send(&mut olaf, &stand, &page, &path, &[("reason", wrong)]).await.is(422);
        well_made(&path, &answer.has("id=\"reason-error\""));
    }
    olaf.post(&stand, &path, &[("csrf", "wrong"), ("reason", "a")]).await.is(403);
    assert!(!stand.agent.asked().iter().any(|(path, _)| path.contains("reason=")), "nothing was stopped");
    send(&mut olaf, &stand, &page, &path, &[("reason", "a & b?")]).await.leads_to(&format!("/runs/{ID}"));
    assert!(stand.agent.asked().iter().any(|(path, _)| path == &format!("/v1/runs/{ID}?reason=a+%26+b%3F")));
    olaf.get(&stand, &path).await.leads_to(&format!("/runs/{ID}"));
    olaf.get(&stand, "/runs/20990101T000000Z/stop").await.is(404);
    olaf.get(&stand, "/runs/a%20b/stop").await.is(404);
    stand.stop().await;
}

#[tokio::test]
async fn runs_are_compared_with_a_baseline_or_it_is_said_why_not() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, "/runs/compare").await.is(200).has("No run is over yet");
    stand.agent.change(|told| {
        told.runs = vec![
            run(ID, HOSTILE, RunState::Passed),
            run(OTHER, "short", RunState::Failed),
            run("20260201T000000Z", "short", RunState::Running),
        ];
    });
    let page = vera.get(&stand, "/runs/compare").await.is(200).has_not("run-20260201T000000Z");
    well_made("/runs/compare", &page);
    shown(&page);
    let all = format!("/runs/compare?baseline={ID}&run-{OTHER}=yes&run-{ID}=yes");
    let page = vera.get(&stand, &all).await.is(200).has("no difference shown").has("1.00 ×").has("95 %");
    well_made(&all, &page);
    let page = page.has(&format!("runs/compare?baseline={ID}&#38;runs={OTHER},{ID}"));
    page.has(&format!("<a href=\"/runs/{OTHER}\">{OTHER}</a>"));
    vera.get(&stand, &format!("/runs/compare?baseline={ID}&runs={OTHER}")).await.is(200).has("no difference shown");
    // As the page of a run leads here: that run is ticked, the baseline is still to be chosen.
    // Ticked in the list, where there is no baseline to choose.
    let ticked = vera.get(&stand, &format!("/runs/compare?run-{OTHER}=yes&run-{ID}=yes")).await.is(200);
    ticked.has("id=\"compared\"").has_not("id=\"baseline-error\"");
    let led = vera.get(&stand, &format!("/runs/compare?run={OTHER}")).await.is(200).has_not("id=\"baseline-error\"");
    led.has("checked");
    for (wrong, field) in [
        (format!("baseline=&run-{OTHER}=yes"), "baseline-error"),
        (format!("baseline={ID}"), "runs-error"),
        (format!("baseline={ID}&run-%22%3E%3Cscript%3E=yes"), "runs-error"),
        ("baseline=..%2F..&run=x".to_owned(), "baseline-error"),
        (format!("baseline={ID}&runs=a,b,c,d,e,f,g,h,i"), "runs-error"),
    ] {
        let page = vera.get(&stand, &format!("/runs/compare?{wrong}")).await.is(422).has(&format!("id=\"{field}\""));
        harmless(&page);
        well_made(&wrong, &page);
    }
    stand.agent.change(|told| {
        told.refusal = Some((StatusCode::NOT_FOUND, "not-written-yet", "run X has no record".to_owned()));
    });
    vera.get(&stand, &all).await.is(422).has("These runs cannot be compared").has("run X has no record");
    vera.language = "pt-BR";
    well_made(&all, &vera.get(&stand, &all).await.is(422).has("não podem ser comparadas"));
    stand.stop().await;
}

#[tokio::test]
async fn hostile_words_in_what_was_measured_stay_words() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        told.runs = vec![run(ID, HOSTILE, RunState::Running)];
        let mut hostile = series(3, false);
        hostile.done[0].void = Some(HOSTILE.to_owned());
        hostile.done[0].values[0].unit = HOSTILE.to_owned();
        hostile.results[0].note = Some(HOSTILE.to_owned());
        hostile.results[0].unit = HOSTILE.to_owned();
        hostile.doing.as_mut().unwrap().trial = Some(HOSTILE.to_owned());
        told.series = Some(hostile);
    });
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    shown(&olaf.get(&stand, &format!("/runs/{ID}")).await.is(200));
    shown(&olaf.get(&stand, "/runs/new").await.is(200));
    harmless(&olaf.get(&stand, "/runs/new?profile=%3Cscript%3E&again=%22%3E%3Cscript%3E").await.is(200));
    stand.stop().await;
}

#[tokio::test]
async fn the_agent_is_down_and_the_form_stands() {
    let mut stand = Stand::start().await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, "/runs/new").await.is(200);
    stand.agent.stop().await;
    olaf.get(&stand, "/runs/new").await.is(200).has("The agent of this box does not answer").has("name=\"pairs\"");
    send(&mut olaf, &stand, &page, "/runs/new", &[("act", "check")]).await.is(200).has("<svg");
    send(&mut olaf, &stand, &page, "/runs/new", &[("act", "start")]).await.is(503);
    olaf.get(&stand, "/runs/compare").await.is(200).has("The agent of this box does not answer");
    stand.stop().await;
}
