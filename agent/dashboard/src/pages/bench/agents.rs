//! The load agents: on what they run, how they are, what load the box can generate, and what the newest record says about their limits.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::bench::Evidence;
use tbi_api::hardware::Hardware;
use tbi_api::health::{Component, Health};

use super::super::frame::{Frame, state_name};
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html, number};

/// What they run on, and what that is good for.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    model: String,
    threads: String,
    instructions: String,
    memory: String,
    handshakes: String,
    throughput: String,
    sentences: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    state: &'static str,
    sentence: String,
    restarts: String,
    memory: String,
}

/// Whether the bench was the limit in the newest record.
#[derive(Debug, PartialEq, Eq)]
struct Limits {
    run: String,
    ended: String,
    numbers: String,
    limited: Vec<String>,
}

#[derive(Template)]
#[template(path = "bench/agents.html")]
struct AgentsPage {
    look: Look,
    frame: Frame,
    machine: Option<Machine>,
    /// `None`: the agent did not say; an empty state where it has no such part.
    engine: Option<Part>,
    engine_absent: bool,
    limits: Option<Limits>,
    limits_absent: bool,
}

fn machine(hardware: Hardware, look: &Look) -> Machine {
    let cpu = &hardware.cpu;
    let known = [("AES", cpu.aes_ni), ("AVX2", cpu.avx2), ("AVX-512", cpu.avx512), ("VAES", cpu.vaes)];
    let instructions: Vec<&str> = known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    Machine {
        threads: look.count(cpu.threads.into()),
        instructions: if instructions.is_empty() { "–".to_owned() } else { instructions.join(", ") },
        memory: number::memory(hardware.memory_bytes, look.lang),
        handshakes: look.count(hardware.verdict.handshakes_per_second),
        throughput: look.count(hardware.verdict.throughput_mbps),
        model: hardware.cpu.model,
        sentences: hardware.verdict.sentences,
    }
}

fn engine(health: Health, look: &Look) -> Option<Part> {
    let part = health.components.into_iter().find(|part| part.name == "engine")?;
    let Component { state, sentence, restarts, memory_bytes, .. } = part;
    Some(Part {
        state: state_name(state),
        sentence,
        restarts: look.count(restarts.into()),
        memory: memory_bytes.map(|bytes| number::memory(bytes, look.lang)).unwrap_or_default(),
    })
}

fn limits(evidence: Evidence, look: &Look) -> Option<Limits> {
    Some(Limits {
        run: evidence.run?,
        ended: look.time_of(&evidence.ended),
        numbers: look.count(evidence.numbers),
        limited: evidence.limited,
    })
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let agent = &visit.agent;
    let (status, hardware, health, evidence) =
        tokio::join!(agent.status(), agent.hardware(), agent.health(), agent.evidence());
    let mut frame = visit.frame("agents-title", &status);
    let look = visit.look.clone();
    for error in [hardware.as_ref().err(), health.as_ref().err(), evidence.as_ref().err()].into_iter().flatten() {
        frame.silent(&look, error);
    }
    let (health, evidence) = (health.ok(), evidence.ok());
    let (told, measured) = (health.is_some(), evidence.is_some());
    let engine = health.and_then(|health| engine(health, &look));
    let limits = evidence.and_then(|evidence| limits(evidence, &look));
    Ok(html(&AgentsPage {
        machine: hardware.ok().map(|hardware| machine(hardware, &look)),
        engine_absent: told && engine.is_none(),
        engine,
        limits_absent: measured && limits.is_none(),
        limits,
        frame,
        look,
    }))
}
