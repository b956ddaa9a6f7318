//! What the gate refused, counted for the audit chain: alike is what comes from one address for one account in one minute for one reason. The
//! agent is told once a minute and at the end; a report that fails is put back.
//!
//! Invariant: a stranger fills no memory. Beyond [`MOST_REFUSALS`] groups, and that is less than the agent takes in one report, what is new is
//! counted under [`SEVERAL`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderMap, header};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tbi_api::access::{MOST_REFUSALS, Refusal, RefusalKind, Refusals};
use tokio::time::{MissedTickBehavior, interval};

use super::Access;
use super::answer::Answer;
use super::clock::lock;
use super::cookie::{self, SESSION_COOKIE, SessionId};
use super::identify::{Header, read};
use crate::gate::Peer;
use crate::limits::place;

/// How often the agent is told.
const EVERY: Duration = Duration::from_secs(60);
/// Address and account of what found no room of its own.
const SEVERAL: &str = "several";
/// Account when nobody was recognised.
const ANONYMOUS: &str = "anonymous";
/// Room for `SEVERAL`: one group for each kind, and some to spare.
const KEPT_FREE: usize = 8;

type Key = (Timestamp, String, String, RefusalKind);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<HashMap<Key, u64>>);

impl Counts {
    fn add(&self, key: Key, count: u64) {
        let mut groups = lock(&self.0);
        let has_room = groups.len() < MOST_REFUSALS - KEPT_FREE;
        let key = if has_room || groups.contains_key(&key) {
            key
        } else {
            // The minute of those that are there already, so that the rest never is more than one group for each kind.
            let minute = groups.keys().map(|key| key.0).min().unwrap_or(key.0);
            (minute, SEVERAL.to_owned(), SEVERAL.to_owned(), key.3)
        };
        let counted = groups.entry(key).or_default();
        *counted = counted.saturating_add(count);
    }

    fn take(&self) -> Vec<Refusal> {
        let groups = std::mem::take(&mut *lock(&self.0));
        let refusal = |((minute, source, account, kind), count)| Refusal { minute, source, account, kind, count };
        groups.into_iter().map(refusal).collect()
    }

    fn put_back(&self, refusals: Vec<Refusal>) {
        for Refusal { minute, source, account, kind, count } in refusals {
            self.add((minute, source, account, kind), count);
        }
    }
}

impl Access {
    /// Counts one refusal.
    pub(crate) fn refused(&self, address: IpAddr, account: Option<&str>, kind: RefusalKind) {
        let now = self.clock.wall();
        let minute = now.round(TimestampRound::new().smallest(Unit::Minute).mode(RoundMode::Trunc)).unwrap_or(now);
        let account = account.unwrap_or(ANONYMOUS).to_owned();
        self.refusals.add((minute, place::source(address), account, kind), 1);
    }

    /// Counts what was sent to prove who somebody is and proves it no more, or never did. A wrong password is an entry of its own already.
    pub(super) async fn refused_credentials(&self, peer: &Peer, headers: &HeaderMap) {
        if let Ok(Some(was_good)) = self.was_ever_good(peer, headers).await {
            let kind = if was_good { RefusalKind::ExpiredCredentials } else { RefusalKind::ForgedCredentials };
            self.refused(peer.address, None, kind);
        }
    }

    /// Whether what was sent was good once; `None`: nothing was sent. The agent was asked a moment ago, so this is answered from memory.
    async fn was_ever_good(&self, peer: &Peer, headers: &HeaderMap) -> Answer<Option<bool>> {
        if let Ok(Some(value)) = cookie::one(headers, SESSION_COOKIE) {
            // Only this box signs them.
            return Ok(Some(SessionId::open(&self.keys, value).is_some()));
        }
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            return Ok(Some(match read(value.as_bytes()) {
                Some(Header::Bearer(text)) => self.known_token(text).await?.is_some(),
                Some(Header::Basic(_)) | None => false,
            }));
        }
        match &peer.certificate {
            Some(leaf) => Ok(Some(self.known_certificate(leaf).await?.is_some())),
            None => Ok(None),
        }
    }

    /// Tells the agent what was refused since the last time.
    pub(crate) async fn tell_refusals(&self) {
        let refusals = self.refusals.take();
        if refusals.is_empty() {
            return;
        }
        let report = Refusals { refusals };
        if let Err(error) = self.accounts.report_refusals(&report).await {
            tracing::warn!(%error, "what was refused is not in the audit chain yet; it is told again in a minute");
            self.refusals.put_back(report.refusals);
        }
    }

    /// Tells the agent once a minute; never ends.
    pub(crate) async fn keep_telling_refusals(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell_refusals().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_addresses_are_counted_in_no_more_groups_than_a_report_takes() {
        let counts = Counts::default();
        for number in 0..1_000_000_u64 {
            let minute = Timestamp::UNIX_EPOCH + Duration::from_secs(60 * (number / 100_000));
            counts.add((minute, number.to_string(), ANONYMOUS.to_owned(), RefusalKind::Csrf), 1);
        }
        let refusals = counts.take();
        assert!(refusals.len() <= MOST_REFUSALS, "{}", refusals.len());
        assert_eq!(refusals.iter().map(|refusal| refusal.count).sum::<u64>(), 1_000_000, "and none is lost");
        // In which order they are put back decides which of them find room of their own.
        counts.put_back(refusals);
        let again = counts.take();
        assert!(again.len() <= MOST_REFUSALS, "{}", again.len());
        assert_eq!(again.iter().map(|refusal| refusal.count).sum::<u64>(), 1_000_000);
        assert_eq!(counts.take(), Vec::new());
    }
}
