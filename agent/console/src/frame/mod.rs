//! The screen as rows of text: a pure function of what is known. Row widths never reach the last column, where terminals disagree about
//! wrapping; the number of rows is always the screen's. Only printable ASCII comes out, whatever went in.

mod setup;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use tbi_api::access::{DoorCertificate, Origin};
use tbi_api::health::State;
use tbi_api::runs::{Run, RunState};
use tbi_api::setup::Setup;
use tbi_api::status::Status;

use crate::text::{fit, plain, span, wrap, wrap_most};

/// Name of the product.
const PRODUCT: &str = "TLSStress.Art TBI";
/// Columns of a label in front of its value.
const LABEL: usize = 14;
/// Until the agent has been silent for this long at the very start, it is simply starting: a slow machine needs that long.
const STARTING: Duration = Duration::from_secs(60);

/// Size of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    /// The agent's last answer.
    Answered(Box<Known>),
    /// It does not answer.
    Silent(Box<Silence>),
}

/// What an agent that answers said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub status: Status,
    /// How far the setup is, while it is not finished.
    pub setup: Option<Setup>,
}

impl From<Status> for Known {
    fn from(status: Status) -> Self {
        Self { status, setup: None }
    }
}

/// An agent that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silence {
    /// For how long.
    pub lasts: Duration,
    /// What the attempt to ask it said.
    pub reason: String,
    /// Its last answer, `None` when it never gave one.
    pub last: Option<Status>,
}

/// The rows of the screen, `size.height` of them, each below `size.width` columns.
pub(crate) fn frame(view: &View, size: Size) -> Vec<String> {
    let width = size.width.saturating_sub(1).max(LABEL + 10);
    let mut rows = match view {
        View::Answered(known) => answered(known, width, size.height),
        View::Silent(silence) => silent(silence, width),
    };
    rows.resize(size.height, String::new());
    rows.iter().map(|row| fit(row, width).trim_end().to_owned()).collect()
}

/// The view without what changes by itself with time: two views that differ only there say the same.
pub(crate) fn steady(view: &View) -> View {
    let still = |status: &Status| {
        let mut status = status.clone();
        status.time.clear();
        status.uptime_seconds = 0;
        if let Some(progress) = status.run.as_mut().and_then(|run| run.progress.as_mut()) {
            (progress.elapsed_seconds, progress.remaining_seconds) = (0, 0);
        }
        status
    };
    match view {
        View::Answered(known) => {
            View::Answered(Box::new(Known { status: still(&known.status), setup: known.setup.clone() }))
        }
        View::Silent(silence) => View::Silent(Box::new(Silence {
            lasts: if is_starting(silence) { Duration::ZERO } else { STARTING },
            reason: silence.reason.clone(),
            last: silence.last.as_ref().map(still),
        })),
    }
}

fn answered(known: &Known, width: usize, height: usize) -> Vec<String> {
    let status = &known.status;
    let mut rows = head(status, width);
    let tail = tail(status, known.setup.is_some(), width);
    let room = height.saturating_sub(rows.len() + tail.len());
    // What is wrong comes first: it may be what the setup waits for, which keeps a row.
    rows.extend(problems(&status.problems, width, room.saturating_sub(usize::from(known.setup.is_some()))));
    if let Some(setup) = &known.setup {
        let room = height.saturating_sub(rows.len() + tail.len());
        rows.extend(setup::rows(setup, status, width, room));
    }
    rows.resize(height.saturating_sub(tail.len()), String::new());
    rows.extend(tail);
    rows
}

fn head(status: &Status, width: usize) -> Vec<String> {
    let commit = status.commit.as_deref().map(|commit| format!(", {}", fit(commit, 20))).unwrap_or_default();
    let product = format!(" {PRODUCT} {} ({}{commit})", fit(&status.version, 20), fit(&status.variant, 10));
    let mut rows = vec![ends(&product, &clock(&status.time), width), rule(width)];
    rows.push(field("Host", &status.host_name));
    rows.push(field("Open", &urls(&status.addresses)));
    rows.push(field("Addresses", &addresses(status)));
    rows.extend(certificate(status.door_certificate.as_ref()));
    if let Some(code) = &status.claim_code {
        rows.push(field("Claim code", &format!("{}  (makes the first administrator)", fit(code, 40))));
    }
    rows.push(field("System", &system(status)));
    rows.extend(paragraph("Last start", &status.last_boot.sentence, width, 2));
    let clock = if status.time_synchronised { "clock synchronised" } else { "clock NOT synchronised" };
    rows.push(field("Up", &format!("{}, {clock}", span(status.uptime_seconds))));
    rows.push(rule(width));
    rows.push(field("Health", state(status.health)));
    rows
}

fn tail(status: &Status, is_being_set_up: bool, width: usize) -> Vec<String> {
    const HINT: &str = " This screen only shows. To change something, open the address above.";
    let mut rows = vec![rule(width)];
    match &status.run {
        // A box that is not set up has measured nothing, which needs no rows.
        None if is_being_set_up => {
            rows.push(HINT.to_owned());
            return rows;
        }
        None => rows.push(field("Run", "none yet")),
        Some(run) if run.state.is_over() => {
            rows.push(field("Last run", &format!("{} {}, {}", run.id, run.name, run_state(run.state))));
            rows.extend(paragraph("", &run.sentence, width, 2));
        }
        Some(run) => rows.extend(under_way(run, width)),
    }
    rows.push(rule(width));
    rows.push(HINT.to_owned());
    rows
}

fn under_way(run: &Run, width: usize) -> Vec<String> {
    let mut rows = vec![field("Run", &format!("{} {}, {}", run.id, run.name, run_state(run.state)))];
    if let Some(progress) = &run.progress {
        rows.push(field(
            "",
            &format!(
                "{} {} of {} blocks, {} gone, {} left",
                bar(progress.blocks_done, progress.blocks),
                progress.blocks_done,
                progress.blocks,
                span(progress.elapsed_seconds),
                span(progress.remaining_seconds)
            ),
        ));
        rows.extend(paragraph("", &progress.last_block, width, 1));
    }
    rows
}

fn silent(silence: &Silence, width: usize) -> Vec<String> {
    let lasts = span(silence.lasts.as_secs());
    let mut rows = vec![format!(" {PRODUCT}"), rule(width), String::new()];
    if is_starting(silence) {
        rows.extend(block(&format!("The agent is starting; it has not answered yet (for {lasts})."), width));
    } else {
        rows.extend(block(&format!("The agent does not answer since {lasts}; it is started again by itself."), width));
        rows.push(String::new());
        rows.extend(block(
            "If this stays for more than five minutes, restart the box with its power button. Runs that were measured are kept.",
            width,
        ));
        rows.push(String::new());
        rows.extend(paragraph("Reason", &silence.reason, width, 3));
    }
    if let Some(last) = &silence.last {
        rows.push(String::new());
        rows.extend(block("What it said last:", width));
        rows.push(field("Version", &format!("{} ({})", fit(&last.version, 20), fit(&last.variant, 10))));
        rows.push(field("Host", &last.host_name));
        rows.push(field("Addresses", &addresses(last)));
        rows.extend(certificate(last.door_certificate.as_ref()));
        rows.push(field("Health", state(last.health)));
    }
    rows
}

fn is_starting(silence: &Silence) -> bool {
    silence.last.is_none() && silence.lasts < STARTING
}

/// Sentences in `room` rows: whole ones as long as they fit, then how many are missing.
fn problems(sentences: &[String], width: usize, room: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let left = sentences.len() - index - 1;
        // A row stays free for "and N more", unless this is the last sentence.
        let free = room.saturating_sub(rows.len() + usize::from(left > 0));
        let whole = bullet(&wrap(sentence, width - 5));
        if whole.len() <= free {
            rows.extend(whole);
            continue;
        }
        if rows.is_empty() && free > 0 {
            rows.extend(bullet(&wrap_most(sentence, width - 5, free)));
            if left > 0 {
                rows.push(more(left));
            }
        } else if rows.len() < room {
            rows.push(more(left + 1));
        }
        break;
    }
    rows
}

fn more(count: usize) -> String {
    format!("     and {count} more")
}

fn bullet(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .enumerate()
        .map(|(index, line)| format!("{}{line}", if index == 0 { "   * " } else { "     " }))
        .collect()
}

fn field(label: &str, value: &str) -> String {
    format!(" {label:<LABEL$}{value}")
}

/// A field whose value may take several rows.
fn paragraph(label: &str, text: &str, width: usize, most: usize) -> Vec<String> {
    let lines = wrap_most(text, width.saturating_sub(LABEL + 1), most);
    lines.iter().enumerate().map(|(index, line)| field(if index == 0 { label } else { "" }, line)).collect()
}

fn block(text: &str, width: usize) -> Vec<String> {
    wrap(text, width - 2).iter().map(|line| format!(" {line}")).collect()
}

fn rule(width: usize) -> String {
    "-".repeat(width)
}

/// One text at either end of a row; the left one gives way.
fn ends(left: &str, right: &str, width: usize) -> String {
    let left = fit(left, width.saturating_sub(right.len() + 1));
    format!("{left}{right:>rest$}", rest = width - left.len())
}

fn bar(done: u32, all: u32) -> String {
    let cells = 10;
    let filled = u64::from(done.min(all)) * cells / u64::from(all.max(1));
    let filled = usize::try_from(filled).unwrap_or(0);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(10 - filled))
}

/// `2026-01-31T12:34:56.7Z` as `2026-01-31 12:34:56 UTC`; anything else as it is.
fn clock(rfc3339: &str) -> String {
    let text = plain(rfc3339);
    match (text.get(..10), text.get(10..11), text.get(11..19), text.ends_with('Z')) {
        (Some(date), Some("T"), Some(time), true) => format!("{date} {time} UTC"),
        _ => fit(&text, 30),
    }
}

fn urls(addresses: &[String]) -> String {
    if addresses.is_empty() {
        return "no address on the management network".to_owned();
    }
    let urls: Vec<String> = usable(addresses).map(url).collect();
    if urls.is_empty() { "only a link-local address on the management network".to_owned() } else { urls.join("  ") }
}

/// Link-local addresses need a zone that differs from machine to machine: of no use in a browser.
fn usable(addresses: &[String]) -> impl Iterator<Item = &str> {
    addresses.iter().map(String::as_str).filter(|address| !address.to_ascii_lowercase().starts_with("fe80"))
}

fn url(address: &str) -> String {
    let host = address.split('/').next().unwrap_or_default();
    if host.contains(':') { format!("https://[{host}]/") } else { format!("https://{host}/") }
}

fn addresses(status: &Status) -> String {
    let interface = status.management_interface.as_deref();
    match (interface, status.addresses.is_empty()) {
        (None, true) => "none; no management interface".to_owned(),
        (Some(interface), true) => format!("none on {interface}"),
        (None, false) => status.addresses.join(", "),
        (Some(interface), false) => format!("{} on {interface}", status.addresses.join(", ")),
    }
}

/// What a browser can be compared with: the leaf of the front door, and the CA it is under.
fn certificate(door: Option<&DoorCertificate>) -> Vec<String> {
    let Some(door) = door else {
        return vec![field("Certificate", "not known: the front door has not said yet which one it shows")];
    };
    let mut rows = fingerprint("Certificate", door.leaf_sha256.as_str());
    match door.origin {
        Origin::Own => rows.extend(fingerprint("Its CA", door.ca_sha256.as_str())),
        Origin::Brought => {
            let ends = door.not_after.strftime("%Y-%m-%d");
            rows.push(field("Its CA", &format!("not this box's; it was brought, and ends on {ends}")));
        }
    }
    rows
}

/// In two rows of sixteen pairs, upper case with colons, as browsers show it.
fn fingerprint(label: &str, sha256: &str) -> Vec<String> {
    let digits: Vec<char> = sha256.chars().collect();
    let pairs: Vec<String> =
        digits.chunks(2).map(|pair| pair.iter().collect::<String>().to_ascii_uppercase()).collect();
    let (first, second) = pairs.split_at(pairs.len().min(16));
    vec![field(label, &format!("SHA-256 {}", first.join(":"))), field("", &format!("        {}", second.join(":")))]
}

fn system(status: &Status) -> String {
    let hash = status
        .slot
        .root_hash
        .as_deref()
        .map_or("none (not verified)".to_owned(), |hash| plain(hash).chars().take(16).collect());
    let secure = if status.slot.secure_boot { "on" } else { "off" };
    format!("slot {}, root hash {hash}, Secure Boot {secure}", fit(&status.slot.label, 36))
}

fn state(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Starting => "starting",
        State::Degraded => "DEGRADED",
        State::Failed => "FAILED",
    }
}

fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Preparing => "preparing",
        RunState::Running => "running",
        RunState::Passed => "passed",
        RunState::Failed => "failed",
        RunState::NotMeasured => "not measured",
        RunState::Interrupted => "interrupted",
    }
}
