//! The first administrator of a new box: made by whoever holds the claim code, and only while there is no account. After that this says 409,
//! whatever is sent. The code is compared in constant time; wrong ones cost delays as wrong passwords do, up to a quarter of an hour each,
//! which leaves a stranger some hundred tries a day at a code that has at least sixteen characters.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tbi_api::access::{Account, AccountName, Hidden, NewAccount, Role};
use tbi_daemon::ApiJson;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use super::Access;
use super::answer::{Answer, Fault};
use super::check::Candidate;
use super::users;
use super::who::Visitor;
use crate::limits::Subject;

/// Shortest code, characters. A shorter one would be guessed.
const SHORTEST: usize = 16;
/// Most of the file that is read, bytes.
const FILE: u64 = 1024;

/// Asks for the first administrator.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// As it is shown on the console.
    #[schema(value_type = String)]
    pub(crate) claim_code: Hidden,
    /// Name of the account.
    #[schema(pattern = "^[a-z][a-z0-9._-]{0,31}$")]
    pub(crate) account: String,
    /// 12 to 256 characters.
    #[schema(value_type = String, min_length = 12, max_length = 256)]
    pub(crate) password: Hidden,
}

/// Makes the first administrator, while there is no account.
#[utoipa::path(post, path = "/api/v1/access/first-administrator", tag = "access", operation_id = "create_first_administrator", request_body = Claim,
    responses(
        (status = 201, body = Account),
        (status = 403, description = "`claim-code-wrong`; `no-claim-code`: the door was started without one; `csrf`"),
        (status = 409, description = "`administrator-exists`"),
        (status = 422, description = "`name-not-taken`, `password-not-taken`, with the rule"),
        (status = 429, description = "`login-throttled`, with Retry-After"),
        (status = 503, description = "`login-busy`, `accounts-unavailable`, with Retry-After"),
    ))]
pub(crate) async fn create(
    State(access): State<Arc<Access>>,
    visitor: Visitor,
    ApiJson(order): ApiJson<Claim>,
) -> Answer<(StatusCode, Json<Account>)> {
    if !access.accounts.accounts().await?.is_empty() {
        return Err(exists());
    }
    let Some(code) = read_code(access.claim_code.as_deref()).await else {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "no-claim-code",
            "the door has no claim code to compare with; make the first administrator at the console",
        ));
    };
    let mut candidate =
        Candidate::new(&access, &order.account, visitor.peer.address, &visitor.headers, &visitor.correlation_id);
    candidate.attempt.subject = Subject::Claim;
    candidate.attempt.device = None;
    access.begin(&candidate.attempt)?;
    if !same(&code, order.claim_code.reveal()) {
        access.note_refusal(&candidate, "first-administrator.refused", "claim code").await;
        let detail = "this is not the claim code of this box; the console shows it";
        return Err(Fault::new(StatusCode::FORBIDDEN, "claim-code-wrong", detail));
    }
    access.succeeded(&candidate.attempt);
    let name: AccountName =
        order.account.parse().map_err(|rule| Fault::unprocessable("name-not-taken", format!("{rule}")))?;
    let password = users::hash(&access, &name, &order.password).await?;
    let new = NewAccount { name, role: Role::Administrator, password, first: true };
    let account = access.accounts.create_account(&new, &candidate.by).await.map_err(|error| {
        if error.is("not-the-first") || error.is("account-exists") { exists() } else { error.into() }
    })?;
    access.changed();
    Ok((StatusCode::CREATED, Json(account)))
}

fn exists() -> Fault {
    Fault::new(
        StatusCode::CONFLICT,
        "administrator-exists",
        "this box has accounts; log in with one of them, or ask its administrator",
    )
}

/// Both are hashed first, so that neither length nor content shows in the time it takes.
fn same(code: &Hidden, given: &str) -> bool {
    let hash = |text: &str| digest::digest(&digest::SHA256, text.trim().as_bytes());
    verify_slices_are_equal(hash(code.reveal()).as_ref(), hash(given).as_ref()).is_ok()
}

async fn read_code(file: Option<&Path>) -> Option<Hidden> {
    let file = file?;
    let mut text = String::new();
    let read = async { tokio::fs::File::open(file).await?.take(FILE).read_to_string(&mut text).await };
    if let Err(error) = read.await {
        tracing::warn!(file = %file.display(), %error, "the claim code cannot be read");
        return None;
    }
    let code = text.trim();
    if code.chars().count() < SHORTEST {
        tracing::warn!(file = %file.display(), "the claim code has fewer than {SHORTEST} characters and is not used");
        return None;
    }
    Some(Hidden::new(code))
}
