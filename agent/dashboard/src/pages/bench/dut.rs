//! What stands as device between agents and personas, how it behaves, what it counted, and what the wire proof said last. Where its kind,
//! credentials and CA are set, there will be a place of its own.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use tbi_api::bench::{Dut, Evidence};
use tbi_bench::control::practice_dut::{
    AltSvcPolicy, Behaviour, Counters, Forge, Mirror, QuicPolicy, Scope, TcpPolicy,
};
use tbi_bench::preflight::{CheckName, CheckVerdict};

use super::super::frame::Frame;
use super::super::look::Look;
use super::super::refused::Shown;
use super::super::visit::Visit;
use super::super::{Pages, html};
use super::moment;

/// A fact: id of its name, and its value.
#[derive(Debug, PartialEq, Eq)]
struct Fact {
    name: &'static str,
    value: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Device {
    /// `practice` or `trunk`.
    kind: &'static str,
    sentence: String,
    identity: Vec<Fact>,
    behaviour: Vec<Fact>,
    counters: Vec<Fact>,
}

#[derive(Debug, PartialEq, Eq)]
struct ProofRow {
    protocol: String,
    arm: String,
    intercepted: String,
    end_to_end: String,
    altered: String,
    unknown: String,
    expected: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Proof {
    run: String,
    ended: String,
    rows: Vec<ProofRow>,
}

/// What the pre-flight checks saw of the decrypt modes.
#[derive(Debug, PartialEq, Eq)]
struct Looked {
    verdict: &'static str,
    evidence: String,
    when: String,
}

#[derive(Template)]
#[template(path = "bench/dut.html")]
struct DutPage {
    look: Look,
    frame: Frame,
    device: Option<Device>,
    proof: Option<Proof>,
    proof_absent: bool,
    looked: Option<Looked>,
}

fn fact(name: &'static str, value: impl Into<String>) -> Fact {
    Fact { name, value: value.into() }
}

fn behaviour(of: &Behaviour, look: &Look) -> Vec<Fact> {
    let tcp = match of.tcp {
        TcpPolicy::Route => "route",
        TcpPolicy::Decrypt => "decrypt",
    };
    let quic = match of.quic {
        QuicPolicy::Route => "route",
        QuicPolicy::Decrypt => "decrypt",
        QuicPolicy::BlockSilent => "block-silent",
        QuicPolicy::BlockActive => "block-active",
    };
    let alt_svc = match of.alt_svc {
        AltSvcPolicy::Keep => "keep",
        AltSvcPolicy::Strip => "strip",
    };
    let forge = match of.forge {
        Forge::Warm => "warm",
        Forge::Cold => "cold",
    };
    let mirror = match of.mirror {
        Mirror::Faithful => "faithful",
        Mirror::Downgrade => "downgrade",
    };
    let scope = |scope: Scope| match scope {
        Scope::All => "TCP + UDP 443",
        Scope::Quic => "UDP 443",
        Scope::Tcp => "TCP 443",
    };
    vec![
        fact("dut-tcp", look.word("dut-policy-", tcp)),
        fact("dut-quic", look.word("dut-policy-", quic)),
        fact("dut-alt-svc", look.word("dut-policy-", alt_svc)),
        fact("dut-forge", look.word("dut-policy-", forge)),
        fact("dut-mirror", look.word("dut-policy-", mirror)),
        fact("dut-drop", format!("{} ‰ ({})", of.drop_per_mille, scope(of.drop_scope))),
        fact("dut-delay", format!("{} ({})", of.delay, scope(of.delay_scope))),
    ]
}

fn counters(of: &Counters, look: &Look) -> Vec<Fact> {
    [
        ("dut-tcp-decrypted", of.tcp_decrypted),
        ("dut-quic-decrypted", of.quic_decrypted),
        ("dut-failed", of.failed),
        ("dut-untrusted", of.upstream_untrusted),
        ("dut-forged", of.leaves_forged),
        ("dut-dropped", of.packets_dropped),
        ("dut-delayed", of.packets_delayed),
        ("dut-overrun", of.packets_overrun),
    ]
    .map(|(name, count)| fact(name, look.count(count)))
    .into()
}

fn device(dut: Dut, look: &Look) -> Device {
    match dut {
        Dut::Practice { identity, behaviour: of, counters: counted, sentence } => Device {
            kind: "practice",
            sentence,
            identity: identity.map_or_else(Vec::new, |it| {
                vec![
                    fact("dut-model", format!("{} {} {}", it.vendor, it.model, it.version)),
                    fact("dut-ca", it.ca_sha256),
                    fact("certificate-until", moment(look, it.ca_not_after)),
                ]
            }),
            behaviour: of.map_or_else(Vec::new, |of| behaviour(&of, look)),
            counters: counted.map_or_else(Vec::new, |of| counters(&of, look)),
        },
        Dut::Trunk { mac, sentence } => Device {
            kind: "trunk",
            sentence,
            identity: vec![fact("network-mac", mac)],
            behaviour: Vec::new(),
            counters: Vec::new(),
        },
    }
}

fn proof(evidence: Evidence, look: &Look) -> Option<Proof> {
    let row = |row: tbi_bench::record::ProofRow| ProofRow {
        protocol: row.protocol.to_string(),
        arm: row.arm.to_string().to_uppercase(),
        intercepted: look.count(row.intercepted),
        end_to_end: look.count(row.end_to_end),
        altered: look.count(row.altered),
        unknown: look.count(row.unknown),
        expected: row.as_expected,
    };
    Some(Proof {
        run: evidence.run?,
        ended: look.time_of(&evidence.ended),
        rows: evidence.proof.into_iter().map(row).collect(),
    })
}

/// The page.
pub(in crate::pages) async fn show(State(_pages): State<Arc<Pages>>, visit: Visit) -> Shown {
    let agent = &visit.agent;
    let (status, dut, evidence, checks) =
        tokio::join!(agent.status(), agent.dut(), agent.evidence(), agent.preflight());
    let mut frame = visit.frame("dut-title", &status);
    let look = visit.look.clone();
    for error in [dut.as_ref().err(), evidence.as_ref().err(), checks.as_ref().err()].into_iter().flatten() {
        frame.silent(&look, error);
    }
    let looked = checks.ok().and_then(|made| {
        let check = made.checks.into_iter().find(|check| check.name == CheckName::DecryptMode)?;
        let verdict = match check.verdict {
            CheckVerdict::Passed => "passed",
            CheckVerdict::Warning => "warning",
            CheckVerdict::Failed => "failed",
            CheckVerdict::Skipped => "skipped",
        };
        Some(Looked { verdict, evidence: check.evidence, when: look.time_of(&made.started) })
    });
    let evidence = evidence.ok();
    let measured = evidence.is_some();
    let proof = evidence.and_then(|evidence| proof(evidence, &look));
    Ok(html(&DutPage {
        device: dut.ok().map(|dut| device(dut, &look)),
        proof_absent: measured && proof.is_none(),
        proof,
        looked,
        frame,
        look,
    }))
}
