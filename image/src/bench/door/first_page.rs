//! How soon somebody sees the first page of the box while the other core is full: the overview after the login, over a connection of its own,
//! with everything that the page and its modules load from the box. It is not drawn here; what is measured is until the last byte is there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::load::Load;
use super::stand::Door;
use super::{Measurement, Stage};
use crate::bench::clients::Protocol;
use crate::bench::table::Row;

const NAME: &str = "door first page and its assets p95, other core full";
/// Issue 5: the first page within a second while a load run has the other core.
const PROMISED_US: f64 = 1_000_000.0;
/// One page each half second, so that a 95th percentile has something below and above it.
const LEAST: Duration = Duration::from_secs(15);
/// Requests in flight of the load beside it.
const BESIDE: u32 = 32;

pub(super) const ALL: [Measurement; 1] = [Measurement { name: NAME, measure: first_page }];

fn first_page(stage: &mut Stage) -> Result<Vec<Row>> {
    let door = stage.stand.door();
    let jar = stage.stand.cookies()?;
    let paths = everything(door, &jar)?;
    let time = stage.time.max(LEAST);
    // The daemon and the load tool share the core on which the agent, which the page asks, runs as well.
    let beside = Load {
        target: stage.stand.directly(),
        protocol: Protocol::H1,
        connections: BESIDE,
        streams: 1,
        paths: vec!["/v1/constant".to_owned()],
        headers: Vec::new(),
    };
    let (mut values, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        alone.push(seen(door, &jar, &paths)?);
    }
    for _ in 0..stage.rounds {
        let mut round = Vec::new();
        let words = ["-D".to_owned(), time.as_secs().to_string()];
        let answers = beside.watched(&words, time, || {
            round.push(seen(door, &jar, &paths)?);
            Ok(())
        })?;
        if answers.good == 0 {
            bail!("the load beside it was not answered, so the other core was not full");
        }
        round.sort_by(f64::total_cmp);
        let rank = (round.len() as f64 * 0.95).ceil() as usize;
        values.push(*round.get(rank.saturating_sub(1)).context("no page was read")?);
    }
    let idle = crate::bench::table::median(alone).unwrap_or_default() / 1000.0;
    let note = format!(
        "GET / and {} assets over a new connection, curl's start included; {idle:.0} ms with the other core idle",
        paths.len() - 1
    );
    Ok(vec![Row::absolute(NAME.to_owned(), "us", values, PROMISED_US).noted(note)])
}

/// The page and whatever it or its modules name of the box's assets.
fn everything(door: &Door, jar: &str) -> Result<Vec<String>> {
    let page = door.curl(&["--fail", "--cookie", jar, "--header", "accept: text/html", &door.url("/")])?;
    let mut found: BTreeSet<String> = quoted(&page, "/assets/").collect();
    let mut open: Vec<String> = found.iter().filter(|path| path.ends_with(".js")).cloned().collect();
    while let Some(module) = open.pop() {
        let folder = module.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let text = door.curl(&["--fail", &door.url(&module)])?;
        for name in quoted(&text, "./") {
            let path = format!("{folder}/{}", name.trim_start_matches("./"));
            if found.insert(path.clone()) {
                open.push(path);
            }
        }
    }
    if !found.iter().any(|path| path.ends_with(".css")) {
        let begin: String = page.chars().take(200).collect();
        bail!("the first page names no style; is it the page of somebody who is logged in? It begins with: {begin:?}");
    }
    Ok(std::iter::once("/".to_owned()).chain(found).collect())
}

/// Texts in double quotes that begin with `start`.
fn quoted<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split('"').filter(move |part| part.starts_with(start) && !part.contains([' ', '\n'])).map(str::to_owned)
}

/// Microseconds until all of it was there, over one new connection.
fn seen(door: &Door, jar: &str, paths: &[String]) -> Result<f64> {
    let urls: Vec<String> = paths.iter().map(|path| door.url(path)).collect();
    let mut words = vec!["--fail", "--http2", "--parallel", "--cookie", jar, "--header", "accept: text/html"];
    for url in &urls {
        words.extend(["--output", "/dev/null", url]);
    }
    let began = Instant::now();
    door.curl(&words)?;
    Ok(began.elapsed().as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_page_and_a_module_load() {
        let page = r#"<link rel="stylesheet" href="/assets/ab/style.css"><a href="/runs">x</a><script src="/assets/ab/app.js">"#;
        assert_eq!(quoted(page, "/assets/").collect::<Vec<_>>(), ["/assets/ab/style.css", "/assets/ab/app.js"]);
        let module = "import { a } from \"./keep.js\";\nconst x = \"./not this\";";
        assert_eq!(quoted(module, "./").collect::<Vec<_>>(), ["./keep.js"]);
    }
}
