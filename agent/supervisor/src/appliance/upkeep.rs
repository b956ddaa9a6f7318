//! What the agent does by itself every day: a backup of the database, and forgetting what is old. Neither ever stops it from answering.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tbi_daemon::Shutdown;
use tbi_ledger::{LedgerError, Retention};

use super::node::Appliance;

/// Folder of the backups in the state directory.
pub(crate) const BACKUPS: &str = "backups";
/// Days of backups that are kept.
const KEPT: usize = 14;
/// The first one is made when a start has calmed down.
const FIRST: Duration = Duration::from_secs(600);
/// How often it is looked whether something is due; a backup of the same day replaces the one before.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// Audit entries are kept this long, and then go only behind a signed anchor.
const AUDIT: SignedDuration = SignedDuration::from_hours(24 * 730);
/// Tokens that ended are listed this long.
const TOKENS: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Keeps house until `shutdown`. Run it as one task for as long as the agent lives.
pub(crate) async fn keep_house(appliance: Arc<Appliance>, shutdown: Shutdown) {
    let mut wait = FIRST;
    loop {
        // Neither arm has state that is lost when it is dropped.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.requested() => return,
        }
        wait = EVERY;
        let kept = keep(&appliance).await;
        if let Err(why) = &kept {
            tracing::warn!(why, "the daily upkeep failed");
        }
        appliance.note_upkeep(kept.err());
    }
}

/// A signed checkpoint, a backup of the day, and what is old forgotten.
///
/// # Errors
/// The sentence of the first thing that failed.
pub(crate) async fn keep(appliance: &Appliance) -> Result<(), String> {
    let backups = appliance.state().join(BACKUPS);
    appliance.settle_refusals().await;
    let done = appliance.ledger(move |ledger, key| {
        let now = Timestamp::now();
        ledger.checkpoint(key, now)?;
        ledger.see_time(now)?;
        let backup = ledger.backup(&backups, now, KEPT).map_err(|error| error.to_string());
        let retention = Retention { audit: Some(AUDIT), runs: None, tokens: Some(TOKENS) };
        ledger.prune(&retention, key, now)?;
        Ok::<_, LedgerError>(backup)
    });
    let backup = done.await.map_err(|error| error.to_string())??;
    tracing::info!(name = backup.name, bytes = backup.bytes, "the database was backed up");
    Ok(())
}
