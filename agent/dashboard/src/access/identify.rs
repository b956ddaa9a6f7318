//! From what a request carries to the account behind it. Exactly one proof may be given: with two it could be somebody's confusion which of
//! them counts, and a confused deputy is how requests are forged.

use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use http::{HeaderMap, StatusCode, header};
use tbi_api::access::{
    Account, AccountName, By, Hidden, KnownCertificate, KnownSession, KnownToken, Role, Secrets, Token, Used,
};

use super::accounts::found;
use super::answer::{Answer, Fault};
use super::check::{Candidate, login_refused};
use super::clock::lock;
use super::cookie::{self, SESSION_COOKIE, SessionId};
use super::{Access, RightPassword, alive, known, token};
use crate::digest::sha256;
use crate::gate::Peer;
use crate::limits::place;

/// Longest `Authorization` that is looked at: a password of 256 characters of four bytes, in base64.
const AUTHORIZATION: usize = 1536;
/// Passwords of programs remembered at once.
const RIGHT_PASSWORDS: usize = 1000;
/// How long: a program that asks each second costs one hash a minute.
const RIGHT_FOR: std::time::Duration = std::time::Duration::from_secs(60);
/// Tokens whose last use is remembered.
const TOKENS: usize = 10_000;

/// With what somebody proved who they are.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// A session.
    Session {
        /// Its id.
        id: SessionId,
        /// The session, and its account as they were a moment ago.
        known: Arc<KnownSession>,
        /// The person was proven a short time ago.
        stepped_up: bool,
    },
    /// An API token.
    Token(Arc<KnownToken>),
    /// Name and password with each request.
    Password(Arc<Secrets>),
    /// A client certificate.
    Certificate(Arc<KnownCertificate>),
}

/// Somebody.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) proof: Proof,
}

impl Identity {
    /// The account, as it was a moment ago.
    pub(crate) fn account(&self) -> &Account {
        match &self.proof {
            Proof::Session { known, .. } => &known.account,
            Proof::Token(known) => &known.account,
            Proof::Password(secrets) => &secrets.account,
            Proof::Certificate(known) => &known.account,
        }
    }

    /// For the audit chain, under the role it was admitted.
    pub(crate) fn by(&self, role: Role, peer: &Peer, correlation_id: &str) -> By {
        By {
            actor: self.account().name.to_string(),
            role: Some(role),
            source: place::source(peer.address),
            correlation_id: correlation_id.to_owned(),
        }
    }
}

pub(super) enum Header<'a> {
    Bearer(&'a [u8]),
    Basic(&'a [u8]),
}

impl Access {
    /// Who asks; `None`: nobody that is known, and nothing that was proven to be wrong is distinguished from nothing at all.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        correlation_id: &str,
    ) -> Answer<Option<Identity>> {
        let session = cookie::one(headers, SESSION_COOKIE).map_err(|cookie::Ambiguous| ambiguous())?;
        let mut authorizations = headers.get_all(header::AUTHORIZATION).into_iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() || (session.is_some() && authorization.is_some()) {
            return Err(ambiguous());
        }
        let certificate = self.by_certificate(peer).await?;
        let other = match (session, authorization) {
            (Some(value), _) => self.by_session(value, peer, correlation_id).await?,
            (None, Some(value)) => match read(value.as_bytes()) {
                Some(Header::Bearer(token)) => self.by_token(token, peer, correlation_id).await?,
                Some(Header::Basic(pair)) => self.by_password(pair, headers, peer, correlation_id).await?,
                None => None,
            },
            (None, None) => return Ok(certificate),
        };
        if certificate.is_some() { Err(ambiguous()) } else { Ok(other) }
    }

    async fn by_session(&self, value: &[u8], peer: &Peer, correlation_id: &str) -> Answer<Option<Identity>> {
        let Some(id) = SessionId::open(&self.keys, value) else {
            return Ok(None);
        };
        let (hash, now) = (id.hash(), self.clock.steady());
        let ask = async { Ok(found(self.accounts.session(&hash).await)?.map(Arc::new)) };
        let Some(known) = self.sessions.of(&hash, now, ask).await? else {
            return Ok(None);
        };
        let (account, session) = (&known.account, &known.session);
        if !account.enabled || account.epoch != session.epoch || account.name != session.account {
            return Ok(None);
        }
        let Some(alive) = self.lives.used(session, now, self.clock.wall()) else {
            return Ok(None);
        };
        let proof = Proof::Session { id, known: Arc::clone(&known), stepped_up: alive.stepped_up };
        let identity = Identity { proof };
        if alive.tell {
            self.tell_seen(session, &identity.by(account.role, peer, correlation_id)).await;
        }
        Ok(Some(identity))
    }

    async fn by_token(&self, text: &[u8], peer: &Peer, correlation_id: &str) -> Answer<Option<Identity>> {
        let Some(known) = self.known_token(text).await? else {
            return Ok(None);
        };
        let wall = self.clock.wall();
        // Before it was made: the clock was set back, and nobody can say whether it expired since. A day of doubt is left.
        let early = super::clock::between(wall, known.token.created) > std::time::Duration::from_secs(86_400);
        if !known.account.enabled || known.account.name != known.token.account || wall >= known.token.expires || early {
            return Ok(None);
        }
        let identity = Identity { proof: Proof::Token(Arc::clone(&known)) };
        if self.should_tell(&known.token) {
            let by = identity.by(known.account.role, peer, correlation_id);
            if let Err(error) = self.accounts.token_used(&known.token.id, Used { at: wall }, &by).await {
                tracing::warn!(%error, "the agent could not be told that a token is in use");
            }
        }
        Ok(Some(identity))
    }

    fn should_tell(&self, token: &Token) -> bool {
        let now = self.clock.steady();
        let mut told = lock(&self.tokens_told);
        if told.get(&token.id).is_some_and(|last| now.saturating_sub(*last) < alive::TOLD) {
            return false;
        }
        if told.len() >= TOKENS {
            told.retain(|_id, last| now.saturating_sub(*last) < alive::TOLD);
        }
        told.insert(token.id.clone(), now);
        true
    }

    async fn by_certificate(&self, peer: &Peer) -> Answer<Option<Identity>> {
        let Some(leaf) = &peer.certificate else {
            return Ok(None);
        };
        let known = self.known_certificate(leaf).await?;
        let usable = known.filter(|known| known.account.enabled && known.account.name == known.certificate.account);
        Ok(usable.map(|known| Identity { proof: Proof::Certificate(known) }))
    }

    /// The token with this text, whatever became of it since it was made.
    pub(super) async fn known_token(&self, text: &[u8]) -> Answer<Option<Arc<KnownToken>>> {
        let Some(digest) = token::digest_of(text) else {
            return Ok(None);
        };
        let ask = async { Ok(found(self.accounts.token(&digest).await)?.map(Arc::new)) };
        Ok(self.tokens.of(&digest, self.clock.steady(), ask).await?)
    }

    /// The client certificate with this DER, whatever became of its account.
    pub(super) async fn known_certificate(&self, leaf: &[u8]) -> Answer<Option<Arc<KnownCertificate>>> {
        let fingerprint = sha256(leaf);
        let ask = async { Ok(found(self.accounts.certificate(&fingerprint).await)?.map(Arc::new)) };
        Ok(self.certificates.of(&fingerprint, self.clock.steady(), ask).await?)
    }

    async fn by_password(
        &self,
        pair: &[u8],
        headers: &HeaderMap,
        peer: &Peer,
        correlation_id: &str,
    ) -> Answer<Option<Identity>> {
        let Some((name, password)) = name_and_password(pair) else {
            return Ok(None);
        };
        let remembered = self.remembered_key(&name, &password);
        if let Some(secrets) = self.right_a_moment_ago(&name, &remembered).await? {
            return program(secrets).map(Some);
        }
        let candidate = Candidate::new(self, &name, peer.address, headers, correlation_id);
        self.begin(&candidate.attempt)?;
        let Some(secrets) = self.password_is(&candidate, &password).await? else {
            self.note_refusal(&candidate, "login.refused", "basic").await;
            return Err(login_refused(headers));
        };
        self.succeeded(&candidate.attempt);
        self.remember(remembered, secrets.account.epoch);
        program(Arc::new(secrets)).map(Some)
    }

    async fn right_a_moment_ago(&self, name: &str, key: &[u8; 32]) -> Answer<Option<Arc<Secrets>>> {
        let now = self.clock.steady();
        let Some(right) = lock(&self.right_passwords).get(key).copied().filter(|right| now < right.until) else {
            return Ok(None);
        };
        let Ok(name) = name.parse::<AccountName>() else {
            return Ok(None);
        };
        let ask = async { Ok(found(self.accounts.account(&name).await)?.map(Arc::new)) };
        let secrets = self.secrets.of(&name, now, ask).await?;
        Ok(secrets.filter(|secrets| secrets.account.enabled && secrets.account.epoch == right.epoch))
    }

    fn remembered_key(&self, name: &str, password: &Hidden) -> [u8; 32] {
        // No account name contains a NUL.
        let text = [name.as_bytes(), b"\0", password.reveal().as_bytes()].concat();
        let mut key = [0; 32];
        key.copy_from_slice(hmac::sign(&self.right_passwords_key, &text).as_ref());
        key
    }

    fn remember(&self, key: [u8; 32], epoch: u64) {
        let now = self.clock.steady();
        let mut right = lock(&self.right_passwords);
        if right.len() >= RIGHT_PASSWORDS {
            right.retain(|_key, right| now < right.until);
        }
        if right.len() < RIGHT_PASSWORDS {
            right.insert(key, RightPassword { epoch, until: now + RIGHT_FOR });
        }
    }
}

/// Basic cannot ask for a second factor, so it must not be a way around it.
fn program(secrets: Arc<Secrets>) -> Answer<Identity> {
    if secrets.totp.is_some() {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "second-factor-needs-token",
            "this account has a second factor, which Basic cannot carry; make an API token and send it as Bearer",
        ));
    }
    Ok(Identity { proof: Proof::Password(secrets) })
}

pub(super) fn read(value: &[u8]) -> Option<Header<'_>> {
    if value.len() > AUTHORIZATION {
        return None;
    }
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(space)?;
    match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"bearer") => Some(Header::Bearer(rest.trim_ascii())),
        scheme if scheme.eq_ignore_ascii_case(b"basic") => Some(Header::Basic(rest.trim_ascii())),
        _ => None,
    }
}

pub(super) fn name_and_password(pair: &[u8]) -> Option<(String, Hidden)> {
    let text = String::from_utf8(BASE64.decode(pair).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Hidden::new(password)))
}

fn ambiguous() -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "ambiguous-credentials",
        "the request proves in more than one way who asks; send a session cookie, one Authorization header, or a client certificate",
    )
}

// A question that is kept for five seconds must not outlive what a revocation elsewhere is promised.
const _: () = assert!(known::FRESH.as_secs() <= 5);
