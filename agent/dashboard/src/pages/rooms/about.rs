//! What the box is: version, machine, how it was started, where its key is; and whose work is in it.
//!
//! The list of crates is `agent/dashboard/crates.tsv`, which `cargo tbi licences` writes and a test of that tool holds to Cargo.lock.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::hardware::Hardware;
use tbi_api::node::{Capabilities, Identity, KeyStorage};
use tbi_api::status::Status;

use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, number};

/// Crates in our programs: name, version, licence.
const CRATES: &str = include_str!("../../../crates.tsv");
/// Files of others among the assets: name, version, licence.
const ASSETS: &[Work<'static>] = &[];

/// Work of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work<'a> {
    name: &'a str,
    version: &'a str,
    licence: &'a str,
}

/// A fact with its name.
#[derive(Debug, PartialEq, Eq)]
struct Fact {
    name: String,
    value: String,
    /// Whether it is English whatever the reader's language.
    raw: bool,
}

/// One thing that the box can do, or not.
#[derive(Debug, PartialEq, Eq)]
struct Ability {
    name: String,
    available: bool,
    sentence: String,
}

#[derive(Template)]
#[template(path = "rooms/about.html")]
struct AboutPage {
    look: Look,
    frame: Frame,
    started: Option<Vec<Fact>>,
    machine: Option<Vec<Fact>>,
    verdict: Vec<String>,
    abilities: Option<Vec<Ability>>,
}

#[derive(Template)]
#[template(path = "rooms/licences.html")]
struct LicencesPage {
    look: Look,
    frame: Frame,
    crates: Vec<Work<'static>>,
    assets: &'static [Work<'static>],
}

fn works(text: &'static str) -> Vec<Work<'static>> {
    let work = |line: &'static str| {
        let mut parts = line.split('\t');
        Some(Work { name: parts.next()?, version: parts.next()?, licence: parts.next()? })
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(work).collect()
}

fn started(status: &Status, identity: Option<&Identity>, look: &Look) -> Vec<Fact> {
    let yes = |is: bool| look.say(if is { "yes" } else { "no" }).into_owned();
    let fact = |id: &str, value: String, raw| Fact { name: look.say(id).into_owned(), value, raw };
    let commit = status.commit.as_ref().map(|commit| format!(" ({commit})")).unwrap_or_default();
    let none = || "–".to_owned();
    let mut facts = vec![
        fact("box-version", format!("{}{commit}, {}", status.version, status.variant), true),
        fact("about-slot", status.slot.label.clone(), true),
        fact("about-root-hash", status.slot.root_hash.clone().unwrap_or_else(none), true),
        fact("about-entry", status.slot.entry.clone().unwrap_or_else(none), true),
        fact("about-secure-boot", yes(status.slot.secure_boot), false),
        fact("about-last-start", status.last_boot.sentence.clone(), true),
        fact("box-up", number::span(status.uptime_seconds), false),
    ];
    if let Some(identity) = identity {
        let storage = match identity.key_storage {
            KeyStorage::SealedToTpm => "key-sealed",
            KeyStorage::StatePartition => "key-on-disk",
            KeyStorage::ThisStartOnly => "key-this-start",
        };
        facts.push(fact("about-node", identity.node_id.clone(), true));
        facts.push(fact("about-key", look.say(storage).into_owned(), false));
        facts.push(fact("about-node-certificate", identity.certificate_sha256.clone(), true));
    }
    facts
}

fn machine(hardware: &Hardware, look: &Look) -> Vec<Fact> {
    let fact = |id: &str, value: String| Fact { name: look.say(id).into_owned(), value, raw: true };
    let cpu = &hardware.cpu;
    let instructions = [("AES-NI", cpu.aes_ni), ("AVX2", cpu.avx2), ("AVX-512", cpu.avx512), ("VAES", cpu.vaes)];
    let instructions: Vec<_> = instructions.into_iter().filter(|(_name, is)| *is).map(|(name, _is)| name).collect();
    let mut facts = vec![
        fact("about-machine", hardware.machine.clone()),
        fact(
            "about-hypervisor",
            hardware.virtualisation.clone().unwrap_or_else(|| look.say("about-bare").into_owned()),
        ),
        fact("about-cpu", cpu.model.clone()),
        fact("about-threads", look.count(cpu.threads.into())),
        fact("about-instructions", instructions.join(", ")),
        fact("about-memory", number::memory(hardware.memory_bytes, look.lang)),
        fact("about-tpm", hardware.tpm.clone().unwrap_or_else(|| look.say("about-no-tpm").into_owned())),
    ];
    for nic in &hardware.nics {
        let speed = nic.speed_mbps.map(|speed| format!(", {} Mbit/s", look.count(speed))).unwrap_or_default();
        let value = format!("{}, {}, {}{speed}, {}", nic.name, nic.mac, nic.driver, nic.role);
        facts.push(fact("about-nic", value));
    }
    for disk in &hardware.disks {
        let value = format!("{}, {}, {}", disk.name, disk.model, number::memory(disk.bytes, look.lang));
        facts.push(fact("about-disk", value));
    }
    facts
}

fn abilities(capabilities: Capabilities) -> Vec<Ability> {
    let one = |it: tbi_api::node::Capability| Ability { name: it.name, available: it.available, sentence: it.sentence };
    capabilities.capabilities.into_iter().map(one).collect()
}

/// The page.
pub(super) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let agent = &visit.agent;
    let (status, identity, hardware, capabilities) =
        tokio::join!(agent.status(), agent.identity(), agent.hardware(), agent.capabilities());
    let look = visit.look.clone();
    let mut frame = visit.frame("about-title", &status);
    let silent = [identity.as_ref().err(), hardware.as_ref().err(), capabilities.as_ref().err()];
    for error in silent.into_iter().flatten() {
        frame.silent(&look, error);
    }
    let hardware = hardware.ok();
    Ok(html(&AboutPage {
        frame,
        started: status.ok().map(|status| started(&status, identity.as_ref().ok(), &look)),
        machine: hardware.as_ref().map(|hardware| machine(hardware, &look)),
        verdict: hardware.map(|hardware| hardware.verdict.sentences).unwrap_or_default(),
        abilities: capabilities.ok().map(abilities),
        look,
    }))
}

/// Whose work is in it.
pub(super) async fn licences(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let frame = visit.frame("about-licences", &visit.agent.status().await);
    Ok(html(&LicencesPage { frame, crates: works(CRATES), assets: ASSETS, look: visit.look }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_a_work_with_its_licence() {
        let works = works(CRATES);
        let lines = CRATES.lines().filter(|line| !line.starts_with('#')).count();
        assert!(works.len() == lines && lines > 100, "{lines}");
        assert!(works.iter().all(|work| !work.name.is_empty() && !work.version.is_empty() && !work.licence.is_empty()));
        assert!(works.iter().any(|work| work.name == "rustls"));
    }
}
