//! Management, trunk, ISP router and topology. Two things are changed here: the topology, which the agent checks and audits, and nothing
//! else; an operator's `config.boot` is only judged, with a comparison line by line, because nothing of the box is made of it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::bench::{Count, Link, Links};
use tbi_api::health::Health;
use tbi_api::isp::{Check, Isp, Router};
use tbi_api::settings::TopologyText;

use super::super::form::SignedForm;
use super::super::frame::{Frame, state_name};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, number, see_other, unprocessable};
use super::said_of;

#[derive(Debug, PartialEq, Eq)]
struct Card {
    name: String,
    role: &'static str,
    mac: String,
    carrier: bool,
    speed: String,
    received: String,
    sent: String,
    faults: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    state: &'static str,
    sentence: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Root {
    size: String,
    sha256: String,
    imported: String,
}

#[derive(Debug, PartialEq, Eq)]
struct IspView {
    router: &'static str,
    root: Option<Root>,
}

#[derive(Template)]
#[template(path = "bench/network.html")]
struct NetworkPage {
    look: Look,
    frame: Frame,
    addresses: Option<Vec<String>>,
    cards: Option<Vec<Card>>,
    /// `None`: no trunk is chosen.
    trunk: Option<String>,
    management: String,
    parts: Option<Vec<Part>>,
    isp: Option<IspView>,
    config_boot: Option<String>,
    topology: Option<String>,
    may_change: bool,
    may_check: bool,
}

#[derive(Template)]
#[template(path = "bench/topology.html")]
struct TopologyPage {
    look: Look,
    frame: Frame,
    token: String,
    yaml: String,
    error: Option<String>,
    known: bool,
}

/// One line of a comparison: `same`, `more` (only in the operator's file) or `less` (only in what the box gives).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    kind: &'static str,
    sign: &'static str,
    text: String,
}

#[derive(Debug)]
struct Judged {
    routes: Vec<String>,
    interfaces: Vec<String>,
    /// `None`: too large to be compared line by line.
    lines: Option<Vec<Line>>,
}

#[derive(Template)]
#[template(path = "bench/config_boot.html")]
struct ConfigBootPage {
    look: Look,
    frame: Frame,
    token: String,
    text: String,
    error: Option<String>,
    error_words: Option<String>,
    judged: Option<Judged>,
}

/// Parts of the health that this page is about.
const PARTS: [&str; 4] = ["management", "trunk", "network", "isp"];

fn card(link: Link, look: &Look) -> Card {
    let size = |count: Count| {
        format!("{}, {}", bytes(count.bytes, look), look.with("network-packets", "count", count.packets as f64))
    };
    let faults = link.received.errors + link.sent.errors + link.received.dropped + link.sent.dropped;
    Card {
        role: match link.role.as_str() {
            "management" => "management",
            "trunk" => "trunk",
            _ => "unused",
        },
        speed: link.speed_mbps.map(|speed| format!("{} Mbit/s", look.count(speed))).unwrap_or_default(),
        received: size(link.received),
        sent: size(link.sent),
        faults: look.count(faults),
        name: link.name,
        mac: link.mac,
        carrier: link.carrier,
    }
}

/// Bytes as people say them, in powers of 1,000 as cards are sold.
fn bytes(count: u64, look: &Look) -> String {
    let value = count as f64;
    let (divided, unit) = match count {
        0..1_000_000 => (value / 1e3, "kB"),
        1_000_000..1_000_000_000 => (value / 1e6, "MB"),
        _ => (value / 1e9, "GB"),
    };
    format!("{} {unit}", number::decimal(divided, 1, look.lang))
}

fn parts(health: Health) -> Vec<Part> {
    let mine = health.components.into_iter().filter(|part| PARTS.contains(&part.name.as_str()));
    mine.map(|part| Part { name: part.name, state: state_name(part.state), sentence: part.sentence }).collect()
}

fn isp(isp: Isp, look: &Look) -> IspView {
    IspView {
        router: match isp.router {
            Router::Frr => "frr",
            Router::Own => "own",
        },
        root: isp.root.map(|root| Root {
            size: number::memory(root.bytes, look.lang),
            imported: look.time_of(&root.imported),
            sha256: root.sha256,
        }),
    }
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let agent = &visit.agent;
    let (status, links, health, router, config_boot, topology) =
        tokio::join!(agent.status(), agent.links(), agent.health(), agent.isp(), agent.config_boot(), agent.topology());
    let mut frame = visit.frame("network-title", &status);
    let look = visit.look.clone();
    let errors = [
        links.as_ref().err(),
        health.as_ref().err(),
        router.as_ref().err(),
        config_boot.as_ref().err(),
        topology.as_ref().err(),
    ];
    for error in errors.into_iter().flatten() {
        frame.silent(&look, error);
    }
    let links = links.ok();
    let (management, trunk) = links.as_ref().map_or_else(Default::default, |links: &Links| {
        (links.management_sentence.clone(), links.trunk_sentence.clone())
    });
    Ok(html(&NetworkPage {
        addresses: status.ok().map(|status| status.addresses),
        cards: links.map(|links| links.links.into_iter().map(|link| card(link, &look)).collect()),
        trunk,
        management,
        parts: health.ok().map(parts),
        isp: router.ok().map(|of| isp(of, &look)),
        config_boot: config_boot.ok(),
        topology: topology.ok().map(|topology| topology.yaml),
        may_change: visit.who.role == tbi_api::access::Role::Administrator,
        may_check: visit.may_order(),
        frame,
        look,
    }))
}

async fn topology_page(visit: &Visit, typed: Option<String>, error: Option<String>) -> TopologyPage {
    let (status, stored) = tokio::join!(visit.agent.status(), visit.agent.topology());
    let mut frame = visit.frame("topology-title", &status);
    if let Err(error) = &stored {
        frame.silent(&visit.look, error);
    }
    let known = stored.is_ok() || typed.is_some();
    TopologyPage {
        frame,
        token: visit.token().to_owned(),
        yaml: typed.unwrap_or_else(|| stored.map(|text| text.yaml).unwrap_or_default()),
        error,
        known,
        look: visit.look.clone(),
    }
}

/// The topology's form.
pub(in crate::pages) async fn topology(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&topology_page(&visit, None, None).await))
}

/// Lines as files have them; a browser sends the ends of lines of a form as CR LF.
fn unix_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// Stores another topology.
pub(in crate::pages) async fn change_topology(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/network/topology");
    let yaml = unix_lines(fields.text("yaml"));
    if yaml.trim().is_empty() {
        let missing = visit.look.say("topology-missing").into_owned();
        return Ok(unprocessable(&topology_page(&visit, Some(yaml), Some(missing)).await));
    }
    let Err(error) = visit.agent.change_topology(&TopologyText { yaml: yaml.clone() }).await else {
        return Ok(see_other("/network"));
    };
    let said = said_of(&error, "topology-refused").map(str::to_owned);
    let refused = said.is_none();
    let mut shown = topology_page(&visit, Some(yaml), said).await;
    if refused {
        shown.frame.silent(&visit.look, &error);
    }
    Ok(unprocessable(&shown))
}

async fn config_boot_page(visit: &Visit, text: &str) -> ConfigBootPage {
    ConfigBootPage {
        frame: visit.frame("config-boot-title", &visit.agent.status().await),
        look: visit.look.clone(),
        token: visit.token().to_owned(),
        text: text.to_owned(),
        error: None,
        error_words: None,
        judged: None,
    }
}

/// The form in which an operator's file is judged.
pub(in crate::pages) async fn config_boot(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    Ok(html(&config_boot_page(&visit, "").await))
}

/// Judges it.
pub(in crate::pages) async fn check_config_boot(State(pages): State<Arc<Pages>>, form: SignedForm) -> Shown {
    let SignedForm { who, fields, .. } = form;
    let visit = Visit::new(&pages, who, "/network/config-boot");
    let text = unix_lines(fields.text("text"));
    let mut shown = config_boot_page(&visit, &text).await;
    if text.trim().is_empty() {
        shown.error = Some(visit.look.say("config-boot-missing").into_owned());
        return Ok(unprocessable(&shown));
    }
    let (checked, own) = tokio::join!(visit.agent.check_config_boot(&text), visit.agent.config_boot());
    match (checked, own) {
        (Ok(Check { routes, interfaces }), Ok(own)) => {
            shown.judged = Some(Judged { routes, interfaces, lines: compare(&own, &text) });
            Ok(html(&shown))
        }
        (Err(error), _) | (_, Err(error)) => {
            match said_of(&error, "config-boot-refused") {
                Some(sentence) => {
                    shown.error = Some(visit.look.say("config-boot-wrong").into_owned());
                    shown.error_words = Some(sentence.to_owned());
                }
                None => shown.frame.silent(&visit.look, &error),
            }
            Ok(unprocessable(&shown))
        }
    }
}

/// Cells of the table of a comparison at most; beyond, nobody reads it and the box has better things to do.
const MOST_CELLS: usize = 4_000_000;

/// Longest common subsequence of the lines, as in any `diff`; what both begin and end with is not compared.
fn compare(own: &str, given: &str) -> Option<Vec<Line>> {
    let (own, given): (Vec<&str>, Vec<&str>) = (own.lines().collect(), given.lines().collect());
    let head = own.iter().zip(&given).take_while(|(a, b)| a == b).count();
    let tail = own[head..].iter().rev().zip(given[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&own[head..own.len() - tail], &given[head..given.len() - tail]);
    let width = b.len() + 1;
    if (a.len() + 1).checked_mul(width).is_none_or(|cells| cells > MOST_CELLS) {
        return None;
    }
    // longest[i][j]: of a from i and b from j.
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i] == b[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let line = |kind, sign, text: &str| Line { kind, sign, text: text.to_owned() };
    let same = |text: &&str| line("same", " ", text);
    let mut lines: Vec<Line> = own[..head].iter().map(same).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(same(&a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            lines.push(line("less", "-", a[i]));
            i += 1;
        } else {
            lines.push(line("more", "+", b[j]));
            j += 1;
        }
    }
    lines.extend(own[own.len() - tail..].iter().map(same));
    Some(lines)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn compared(own: &str, given: &str) -> String {
        let lines = compare(own, given).unwrap();
        lines.iter().map(|line| format!("{}{} ", line.sign, line.text)).collect()
    }

    #[test]
    fn a_comparison_shows_what_is_there_more_and_less() {
        assert_eq!(compared("a\nb\nc", "a\nc\nd"), " a -b  c +d ");
        assert_eq!(compared("a\nb", "a\nb"), " a  b ");
        assert_eq!(compared("", "a"), "+a ");
        assert_eq!(compared("a", ""), "-a ");
        assert_eq!(compared("a\na\nb", "a\nb"), " a -a  b ");
        assert_eq!(compared("x\na\ny", "p\na\nq"), "-x +p  a -y +q ");
    }

    #[test]
    fn a_file_of_any_size_is_answered_at_once() {
        let (long, other) = ("a\nb\n".repeat(200_000), "c\nd\n".repeat(200_000));
        assert_eq!(compare(&long, &other), None);
        assert!(compare(&long, &long).is_some(), "equal ones need no table");
    }
}
