//! Who is let in: passwords, sessions, second factor, API tokens, client certificates, and what each of them may do.
//!
//! The agent keeps the rows ([`accounts`]); this decides. [`Access`] is the [`crate::gate::Gate`] that the door asks about every request, and
//! [`routes`] are the door's own operations about it.
//!
//! | module | job |
//! |---|---|
//! | [`accounts`] | what is asked of the agent |
//! | [`admit`] | the gate: limits, identity, claims, step-up, CSRF, in this order |
//! | [`identify`] | from cookie, header or certificate to an account |
//! | [`check`] | a password or a second factor, throttled and audited |
//! | [`known`], [`alive`] | what the agent said a moment ago; whether a session is over |
//! | [`password`], [`totp`], [`token`], [`cookie`], [`keys`] | the forms of proof |
//! | [`refusals`] | what the gate refused, for the audit chain |
//! | [`who`] | who is behind a request of the routes below |
//! | [`login`], [`own`], [`second_factor`] | what people do about themselves |
//! | [`users`], [`credentials`], [`first`] | what administrators do about others |
//! | [`certificate`] | the certificate that the door shows |
//! | [`page`] | the same for the pages, in values instead of JSON |
//! | [`document`] | the OpenAPI document of the routes, which carries the claims |
//! | [`fuzzing`] | the forms of proof as fuzz targets see them |
//!
//! Invariants: while the agent cannot be asked, nobody is let in; nothing that is secret is shown by `Debug` or logged; whether an account
//! exists cannot be told from an answer.

pub(crate) mod accounts;
mod admit;
mod alive;
mod answer;
mod certificate;
mod check;
pub(crate) mod clock;
mod cookie;
mod credentials;
mod document;
mod first;
pub(crate) mod fuzzing;
mod identify;
mod keys;
mod known;
mod login;
mod own;
pub(crate) mod page;
mod password;
mod refusals;
mod second_factor;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod totp;
mod users;
mod who;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use tbi_api::access::{AccountName, By, Digest, KnownCertificate, KnownSession, KnownToken, Secrets, Session, TokenId};

use self::accounts::Accounts;
use self::alive::Lives;
use self::clock::{Clock, lock};
use self::keys::Keys;
use self::known::Known;
use self::password::Passwords;
use crate::limits::{Delays, Limits, Place, RateLimiter, Throttle, rate};

pub(crate) use admit::{Origin, origin};
pub(crate) use answer::Fault;
pub(crate) use certificate::{CertificateOrder, Desk, RequestOrder};
pub(crate) use credentials::{MadeToken, TokenOrder};
pub(crate) use document::openapi;
pub(crate) use first::Claim;
pub(crate) use identify::Identity;
pub(crate) use login::{Login, StepUp};
pub(crate) use own::PasswordChange;
pub(crate) use users::{NewUser, UserChange};
pub(crate) use who::{Visitor, Who, routes};

/// Places, accounts and devices each that guesses are counted for one by one.
const THROTTLE_ROOM: usize = 50_000;

/// What the door is told about access.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Directory of the door's state, where the cookie keys are.
    pub(crate) state: PathBuf,
    /// File with the code that makes the first administrator; `None`: it cannot be made through the door.
    pub(crate) claim_code: Option<PathBuf>,
    /// Requests per address.
    pub(crate) per_address: Limits,
    /// Requests per account.
    pub(crate) per_identity: Limits,
    /// Delays after wrong passwords.
    pub(crate) delays: Delays,
}

/// Access cannot be built.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system gives no random numbers, without which no session is safe; restart the machine")]
pub(crate) struct NoRandomness;

/// A second factor that was offered and not confirmed yet.
#[derive(Debug, Clone)]
struct Enrolment {
    secret: tbi_api::access::Hidden,
    until: Duration,
}

/// A password that was right a moment ago, under a key that only this process has.
#[derive(Debug, Clone, Copy)]
struct RightPassword {
    epoch: u64,
    until: Duration,
}

/// Decides on everybody.
pub(crate) struct Access {
    accounts: Arc<dyn Accounts>,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    passwords: Passwords,
    claim_code: Option<PathBuf>,
    addresses: Mutex<RateLimiter<Place>>,
    identities: Mutex<RateLimiter<AccountName>>,
    throttle: Mutex<Throttle>,
    refusals: refusals::Counts,
    lives: Lives,
    sessions: Known<Digest, Arc<KnownSession>>,
    tokens: Known<Digest, Arc<KnownToken>>,
    certificates: Known<Digest, Arc<KnownCertificate>>,
    secrets: Known<AccountName, Arc<Secrets>>,
    right_passwords: Mutex<HashMap<[u8; 32], RightPassword>>,
    right_passwords_key: hmac::Key,
    tokens_told: Mutex<HashMap<TokenId, Duration>>,
    enrolments: Mutex<HashMap<AccountName, Enrolment>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Access").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Access {
    /// Takes the keys, and computes one password hash. Blocks on the disk; called before anything is served.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn open(
        config: Config,
        accounts: Arc<dyn Accounts>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, NoRandomness> {
        let passwords = Passwords::new().map_err(|_busy| NoRandomness)?;
        Self::with_passwords(config, accounts, clock, passwords)
    }

    fn with_passwords(
        config: Config,
        accounts: Arc<dyn Accounts>,
        clock: Arc<dyn Clock>,
        passwords: Passwords,
    ) -> Result<Arc<Self>, NoRandomness> {
        let keys = Keys::open(&config.state, clock.wall()).map_err(|_error| NoRandomness)?;
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_error| NoRandomness)?;
        Ok(Arc::new(Self {
            accounts,
            clock,
            keys: Arc::new(keys),
            passwords,
            claim_code: config.claim_code,
            addresses: Mutex::new(RateLimiter::new(config.per_address, rate::ROOM)),
            identities: Mutex::new(RateLimiter::new(config.per_identity, rate::ROOM)),
            throttle: Mutex::new(Throttle::new(config.delays, THROTTLE_ROOM)),
            refusals: refusals::Counts::default(),
            lives: Lives::default(),
            sessions: Known::new(),
            tokens: Known::new(),
            certificates: Known::new(),
            secrets: Known::new(),
            right_passwords: Mutex::new(HashMap::new()),
            right_passwords_key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            tokens_told: Mutex::new(HashMap::new()),
            enrolments: Mutex::new(HashMap::new()),
        }))
    }

    /// Something was changed through this door: it counts at once.
    fn changed(&self) {
        self.sessions.forget_all();
        self.tokens.forget_all();
        self.certificates.forget_all();
        self.secrets.forget_all();
        lock(&self.right_passwords).clear();
    }

    /// A session id was replaced or ended: nothing about it is kept.
    pub(crate) fn session_changed(&self) {
        self.sessions.forget_all();
    }

    /// Tells the agent that a session is in use. It is not worth refusing a request over.
    async fn tell_seen(&self, session: &Session, by: &By) {
        let change = tbi_api::access::SessionChange { seen: Some(self.clock.wall()), stepped_up_until: None };
        if let Err(error) = self.accounts.change_session(&session.hash, &change, by).await {
            tracing::warn!(%error, "the agent could not be told that a session is in use");
        }
    }
}
