//! The OpenAPI document of access' own routes. The door reads the claims from it, as from every daemon's: `security` names the roles that may,
//! an empty list means anybody, `x-step-up` asks for a fresh proof of the person.

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use super::{certificate, credentials, first, login, own, second_factor, users};

#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(
        title = "TLSStress.Art access",
        description = "Logins, sessions, second factor, tokens, certificates, and the accounts behind them; the certificate that the door shows."
    ),
    paths(
        login::login,
        login::logout,
        login::whoami,
        login::step_up,
        own::change_password,
        second_factor::enrol,
        second_factor::confirm,
        second_factor::remove,
        second_factor::new_recovery_codes,
        users::list,
        users::one,
        users::create,
        users::change,
        users::remove,
        users::end_sessions,
        credentials::tokens,
        credentials::create_token,
        credentials::remove_token,
        credentials::sessions,
        credentials::end_session,
        credentials::certificates,
        credentials::create_certificate,
        credentials::remove_certificate,
        first::create,
        certificate::show,
        certificate::bring,
        certificate::remove,
        certificate::request,
    )
)]
struct Document;

/// What needs no login.
const PUBLIC: [&str; 2] = ["/api/v1/access/login", "/api/v1/access/first-administrator"];

/// The document, with the claims of every operation.
pub(crate) fn openapi() -> OpenApi {
    let mut document = Document::openapi();
    for path in PUBLIC {
        // The macro cannot say "no requirement at all", which is another thing than saying nothing.
        if let Some(operation) = document.paths.paths.get_mut(path).and_then(|item| item.post.as_mut()) {
            operation.security = Some(Vec::new());
        }
    }
    document
}
