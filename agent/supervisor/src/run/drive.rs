//! Drives one campaign: carries out each action of the state machine, watches for everything that can end a run early, keeps each
//! block on disk, and makes the record in the end.
//!
//! Await, then apply: `select!` produces one [`Event`], [`Campaign::on`] applies it. Nothing is half-done across an await: an action
//! that is cancelled by a stop leaves its block void: its finished trials stay in the record and count nowhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tbi_bench::analysis;
use tbi_bench::campaign::{Action, BlockSpec, Campaign, Event, Outcome, Stop, TrialSpec};
use tbi_bench::control::engine::{ProbeReport, Tick, Timings};
use tbi_bench::netplan::Path;
use tbi_bench::object::Object;
use tbi_bench::plan::Plan;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::quic_class;
use tbi_bench::record::{BlockRecord, Distribution, DutConfiguration, QuicRow, TrialKind, TrialRecord};
use tbi_bench::units::Span;
use tbi_daemon::Shutdown;
use tokio::sync::broadcast;

use super::clock::Clocks;
use super::environment::Life;
use super::floor::{Floor, Measured};
use super::journal::{Journal, OpenSecond, OpenTrial};
use super::progress::{Progress, Sink};
use crate::process::{Event as Happened, Happening};

/// How often the clocks are compared while an action is under way.
const CLOCK_WATCH: Duration = Duration::from_secs(1);

/// What a finished campaign leaves behind.
#[derive(Debug)]
pub(crate) struct Harvest {
    /// How it ended.
    pub outcome: Outcome,
    /// Blocks measured.
    pub blocks: Vec<BlockRecord>,
    /// Merged histograms.
    pub distributions: Vec<Distribution>,
    /// QUIC class per arm.
    pub quic: Vec<QuicRow>,
    /// Device configuration per arm.
    pub configurations: Vec<DutConfiguration>,
}

impl Harvest {
    /// A campaign that never began.
    pub(crate) fn nothing(outcome: Outcome) -> Self {
        Self { outcome, blocks: Vec::new(), distributions: Vec::new(), quic: Vec::new(), configurations: Vec::new() }
    }
}

/// What the driver listens to beside its own actions.
pub(crate) struct Watch {
    /// What happens to programs: one that dies ends the run.
    pub events: broadcast::Receiver<Happened>,
    /// The operator's stop.
    pub stop: Shutdown,
    /// Where the run is, for sentences.
    pub life: Life,
}

/// The campaign under way.
pub(crate) struct Driver<'a> {
    plan: &'a Plan,
    floor: &'a mut Floor,
    journal: &'a mut Journal,
    progress: Progress,
    campaign: Campaign,
    started: Instant,
    block: Option<OpenBlock>,
    harvest: Harvest,
    merged: BTreeMap<(Protocol, Object, TrialKind, Arm), Timings>,
    probes: BTreeMap<Protocol, ProbeReport>,
}

/// A block that is being measured.
struct OpenBlock {
    spec: BlockSpec,
    began: Instant,
    trials: Vec<TrialRecord>,
    timings: Vec<(TrialSpec, Timings)>,
    configuration: Option<String>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(plan: &'a Plan, floor: &'a mut Floor, journal: &'a mut Journal, sink: Sink) -> Self {
        let campaign = Campaign::new(plan.clone());
        Self {
            plan,
            floor,
            journal,
            progress: Progress::new(plan, campaign.blocks(), sink),
            campaign,
            started: Instant::now(),
            block: None,
            harvest: Harvest::nothing(Outcome::Completed),
            merged: BTreeMap::new(),
            probes: BTreeMap::new(),
        }
    }

    /// Runs the campaign to its end, whatever that is.
    pub(crate) async fn run(mut self, mut watch: Watch) -> Harvest {
        self.progress.announce(self.plan);
        let clocks = Clocks::now();
        let mut event = Event::Started;
        let outcome = loop {
            let action = match self.campaign.on(event) {
                Ok(Action::Finish(outcome)) => break outcome,
                Ok(action) => action,
                Err(defect) => break Outcome::Stopped(Stop::Interrupt(defect.to_string())),
            };
            let place = self.place(&action);
            event = tokio::select! {
                biased;
                // Cancel-safe: a level, not an edge. First, because a stop ends programs, too.
                () = watch.stop.requested() => Event::Failed(Stop::Interrupt(format!(
                    "Stopped by the operator {place}; what was measured before is kept, {}.",
                    watch.life.again
                ))),
                // Cancel-safe: an event stays in the channel until received.
                (program, how) = death(&mut watch.events) => Event::Failed(Stop::Interrupt(format!(
                    "{program} died ({how}) {place}; what was measured before is kept, {}, run again.",
                    watch.life.log
                ))),
                // Cancel-safe: holds nothing but a timer.
                step = clock_step(&clocks) => Event::Failed(Stop::Invalidate(step)),
                // Cancelled only by the three above, after which the block under way is void.
                event = self.perform(action) => event,
            };
            if let Some(step) = clocks.step_until(&Clocks::now()) {
                event = Event::Failed(Stop::Invalidate(step));
            }
        };
        self.harvest.outcome = outcome;
        if let Some(open) = self.block.take().filter(|open| !open.trials.is_empty()) {
            let block = self.close(&open, Some("the run ended in it".to_owned()));
            self.harvest.blocks.push(block);
        }
        self.harvest.distributions = self
            .merged
            .into_iter()
            .map(|((protocol, object, kind, arm), timings)| Distribution { protocol, object, kind, arm, timings })
            .collect();
        self.harvest
    }

    /// Where in the campaign an action is, for sentences.
    fn place(&self, action: &Action) -> String {
        let total = self.campaign.blocks().len();
        let at = self.harvest.blocks.len() + 1;
        let arm = self.campaign.current().map_or_else(String::new, |block| format!(" ({})", block.arm));
        match action {
            Action::RunTrial(spec) => format!("during {spec} in block {at} of {total}{arm}"),
            Action::Probe(protocol) => format!("while {protocol} was probed before block {at} of {total}{arm}"),
            _ => format!("before block {at} of {total}{arm}"),
        }
    }

    async fn perform(&mut self, action: Action) -> Event {
        match action {
            Action::LayPath(path) => {
                self.begin_block();
                self.answer_path(path).await
            }
            Action::SwitchMode(arm) => {
                self.begin_block();
                self.switch(arm).await
            }
            Action::Probe(protocol) => {
                self.begin_block();
                match self.floor.probe(self.plan, protocol).await {
                    Ok(report) => {
                        self.classify(protocol, &report);
                        Event::Probed(report)
                    }
                    Err(error) => Event::Failed(Stop::Interrupt(error.to_string())),
                }
            }
            Action::RunTrial(spec) => self.measure(spec).await,
            Action::StoreBlock => self.store(),
            // `run` ends at Finish before it gets here.
            Action::Finish(outcome) => Event::Failed(match outcome {
                Outcome::Stopped(stop) => stop,
                Outcome::Completed => Stop::Interrupt("The campaign was already over.".to_owned()),
            }),
        }
    }

    /// Opens the current block's record when its first action begins.
    fn begin_block(&mut self) {
        let Some(spec) = self.campaign.current() else { return };
        if self.block.is_none() {
            self.block = Some(OpenBlock {
                spec,
                began: Instant::now(),
                trials: Vec::new(),
                timings: Vec::new(),
                configuration: None,
            });
        }
    }

    async fn answer_path(&mut self, path: Path) -> Event {
        match self.floor.lay_path(path).await {
            Ok(()) => Event::PathReady,
            Err(error) => Event::Failed(Stop::Interrupt(error.to_string())),
        }
    }

    async fn switch(&mut self, arm: Arm) -> Event {
        match self.floor.switch_mode(arm).await {
            Ok(snapshot) => {
                if let Some(block) = &mut self.block {
                    block.configuration = Some(snapshot.sha256.clone());
                }
                if !self.harvest.configurations.iter().any(|known| known.arm == arm) {
                    self.harvest.configurations.push(DutConfiguration {
                        arm,
                        text: snapshot.text,
                        sha256: snapshot.sha256,
                    });
                }
                Event::ModeSwitched
            }
            Err(error) => Event::Failed(Stop::Interrupt(error.to_string())),
        }
    }

    /// Keeps probes until both h3 and h2 of an arm are there, then classifies that arm once.
    fn classify(&mut self, protocol: Protocol, report: &ProbeReport) {
        let Some(arm) = self.campaign.current().map(|block| block.arm) else { return };
        if arm == Arm::Reference || self.harvest.quic.iter().any(|row| row.arm == arm) {
            return;
        }
        self.probes.insert(protocol, report.clone());
        if let (Some(h3), Some(h2)) = (self.probes.get(&Protocol::H3), self.probes.get(&Protocol::H2)) {
            let verdict = quic_class::classify(h3, h2);
            self.harvest.quic.push(QuicRow { arm, verdict });
            self.probes.clear();
        }
    }

    async fn measure(&mut self, spec: TrialSpec) -> Event {
        let id =
            format!("b{}t{}", self.harvest.blocks.len(), self.block.as_ref().map_or(0, |block| block.trials.len()));
        let at = span(self.started.elapsed());
        let arm = self.block.as_ref().map(|block| block.spec.arm);
        let trial = self.block.as_ref().map_or(0, |block| block.trials.len()) as u32;
        let block = self.harvest.blocks.len() as u32;
        let (journal, progress) = (&mut *self.journal, &mut self.progress);
        let mut heard = |tick: Tick| {
            let Some(arm) = arm else { return };
            let TrialSpec { protocol, object, kind, .. } = spec;
            let second = OpenSecond { block, trial, arm, protocol, object, kind, trial_at: at, tick };
            journal.second(&second);
            progress.second(second.told());
        };
        match self.floor.trial(self.plan, &spec, &id, &mut heard).await {
            Ok(measured) => {
                if let Some(block) = &mut self.block {
                    let trial = trial_record(&spec, at, &measured);
                    let BlockSpec { arm, pair } = block.spec;
                    let block_at = span(block.began.saturating_duration_since(self.started));
                    let index = self.harvest.blocks.len() as u32;
                    self.journal.trial(&OpenTrial { block: index, arm, pair, block_at, trial: trial.clone() });
                    self.progress.trial_done();
                    block.trials.push(trial);
                    block.timings.push((spec, measured.report.timings.clone()));
                }
                if measured.overrun > 0 {
                    return Event::Failed(Stop::Invalidate(format!(
                        "The device lost {} packets against its will during {spec}, because its delay line was full; ask for a lower rate or \
                         a shorter delay and run again.",
                        measured.overrun
                    )));
                }
                Event::TrialEnded(Box::new(measured.report))
            }
            Err(error) => Event::Failed(Stop::Interrupt(error.to_string())),
        }
    }

    fn store(&mut self) -> Event {
        let Some(open) = self.block.take() else {
            return Event::BlockStored;
        };
        let block = self.close(&open, None);
        for (spec, timings) in open.timings {
            let key = (spec.protocol, spec.object, spec.kind, open.spec.arm);
            self.merged.entry(key).or_default().merge(&timings);
        }
        let stored = self.journal.append(&block);
        if stored.is_ok() {
            self.progress.block_done(block.took.duration(), &summary(&block));
        }
        // A block that is not on disk is measured all the same and stays in memory for the final record, which has room reserved.
        self.harvest.blocks.push(block);
        stored.map_or_else(|error| Event::Failed(Stop::Interrupt(error.to_string())), |()| Event::BlockStored)
    }

    /// The record of a block that ends now.
    fn close(&self, open: &OpenBlock, void: Option<String>) -> BlockRecord {
        BlockRecord {
            index: self.harvest.blocks.len() as u32,
            arm: open.spec.arm,
            pair: open.spec.pair,
            at: span(open.began.saturating_duration_since(self.started)),
            took: span(open.began.elapsed()),
            void,
            trials: open.trials.clone(),
            dut_configuration_sha256: open.configuration.clone(),
        }
    }
}

fn span(length: Duration) -> Span {
    Span::from_micros(length.as_micros() as u64)
}

fn trial_record(spec: &TrialSpec, at: Span, measured: &Measured) -> TrialRecord {
    let report = &measured.report;
    TrialRecord {
        protocol: spec.protocol,
        object: spec.object,
        kind: spec.kind,
        at,
        sustain: report.sustain,
        kpis: analysis::kpis(spec.kind, report),
        schedule_lag_p99_us: report.timings.schedule_lag.quantile(0.99),
        attempts: report.attempts,
        errors: report.errors.clone(),
        proof: report.proof,
        observed: report.observed.clone(),
        witness: report.witness.clone(),
        personas_cpu_us: measured.personas_cpu_us,
        dut_cpu_us: measured.dut_cpu_us,
        ticks: report.ticks.clone(),
    }
}

/// A block in a few words for the progress line.
fn summary(block: &BlockRecord) -> String {
    let mut words: Vec<String> = Vec::new();
    for protocol in Protocol::ALL {
        let trials = block.trials.iter().filter(|trial| trial.protocol == protocol);
        let (mut total, mut intercepted, mut failed) = (0, 0, 0);
        for trial in trials {
            total += trial.proof.total();
            intercepted += trial.proof.intercepted;
            failed += trial.attempts.failed;
        }
        if total > 0 {
            let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
            words.push(format!(
                "{protocol} {total} conns, {:.0}% intercepted{failures}",
                intercepted as f64 * 100.0 / total as f64
            ));
        }
    }
    words.join("; ")
}

/// Ends with name and status when a program dies; never otherwise.
async fn death(events: &mut broadcast::Receiver<Happened>) -> (String, String) {
    loop {
        match events.recv().await {
            Ok(Happened { workload, what: Happening::Died { status } }) => return (workload, status),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Ends with a sentence when the wall clock steps; never otherwise.
async fn clock_step(since: &Clocks) -> String {
    let mut timer = tokio::time::interval(CLOCK_WATCH);
    loop {
        timer.tick().await;
        if let Some(step) = since.step_until(&Clocks::now()) {
            return step;
        }
    }
}
