//! Checks what a person proves itself with. Every check is counted by the throttle before it is made, costs the same whether the account
//! exists or not, and leaves an entry in the audit chain when it failed.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::json;
use tbi_api::access::{AccountChange, AccountName, AuditNote, By, Hidden, Outcome, Secrets, TotpStep};

use super::accounts::{AccountsError, found};
use super::answer::{Answer, Fault};
use super::clock::lock;
use super::password::{Busy, Verdict};
use super::totp::{self, Code};
use super::{Access, cookie};
use crate::limits::throttle::{Device, Wait};
use crate::limits::{Attempt, Place, Subject, place};

/// What an audit entry calls somebody whose name can name no account. What was given is not repeated: people type passwords into the wrong
/// field, and the chain forgets nothing.
const NOBODY: &str = "anonymous";

/// Somebody who is about to be checked.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: Option<AccountName>,
    pub(crate) attempt: Attempt,
    pub(crate) by: By,
}

impl Candidate {
    /// Somebody who says to be `name`, and may come from a known device.
    pub(crate) fn new(access: &Access, name: &str, address: IpAddr, headers: &HeaderMap, correlation_id: &str) -> Self {
        let name: Option<AccountName> = name.parse().ok();
        let device = name.as_ref().and_then(|name| cookie::device(&access.keys, headers, name, access.clock.wall()));
        let subject = name.as_ref().map_or(Subject::Nobody, |name| Subject::Account(name.as_str().to_owned()));
        let by = By {
            actor: name.as_ref().map_or(NOBODY, AccountName::as_str).to_owned(),
            role: None,
            source: place::source(address),
            correlation_id: correlation_id.to_owned(),
        };
        Self { name, attempt: Attempt { place: Place::of(address), subject, device }, by }
    }

    /// The same, counted at its session instead of where strangers are counted.
    pub(crate) fn at_device(mut self, device: Device) -> Self {
        self.attempt.device = Some(device);
        self
    }
}

impl From<Busy> for Fault {
    fn from(busy: Busy) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "login-busy", busy.to_string()).retry_after(Duration::from_secs(3))
    }
}

/// The one answer to everything that is wrong about a login.
pub(crate) fn login_refused(headers: &HeaderMap) -> Fault {
    let mut fault = Fault::not_authenticated(headers, "name, password or code is not right; check them and try again");
    fault.0.code = "login-refused";
    fault
}

impl Access {
    /// Counts the attempt, or says how long to wait.
    pub(crate) fn begin(&self, attempt: &Attempt) -> Answer<()> {
        lock(&self.throttle).begin(attempt, self.clock.steady()).map_err(|Wait(wait)| {
            Fault::new(
                StatusCode::TOO_MANY_REQUESTS,
                "login-throttled",
                "too many attempts failed; wait as long as Retry-After says, or log in at the console or from a browser that logged in before",
            )
            .retry_after(wait)
        })
    }

    /// The attempt was right.
    pub(crate) fn succeeded(&self, attempt: &Attempt) {
        lock(&self.throttle).succeeded(attempt, self.clock.steady());
    }

    /// The attempt could not be judged.
    pub(crate) fn not_judged(&self, attempt: &Attempt) {
        lock(&self.throttle).not_judged(attempt, self.clock.steady());
    }

    /// Checks a password. The attempt was begun, and stays counted as failed; `None`: wrong.
    pub(crate) async fn password_is(&self, candidate: &Candidate, password: &Hidden) -> Answer<Option<Secrets>> {
        let answered = async {
            let secrets = match &candidate.name {
                Some(name) => found(self.accounts.account(name).await)?,
                None => None,
            };
            let usable = secrets.filter(|secrets| secrets.account.enabled);
            let verdict = self.passwords.verify(password, usable.as_ref().map(|secrets| &secrets.password)).await?;
            Ok::<_, Fault>((usable, verdict))
        };
        let (usable, verdict) = answered.await.inspect_err(|_fault| self.not_judged(&candidate.attempt))?;
        match (verdict, usable) {
            (Verdict::Right, Some(secrets)) => Ok(Some(secrets)),
            (Verdict::RightButWeaklyHashed, Some(secrets)) => {
                self.hash_anew(&secrets, password, &candidate.by).await;
                Ok(Some(secrets))
            }
            _ => Ok(None),
        }
    }

    /// Uses up a code of the second factor. The attempt was begun, and stays counted as failed.
    pub(crate) async fn code_is(&self, candidate: &Candidate, secrets: &Secrets, code: &Hidden) -> Answer<bool> {
        let Some(totp) = &secrets.totp else {
            return Ok(false);
        };
        let name = &secrets.account.name;
        let used = match Code::parse(code) {
            None => return Ok(false),
            Some(Code::Totp(code)) => match totp::step_of(&code, totp, self.clock.wall().as_second()) {
                None => return Ok(false),
                Some(step) => self.accounts.use_totp_step(name, TotpStep { step }, &candidate.by).await,
            },
            Some(Code::Recovery(hash)) => {
                let change =
                    AccountChange { recovery_used: Some(Hidden::new(hash.as_str())), ..AccountChange::default() };
                self.accounts.change_account(name, &change, &candidate.by).await.map(|_account| ())
            }
        };
        match used {
            Ok(()) => {
                self.secrets.forget_all();
                Ok(true)
            }
            Err(error) if error.is("code-used") => Ok(false),
            Err(error) => {
                self.not_judged(&candidate.attempt);
                Err(error.into())
            }
        }
    }

    /// Leaves an audit entry of a refusal. That it cannot be left changes nothing about the refusal.
    pub(crate) async fn note_refusal(&self, candidate: &Candidate, action: &str, why: &str) {
        let target = candidate.name.as_ref().map_or_else(String::new, |name| format!("account/{name}"));
        let note = AuditNote {
            by: candidate.by.clone(),
            action: action.to_owned(),
            target,
            outcome: Outcome::Refused,
            detail: json!({ "why": why }),
        };
        tracing::info!(action, actor = note.by.actor, source = note.by.source, why, "refused");
        if let Err(error) = self.accounts.audit(&note).await {
            tracing::warn!(%error, action, "a refusal could not be written to the audit chain");
        }
    }

    async fn hash_anew(&self, secrets: &Secrets, password: &Hidden, by: &By) {
        let Ok(hash) = self.passwords.hash(password).await else {
            return; // The next login tries again.
        };
        let change =
            AccountChange { based_on: Some(secrets.account.epoch), rehashed: Some(hash), ..AccountChange::default() };
        match self.accounts.change_account(&secrets.account.name, &change, by).await {
            Ok(_account) => self.secrets.forget_all(),
            Err(AccountsError::Refused { .. }) => {}
            Err(error) => tracing::warn!(%error, "a password could not be hashed anew"),
        }
    }
}
