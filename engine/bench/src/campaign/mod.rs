//! The campaign: in which order blocks run and when a run must stop, as a pure state machine.
//!
//! The agent feeds it [`Event`]s and carries out the [`Action`] it answers with; it owns no socket and no clock. The record's rows are
//! made from the blocks it collects by [`crate::analysis`].
//!
//! ```text
//!            ┌────────────────────────── next block ───────────────────────────┐
//!            ▼                                                                 │
//! Idle ─▶ ChangingPath ─▶ Switching ─▶ Verifying ─▶ Measuring ─▶ Storing ──────┤
//!            (reference blocks go straight from ChangingPath to Verifying)     ▼
//!                     any state ── Event::Failed ──▶ Ended ◀── after the last block
//! ```

mod length;
mod sequence;
mod trials;

pub use length::{lengths, planned};
pub use sequence::{BlockSpec, sequence};
pub use trials::{TrialSpec, trials_of};

use crate::control::engine::{ProbeReport, TrialReport};
use crate::mode_check;
use crate::netplan::Path;
use crate::plan::Plan;
use crate::protocol::{Arm, Protocol};

/// What the shell must do next. It answers with exactly one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Lay the path; answer [`Event::PathReady`].
    LayPath(Path),
    /// Switch the device, and wait until it says so; answer [`Event::ModeSwitched`].
    SwitchMode(Arm),
    /// Probe with this protocol; answer [`Event::Probed`].
    Probe(Protocol),
    /// Run this trial; answer [`Event::TrialEnded`].
    RunTrial(TrialSpec),
    /// The block is whole: write it down; answer [`Event::BlockStored`].
    StoreBlock,
    /// Nothing more to do.
    Finish(Outcome),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Everything is up.
    Started,
    /// The path is laid.
    PathReady,
    /// The device is in the mode.
    ModeSwitched,
    /// Probes ended.
    Probed(ProbeReport),
    /// The trial ended.
    TrialEnded(Box<TrialReport>),
    /// The block is on disk.
    BlockStored,
    /// Something ended the run: a process died, the operator stopped it, the disk is full, the clock stepped.
    Failed(Stop),
}

/// Why a run stops early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The run could not go on; what was measured is kept. One sentence with the remedy.
    Interrupt(String),
    /// The measurement cannot be believed; what was measured is kept. One sentence with the remedy.
    Invalidate(String),
}

/// How the campaign ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every block ran.
    Completed,
    /// It stopped early.
    Stopped(Stop),
}

/// An event came that the state cannot take: a defect of the shell, never of the input.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the campaign got '{event}' while {state}; this is a defect of the agent, please report it")]
pub struct UnexpectedEvent {
    event: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    ChangingPath,
    Switching,
    /// Index into the protocols to probe.
    Verifying(usize),
    /// Index into the block's trials.
    Measuring(usize),
    Storing,
    Ended,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::ChangingPath => "laying the path",
            State::Switching => "switching the device",
            State::Verifying(_) => "verifying the mode",
            State::Measuring(_) => "measuring",
            State::Storing => "storing a block",
            State::Ended => "ended",
        }
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Event::Started => "started",
            Event::PathReady => "path ready",
            Event::ModeSwitched => "mode switched",
            Event::Probed(_) => "probed",
            Event::TrialEnded(_) => "trial ended",
            Event::BlockStored => "block stored",
            Event::Failed(_) => "failed",
        }
    }
}

/// One campaign under way.
#[derive(Debug)]
pub struct Campaign {
    plan: Plan,
    blocks: Vec<BlockSpec>,
    position: usize,
    path: Option<Path>,
    state: State,
}

impl Campaign {
    /// A campaign for `plan`, not yet started.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let blocks = sequence(&plan);
        Self { plan, blocks, position: 0, path: None, state: State::Idle }
    }

    /// All blocks in their order.
    #[must_use]
    pub fn blocks(&self) -> &[BlockSpec] {
        &self.blocks
    }

    /// The block under way; `None` before the start and after the end.
    #[must_use]
    pub fn current(&self) -> Option<BlockSpec> {
        match self.state {
            State::Idle | State::Ended => None,
            _ => self.blocks.get(self.position).copied(),
        }
    }

    /// Takes one event and says what to do next.
    ///
    /// # Errors
    /// [`UnexpectedEvent`] when the pair of state and event has no meaning; the state is then unchanged.
    pub fn on(&mut self, event: Event) -> Result<Action, UnexpectedEvent> {
        let unexpected = UnexpectedEvent { event: event.name(), state: self.state.name() };
        match (self.state, event) {
            (State::Ended, _) => Err(unexpected),
            (_, Event::Failed(stop)) => Ok(self.end(Outcome::Stopped(stop))),
            (State::Idle, Event::Started) => Ok(self.begin_block()),
            (State::ChangingPath, Event::PathReady) => Ok(self.path_is_ready()),
            (State::Switching, Event::ModeSwitched) => Ok(self.verify(0)),
            (State::Verifying(index), Event::Probed(report)) => Ok(self.judge(index, &report)),
            (State::Measuring(index), Event::TrialEnded(report)) => Ok(self.trial_ended(index, &report)),
            (State::Storing, Event::BlockStored) => {
                self.position += 1;
                Ok(if self.position == self.blocks.len() { self.end(Outcome::Completed) } else { self.begin_block() })
            }
            _ => Err(unexpected),
        }
    }

    /// Protocols probed before a block: those of the plan, and h2 beside h3, because a QUIC class rests on both.
    #[must_use]
    pub fn probed_protocols(plan: &Plan) -> Vec<Protocol> {
        let mut protocols = plan.protocols.clone();
        if protocols.contains(&Protocol::H3) && !protocols.contains(&Protocol::H2) {
            protocols.push(Protocol::H2);
        }
        protocols
    }

    fn begin_block(&mut self) -> Action {
        let wanted = match self.blocks[self.position].arm {
            Arm::Reference => Path::Reference,
            Arm::On | Arm::Bypass => Path::ThroughDut,
        };
        if self.path == Some(wanted) {
            return self.path_is_ready();
        }
        self.path = Some(wanted);
        self.state = State::ChangingPath;
        Action::LayPath(wanted)
    }

    fn path_is_ready(&mut self) -> Action {
        match self.blocks[self.position].arm {
            Arm::Reference => self.verify(0),
            arm => {
                self.state = State::Switching;
                Action::SwitchMode(arm)
            }
        }
    }

    fn verify(&mut self, index: usize) -> Action {
        match Self::probed_protocols(&self.plan).get(index) {
            Some(&protocol) => {
                self.state = State::Verifying(index);
                Action::Probe(protocol)
            }
            None => self.measure(0),
        }
    }

    fn judge(&mut self, index: usize, report: &ProbeReport) -> Action {
        let arm = self.blocks[self.position].arm;
        let Some(&protocol) = Self::probed_protocols(&self.plan).get(index) else {
            return self.measure(0);
        };
        match mode_check::verify(report, self.plan.expectation(arm, protocol)) {
            Ok(()) => self.verify(index + 1),
            Err(leak) => {
                let block = self.position + 1;
                self.end(Outcome::Stopped(Stop::Invalidate(format!(
                    "Block {block} ({arm}) was not measured, {protocol}: {leak}"
                ))))
            }
        }
    }

    fn measure(&mut self, index: usize) -> Action {
        let block = self.blocks[self.position];
        match trials_of(&self.plan, block).into_iter().nth(index) {
            Some(trial) => {
                self.state = State::Measuring(index);
                Action::RunTrial(trial)
            }
            None => {
                self.state = State::Storing;
                Action::StoreBlock
            }
        }
    }

    fn trial_ended(&mut self, index: usize, report: &TrialReport) -> Action {
        let block = self.blocks[self.position];
        if report.attempts.succeeded == 0 {
            let what = trials_of(&self.plan, block).get(index).map_or_else(String::new, TrialSpec::to_string);
            let why = report.errors.first().map_or_else(
                || "nothing was answered in time".to_owned(),
                |error| format!("most often {} ({})", sentence_of(error.cause), error.example),
            );
            let who = if block.arm == Arm::Reference { "the personas" } else { "the device or the personas behind it" };
            return self.end(Outcome::Stopped(Stop::Invalidate(format!(
                "Block {} ({}), {what}: not one of {} transactions succeeded, {why}; {who} stopped answering, so check that they are up \
                 and run again",
                self.position + 1,
                block.arm,
                report.attempts.transactions.max(report.attempts.scheduled),
            ))));
        }
        self.measure(index + 1)
    }

    fn end(&mut self, outcome: Outcome) -> Action {
        self.state = State::Ended;
        Action::Finish(outcome)
    }
}

/// A cause in words, for sentences.
#[must_use]
pub fn sentence_of(cause: crate::control::engine::Cause) -> &'static str {
    use crate::control::engine::Cause;
    match cause {
        Cause::HandshakeTimeout => "the handshake timed out",
        Cause::ConnectRefused => "the connection was refused",
        Cause::Unreachable => "the target was unreachable",
        Cause::CertificateUntrusted => "the certificate was not trusted",
        Cause::TlsFailure => "TLS failed",
        Cause::AlpnMismatch => "another protocol was negotiated",
        Cause::Reset => "the connection was reset",
        Cause::QuicClosed => "the QUIC connection was closed",
        Cause::Truncated => "the response was cut short",
        Cause::HttpStatus => "the status was not 200",
        Cause::BodyLength => "the body had the wrong length",
        Cause::ProtocolViolation => "the bytes were not the protocol",
        Cause::RequestTimeout => "the response timed out",
        Cause::SourceExhausted => "no source port was left",
        Cause::LocalResource => "the engine ran out of a resource",
    }
}

#[cfg(test)]
mod tests;
