//! What a device does to QUIC (REQUIREMENTS A6), decided from probe connections and nothing else: configuration is not believed.
//!
//! Two sets of probes to the same targets go in: HTTP/3, and HTTP/2 as control. Vendors' documents contradict each other and
//! themselves, so only behaviour counts; a device is asked by [`crate::control::engine::ProbeOrder`] and judged here.
//!
//! Rules, in this order:
//!
//! 1. nothing to judge by (no probes, answers altered, the bench's own failures, certificates nobody trusts, HTTP/2 dead too):
//!    [`QuicClass::Unclear`], and the evidence says what to repair;
//! 2. connections of both kinds, or some personas treated wholly otherwise than others: [`QuicClass::Mixed`], with the leaks;
//! 3. no HTTP/3 at all: [`QuicClass::BlockActive`] when most attempts were refused, else [`QuicClass::BlockSilent`];
//! 4. `Alt-Svc` taken out of HTTP/2 responses: [`QuicClass::Strip`], for clients then never try the HTTP/3 that would work;
//! 5. some attempts fail or packets are lost, 1 % or more and more than chance explains: [`QuicClass::Degrade`];
//! 6. otherwise [`QuicClass::Decrypt`] or [`QuicClass::Pass`] by the proof of each connection.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::engine::{Cause, Fault, Probe, ProbeReport};
use crate::proof::Interception;
use crate::units::Span;

/// Behaviour of a device towards QUIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuicClass {
    /// Terminated and re-encrypted.
    Decrypt,
    /// Left alone, end to end.
    Pass,
    /// Dropped without a word; clients wait for their own timeout.
    BlockSilent,
    /// Refused with ICMP or CONNECTION_CLOSE; clients fall back at once.
    BlockActive,
    /// HTTP/3 itself works, but its offer is removed from HTTP/2 responses.
    Strip,
    /// Works in part: attempts fail or packets are lost (RFC 9312 §4.6: the worst case for users).
    Degrade,
    /// Different treatment of different connections: a policy leak.
    Mixed,
    /// The probes do not allow a judgement; the evidence says why.
    Unclear,
}

/// What became of the `Alt-Svc` header every persona sends over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AltSvc {
    /// On every HTTP/2 response.
    Kept,
    /// On none.
    Stripped,
    /// On some only.
    Partly,
    /// There was no HTTP/2 response to look at.
    Unseen,
}

/// What ended the HTTP/3 attempts before the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PenaltyKind {
    /// The client's own timeout, which is therefore the larger part of the penalty.
    Timeout,
    /// A refusal by the path.
    Refusal,
}

/// How much later the first byte came because HTTP/3 was tried first: start of QUIC to first byte over HTTP/2, less the time to first
/// byte of HTTP/2 alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct FallbackPenalty {
    /// Median over the samples less the median HTTP/2 time; never below zero.
    pub median: Span,
    /// Fallbacks that ended in a response.
    pub samples: u64,
    /// What ended most of the HTTP/3 attempts.
    pub kind: PenaltyKind,
}

/// A class with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct QuicVerdict {
    /// Behaviour.
    pub class: QuicClass,
    /// One sentence with the counts behind it.
    pub evidence: String,
    /// `Alt-Svc` over HTTP/2.
    pub alt_svc: AltSvc,
    /// Fallback penalty; `None` when no HTTP/3 attempt fell back or no HTTP/2 time is known.
    pub fallback_penalty: Option<FallbackPenalty>,
    /// Personas treated otherwise than most, with their counts; empty unless [`QuicClass::Mixed`].
    pub leaks: Vec<String>,
}

/// Failures or losses below this share are not called degradation, however certain.
pub const DEGRADE_SHARE: f64 = 0.01;
/// Share of probes or packets that may fail on a healthy path, generously.
const HEALTHY_SHARE: f64 = 0.001;
/// Chance allowed to mistake a healthy path for a degraded one, per judgement.
const FALSE_ALARM: f64 = 0.001;
/// Below so many probes one failure could be anything; from here on one failure is let pass.
const PROBES_THAT_EXCUSE_ONE_FAILURE: u64 = 20;
/// Probes per persona from which a persona that fails as a whole is a policy and not bad luck.
const PROBES_THAT_SHOW_A_POLICY: u64 = 3;

/// Judges a device from HTTP/3 probes and HTTP/2 probes to the same targets.
#[must_use]
pub fn classify(h3: &ProbeReport, h2: &ProbeReport) -> QuicVerdict {
    let counts = Counts::of(&h3.probes);
    let alt_svc = alt_svc(&h2.probes);
    let (class, finding, leaks) = judge(&counts, alt_svc, &h2.probes);
    QuicVerdict {
        class,
        evidence: format!("{finding}: {}.", counts.describe(alt_svc)),
        alt_svc,
        fallback_penalty: fallback_penalty(&h3.probes, &h2.probes),
        leaks,
    }
}

fn judge(counts: &Counts<'_>, alt_svc: AltSvc, h2: &[Probe]) -> (QuicClass, &'static str, Vec<String>) {
    let unclear = |why| (QuicClass::Unclear, why, Vec::new());
    let reached = counts.end_to_end + counts.intercepted;
    if counts.all == 0 {
        return unclear("HTTP/3 was not probed");
    }
    if counts.altered > 0 {
        return unclear("HTTP/3 responses came without the personas' echo, so check what answers in their place");
    }
    if counts.untrusted > 0 {
        return unclear("HTTP/3 certificates were not trusted, so give the engine the CA with which the device signs");
    }
    if counts.local == counts.all {
        return unclear("every HTTP/3 probe failed in the bench itself, so repair the engine's network first");
    }
    if counts.end_to_end > 0 && counts.intercepted > 0 {
        let minority =
            if counts.end_to_end <= counts.intercepted { Interception::EndToEnd } else { Interception::Intercepted };
        let leaks = counts.personas_with(|persona| persona.of(minority) > 0);
        return (QuicClass::Mixed, "some HTTP/3 connections are decrypted and some are not", leaks);
    }
    if alt_svc == AltSvc::Partly {
        let leaks = names(h2.iter().filter(|probe| probe.alt_svc == Some(false)), "without Alt-Svc over HTTP/2");
        return (QuicClass::Mixed, "Alt-Svc is removed from some HTTP/2 responses only", leaks);
    }
    if reached == 0 {
        // Without a sign of life over TCP a dead path would look like blocked QUIC.
        if counts.fallbacks == 0 && !h2.iter().any(answered) {
            return unclear("HTTP/3 and HTTP/2 both got no answer, so the path is down rather than QUIC blocked");
        }
        return if counts.active * 2 > counts.failed {
            (QuicClass::BlockActive, "no HTTP/3 connection came up and most attempts were refused", Vec::new())
        } else {
            (QuicClass::BlockSilent, "no HTTP/3 connection came up and most attempts met silence", Vec::new())
        };
    }
    if let Some(leaks) = counts.blocked_personas() {
        return (QuicClass::Mixed, "HTTP/3 works for some personas and never for others", leaks);
    }
    if alt_svc == AltSvc::Stripped {
        return (QuicClass::Strip, "HTTP/3 works but its offer is removed from HTTP/2 responses", Vec::new());
    }
    if beyond_chance(counts.failed, counts.failed + reached) {
        return (QuicClass::Degrade, "HTTP/3 works for a part of the attempts only", Vec::new());
    }
    if beyond_chance(counts.packets_lost, counts.packets_sent) {
        return (QuicClass::Degrade, "HTTP/3 works but loses packets", Vec::new());
    }
    if counts.failed > 0 && counts.all < PROBES_THAT_EXCUSE_ONE_FAILURE {
        return unclear("a failed attempt among so few tells nothing, so probe at least 20 times");
    }
    if counts.intercepted > 0 {
        (QuicClass::Decrypt, "HTTP/3 is decrypted", Vec::new())
    } else {
        (QuicClass::Pass, "HTTP/3 passes end to end", Vec::new())
    }
}

/// Whether `bad` of `all` is a share worth naming and improbable on a healthy path (Poisson tail below [`FALSE_ALARM`]).
fn beyond_chance(bad: u64, all: u64) -> bool {
    if all == 0 || (bad as f64) < DEGRADE_SHARE * all as f64 {
        return false;
    }
    let mean = HEALTHY_SHARE * all as f64;
    if mean >= 1.0 {
        // The share alone is ten times what is expected, which has a chance below 1e-6 from here on.
        return true;
    }
    // P(X >= bad) = 1 - sum of the terms below it.
    let (mut term, mut below) = (libm::exp(-mean), 0.0);
    for k in 0..bad.min(all) {
        below += term;
        term *= mean / (k + 1) as f64;
    }
    1.0 - below < FALSE_ALARM
}

fn answered(probe: &Probe) -> bool {
    probe.failure.is_none() && probe.interception != Interception::Unknown
}

fn alt_svc(h2: &[Probe]) -> AltSvc {
    // Only responses of personas count: an error or block page of the device never had the header.
    let from_persona = |probe: &&Probe| {
        probe.failure.is_none() && matches!(probe.interception, Interception::EndToEnd | Interception::Intercepted)
    };
    let count = |present: bool| h2.iter().filter(from_persona).filter(|probe| probe.alt_svc == Some(present)).count();
    let (kept, stripped) = (count(true), count(false));
    match (kept, stripped) {
        (0, 0) => AltSvc::Unseen,
        (_, 0) => AltSvc::Kept,
        (0, _) => AltSvc::Stripped,
        _ => AltSvc::Partly,
    }
}

fn fallback_penalty(h3: &[Probe], h2: &[Probe]) -> Option<FallbackPenalty> {
    let fell_back = || {
        h3.iter().filter_map(|probe| {
            Some((probe.fallback.as_ref()?.ttfb_from_quic_start?, probe.failure.as_ref().is_some_and(|f| f.active)))
        })
    };
    let samples = fell_back().count() as u64;
    let refused = fell_back().filter(|&(_, active)| active).count() as u64;
    let with_quic = median_span(fell_back().map(|(ttfb, _)| ttfb))?;
    let alone = median_span(h2.iter().filter(|probe| answered(probe)).filter_map(|probe| probe.ttfb))?;
    Some(FallbackPenalty {
        median: Span::from_micros(with_quic.as_micros().saturating_sub(alone.as_micros())),
        samples,
        kind: if refused * 2 > samples { PenaltyKind::Refusal } else { PenaltyKind::Timeout },
    })
}

/// Median; of an even number, the mean of the middle two.
fn median_span(spans: impl Iterator<Item = Span>) -> Option<Span> {
    let mut spans: Vec<u64> = spans.map(Span::as_micros).collect();
    spans.sort_unstable();
    let upper = *spans.get(spans.len() / 2)?;
    let lower = spans[(spans.len() - 1) / 2];
    Some(Span::from_micros(lower.midpoint(upper)))
}

fn names<'a>(probes: impl Iterator<Item = &'a Probe>, what: &str) -> Vec<String> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for probe in probes {
        *counts.entry(&probe.persona).or_default() += 1;
    }
    counts.into_iter().map(|(persona, count)| format!("{persona}: {count} {what}")).collect()
}

/// HTTP/3 probes of one persona, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    end_to_end: u64,
    intercepted: u64,
    failed: u64,
}

impl Tally {
    fn of(&self, class: Interception) -> u64 {
        match class {
            Interception::EndToEnd => self.end_to_end,
            Interception::Intercepted => self.intercepted,
            Interception::Altered | Interception::Unknown => 0,
        }
    }

    fn reached(&self) -> u64 {
        self.end_to_end + self.intercepted
    }
}

#[derive(Debug, Default)]
struct Counts<'a> {
    all: u64,
    end_to_end: u64,
    intercepted: u64,
    altered: u64,
    /// Failures of the path or the peer.
    failed: u64,
    /// Of these, told and not merely silent.
    active: u64,
    /// Failures of the bench itself; they say nothing about the device.
    local: u64,
    untrusted: u64,
    fallbacks: u64,
    packets_sent: u64,
    packets_lost: u64,
    personas: BTreeMap<&'a str, Tally>,
}

impl<'a> Counts<'a> {
    fn of(probes: &'a [Probe]) -> Self {
        let mut counts = Self::default();
        for probe in probes {
            counts.add(probe);
        }
        counts
    }

    fn add(&mut self, probe: &'a Probe) {
        self.all += 1;
        let persona = self.personas.entry(&probe.persona).or_default();
        if let Some((sent, lost)) = probe.quic_packets {
            self.packets_sent = self.packets_sent.saturating_add(sent);
            self.packets_lost = self.packets_lost.saturating_add(lost);
        }
        if probe
            .fallback
            .as_ref()
            .is_some_and(|fallback| fallback.ttfb.is_some() || fallback.ttfb_from_quic_start.is_some())
        {
            self.fallbacks += 1;
        }
        match (&probe.failure, probe.interception) {
            (_, Interception::Altered) => self.altered += 1,
            (Some(failure), _) if failure.fault == Fault::Local => self.local += 1,
            (Some(failure), _) => {
                self.failed += 1;
                persona.failed += 1;
                self.active += u64::from(failure.active);
                self.untrusted += u64::from(failure.cause == Cause::CertificateUntrusted);
            }
            (None, Interception::EndToEnd) => {
                self.end_to_end += 1;
                persona.end_to_end += 1;
            }
            (None, Interception::Intercepted) => {
                self.intercepted += 1;
                persona.intercepted += 1;
            }
            (None, Interception::Unknown) => {
                self.failed += 1;
                persona.failed += 1;
            }
        }
    }

    fn personas_with(&self, leaks: impl Fn(&Tally) -> bool) -> Vec<String> {
        let chosen = self.personas.iter().filter(|(_, tally)| leaks(tally));
        chosen
            .map(|(persona, tally)| {
                format!(
                    "{persona}: {} decrypted, {} end to end, {} failed",
                    tally.intercepted, tally.end_to_end, tally.failed
                )
            })
            .collect()
    }

    /// Personas that never answer when every other always does, each probed often enough; `None` when failures are spread otherwise.
    fn blocked_personas(&self) -> Option<Vec<String>> {
        let blocked = |tally: &Tally| tally.failed > 0;
        let clear_cut = self.personas.values().all(|tally| {
            tally.failed + tally.reached() >= PROBES_THAT_SHOW_A_POLICY && (tally.failed == 0 || tally.reached() == 0)
        });
        (clear_cut && self.failed > 0).then(|| self.personas_with(blocked))
    }

    fn describe(&self, alt_svc: AltSvc) -> String {
        let alt_svc = match alt_svc {
            AltSvc::Kept => "kept",
            AltSvc::Stripped => "stripped",
            AltSvc::Partly => "stripped in part",
            AltSvc::Unseen => "not seen",
        };
        format!(
            "of {} HTTP/3 probes {} were decrypted, {} end to end, {} altered, {} failed ({} of them refused) and {} failed in the \
             bench; {} of {} QUIC packets were lost; Alt-Svc over HTTP/2 was {alt_svc}",
            self.all,
            self.intercepted,
            self.end_to_end,
            self.altered,
            self.failed,
            self.active,
            self.local,
            self.packets_lost,
            self.packets_sent,
        )
    }
}

#[cfg(test)]
#[path = "quic_class_tests.rs"]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;

/// A probe that succeeded, with nothing else known; tests change what they need.
#[cfg(test)]
pub(crate) fn probe_for_tests(persona: &str, interception: Interception) -> Probe {
    Probe {
        persona: persona.to_owned(),
        interception,
        failure: None,
        handshake: None,
        ttfb: None,
        issuer: None,
        alt_svc: None,
        saw: None,
        client_hello: String::new(),
        quic_packets: None,
        fallback: None,
    }
}
