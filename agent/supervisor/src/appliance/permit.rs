//! The appliance's answer to "may this run start": asks the ledger's one gate, and keeps the book of runs and the meter when one is over.
//!
//! Called by the run driver through [`Authorizer`] and by nobody else (REQUIREMENTS G1).

use std::sync::{Arc, OnceLock, Weak};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tbi_api::access::Role;
use tbi_api::estimate::units;
use tbi_bench::plan::Plan;
use tbi_bench::record::Authorization;
use tbi_ledger::spool::NewTick;
use tbi_ledger::{Hash, Ledger, LedgerError, Policy, Refused, Request as Asked, Run as Row, Signer};

use super::node::{Appliance, Lost};
use super::trail::entry;
use crate::run::authorize::{Authorizer, Finished, OpenPage, Request};

/// See the module. It knows its appliance once there is one, which is before the first run.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    appliance: OnceLock<Weak<Appliance>>,
}

impl Permit {
    /// Says whose runs these are.
    pub(crate) fn belongs_to(&self, appliance: &Arc<Appliance>) {
        // Only `main` says it, once.
        let _first = self.appliance.set(Arc::downgrade(appliance));
    }

    fn appliance(&self) -> Option<Arc<Appliance>> {
        self.appliance.get()?.upgrade()
    }
}

/// What a plan needs to be allowed: one feature for each protocol.
fn features(plan: &Plan) -> Vec<String> {
    plan.protocols.iter().map(|protocol| protocol.as_str().to_owned()).collect()
}

impl Authorizer for Permit {
    fn authorize(&self, request: Request) -> BoxFuture<'_, Result<Option<Authorization>, String>> {
        async move {
            let appliance = self.appliance().ok_or("the box is still starting; order the run again in a moment")?;
            let policy = appliance.policy();
            let receipt = appliance.ledger(move |ledger, key| permit(ledger, key, &policy, &request)).await;
            receipt.map(Some).map_err(|refused| refused.to_string())
        }
        .boxed()
    }

    fn finished(&self, finished: Finished) -> BoxFuture<'_, ()> {
        async move {
            let Some(appliance) = self.appliance() else { return };
            let meter = appliance.meter().clone();
            let tick = NewTick {
                when: Timestamp::now(),
                kind: "run".to_owned(),
                run: finished.run.id.clone(),
                unit: "run".to_owned(),
                quantity: finished.blocks,
            };
            let counted = finished.blocks > 0;
            let booked = appliance.ledger(move |ledger, key| {
                if counted {
                    meter.tick_once(tick);
                }
                book(ledger, key, &finished)
            });
            if let Err(error) = booked.await {
                tracing::warn!(%error, "the book of runs lacks the end of a run; its record is in its folder");
            }
        }
        .boxed()
    }

    fn open_pages(&self) -> BoxFuture<'_, Vec<OpenPage>> {
        async move {
            let Some(appliance) = self.appliance() else { return Vec::new() };
            let open: Result<Vec<Row>, LedgerError> = appliance.ledger(|ledger, _| ledger.open_runs()).await;
            let page = |row: Row| OpenPage { id: row.id, name: row.name, started: row.started.to_string() };
            match open {
                Ok(rows) => rows.into_iter().map(page).collect(),
                Err(error) => {
                    tracing::warn!(%error, "the book of runs cannot be read; runs that were cut off stay open in it");
                    Vec::new()
                }
            }
        }
        .boxed()
    }
}

/// Asks the gate, and opens the run's row in the same transaction. A run that is refused is noted by the gate.
fn permit(ledger: &mut Ledger, key: &dyn Signer, policy: &Policy, request: &Request) -> Result<Authorization, Refused> {
    let now = Timestamp::now();
    let by = &request.by;
    if let Some(bypass) = &request.bypass {
        let detail = json!({ "reason": bypass.reason, "plan_sha256": request.plan_sha256 });
        ledger.append(&entry(by, "preflight.bypass", &request.run, "done", &detail), key, now)?;
    }
    let plan_sha256 = Hash::parse(&request.plan_sha256).unwrap_or_else(|| Hash::of(request.plan_sha256.as_bytes()));
    let asked = Asked {
        run: &request.run,
        plan_sha256,
        features: &features(&request.plan),
        tsu: units(&request.plan),
        actor: &by.actor,
        role: by.role.map_or("none", Role::as_str),
        source: &by.source,
        correlation: &by.correlation_id,
        // The desk lets one run begin at a time.
        runs_under_way: 0,
    };
    let receipt = ledger.together(|ledger| {
        // A refusal is no reason to take back its own entry.
        let receipt = match ledger.authorize(&asked, policy, key, now) {
            Ok(receipt) => receipt,
            Err(refused) => return Ok::<_, Refused>(Err(refused)),
        };
        let row = Row {
            id: request.run.clone(),
            name: request.plan.name.clone(),
            state: "running".to_owned(),
            actor: by.actor.clone(),
            started: now,
            ended: None,
            sentence: String::new(),
            plan_sha256,
            record_sha256: None,
            receipt: Some(receipt.clone()),
        };
        ledger.store_run(&row)?;
        Ok(Ok(receipt))
    })??;
    Ok(Authorization {
        run: receipt.run,
        plan_sha256: receipt.plan_sha256.to_string(),
        licence: receipt.licence,
        tsu: receipt.tsu,
        burned: receipt.burned,
        change: receipt.change,
        balance_after: receipt.balance_after,
        audit_seq: receipt.audit_seq,
        sealed_hash: receipt.sealed_hash.to_string(),
        when: receipt.when.to_string(),
        key_id: receipt.key_id,
        signature: tbi_ledger::to_hex(&receipt.signature.0),
    })
}

/// Closes the run's row with the hash of its record, and says in the chain how it ended.
fn book(ledger: &mut Ledger, key: &dyn Signer, finished: &Finished) -> Result<(), LedgerError> {
    let now = Timestamp::now();
    let run = &finished.run;
    let state = serde_json::to_value(run.state).ok().and_then(|word| word.as_str().map(str::to_owned));
    let state = state.unwrap_or_default();
    let record = finished.record_sha256.as_deref().and_then(Hash::parse);
    let detail = json!({ "state": state, "record_sha256": finished.record_sha256, "blocks": finished.blocks });
    ledger.together(|ledger| {
        // A run that was never allowed has no row; what refused it is in the chain.
        if let Some(row) = ledger.run(&run.id)? {
            let ended = run.ended.as_deref().and_then(|ended| ended.parse().ok());
            let row =
                Row { state, ended: ended.or(Some(now)), sentence: run.sentence.clone(), record_sha256: record, ..row };
            ledger.store_run(&row)?;
        }
        ledger.append(&entry(&finished.by, "run.end", &run.id, "done", &detail), key, now)?;
        // Signed now: what happened up to here cannot be cut off unseen.
        ledger.checkpoint(key, now)?;
        Ok(())
    })
}

impl From<Lost> for Refused {
    fn from(lost: Lost) -> Self {
        Self::Ledger(lost.into())
    }
}
