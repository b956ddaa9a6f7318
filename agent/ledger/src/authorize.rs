//! The single gate every run passes. One transaction judges the licence, spends the notes, appends to the audit chain, and signs the
//! receipt; a refusal is audited as well, and spends nothing. Called by the run driver and by nothing else.
//!
//! Invariants: a receipt exists if and only if its notes are burned and its audit entry is sealed; the same run gets the same receipt again,
//! after a crash as well. With enforcement nothing is spent in a ledger that is only in memory. Without it the developer envelope allows always
//! and spends nothing; everything else happens as with it.

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::json;

use crate::audit::{self, NewEntry};
use crate::bytes::{Bytes, Hash};
use crate::change::{micros, nested, row, stored_time};
use crate::error::Failed;
use crate::licence::{Installed, Issuers, Standing, installed, see};
use crate::receipt::Receipt;
use crate::sign::Signer;
use crate::{Ledger, LedgerError, notes};

/// The licence a receipt names when nothing is enforced.
const DEVELOPER: &str = "developer";

/// What a run asks for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a str,
    /// SHA-256 of its plan.
    pub plan_sha256: Hash,
    /// Features it uses.
    pub features: &'a [String],
    /// Units it costs.
    pub tsu: u64,
    /// Account, or `local`.
    pub actor: &'a str,
    /// Role the actor has.
    pub role: &'a str,
    /// Address or terminal.
    pub source: &'a str,
    /// Ties the audit entry to the request.
    pub correlation: &'a str,
    /// Other runs under way.
    pub runs_under_way: u32,
}

/// What is enforced.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether an installed envelope is needed.
    pub enforce: bool,
    /// Whose envelopes are taken.
    pub issuers: Issuers,
}

/// A run may not start.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No envelope at all.
    #[error("no licence is installed; install the licence file that came with the appliance")]
    NoLicence,
    /// None that is genuine.
    #[error(
        "licence {id} is not genuine for this appliance; remove it and install the file you received from its issuer"
    )]
    Forged {
        /// Envelope.
        id: String,
    },
    /// Not yet.
    #[error("licence {id} is valid from {from}; check the clock, or wait until then")]
    NotYet {
        /// Envelope.
        id: String,
        /// From then.
        from: Timestamp,
    },
    /// Over.
    #[error(
        "licence {id} expired on {since}, the days of grace included; install a new one (setting the clock back does not help)"
    )]
    Expired {
        /// Envelope.
        id: String,
        /// Since then.
        since: Timestamp,
    },
    /// Not granted.
    #[error(
        "licence {id} does not include '{feature}'; leave it out of the plan, or install a licence that includes it"
    )]
    Feature {
        /// Envelope.
        id: String,
        /// What is missing.
        feature: String,
    },
    /// Too many at once.
    #[error("licence {id} allows {allowed} runs at once, and {under_way} are under way; wait until one has ended")]
    Concurrency {
        /// Envelope.
        id: String,
        /// Allowed.
        allowed: u32,
        /// Under way.
        under_way: u32,
    },
    /// Not enough units.
    #[error(
        "the run costs {needed} test stress units and {balance} are left; make the plan smaller, or install a licence that grants more"
    )]
    Insufficient {
        /// Needed.
        needed: u64,
        /// Left.
        balance: u64,
    },
    /// What is spent would not be spent any more after a restart.
    #[error(
        "the ledger is kept in memory only, so what the run spends would be forgotten; {why}, and order the run again"
    )]
    NotDurable {
        /// What is wrong, and the remedy.
        why: String,
    },
    /// The run was authorised for something else.
    #[error("run {run} was authorised for another plan; start a new run")]
    OtherPlan {
        /// Run.
        run: String,
    },
    /// The gate itself failed; nothing was spent.
    #[error("the run cannot be authorised: {0}")]
    Ledger(#[from] LedgerError),
}

impl Refused {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoLicence => "licence-missing",
            Self::Forged { .. } => "licence-forged",
            Self::NotYet { .. } => "licence-not-yet-valid",
            Self::Expired { .. } => "licence-expired",
            Self::Feature { .. } => "licence-feature-missing",
            Self::Concurrency { .. } => "licence-concurrency",
            Self::Insufficient { .. } => "tsu-insufficient",
            Self::NotDurable { .. } => "ledger-not-durable",
            Self::OtherPlan { .. } => "run-authorised-otherwise",
            Self::Ledger(_) => "ledger-failed",
        }
    }
}

/// What was granted, before anything is spent.
struct Granted {
    licence: String,
    spends: u64,
    standing: Option<Standing>,
}

impl Ledger {
    /// Lets a run start, or says why not.
    ///
    /// # Errors
    /// [`Refused`]; but for [`Refused::Ledger`] it is in the audit chain.
    pub fn authorize(
        &mut self,
        request: &Request<'_>,
        policy: &Policy,
        signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Receipt, Refused> {
        let volatile = self.volatile.clone().filter(|_| policy.enforce);
        self.change("authorise the run", |db| {
            let decided = match volatile {
                Some(why) => Err(Refused::NotDurable { why }),
                None => decide(db, request, policy, now)?,
            };
            let refused = match decided {
                Ok(Decision::Before(receipt)) => return Ok(Ok(receipt)),
                // A part of its own: when the key does not sign or the units do not suffice, nothing of it stays, and the refusal is
                // appended in its place.
                Ok(Decision::Granted(granted)) => match nested(db, |db| grant(db, request, &granted, signer, now)) {
                    Ok(receipt) => return Ok(Ok(receipt)),
                    Err(Failed::Said(LedgerError::Insufficient { needed, balance })) => {
                        Refused::Insufficient { needed, balance }
                    }
                    Err(Failed::Said(error @ LedgerError::Signing(_))) => Refused::Ledger(error),
                    Err(failed) => return Err(failed),
                },
                Err(refused) => refused,
            };
            let detail = json!({
                "plan_sha256": request.plan_sha256, "tsu": request.tsu, "features": request.features,
                "code": refused.code(), "why": refused.to_string(),
            });
            audit::append(db, &entry(request, "refused", &detail), signer, now)?;
            Ok(Err(refused))
        })?
    }

    /// The receipt of a run, when it has one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn receipt(&self, run: &str) -> Result<Option<Receipt>, LedgerError> {
        self.read("read the receipt", |db| receipt(db, run))
    }
}

enum Decision {
    Before(Receipt),
    Granted(Granted),
}

fn decide(
    db: &Connection,
    request: &Request<'_>,
    policy: &Policy,
    now: Timestamp,
) -> Result<Result<Decision, Refused>, Failed> {
    if let Some(receipt) = receipt(db, request.run)? {
        let same = receipt.plan_sha256 == request.plan_sha256;
        return Ok(if same {
            Ok(Decision::Before(receipt))
        } else {
            Err(Refused::OtherPlan { run: request.run.into() })
        });
    }
    let seen = see(db, now)?;
    if !policy.enforce {
        return Ok(Ok(Decision::Granted(Granted { licence: DEVELOPER.to_owned(), spends: 0, standing: None })));
    }
    Ok(choose(&installed(db, &policy.issuers, now, seen)?, request).map(Decision::Granted))
}

/// The envelope a run starts under: one in force before one in grace, the one that expires first before others. When none fits, the
/// refusal of the one that came nearest is told.
fn choose(licences: &[Installed], request: &Request<'_>) -> Result<Granted, Refused> {
    let mut nearest: Option<(u8, Refused)> = None;
    let mut fitting: Vec<&Installed> = Vec::new();
    for licence in licences {
        match fits(licence, request) {
            Ok(()) => fitting.push(licence),
            Err((distance, refused)) => {
                if nearest.as_ref().is_none_or(|(least, _)| distance < *least) {
                    nearest = Some((distance, refused));
                }
            }
        }
    }
    fitting.sort_by_key(|it| (it.standing != Standing::Valid, it.envelope.expires));
    let Some(licence) = fitting.first() else {
        return Err(nearest.map_or(Refused::NoLicence, |(_, refused)| refused));
    };
    let envelope = &licence.envelope;
    Ok(Granted {
        licence: envelope.id.clone(),
        spends: if envelope.developer { 0 } else { request.tsu },
        standing: Some(licence.standing.clone()),
    })
}

/// Whether a run may start under an envelope; if not, how far it is from that, and why.
fn fits(licence: &Installed, request: &Request<'_>) -> Result<(), (u8, Refused)> {
    let envelope = &licence.envelope;
    let id = envelope.id.clone();
    match licence.standing {
        Standing::Valid | Standing::Grace { .. } => {}
        Standing::NotYet { from } => return Err((2, Refused::NotYet { id, from })),
        Standing::Expired { since } => return Err((3, Refused::Expired { id, since })),
        Standing::Forged | Standing::UnknownIssuer | Standing::Unreadable => return Err((4, Refused::Forged { id })),
    }
    if let Some(feature) = request.features.iter().find(|feature| !envelope.features.contains(feature)) {
        return Err((1, Refused::Feature { id, feature: feature.clone() }));
    }
    if request.runs_under_way >= envelope.concurrency {
        let (allowed, under_way) = (envelope.concurrency, request.runs_under_way);
        return Err((0, Refused::Concurrency { id, allowed, under_way }));
    }
    Ok(())
}

fn grant(
    db: &Connection,
    request: &Request<'_>,
    granted: &Granted,
    signer: &dyn Signer,
    now: Timestamp,
) -> Result<Receipt, Failed> {
    let spent = notes::spend(db, granted.spends, request.run, now)?;
    let grace = match &granted.standing {
        Some(Standing::Grace { until }) => Some(until),
        _ => None,
    };
    let detail = json!({
        "plan_sha256": request.plan_sha256, "licence": granted.licence, "features": request.features, "tsu": spent.amount,
        "burned": spent.burned, "change": spent.change, "balance_after": spent.balance_after, "grace_until": grace,
    });
    let sealed = audit::append(db, &entry(request, "allowed", &detail), signer, now)?;
    let receipt = Receipt {
        run: request.run.to_owned(),
        plan_sha256: request.plan_sha256,
        licence: granted.licence.clone(),
        tsu: spent.amount,
        burned: spent.burned,
        change: spent.change,
        balance_after: spent.balance_after,
        audit_seq: sealed.seq,
        sealed_hash: sealed.hash,
        when: stored_time(now),
        key_id: String::new(),
        signature: Bytes(Vec::new()),
    };
    let receipt = receipt.sign(signer)?;
    let body = serde_json::to_string(&receipt).map_err(|_| Failed::Damaged("receipt"))?;
    db.execute("INSERT INTO receipts (run, body, made) VALUES (?1, ?2, ?3)", (request.run, body, micros(now)))?;
    Ok(receipt)
}

fn receipt(db: &Connection, run: &str) -> Result<Option<Receipt>, Failed> {
    let body = row(db, "SELECT body FROM receipts WHERE run = ?1", [run], |row| Ok(row.get::<_, String>(0)?))?;
    body.map(|body| serde_json::from_str(&body).map_err(|_| Failed::Damaged("receipt"))).transpose()
}

fn entry<'a>(request: &Request<'a>, outcome: &'a str, detail: &'a serde_json::Value) -> NewEntry<'a> {
    NewEntry {
        actor: request.actor,
        role: request.role,
        source: request.source,
        action: "run.authorise",
        target: request.run,
        outcome,
        detail,
        correlation: request.correlation,
    }
}
