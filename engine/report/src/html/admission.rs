//! Why the run was let to begin: the pre-flight gate with its bypass, and the receipt under which it was made.

use tbi_bench::preflight::{CheckVerdict, Preflight};
use tbi_bench::record::{Authorization, RunRecord};

use super::table::Table;
use crate::number;

pub(crate) struct Admission {
    pub(crate) preflight: Table,
    /// The bypass in one sentence; empty when there was none.
    pub(crate) bypass: String,
    pub(crate) authorization: Table,
}

impl Admission {
    pub(crate) fn of(record: &RunRecord) -> Self {
        Self {
            preflight: record.preflight.as_ref().map(preflight).unwrap_or_default(),
            bypass: record.preflight.as_ref().and_then(Preflight::caution).unwrap_or_default(),
            authorization: record.authorization.as_ref().map(authorization).unwrap_or_default(),
        }
    }
}

fn preflight(preflight: &Preflight) -> Table {
    let mut table = Table::new(
        "Checks made before anything was measured. A run begins when each passed or warned, or by order of an operator who says why.",
        &["Check", "What was looked at and seen", "What to do", "#Time (ms)", "Verdict"],
    );
    for check in &preflight.checks {
        let (words, class) = match check.verdict {
            CheckVerdict::Passed => ("✓ passed", "good"),
            CheckVerdict::Warning => ("! warning", ""),
            CheckVerdict::Failed => ("✗ failed", "bad"),
            CheckVerdict::Skipped => ("✗ skipped", "bad"),
        };
        table.row(vec![
            check.name.title().to_owned(),
            check.evidence.clone(),
            if check.remedy.is_empty() { number::NONE.to_owned() } else { check.remedy.clone() },
            number::count(check.duration_ms),
            words.to_owned(),
        ]);
        table.mark_last(class);
    }
    table
}

fn authorization(receipt: &Authorization) -> Table {
    let mut table = Table::new(
        "Receipt of the ledger. The sealed hash is that of the audit entry that the run made; burned serials are never spent again.",
        &["What", "Value"],
    );
    let burned = if receipt.burned.is_empty() { "none".to_owned() } else { receipt.burned.join(", ") };
    for (what, value) in [
        ("Run", receipt.run.clone()),
        ("SHA-256 of the plan", receipt.plan_sha256.clone()),
        ("Licence", receipt.licence.clone()),
        ("TSU spent", number::count(receipt.tsu)),
        ("Burned serials", burned),
        ("Change", receipt.change.clone().unwrap_or_else(|| "none".to_owned())),
        ("TSU left", number::count(receipt.balance_after)),
        ("Entry in the audit chain", number::count(receipt.audit_seq)),
        ("Sealed hash", receipt.sealed_hash.clone()),
        ("When", receipt.when.clone()),
        ("Key", receipt.key_id.clone()),
        ("Signature", receipt.signature.clone()),
    ] {
        table.row(vec![what.to_owned(), value]);
    }
    table
}
