//! What other programs are told of the box: the door's metrics as `docs/metrics.md` has them, and files that ask for nothing else.

use tbi_daemon::exposition::{differences, documented};

use super::{Browser, Stand};
use crate::pages::bench::observability;

#[tokio::test]
async fn every_metric_of_the_door_is_documented_as_it_is() {
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    vera.get(&stand, "/").await.is(200);
    // A heartbeat has been heard by then: pages asked the agent, and the door asks it before it opens.
    let text = vera.get(&stand, "/metrics").await.is(200).body;
    let found = differences(observability::DOCUMENT, &["door", "every"], &text, &["daemon"]);
    assert!(found.is_empty(), "{found:#?}\n{text}");
    stand.stop().await;
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_there_are_and_the_scrape_for_this_box() {
    let known = documented(observability::DOCUMENT);
    let queries = observability::queries();
    assert!(queries.len() > 8);
    for query in queries {
        let words =
            query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("tbi_"));
        let mut count = 0;
        for name in words {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            let family = known.get(family).unwrap_or_else(|| panic!("'{name}' of '{query}' is no metric"));
            assert!(["every", "door", "agent"].contains(&family.source.as_str()), "the door does not give {name}");
            assert_eq!(name.ends_with("_bucket"), family.kind == "histogram", "{query}");
            assert!(family.kind != "counter" || query.contains("rate("), "a counter is looked at as a rate: {query}");
            for by in query.split("by (").skip(1).flat_map(|rest| rest.split(')').next().unwrap().split(", ")) {
                let there = ["instance", "daemon"].contains(&by) || by == "le" || family.labels.contains(by);
                assert!(there, "{name} has no label {by}");
            }
            count += 1;
        }
        assert_eq!(count, 1, "{query}");
    }
    let stand = Stand::start().await;
    let mut vera = Browser::log_in(&stand, "vera").await;
    let page = vera.get(&stand, "/observability/grafana.json").await.is(200);
    let dashboard: serde_json::Value = serde_json::from_str(&page.body).unwrap();
    let asked: Vec<&str> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert_eq!(asked.len() + 1, observability::queries().len());
    assert!(page.header("content-disposition").contains("attachment"));
    let page = vera.get(&stand, "/observability/prometheus.yaml").await.is(200);
    let scrape: serde_json::Value = serde_yaml_ng::from_str(&page.body).unwrap();
    assert_eq!(scrape["scrape_configs"][0]["static_configs"][0]["targets"][0], "localhost");
    assert_eq!(scrape["scrape_configs"][0]["metrics_path"], "/metrics");
    vera.get(&stand, "/observability")
        .await
        .is(200)
        .has("tbi_door_requests_total")
        .has_not("tbi_personas_panics_total");
    stand.stop().await;
}
