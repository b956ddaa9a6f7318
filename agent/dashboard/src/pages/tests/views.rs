//! What each page shows of what the agent says.

use tbi_api::audit::Verification;
use tbi_api::health::{Health, State};
use tbi_api::runs::RunState;
use tbi_bench::record::Verdict;

use super::agent::{component, entry, outline, run};
use super::{Browser, Stand};

#[tokio::test]
async fn the_overview_shows_the_box_its_parts_and_one_next_step() {
    let stand = Stand::start().await;
    let mut olaf = Browser::log_in(&stand, "olaf").await;
    let page = olaf.get(&stand, "/").await.is(200).has("tbi-c0ffee").has("10.0.2.15/24").has("ab:cd").has("1 d 2 h");
    let page = page.has("state-degraded").has("name a time server").has("not synchronised").has("48 MiB");
    let page = page.has("2026-01-31 23:30:00 +00:00").has("Restarted by anna.").has("0.1.0</bdi> (<bdi>abc1234");
    let page = page.has("Nothing was measured on this box yet").has("{\"profile\":\"quick\"}");
    page.has_not("claim-code-that-is-the-consoles");
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/").await.has("An operator or an administrator orders the first run");
    page.has_not("curl");
    let runs = (0..7).map(|n| run(&format!("2026013{n}T230000Z"), "short", RunState::Passed));
    stand.agent.change(|told| told.runs = runs.collect());
    let page = vera.get(&stand, "/").await.is(200).has("href=\"/runs/20260130T230000Z\"").has("All runs");
    assert_eq!(page.body.matches("href=\"/runs/2026").count(), 5);
    stand.stop().await;
}

#[tokio::test]
async fn the_agent_is_asked_in_the_readers_name() {
    let stand = Stand::start().await;
    let mut aura = Browser::log_in(&stand, "aura").await;
    let page = aura.get(&stand, "/audit?actor=a%26b&action=settings&verify=yes").await.is(200);
    let id = page.header("x-correlation-id").to_owned();
    // The door's own questions (health, document, the box's language) come from nobody.
    let own = |path: &str| !path.starts_with("/v1/") || ["/v1/setup", "/v1/locale"].contains(&path);
    let pages = stand.agent.asked().into_iter().filter(|(path, _)| !own(path)).collect::<Vec<_>>();
    assert_eq!(pages.len(), 3, "status, entries, verification");
    for (path, headers) in &pages {
        for (name, value) in [
            ("x-tlsstress-actor", "aura"),
            ("x-tlsstress-role", "auditor"),
            ("x-tlsstress-source", "local"),
            ("x-correlation-id", id.as_str()),
        ] {
            assert_eq!(headers.get(name).map(|it| it.to_str().unwrap()), Some(value), "{path} {name}");
        }
    }
    assert!(pages.iter().any(|(path, _)| path == "/v1/audit?action=settings&actor=a%26b&limit=100"), "{pages:?}");
    stand.stop().await;
}

#[tokio::test]
async fn the_list_of_runs_is_filtered_and_leafed_through() {
    let stand = Stand::start().await;
    let runs: Vec<_> = (0..60)
        .rev()
        .map(|n| {
            run(
                &format!("20260131T2300{n:02}Z"),
                &format!("plan {n}"),
                if n % 2 == 0 { RunState::Passed } else { RunState::Failed },
            )
        })
        .collect();
    stand.agent.change(|told| told.runs = runs);
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/runs").await.is(200).has("href=\"/runs?before=20260131T230010Z\"").has("20 min");
    assert_eq!(page.body.matches("<th scope=\"row\">").count(), 50);
    let page = vera.get(&stand, "/runs?before=20260131T230010Z").await.is(200).has_not("rel=\"next\"");
    assert_eq!(page.body.matches("<th scope=\"row\">").count(), 10);
    let page =
        vera.get(&stand, "/runs?state=failed&name=PLAN+1").await.is(200).has("<option value=\"failed\" selected>");
    assert_eq!(page.body.matches("<th scope=\"row\">").count(), 6, "1, 11, 13 to 19");
    vera.get(&stand, "/runs?name=nothing").await.is(200).has("No run fits this filter").has_not("Nothing was measured");
    vera.get(&stand, "/runs?before=2026").await.is(200).has("No run fits this filter");
    let page = vera
        .get(&stand, "/runs?from=yesterday&name=keep+me")
        .await
        .is(422)
        .has("value=\"yesterday\"")
        .has("value=\"keep me\"");
    page.has("id=\"from-error\"").has("aria-invalid=\"true\" aria-describedby=\"from-error from-hint\"");
    vera.get(&stand, "/runs?state=done").await.is(422).has("aria-describedby=\"state-error\"");
    stand.stop().await;
}

#[tokio::test]
async fn a_run_shows_how_far_it_is_and_afterwards_what_it_found_and_what_allowed_it() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    stand.agent.change(|told| told.runs = vec![run("20260131T230000Z", "short", RunState::Running)]);
    let page =
        vera.get(&stand, "/runs/20260131T230000Z").await.is(200).has("<progress max=\"8\" value=\"3\"").has("1 min");
    page.has("There is no record yet").has_not("/report\"").has_not("class=\"banner\"");
    stand.agent.change(|told| {
        told.runs = vec![run("20260131T230000Z", "short", RunState::Passed)];
        told.outline = Some(outline());
    });
    vera.post(&stand, "/preferences", &[("zone", "America/Sao_Paulo"), ("language", "pt-BR")]).await.leads_to("/");
    let page =
        vera.get(&stand, "/runs/20260131T230000Z").await.is(200).has("aprovada").has("2026-01-31 20:00:00 -03:00");
    let page = page
        .has("href=\"/api/v1/agent/runs/20260131T230000Z/report\"")
        .has("/record\" download=\"20260131T230000Z.json\"");
    let page =
        page.has("1.200 TSU").has("98.800 TSU").has("N-7").has(&"22".repeat(32)).has("2026-01-31 20:00:01 -03:00");
    page.has("&#34;pairs&#34;: 6").has("Two pairs only").has("tbi-agent 0.1.0 abc1234").has_not("<progress");
    stand.agent.change(|told| {
        let outline = told.outline.as_mut().unwrap();
        (outline.valid, outline.verdict, outline.authorization) = (false, Verdict::NotMeasured, None);
    });
    vera.post(&stand, "/preferences", &[("language", "en")]).await.leads_to("/");
    let page = vera.get(&stand, "/runs/20260131T230000Z").await.has("No claim may be made from it");
    page.has("Nothing had to allow this run");
    stand.stop().await;
}

#[tokio::test]
async fn the_audit_chain_is_shown_and_looked_through_when_asked() {
    let stand = Stand::start().await;
    let mut aura = Browser::log_in(&stand, "aura").await;
    aura.get(&stand, "/audit").await.is(200).has("No entry fits this filter").has_not("role=\"status\"");
    let entries: Vec<_> =
        (0..100_u64).map(|n| entry(200 - n, "settings", r#"{"before":{"a":1},"after":{"a":2}}"#)).collect();
    stand.agent.change(|told| told.entries = entries);
    let page = aura.get(&stand, "/audit").await.is(200).has("2026-01-31 22:59:59 +00:00").has("192.0.2.7");
    page.has("&#34;after&#34;: {").has("href=\"/audit?before=101\"").has_not("role=\"status\"");
    stand
        .agent
        .change(|told| told.verification = Verification { intact: true, entries: 12_345, sentence: String::new() });
    aura.get(&stand, "/audit?verify=yes")
        .await
        .has("role=\"status\"")
        .has("12,345 entries were looked at: the chain is intact");
    let sentence = "entry 7 does not follow from entry 6".to_owned();
    stand.agent.change(|told| told.verification = Verification { intact: false, entries: 6, sentence });
    aura.get(&stand, "/audit?verify=yes").await.has("broken after 6 good entries").has("does not follow from entry 6");
    let page = aura.get(&stand, "/audit?before=many&actor=anna").await.is(422).has("id=\"before-error\"");
    page.has("value=\"many\"").has("value=\"anna\"");
    stand.stop().await;
}

#[tokio::test]
async fn users_are_shown_with_what_they_may() {
    let stand = Stand::start().await;
    let mut anna = Browser::log_in(&stand, "anna").await;
    stand.on_box.memory.rows.lock().unwrap().accounts.get_mut(&"vera".parse().unwrap()).unwrap().account.enabled =
        false;
    let page = anna.get(&stand, "/users").await.is(200);
    let row = page.body.split("<tr>").find(|row| row.contains("<bdi>vera</bdi></a></th>")).unwrap();
    assert!(row.contains("<td>viewer</td><td>no</td><td>no</td>") && row.contains("never"), "{row}");
    page.has_not("$argon2");
    stand.stop().await;
}

#[tokio::test]
async fn what_is_wrong_stands_first_whatever_the_agent_says_first() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        told.health = Health::of(vec![
            component("a-good-one", State::Healthy, ""),
            component("z-broken", State::Failed, "It does not start; look at its log."),
        ]);
    });
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/").await.is(200);
    assert!(page.body.find("z-broken").unwrap() < page.body.find("a-good-one").unwrap());
    stand.stop().await;
}
