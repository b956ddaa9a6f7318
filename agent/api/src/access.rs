//! What the dashboard and the agent say to each other about accounts, sessions, tokens and client certificates, on [`ACCESS_SOCKET`].
//!
//! The agent keeps the rows and audits each change with before and after; the dashboard decides who is let in. Nothing here decides. The
//! socket belongs to the agent and the group of the dashboard, and to nobody else, because [`Secrets`] pass through it. No password, session
//! id, token or recovery code ever does: only their hashes, and the shared secret of the second factor, which cannot be hashed.
//!
//! Every change carries [`By`] in the headers that the door also sets on the agent's other socket: [`ACTOR_HEADER`], [`ROLE_HEADER`],
//! [`SOURCE_HEADER`] and `x-correlation-id`. Hashes and fingerprints are SHA-256 as 64 lower case hex digits ([`Digest`]).
//! Removals of accounts, tokens and certificates take `?reason=…` ([`crate::reason::Reason`]), which their entries keep.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/accounts` | | list of [`Account`], by name |
//! | `POST /v1/accounts` | [`NewAccount`] | 201 [`Account`]; 409 `account-exists`; with `first` also 409 `not-the-first` |
//! | `GET /v1/accounts/{name}` | | [`Secrets`]; 404 `no-such-account` |
//! | `PATCH /v1/accounts/{name}` | [`AccountChange`] | [`Account`]; 404; 409 `account-changed`, `last-administrator`, `code-used` |
//! | `DELETE /v1/accounts/{name}` | | 204, with its sessions, tokens and certificates; 404; 409 `last-administrator` |
//! | `POST /v1/accounts/{name}/totp-step` | [`TotpStep`] | 204; 409 `code-used` when this step or a later one was used |
//! | `GET /v1/sessions` | | list of [`Session`], those that ended left out |
//! | `POST /v1/sessions` | [`NewSession`] | 201 [`Session`]; 404 `no-such-account`; 409 `account-changed` when the epoch is another |
//! | `GET /v1/sessions/{hash}` | | [`KnownSession`]; 404 `no-such-session` |
//! | `PATCH /v1/sessions/{hash}` | [`SessionChange`] | [`Session`]; 404 |
//! | `DELETE /v1/sessions/{hash}` | | 204; 404 |
//! | `GET /v1/tokens` | | list of [`Token`] |
//! | `POST /v1/tokens` | [`NewToken`] | 201 [`Token`]; 404 `no-such-account`; 409 `token-exists` |
//! | `GET /v1/tokens/{hash}` | | [`KnownToken`]; 404 `no-such-token` |
//! | `POST /v1/tokens/{id}/used` | [`Used`] | 204; 404 |
//! | `DELETE /v1/tokens/{id}` | | 204; 404 |
//! | `GET /v1/certificates` | | list of [`Certificate`] |
//! | `POST /v1/certificates` | [`NewCertificate`] | 201 [`Certificate`]; 404 `no-such-account`; 409 `certificate-exists` |
//! | `GET /v1/certificates/{fingerprint}` | | [`KnownCertificate`]; 404 `no-such-certificate` |
//! | `DELETE /v1/certificates/{fingerprint}` | | 204; 404 |
//! | `POST /v1/audit` | [`AuditNote`] | 204 |
//! | `PUT /v1/door` | [`DoorCertificate`] | 204; kept in memory, not audited: told at each change and about once a minute |
//! | `POST /v1/audit/refusals` | [`Refusals`] | 204; 422 `too-many-refusals` |

mod client;
mod door;
mod names;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::reason::Reason;

pub use client::AccessClient;
pub use door::{DoorCertificate, Origin};
pub use names::{AccountName, Digest, Hidden, NoDigest, NoName, NoTokenId, Role, Scope, TokenId, UnknownWord};

/// Where the agent listens for the dashboard on an appliance.
pub const ACCESS_SOCKET: &str = "/run/tlsstress/access.sock";
/// Who asks: name of the account; absent: `local`.
pub const ACTOR_HEADER: &str = "x-tlsstress-actor";
/// The role under which the caller was admitted.
pub const ROLE_HEADER: &str = "x-tlsstress-role";
/// Where the caller is: an address, or [`LOCAL`].
pub const SOURCE_HEADER: &str = "x-tlsstress-source";
/// Source of what is asked on the box itself.
pub const LOCAL: &str = "local";

/// Who did something, for the audit chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// Account; when nobody was admitted the account that was named, or `anonymous` when what was named can be none.
    pub actor: String,
    /// Role under which it was admitted; `None`: not admitted.
    pub role: Option<Role>,
    /// Address, or [`LOCAL`].
    pub source: String,
    /// Correlation id of the request.
    pub correlation_id: String,
}

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Name.
    #[schema(value_type = String)]
    pub name: AccountName,
    /// Role.
    pub role: Role,
    /// Whether it may be used at all.
    pub enabled: bool,
    /// Whether it has a second factor.
    pub second_factor: bool,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: u32,
    /// Grows with each change of password, role, second factor or `enabled`, and when all sessions are ended; sessions of another epoch are over.
    pub epoch: u64,
    /// When it was made.
    #[schema(value_type = String)]
    pub created: Timestamp,
    /// When its password was set.
    #[schema(value_type = String)]
    pub password_changed: Timestamp,
    /// When somebody last logged in with it.
    #[schema(value_type = Option<String>)]
    pub last_login: Option<Timestamp>,
}

/// An account with what its login is checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// The account.
    pub account: Account,
    /// PHC string (argon2id).
    pub password: Hidden,
    /// Second factor.
    pub totp: Option<Totp>,
    /// SHA-256 of the recovery codes that were not used yet.
    pub recovery: Vec<Hidden>,
}

/// Second factor as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totp {
    /// Shared secret, base32 without padding.
    pub secret: Hidden,
    /// Last 30-second step whose code was used.
    pub last_step: Option<u64>,
}

/// Asks for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Name.
    pub name: AccountName,
    /// Role.
    pub role: Role,
    /// PHC string.
    pub password: Hidden,
    /// Only when there is no account yet, decided in the transaction that makes it; else 409 `not-the-first`.
    #[serde(default)]
    pub first: bool,
}

/// What is to be different; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountChange {
    /// Epoch the change is based on; another one is 409 `account-changed`.
    pub based_on: Option<u64>,
    /// Another role; the epoch grows.
    pub role: Option<Role>,
    /// Lets it be used, or not; the epoch grows.
    pub enabled: Option<bool>,
    /// PHC string of another password; the epoch grows.
    pub password: Option<Hidden>,
    /// PHC string of the same password with stronger parameters; the epoch stays.
    pub rehashed: Option<Hidden>,
    /// Sets or removes the second factor; the epoch grows.
    pub second_factor: Option<SecondFactorChange>,
    /// SHA-256 of new recovery codes in place of all old ones; the epoch stays.
    pub recovery: Option<Vec<Hidden>>,
    /// SHA-256 of a recovery code that is used up by this; 409 `code-used` when it is none of the account's. The epoch stays.
    pub recovery_used: Option<Hidden>,
    /// Ends all sessions: the epoch grows.
    pub end_sessions: bool,
    /// Somebody logged in.
    pub logged_in: Option<Timestamp>,
    /// Why, for the audit chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// Another second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum SecondFactorChange {
    /// This one, with recovery codes in place of all old ones.
    Set {
        /// Secret, and the step of the code that confirmed it.
        totp: Totp,
        /// SHA-256 of the recovery codes.
        recovery: Vec<Hidden>,
    },
    /// None, and no recovery codes.
    None,
}

/// The step of a code that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotpStep {
    /// Seconds since 1970 divided by 30. Taken when it is larger than the last one, in one transaction.
    pub step: u64,
}

/// A session, known by the hash of its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// SHA-256 of its id.
    #[schema(value_type = String)]
    pub hash: Digest,
    /// Whose.
    #[schema(value_type = String)]
    pub account: AccountName,
    /// Epoch of the account when it began.
    pub epoch: u64,
    /// When it began.
    #[schema(value_type = String)]
    pub created: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = String)]
    pub last_seen: Timestamp,
    /// When it ends, whatever happens.
    #[schema(value_type = String)]
    pub ends: Timestamp,
    /// From where it began.
    pub source: String,
    /// What the client called itself, cut.
    pub user_agent: String,
    /// Until when the last fresh proof of the person counts.
    #[schema(value_type = Option<String>)]
    pub stepped_up_until: Option<Timestamp>,
}

/// Asks for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The session.
    pub session: Session,
    /// Session that ends in the same transaction (a new id after step-up); it may have ended before.
    pub replaces: Option<Digest>,
}

/// What is to be different; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionChange {
    /// It was used. An earlier time than the stored one is ignored. Not audited.
    pub seen: Option<Timestamp>,
    /// The person was proven afresh.
    pub stepped_up_until: Option<Timestamp>,
}

/// A session and its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSession {
    /// The session.
    pub session: Session,
    /// Its account as it is now.
    pub account: Account,
}

/// An API token, known by the hash of the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Names it in paths: its prefix.
    #[schema(value_type = String)]
    pub id: TokenId,
    /// Whose.
    #[schema(value_type = String)]
    pub account: AccountName,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created: Timestamp,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>)]
    pub last_used: Option<Timestamp>,
}

/// Asks for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its prefix.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub hash: Digest,
    /// Whose.
    pub account: AccountName,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// A token and its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownToken {
    /// The token.
    pub token: Token,
    /// Its account as it is now.
    pub account: Account,
}

/// A token was used. Not audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    /// When; an earlier time than the stored one is ignored.
    pub at: Timestamp,
}

/// A client certificate that stands for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// SHA-256 of its DER form.
    #[schema(value_type = String)]
    pub fingerprint: Digest,
    /// Whose.
    #[schema(value_type = String)]
    pub account: AccountName,
    /// What it is for.
    pub label: String,
    /// When it was entered.
    #[schema(value_type = String)]
    pub created: Timestamp,
}

/// Enters a client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// SHA-256 of its DER form.
    #[schema(value_type = String)]
    pub fingerprint: Digest,
    /// Whose.
    #[schema(value_type = String)]
    pub account: AccountName,
    /// What it is for, 1 to 100 characters.
    pub label: String,
}

/// A certificate and its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Its account as it is now.
    pub account: Account,
}

/// How something ended that is told to the audit chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
}

/// Something that changed no row but belongs into the audit chain: a login, a refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditNote {
    /// Who.
    pub by: By,
    /// What, dotted: `login`, `login.refused`, `step-up`, `logout`, `first-administrator.refused`, `door.certificate.change`.
    pub action: String,
    /// On what.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// More, as JSON; no secrets.
    pub detail: Value,
}

/// Why the door refused a request that was none of its callers' mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The role or the scope does not allow it.
    NotPermitted,
    /// A change that was not the user's own wish.
    Csrf,
    /// A session, token or certificate that was good once: ended, expired, or of an account that may not be used any more.
    ExpiredCredentials,
    /// A cookie, token or certificate that this box never gave out or never knew.
    ForgedCredentials,
}

impl RefusalKind {
    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::Csrf => "csrf",
            Self::ExpiredCredentials => "expired_credentials",
            Self::ForgedCredentials => "forged_credentials",
        }
    }
}

/// Refusals that are alike, counted within a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Beginning of the minute.
    pub minute: Timestamp,
    /// Address they came from.
    pub source: String,
    /// Account that asked; `anonymous` when nobody was recognised.
    pub account: String,
    /// Why.
    pub kind: RefusalKind,
    /// How many.
    pub count: u64,
}

/// Groups in one report at most.
pub const MOST_REFUSALS: usize = 256;

/// What the door refused since its last report. Each group becomes an entry of the audit chain as long as there are few; of many the agent
/// makes one entry that sums them up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusals {
    /// At most [`MOST_REFUSALS`], each (minute, source, account, kind) once.
    pub refusals: Vec<Refusal>,
}
