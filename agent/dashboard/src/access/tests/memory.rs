//! Accounts in memory, with the rules that the words of `tbi_api::access` promise, and switches for what can go wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::FutureExt;
use futures_util::future::ready;
use http::StatusCode;
use jiff::Timestamp;
use tbi_api::access::{
    Account, AccountChange, AccountName, AuditNote, By, Certificate, Digest, KnownCertificate, KnownSession,
    KnownToken, NewAccount, NewCertificate, NewSession, NewToken, Refusal, Refusals, Role, SecondFactorChange, Secrets,
    Session, SessionChange, Token, TokenId, TotpStep, Used,
};
use tbi_api::reason::Reason;

use crate::access::accounts::{Accounts, AccountsError, Asked};
use crate::access::clock::lock;

type Done<T> = Result<T, AccountsError>;

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) accounts: BTreeMap<AccountName, Secrets>,
    pub(crate) sessions: BTreeMap<Digest, Session>,
    pub(crate) tokens: BTreeMap<TokenId, (Token, Digest)>,
    pub(crate) certificates: BTreeMap<Digest, Certificate>,
    pub(crate) notes: Vec<AuditNote>,
    pub(crate) refusals: Vec<Refusal>,
    /// What was changed by whom.
    pub(crate) changes: Vec<(&'static str, By)>,
    /// Why something was removed.
    pub(crate) reasons: Vec<Reason>,
}

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) rows: Mutex<Rows>,
    pub(crate) down: AtomicBool,
    pub(crate) asked: AtomicU32,
}

fn missing(code: &'static str) -> AccountsError {
    AccountsError::refused(StatusCode::NOT_FOUND, code, "there is none")
}

fn conflict(code: &'static str) -> AccountsError {
    AccountsError::refused(StatusCode::CONFLICT, code, "it cannot be")
}

impl Rows {
    fn account(&self, name: &AccountName) -> Done<&Secrets> {
        self.accounts.get(name).ok_or_else(|| missing("no-such-account"))
    }

    fn administrator_left_without(&self, name: &AccountName) -> Done<()> {
        let other = |secrets: &&Secrets| {
            secrets.account.role == Role::Administrator && secrets.account.enabled && secrets.account.name != *name
        };
        self.accounts.values().find(other).map(|_other| ()).ok_or_else(|| conflict("last-administrator"))
    }

    fn change(&mut self, name: &AccountName, change: &AccountChange) -> Done<Account> {
        let mut secrets = self.account(name)?.clone();
        if change.based_on.is_some_and(|epoch| epoch != secrets.account.epoch) {
            return Err(conflict("account-changed"));
        }
        let demoted = change.role.is_some_and(|role| role != Role::Administrator) || change.enabled == Some(false);
        if secrets.account.role == Role::Administrator && secrets.account.enabled && demoted {
            self.administrator_left_without(name)?;
        }
        if let Some(hash) = &change.recovery_used {
            let before = secrets.recovery.len();
            secrets.recovery.retain(|code| code != hash);
            if secrets.recovery.len() == before {
                return Err(conflict("code-used"));
            }
        }
        let account = &mut secrets.account;
        let grows = change.role.is_some()
            || change.enabled.is_some()
            || change.password.is_some()
            || change.second_factor.is_some()
            || change.end_sessions;
        account.epoch += u64::from(grows);
        account.role = change.role.unwrap_or(account.role);
        account.enabled = change.enabled.unwrap_or(account.enabled);
        account.last_login = change.logged_in.or(account.last_login);
        if let Some(password) = change.password.as_ref().or(change.rehashed.as_ref()) {
            secrets.password = password.clone();
        }
        match &change.second_factor {
            Some(SecondFactorChange::Set { totp, recovery }) => {
                (secrets.totp, secrets.recovery) = (Some(totp.clone()), recovery.clone());
            }
            Some(SecondFactorChange::None) => (secrets.totp, secrets.recovery) = (None, Vec::new()),
            None => {}
        }
        if let Some(recovery) = &change.recovery {
            secrets.recovery = recovery.clone();
        }
        secrets.account.second_factor = secrets.totp.is_some();
        secrets.account.recovery_codes_left = u32::try_from(secrets.recovery.len()).unwrap_or(u32::MAX);
        let account = secrets.account.clone();
        self.accounts.insert(name.clone(), secrets);
        Ok(account)
    }

    fn begin(&mut self, new: &NewSession) -> Done<Session> {
        if self.account(&new.session.account)?.account.epoch != new.session.epoch {
            return Err(conflict("account-changed"));
        }
        if let Some(old) = &new.replaces {
            self.sessions.remove(old);
        }
        self.sessions.insert(new.session.hash.clone(), new.session.clone());
        Ok(new.session.clone())
    }
}

impl Memory {
    fn ask<'a, T: Send + 'static>(&self, work: impl FnOnce(&mut Rows) -> Done<T>) -> Asked<'a, T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = if self.down.load(Ordering::Relaxed) {
            Err(AccountsError::Unavailable("nobody answers on the socket".to_owned()))
        } else {
            work(&mut lock(&self.rows))
        };
        ready(answer).boxed()
    }

    fn reason(&self, reason: Option<&Reason>) {
        lock(&self.rows).reasons.extend(reason.cloned());
    }

    fn change<'a, T: Send + 'static>(
        &self,
        what: &'static str,
        by: &By,
        work: impl FnOnce(&mut Rows) -> Done<T>,
    ) -> Asked<'a, T> {
        self.ask(|rows| {
            let done = work(rows)?;
            rows.changes.push((what, by.clone()));
            Ok(done)
        })
    }
}

impl Accounts for Memory {
    fn accounts<'a>(&'a self) -> Asked<'a, Vec<Account>> {
        self.ask(|rows| Ok(rows.accounts.values().map(|secrets| secrets.account.clone()).collect()))
    }

    fn account<'a>(&'a self, name: &'a AccountName) -> Asked<'a, Secrets> {
        self.ask(|rows| rows.account(name).cloned())
    }

    fn create_account<'a>(&'a self, new: &'a NewAccount, by: &'a By) -> Asked<'a, Account> {
        self.change("create_account", by, |rows| {
            if new.first && !rows.accounts.is_empty() {
                return Err(conflict("not-the-first"));
            }
            if rows.accounts.contains_key(&new.name) {
                return Err(conflict("account-exists"));
            }
            let account = Account {
                name: new.name.clone(),
                role: new.role,
                enabled: true,
                second_factor: false,
                recovery_codes_left: 0,
                epoch: 1,
                created: Timestamp::UNIX_EPOCH,
                password_changed: Timestamp::UNIX_EPOCH,
                last_login: None,
            };
            let secrets =
                Secrets { account: account.clone(), password: new.password.clone(), totp: None, recovery: Vec::new() };
            rows.accounts.insert(new.name.clone(), secrets);
            Ok(account)
        })
    }

    fn change_account<'a>(
        &'a self,
        name: &'a AccountName,
        change: &'a AccountChange,
        by: &'a By,
    ) -> Asked<'a, Account> {
        self.reason(change.reason.as_ref());
        self.change("change_account", by, |rows| rows.change(name, change))
    }

    fn remove_account<'a>(&'a self, name: &'a AccountName, reason: Option<&'a Reason>, by: &'a By) -> Asked<'a, ()> {
        self.reason(reason);
        self.change("remove_account", by, |rows| {
            if rows.account(name)?.account.role == Role::Administrator {
                rows.administrator_left_without(name)?;
            }
            rows.accounts.remove(name);
            rows.sessions.retain(|_hash, session| session.account != *name);
            rows.tokens.retain(|_id, (token, _hash)| token.account != *name);
            rows.certificates.retain(|_fingerprint, certificate| certificate.account != *name);
            Ok(())
        })
    }

    fn use_totp_step<'a>(&'a self, name: &'a AccountName, step: TotpStep, by: &'a By) -> Asked<'a, ()> {
        self.change("use_totp_step", by, |rows| {
            let totp = rows.accounts.get_mut(name).and_then(|secrets| secrets.totp.as_mut());
            let totp = totp.ok_or_else(|| missing("no-such-account"))?;
            if totp.last_step.is_some_and(|last| step.step <= last) {
                return Err(conflict("code-used"));
            }
            totp.last_step = Some(step.step);
            Ok(())
        })
    }

    fn sessions<'a>(&'a self) -> Asked<'a, Vec<Session>> {
        self.ask(|rows| Ok(rows.sessions.values().cloned().collect()))
    }

    fn session<'a>(&'a self, hash: &'a Digest) -> Asked<'a, KnownSession> {
        self.ask(|rows| {
            let session = rows.sessions.get(hash).cloned().ok_or_else(|| missing("no-such-session"))?;
            Ok(KnownSession { account: rows.account(&session.account)?.account.clone(), session })
        })
    }

    fn begin_session<'a>(&'a self, session: &'a NewSession, by: &'a By) -> Asked<'a, Session> {
        self.change("begin_session", by, |rows| rows.begin(session))
    }

    fn change_session<'a>(&'a self, hash: &'a Digest, change: &'a SessionChange, by: &'a By) -> Asked<'a, Session> {
        self.change("change_session", by, |rows| {
            let session = rows.sessions.get_mut(hash).ok_or_else(|| missing("no-such-session"))?;
            session.last_seen = change.seen.map_or(session.last_seen, |seen| seen.max(session.last_seen));
            session.stepped_up_until = change.stepped_up_until.or(session.stepped_up_until);
            Ok(session.clone())
        })
    }

    fn end_session<'a>(&'a self, hash: &'a Digest, reason: Option<&'a Reason>, by: &'a By) -> Asked<'a, ()> {
        self.reason(reason);
        self.change("end_session", by, |rows| {
            rows.sessions.remove(hash).map(|_session| ()).ok_or_else(|| missing("no-such-session"))
        })
    }

    fn tokens<'a>(&'a self) -> Asked<'a, Vec<Token>> {
        self.ask(|rows| Ok(rows.tokens.values().map(|(token, _hash)| token.clone()).collect()))
    }

    fn token<'a>(&'a self, hash: &'a Digest) -> Asked<'a, KnownToken> {
        self.ask(|rows| {
            let found = rows.tokens.values().find(|(_token, stored)| stored == hash);
            let token = found.map(|(token, _hash)| token.clone()).ok_or_else(|| missing("no-such-token"))?;
            Ok(KnownToken { account: rows.account(&token.account)?.account.clone(), token })
        })
    }

    fn create_token<'a>(&'a self, new: &'a NewToken, by: &'a By) -> Asked<'a, Token> {
        self.change("create_token", by, |rows| {
            rows.account(&new.account)?;
            let NewToken { id, hash, account, label, scopes, created, expires } = new.clone();
            let token = Token { id: id.clone(), account, label, scopes, created, expires, last_used: None };
            rows.tokens.insert(id, (token.clone(), hash));
            Ok(token)
        })
    }

    fn token_used<'a>(&'a self, id: &'a TokenId, used: Used, by: &'a By) -> Asked<'a, ()> {
        self.change("token_used", by, |rows| {
            let (token, _hash) = rows.tokens.get_mut(id).ok_or_else(|| missing("no-such-token"))?;
            token.last_used = Some(used.at);
            Ok(())
        })
    }

    fn remove_token<'a>(&'a self, id: &'a TokenId, reason: Option<&'a Reason>, by: &'a By) -> Asked<'a, ()> {
        self.reason(reason);
        self.change("remove_token", by, |rows| {
            rows.tokens.remove(id).map(|_token| ()).ok_or_else(|| missing("no-such-token"))
        })
    }

    fn certificates<'a>(&'a self) -> Asked<'a, Vec<Certificate>> {
        self.ask(|rows| Ok(rows.certificates.values().cloned().collect()))
    }

    fn certificate<'a>(&'a self, fingerprint: &'a Digest) -> Asked<'a, KnownCertificate> {
        self.ask(|rows| {
            let found = rows.certificates.get(fingerprint).cloned();
            let certificate = found.ok_or_else(|| missing("no-such-certificate"))?;
            Ok(KnownCertificate { account: rows.account(&certificate.account)?.account.clone(), certificate })
        })
    }

    fn create_certificate<'a>(&'a self, new: &'a NewCertificate, by: &'a By) -> Asked<'a, Certificate> {
        self.change("create_certificate", by, |rows| {
            rows.account(&new.account)?;
            let NewCertificate { fingerprint, account, label } = new.clone();
            let certificate =
                Certificate { fingerprint: fingerprint.clone(), account, label, created: Timestamp::UNIX_EPOCH };
            rows.certificates.insert(fingerprint, certificate.clone());
            Ok(certificate)
        })
    }

    fn remove_certificate<'a>(
        &'a self,
        fingerprint: &'a Digest,
        reason: Option<&'a Reason>,
        by: &'a By,
    ) -> Asked<'a, ()> {
        self.reason(reason);
        self.change("remove_certificate", by, |rows| {
            rows.certificates.remove(fingerprint).map(|_gone| ()).ok_or_else(|| missing("no-such-certificate"))
        })
    }

    fn report_refusals<'a>(&'a self, refusals: &'a Refusals) -> Asked<'a, ()> {
        self.ask(|rows| {
            rows.refusals.extend(refusals.refusals.iter().cloned());
            Ok(())
        })
    }

    fn audit<'a>(&'a self, note: &'a AuditNote) -> Asked<'a, ()> {
        self.ask(|rows| {
            rows.notes.push(note.clone());
            Ok(())
        })
    }
}
