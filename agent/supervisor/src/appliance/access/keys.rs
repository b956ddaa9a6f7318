//! Sessions, tokens, client certificates, and what the door wants noted in the audit chain.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use tbi_api::access::{
    AuditNote, Certificate, Digest, KnownCertificate, KnownSession, KnownToken, NewCertificate, NewSession, NewToken,
    Outcome, Session, SessionChange, Token, TokenId, Used,
};
use tbi_daemon::ApiJson;
use tbi_ledger::{Hash, Ledger, LedgerError, NewSession as NewSessionRow, NewToken as NewTokenRow};

use super::accounts::found;
use super::{AccessError, Answer, Shared, ask, because, change, parsed, rows};
use crate::appliance::trail::{self, entry};

pub(super) async fn sessions(State(appliance): State<Shared>) -> Answer<Json<Vec<Session>>> {
    let alive = ask(&appliance, |ledger| {
        let (accounts, now) = (ledger.accounts()?, Timestamp::now());
        let lives = |session: &&tbi_ledger::Session| {
            let account = accounts.iter().find(|account| account.name == session.account);
            account.is_some_and(|account| rows::lives(session, account, now))
        };
        ledger.sessions(None)?.iter().filter(lives).map(rows::session).collect()
    });
    alive.await.map(Json)
}

pub(super) async fn session(State(appliance): State<Shared>, Path(hash): Path<String>) -> Answer<Json<KnownSession>> {
    let hash: Digest = parsed(&hash)?;
    let known = ask(&appliance, move |ledger| {
        let session = of_hash(ledger, &rows::hash(&hash)?)?;
        let account = found(ledger, &session.account)?;
        Ok(KnownSession { session: rows::session(&session)?, account: rows::account(&account)? })
    });
    known.await.map(Json)
}

pub(super) async fn begin_session(
    State(appliance): State<Shared>,
    ApiJson(new): ApiJson<NewSession>,
) -> Answer<(StatusCode, Json<Session>)> {
    // The login or the step-up that it belongs to has its own entry.
    let begun = ask(&appliance, move |ledger| {
        ledger.together(|ledger| {
            let session = &new.session;
            let hash = rows::hash(&session.hash)?;
            let row = NewSessionRow {
                hash,
                account: session.account.as_str(),
                epoch: session.epoch,
                ends: session.ends,
                source: &session.source,
                user_agent: &session.user_agent,
            };
            ledger.begin_session(&row, session.created)?;
            if session.stepped_up_until.is_some() {
                ledger.step_up_session(&hash, session.stepped_up_until)?;
            }
            if let Some(replaced) = &new.replaces {
                missing_is_fine(ledger.end_session(&rows::hash(replaced)?))?;
            }
            rows::session(&of_hash(ledger, &hash)?)
        })
    });
    Ok((StatusCode::CREATED, Json(begun.await?)))
}

pub(super) async fn change_session(
    State(appliance): State<Shared>,
    Path(hash): Path<String>,
    ApiJson(wanted): ApiJson<SessionChange>,
) -> Answer<Json<Session>> {
    let hash: Digest = parsed(&hash)?;
    let changed = ask(&appliance, move |ledger| {
        let hash = rows::hash(&hash)?;
        ledger.together(|ledger| {
            if let Some(seen) = wanted.seen {
                ledger.see_session(&hash, seen)?;
            }
            if wanted.stepped_up_until.is_some() {
                ledger.step_up_session(&hash, wanted.stepped_up_until)?;
            }
            rows::session(&of_hash(ledger, &hash)?)
        })
    });
    changed.await.map(Json)
}

pub(super) async fn end_session(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    Path(hash): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let hash: Digest = parsed(&hash)?;
    let reason = trail::reason(query.as_deref())?;
    let ended = change(&appliance, &headers, "session.end", hash.to_string(), move |ledger, _now| {
        let hash = rows::hash(&hash)?;
        let account = of_hash(ledger, &hash)?.account;
        ledger.end_session(&hash)?;
        Ok(((), because(json!({ "account": account }), reason.as_ref())))
    });
    ended.await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn tokens(State(appliance): State<Shared>) -> Answer<Json<Vec<Token>>> {
    let tokens = ask(&appliance, |ledger| {
        ledger.tokens(None)?.iter().filter(|token| token.revoked.is_none()).map(rows::token).collect()
    });
    tokens.await.map(Json)
}

pub(super) async fn token(State(appliance): State<Shared>, Path(hash): Path<String>) -> Answer<Json<KnownToken>> {
    let hash: Digest = parsed(&hash)?;
    let known = ask(&appliance, move |ledger| {
        let token = ledger.token(&rows::hash(&hash)?)?;
        // The hash of a token is not told on: it is what the token is known by.
        let token = token.ok_or_else(|| LedgerError::Missing { what: "token", name: "with this hash".to_owned() })?;
        let account = found(ledger, &token.account)?;
        Ok(KnownToken { token: rows::token(&token)?, account: rows::account(&account)? })
    });
    known.await.map(Json)
}

pub(super) async fn create_token(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    ApiJson(new): ApiJson<NewToken>,
) -> Answer<(StatusCode, Json<Token>)> {
    let made = change(&appliance, &headers, "token.create", new.id.to_string(), move |ledger, _now| {
        let scopes = rows::scopes(&new.scopes);
        let row = NewTokenRow {
            id: new.id.as_str(),
            account: new.account.as_str(),
            label: &new.label,
            prefix: new.id.as_str(),
            hash: rows::hash(&new.hash)?,
            scopes: &scopes,
            expires: new.expires,
        };
        let token = rows::token(&ledger.create_token(&row, new.created)?)?;
        let detail =
            json!({ "account": token.account, "label": token.label, "scopes": scopes, "expires": token.expires });
        Ok((token, detail))
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

pub(super) async fn token_used(
    State(appliance): State<Shared>,
    Path(id): Path<String>,
    ApiJson(used): ApiJson<Used>,
) -> Answer<StatusCode> {
    let id: TokenId = parsed(&id)?;
    ask(&appliance, move |ledger| Ok(ledger.note_token_used(id.as_str(), used.at)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_token(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let id: TokenId = parsed(&id)?;
    let reason = trail::reason(query.as_deref())?;
    let removed = change(&appliance, &headers, "token.revoke", id.to_string(), move |ledger, now| {
        ledger.revoke_token(id.as_str(), now)?;
        Ok(((), because(json!({}), reason.as_ref())))
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn certificates(State(appliance): State<Shared>) -> Answer<Json<Vec<Certificate>>> {
    ask(&appliance, |ledger| ledger.certificates(None)?.iter().map(rows::certificate).collect()).await.map(Json)
}

pub(super) async fn certificate(
    State(appliance): State<Shared>,
    Path(fingerprint): Path<String>,
) -> Answer<Json<KnownCertificate>> {
    let fingerprint: Digest = parsed(&fingerprint)?;
    let known = ask(&appliance, move |ledger| {
        let hash = rows::hash(&fingerprint)?;
        let certificate = ledger.certificates(None)?.into_iter().find(|certificate| certificate.fingerprint == hash);
        let missing = || LedgerError::Missing { what: "certificate", name: fingerprint.to_string() };
        let certificate = certificate.ok_or_else(missing)?;
        let account = found(ledger, &certificate.account)?;
        Ok(KnownCertificate { certificate: rows::certificate(&certificate)?, account: rows::account(&account)? })
    });
    known.await.map(Json)
}

pub(super) async fn create_certificate(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    ApiJson(new): ApiJson<NewCertificate>,
) -> Answer<(StatusCode, Json<Certificate>)> {
    let target = new.fingerprint.to_string();
    let made = change(&appliance, &headers, "certificate.enter", target, move |ledger, now| {
        let fingerprint = rows::hash(&new.fingerprint)?;
        let row = ledger.add_certificate(fingerprint, new.account.as_str(), &new.label, now)?;
        let detail = json!({ "account": row.account, "label": row.label });
        Ok((rows::certificate(&row)?, detail))
    });
    Ok((StatusCode::CREATED, Json(made.await?)))
}

pub(super) async fn remove_certificate(
    State(appliance): State<Shared>,
    headers: HeaderMap,
    Path(fingerprint): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<StatusCode> {
    let fingerprint: Digest = parsed(&fingerprint)?;
    let reason = trail::reason(query.as_deref())?;
    let target = fingerprint.to_string();
    let removed = change(&appliance, &headers, "certificate.remove", target, move |ledger, _now| {
        ledger.remove_certificate(&rows::hash(&fingerprint)?)?;
        Ok(((), because(json!({}), reason.as_ref())))
    });
    removed.await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn note(State(appliance): State<Shared>, ApiJson(note): ApiJson<AuditNote>) -> Answer<StatusCode> {
    let noted = appliance.ledger(move |ledger, key| {
        let outcome = match note.outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        };
        ledger.append(&entry(&note.by, &note.action, &note.target, outcome, &note.detail), key, Timestamp::now())?;
        Ok::<_, AccessError>(())
    });
    noted.await?;
    Ok(StatusCode::NO_CONTENT)
}

fn of_hash(ledger: &Ledger, hash: &Hash) -> Result<tbi_ledger::Session, AccessError> {
    let missing = || LedgerError::Missing { what: "session", name: hash.to_string() };
    Ok(ledger.session(hash)?.ok_or_else(missing)?)
}

/// A session that is gone is as good as ended.
fn missing_is_fine(ended: Result<(), LedgerError>) -> Result<(), LedgerError> {
    match ended {
        Err(LedgerError::Missing { .. }) => Ok(()),
        ended => ended,
    }
}
