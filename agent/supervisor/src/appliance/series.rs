//! From what is kept of a run to what can be drawn of it ([`Series`]) and read by a spreadsheet. Reads a run under way from its `blocks.jsonl`
//! (and what is open of its block and its trial), and one that is over from its `run.json`, one block after another, so that tens of megabytes are never held; the seconds of each block
//! become points of lines, which are thinned in the end.
//!
//! Invariant: nothing is computed that the record does not say: a run that is over shows the rows of its record, one under way the rows that
//! the same analysis makes of the blocks it has.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tbi_api::series::{Block, Doing, MOST_POINTS, Series, Trace, Value};
use tbi_bench::analysis;
use tbi_bench::campaign::{sequence, trials_of};
use tbi_bench::control::engine::Tick;
use tbi_bench::object::Object;
use tbi_bench::plan::Plan;
use tbi_bench::protocol::{Arm, Protocol};
use tbi_bench::record::{BlockRecord, ProofRow, ResultRow, TrialKind, TrialRecord};
use tbi_bench::units::Span;

use crate::run::journal::{OPEN, OpenSecond, OpenTrial, SECONDS};

type Line = (Protocol, Object, TrialKind, Arm);

/// A second of a trial, since the start of the run.
#[derive(Debug, Clone, Copy)]
struct Second {
    trial_at: Span,
    at_s: f64,
    length_s: f64,
    connections: u64,
    succeeded: u64,
    failed: u64,
    body_bytes: u64,
    ttfb_p50_us: Option<u64>,
}

impl Second {
    fn of(trial_at: Span, tick: &Tick) -> Self {
        Self {
            trial_at,
            at_s: trial_at.as_secs_f64() + tick.at.as_secs_f64(),
            length_s: tick.length.as_secs_f64(),
            connections: tick.connections,
            succeeded: tick.succeeded,
            failed: tick.failed,
            body_bytes: tick.body_bytes,
            ttfb_p50_us: tick.ttfb_p50_us,
        }
    }
}

/// Blocks without their seconds, and the seconds by line.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) blocks: Vec<BlockRecord>,
    /// Trials of the block under way.
    open: Vec<OpenTrial>,
    seconds: BTreeMap<Line, Vec<Second>>,
}

/// What a record says beside its blocks.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) plan: Plan,
    pub(crate) id: String,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    /// `None` while the run is under way.
    rows: Option<(Vec<ResultRow>, Vec<ProofRow>)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) told: Told,
    pub(crate) said: Said,
}

impl Told {
    fn seconds_of(&mut self, arm: Arm, trial: &mut TrialRecord) {
        let line = self.seconds.entry((trial.protocol, trial.object, trial.kind, arm)).or_default();
        let trial_at = trial.at;
        let ticks = std::mem::take(&mut trial.ticks);
        let ticks = ticks.iter().filter(|tick| tick.length > Span::ZERO);
        line.extend(ticks.map(|tick| Second::of(trial_at, tick)));
    }

    fn add_second(&mut self, open: OpenSecond) {
        // Those of a trial that was noted since are with it.
        if (open.block as usize, open.trial as usize) != (self.blocks.len(), self.open.len()) {
            return;
        }
        let OpenSecond { arm, protocol, object, kind, trial_at, tick, .. } = open;
        if tick.length > Span::ZERO {
            self.seconds.entry((protocol, object, kind, arm)).or_default().push(Second::of(trial_at, &tick));
        }
    }

    fn add(&mut self, mut block: BlockRecord) {
        for trial in &mut block.trials {
            self.seconds_of(block.arm, trial);
        }
        self.blocks.push(block);
    }

    fn add_open(&mut self, mut open: OpenTrial) {
        // A line that was noted before its block was stored.
        if open.block as usize == self.blocks.len() {
            self.seconds_of(open.arm, &mut open.trial);
            self.open.push(open);
        }
    }
}

impl Kept {
    /// What a run's folder holds. `started` is that of a run under way, whose record is not written. `None` when there is nothing yet.
    pub(crate) fn read(folder: &Path, id: &str, started: &str) -> Option<Self> {
        match File::open(folder.join("run.json")) {
            Ok(file) => Self::of_record(BufReader::new(file)),
            Err(_not_yet) => Self::under_way(folder, id, started),
        }
    }

    fn under_way(folder: &Path, id: &str, started: &str) -> Option<Self> {
        let plan: Plan = serde_json::from_slice(&std::fs::read(folder.join("plan.json")).ok()?).ok()?;
        let mut told = Told::default();
        // The last line may be half written; it is whole when it is asked for next.
        for block in lines(&folder.join("blocks.jsonl")) {
            told.add(block);
        }
        for open in lines(&folder.join(OPEN)) {
            told.add_open(open);
        }
        for second in lines(&folder.join(SECONDS)) {
            told.add_second(second);
        }
        let (id, started) = (id.to_owned(), started.to_owned());
        Some(Self { told, said: Said { plan, id, started, ended: None, rows: None } })
    }

    fn of_record(record: impl std::io::Read) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_reader(record);
        let kept = reader.deserialize_map(RecordVisitor);
        kept.inspect_err(|error| tracing::warn!(%error, "a record cannot be read")).ok()
    }

    /// The rows of results: of the record, or as the blocks that there are give them.
    pub(crate) fn results(&self) -> Vec<ResultRow> {
        match &self.said.rows {
            Some((results, _)) => results.clone(),
            None => analysis::results(&self.said.plan, &self.told.blocks, None),
        }
    }

    fn proof(&self) -> Vec<ProofRow> {
        match &self.said.rows {
            Some((_, proof)) => proof.clone(),
            None => analysis::proof(&self.said.plan, &self.blocks_with_open()),
        }
    }

    /// Also the block under way, as far as it is: what is proven is proven.
    fn blocks_with_open(&self) -> Vec<BlockRecord> {
        let mut blocks = self.told.blocks.clone();
        blocks.extend(self.open_block());
        blocks
    }

    fn open_block(&self) -> Option<BlockRecord> {
        let first = self.told.open.first()?;
        Some(BlockRecord {
            index: first.block,
            arm: first.arm,
            pair: first.pair,
            at: first.block_at,
            took: Span::ZERO,
            void: None,
            trials: self.told.open.iter().map(|open| open.trial.clone()).collect(),
            dut_configuration_sha256: None,
        })
    }

    fn doing(&self) -> Option<Doing> {
        if self.said.rows.is_some() {
            return None;
        }
        let plan = &self.said.plan;
        let spec = sequence(plan).get(self.told.blocks.len()).copied()?;
        let trials = trials_of(plan, spec);
        Some(Doing {
            block: self.told.blocks.len() as u32 + 1,
            arm: spec.arm,
            pair: spec.pair.map(|pair| pair + 1),
            trials_done: self.told.open.len() as u32,
            trials: trials.len() as u32,
            trial: trials.get(self.told.open.len()).map(ToString::to_string),
        })
    }

    /// What can be drawn.
    pub(crate) fn series(&self) -> Series {
        let under_way = self.open_block();
        let finished = self.told.blocks.iter().map(|it| block(it, Some(it.took)));
        Series {
            over: self.said.rows.is_some(),
            blocks: sequence(&self.said.plan).len() as u32,
            pairs: self.said.plan.pairs,
            results: self.results(),
            proof: self.proof(),
            done: finished.chain(under_way.iter().map(|it| block(it, None))).collect(),
            doing: self.doing(),
            traces: self.told.seconds.iter().map(|(line, seconds)| trace(*line, seconds)).collect(),
        }
    }
}

fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> impl Iterator<Item = T> {
    let file = File::open(path).ok().map(BufReader::new);
    let text = file.into_iter().flat_map(|file| file.lines().map_while(Result::ok));
    text.map_while(|line| serde_json::from_str(&line).ok())
}

fn block(block: &BlockRecord, took: Option<Span>) -> Block {
    let mut values: Vec<Value> = Vec::new();
    for trial in &block.trials {
        values.extend(trial.kpis.iter().map(|(kpi, value)| Value {
            protocol: trial.protocol,
            object: trial.object,
            kpi: *kpi,
            unit: kpi.unit().to_owned(),
            value: *value,
        }));
    }
    Block {
        number: block.index + 1,
        arm: block.arm,
        pair: block.pair.map(|pair| pair + 1),
        at_s: block.at.as_secs_f64(),
        took_s: took.map(Span::as_secs_f64),
        void: block.void.clone(),
        connections: block.trials.iter().map(|trial| trial.proof.total()).sum(),
        intercepted: block.trials.iter().map(|trial| trial.proof.intercepted).sum(),
        failed: block.trials.iter().map(|trial| trial.attempts.failed).sum(),
        values,
    }
}

/// Seconds of one line as columns; neighbours within a trial are joined until they are few enough.
fn trace((protocol, object, kind, arm): Line, seconds: &[Second]) -> Trace {
    let joined = seconds.len().div_ceil(MOST_POINTS).max(1);
    let mut trace = Trace {
        protocol,
        object,
        kind,
        arm,
        joined: joined as u32,
        at_s: Vec::new(),
        connections_per_s: Vec::new(),
        requests_per_s: Vec::new(),
        failed_per_s: Vec::new(),
        mbit_per_s: Vec::new(),
        ttfb_p50_ms: Vec::new(),
    };
    for trial in seconds.chunk_by(|one, other| one.trial_at == other.trial_at) {
        for group in trial.chunks(joined) {
            let length: f64 = group.iter().map(|second| second.length_s).sum();
            let per_second = |of: fn(&Second) -> u64| group.iter().map(of).sum::<u64>() as f64 / length;
            trace.at_s.push(group.last().map_or(0.0, |second| second.at_s));
            trace.connections_per_s.push(per_second(|second| second.connections));
            trace.requests_per_s.push(per_second(|second| second.succeeded));
            trace.failed_per_s.push(per_second(|second| second.failed));
            trace.mbit_per_s.push(per_second(|second| second.body_bytes) * 8.0 / 1e6);
            let highest = group.iter().filter_map(|second| second.ttfb_p50_us).max();
            trace.ttfb_p50_ms.push(highest.map(|us| us as f64 / 1000.0));
        }
    }
    trace
}

/// Reads a record and lets go of the seconds of each block before the next.
struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Kept;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a run record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kept, A::Error> {
        use serde::de::Error as _;
        let (mut plan, mut id, mut started, mut ended) = (None, None, None, None);
        let (mut results, mut proof, mut told) = (None, None, Told::default());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "plan" => plan = Some(map.next_value()?),
                "id" => id = Some(map.next_value()?),
                "started" => started = Some(map.next_value()?),
                "ended" => ended = map.next_value()?,
                "results" => results = Some(map.next_value()?),
                "proof" => proof = Some(map.next_value()?),
                "blocks" => map.next_value_seed(Blocks(&mut told))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let missing = A::Error::missing_field;
        let said = Said {
            plan: plan.ok_or_else(|| missing("plan"))?,
            id: id.ok_or_else(|| missing("id"))?,
            started: started.ok_or_else(|| missing("started"))?,
            ended,
            rows: Some((results.ok_or_else(|| missing("results"))?, proof.ok_or_else(|| missing("proof"))?)),
        };
        Ok(Kept { told, said })
    }
}

struct Blocks<'a>(&'a mut Told);

impl<'de> DeserializeSeed<'de> for Blocks<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Blocks<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the blocks of a run")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut blocks: A) -> Result<(), A::Error> {
        while let Some(block) = blocks.next_element()? {
            self.0.add(block);
        }
        Ok(())
    }
}

/// The histograms of a record, as they are in it.
#[derive(Debug, Deserialize, serde::Serialize)]
pub(crate) struct Histograms {
    pub(crate) id: String,
    pub(crate) distributions: Vec<tbi_bench::record::Distribution>,
}
