//! Which certificate the door shows. Kept in memory, because the door says it again every minute, and not audited, because telling it changes
//! nothing: the door audits what changed its certificate.

use axum::extract::State;
use http::StatusCode;
use tbi_api::access::DoorCertificate;
use tbi_daemon::{ApiError, ApiJson};

use super::{Answer, Shared};

/// More names than any certificate of a box has.
const MOST_NAMES: usize = 256;
/// Longest name or sentence, bytes.
const LONGEST: usize = 1024;

pub(super) async fn tell(
    State(appliance): State<Shared>,
    ApiJson(certificate): ApiJson<DoorCertificate>,
) -> Answer<StatusCode> {
    let texts = certificate.names.iter().chain(&certificate.trouble);
    if certificate.names.len() > MOST_NAMES || texts.into_iter().any(|text| text.len() > LONGEST) {
        let sentence = format!("a certificate has at most {MOST_NAMES} names, and each at most {LONGEST} bytes");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", sentence));
    }
    appliance.door_shows(certificate);
    Ok(StatusCode::NO_CONTENT)
}
