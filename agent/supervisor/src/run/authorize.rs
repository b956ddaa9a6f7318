//! The one place where a run is authorized (REQUIREMENTS G1): after pre-flight let it through, before its first block.
//!
//! Who authorizes is not known here: an appliance asks its ledger, a developer's machine has none to ask.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tbi_api::access::By;
use tbi_api::runs::Run;
use tbi_bench::plan::Plan;
use tbi_bench::preflight::Bypass;
use tbi_bench::record::Authorization;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Id of the run; the same id asks for the same thing again.
    pub run: String,
    /// The plan as resolved.
    pub plan: Plan,
    /// [`plan_sha256`] of it.
    pub plan_sha256: String,
    /// Who ordered it.
    pub by: By,
    /// Ordered bypass of the pre-flight gate, which goes to the audit chain.
    pub bypass: Option<Bypass>,
}

/// Allows runs, or does not.
pub(crate) trait Authorizer: Send + Sync + 'static {
    /// The receipt; `None` where nothing has to allow a run. The sentence of an error says why not and what to do. It is awaited to its end
    /// even when the operator stops the run meanwhile, because what was spent must be in the record; so it has to end by itself.
    fn authorize(&self, request: Request) -> BoxFuture<'_, Result<Option<Authorization>, String>>;

    /// A run is over; whoever keeps books of runs closes its page. It fails nobody.
    fn finished(&self, finished: Finished) -> BoxFuture<'_, ()>;

    /// Pages that nobody closed. Without a run under way they are those of runs whose agent was killed.
    fn open_pages(&self) -> BoxFuture<'_, Vec<OpenPage>>;
}

/// A run that began, and of which the book does not say how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenPage {
    /// Id of the run.
    pub id: String,
    /// The plan's name.
    pub name: String,
    /// When it was allowed, RFC 3339.
    pub started: String,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// The run as a person sees it.
    pub run: Run,
    /// Who ordered it.
    pub by: By,
    /// Blocks that were measured.
    pub blocks: u64,
    /// SHA-256 of `run.json`, lower-case hex; `None` when it could not be kept.
    pub record_sha256: Option<String>,
}

/// A developer's machine: it keeps no ledger, so nothing is spent and there is no receipt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Developer;

impl Authorizer for Developer {
    fn authorize(&self, request: Request) -> BoxFuture<'_, Result<Option<Authorization>, String>> {
        let Request { run, plan, plan_sha256, by, bypass } = request;
        tracing::debug!(run, plan.name, plan_sha256, by.actor, ?bypass, "there is no ledger here to ask");
        std::future::ready(Ok(None)).boxed()
    }

    fn finished(&self, finished: Finished) -> BoxFuture<'_, ()> {
        tracing::debug!(run = finished.run.id, blocks = finished.blocks, "no book here to keep");
        std::future::ready(()).boxed()
    }

    fn open_pages(&self) -> BoxFuture<'_, Vec<OpenPage>> {
        std::future::ready(Vec::new()).boxed()
    }
}

/// SHA-256 of a plan's JSON without white space, fields in the order of its type, lower-case hex.
pub(crate) fn plan_sha256(plan: &Plan) -> Result<String, serde_json::Error> {
    Ok(Sha256::digest(serde_json::to_vec(plan)?).iter().map(|byte| format!("{byte:02x}")).collect())
}
