//! Accounts as rows: names, roles, password hashes, second factors. It compares and counts; it hashes no password and computes no code.
//!
//! Invariants: the epoch grows with every change of password, role, second factor or enabling, so that sessions of before can be told; one
//! TOTP step and one recovery code are used once, however many ask at the same time; the last enabled administrator stays.

use std::fmt;

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use crate::change::{checked_text, int, maybe_time_at, micros, row, rows, stored_time, time_at, uint};
use crate::error::Failed;
use crate::{Ledger, LedgerError};

/// The role of which one enabled account always remains.
pub const ADMINISTRATOR: &str = "administrator";
/// Most accounts of a box.
const MOST: i64 = 1000;
/// Actors of the audit chain that are no accounts.
const RESERVED: [&str; 3] = ["local", "system", "anonymous"];

/// An account with its secrets. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Unique.
    pub name: String,
    /// Role, in the agent's words.
    pub role: String,
    /// Whether it may log in.
    pub enabled: bool,
    /// Password hash as PHC string.
    pub password: Option<String>,
    /// TOTP secret, as it was given.
    pub totp_secret: Option<String>,
    /// Last TOTP step that was used.
    pub totp_step: Option<u64>,
    /// Hashes of the recovery codes that are left.
    pub recovery: Vec<String>,
    /// Grows with each change that ends sessions.
    pub epoch: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When the password was last set.
    pub password_changed: Option<Timestamp>,
    /// When it last logged in.
    pub last_login: Option<Timestamp>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("enabled", &self.enabled)
            .field("password", &self.password.is_some())
            .field("second_factor", &self.totp_secret.is_some())
            .field("recovery_codes", &self.recovery.len())
            .field("epoch", &self.epoch)
            .field("created", &self.created)
            .field("last_login", &self.last_login)
            .finish_non_exhaustive()
    }
}

/// An account to be made.
#[derive(Clone, Copy)]
pub struct NewAccount<'a> {
    /// A lowercase letter, then lowercase letters, digits, dots, dashes, underscores; at most 32.
    pub name: &'a str,
    /// Role.
    pub role: &'a str,
    /// Password hash as PHC string.
    pub password: Option<&'a str>,
}

impl fmt::Debug for NewAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A second factor. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// TOTP secret, as it was given.
    pub secret: String,
    /// Step that is used already: the one with which it was confirmed.
    pub last_step: Option<u64>,
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactor").field("last_step", &self.last_step).finish_non_exhaustive()
    }
}

/// What to change; `None` leaves it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AccountChange {
    /// Epoch the change is based on; refused when the account has moved on.
    pub based_on: Option<u64>,
    /// Role.
    pub role: Option<String>,
    /// Whether it may log in.
    pub enabled: Option<bool>,
    /// Password hash as PHC string.
    pub password: Option<String>,
    /// Second factor; `Some(None)` takes it away, and its recovery codes with it.
    pub second_factor: Option<Option<SecondFactor>>,
    /// Hashes of recovery codes, in place of the ones there were. Alone it ends no session.
    pub recovery: Option<Vec<String>>,
    /// Ends all sessions.
    pub end_sessions: bool,
}

impl fmt::Debug for AccountChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountChange")
            .field("based_on", &self.based_on)
            .field("role", &self.role)
            .field("enabled", &self.enabled)
            .field("password", &self.password.is_some())
            .field("second_factor", &self.second_factor)
            .field("recovery", &self.recovery.is_some())
            .field("end_sessions", &self.end_sessions)
            .finish()
    }
}

impl Ledger {
    /// All accounts, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        let query = format!("SELECT {COLUMNS} FROM accounts ORDER BY name");
        self.read("list the accounts", |db| rows(db, &query, [], account))
    }

    /// An account, when there is one of this name.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn account(&self, name: &str) -> Result<Option<Account>, LedgerError> {
        self.read("read the account", |db| find(db, name))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`LedgerError::Exists`], [`LedgerError::Invalid`].
    pub fn create_account(&mut self, new: &NewAccount<'_>, now: Timestamp) -> Result<Account, LedgerError> {
        self.change("make the account", |db| create(db, new, now))
    }

    /// Makes the first administrator of a box that has no account; two that try at the same time make one.
    ///
    /// # Errors
    /// [`LedgerError::Exists`] when there is an account already.
    pub fn create_first_administrator(
        &mut self,
        name: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<Account, LedgerError> {
        self.change("make the first administrator", |db| {
            let any = row(db, "SELECT name FROM accounts LIMIT 1", [], |row| Ok(row.get::<_, String>(0)?))?;
            match any {
                Some(name) => Err(LedgerError::Exists { what: "account", name }.into()),
                None => create(db, &NewAccount { name, role: ADMINISTRATOR, password: Some(password) }, now),
            }
        })
    }

    /// Changes an account and gives it as it is then.
    ///
    /// # Errors
    /// [`LedgerError::Missing`], [`LedgerError::Invalid`], [`LedgerError::LastAdministrator`]; [`LedgerError::Changed`] when the account
    /// is of another epoch than the change was based on.
    pub fn change_account(
        &mut self,
        name: &str,
        change: &AccountChange,
        now: Timestamp,
    ) -> Result<Account, LedgerError> {
        self.change("change the account", |db| {
            let mut account = find(db, name)?.ok_or_else(|| LedgerError::missing("account", name))?;
            if let Some(based_on) = change.based_on.filter(|epoch| *epoch != account.epoch) {
                return Err(LedgerError::Changed { based_on, current: account.epoch }.into());
            }
            let before = account.clone();
            if let Some(role) = &change.role {
                checked_text("the role", role, 32)?;
                account.role.clone_from(role);
            }
            if let Some(enabled) = change.enabled {
                account.enabled = enabled;
            }
            if let Some(password) = &change.password {
                checked_text("the password hash", password, 512)?;
                account.password = Some(password.clone());
                account.password_changed = Some(stored_time(now));
            }
            match &change.second_factor {
                Some(Some(factor)) => {
                    checked_text("the second factor", &factor.secret, 256)?;
                    account.totp_secret = Some(factor.secret.clone());
                    account.totp_step = factor.last_step;
                }
                Some(None) => (account.totp_secret, account.totp_step, account.recovery) = (None, None, Vec::new()),
                None => {}
            }
            if let Some(recovery) = &change.recovery {
                account.recovery = checked_recovery(recovery)?;
            }
            let other = Account { recovery: before.recovery.clone(), ..account.clone() };
            if other != before || change.password.is_some() || change.end_sessions {
                account.epoch += 1;
            }
            let had = administrators(db)?;
            store(db, &account)?;
            administrator_remains(db, had, name)?;
            Ok(account)
        })
    }

    /// Removes an account with its sessions, tokens and certificates.
    ///
    /// # Errors
    /// [`LedgerError::Missing`], [`LedgerError::LastAdministrator`].
    pub fn remove_account(&mut self, name: &str) -> Result<(), LedgerError> {
        self.change("remove the account", |db| {
            let had = administrators(db)?;
            if db.execute("DELETE FROM accounts WHERE name = ?1", [name])? == 0 {
                return Err(LedgerError::missing("account", name).into());
            }
            administrator_remains(db, had, name)
        })
    }

    /// Uses a TOTP step; `false` when it, or a later one, was used before.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn use_totp_step(&mut self, name: &str, step: u64) -> Result<bool, LedgerError> {
        self.change("use the one-time code", |db| {
            let query = "UPDATE accounts SET totp_step = ?2
                         WHERE name = ?1 AND totp_secret IS NOT NULL AND coalesce(totp_step, -1) < ?2";
            if db.execute(query, (name, int(step)))? == 1 {
                return Ok(true);
            }
            find(db, name)?.map(|_account| false).ok_or_else(|| LedgerError::missing("account", name).into())
        })
    }

    /// Uses up a recovery code by its hash; `false` when it is not one of those left. Does not raise the epoch.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn use_recovery_code(&mut self, name: &str, hash: &str) -> Result<bool, LedgerError> {
        self.change("use the recovery code", |db| {
            let mut account = find(db, name)?.ok_or_else(|| LedgerError::missing("account", name))?;
            let Some(at) = account.recovery.iter().position(|code| code == hash) else { return Ok(false) };
            account.recovery.remove(at);
            store(db, &account)?;
            Ok(true)
        })
    }

    /// Replaces the password hash by one of the same password with stronger parameters; `false` when another one is in force by now.
    /// Ends no session.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn rehash_password(&mut self, name: &str, before: &str, after: &str) -> Result<bool, LedgerError> {
        checked_text("the password hash", after, 512)?;
        self.change("store the password hash", |db| {
            let query = "UPDATE accounts SET password = ?3 WHERE name = ?1 AND password = ?2";
            Ok(db.execute(query, (name, before, after))? == 1)
        })
    }

    /// Notes a login.
    ///
    /// # Errors
    /// [`LedgerError::Missing`].
    pub fn note_login(&mut self, name: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.change("note the login", |db| {
            match db.execute("UPDATE accounts SET last_login = ?2 WHERE name = ?1", (name, micros(now)))? {
                0 => Err(LedgerError::missing("account", name).into()),
                _ => Ok(()),
            }
        })
    }
}

const COLUMNS: &str =
    "name, role, enabled, password, totp_secret, totp_step, recovery, epoch, created, password_changed, last_login";

fn account(row: &Row<'_>) -> Result<Account, Failed> {
    let recovery: String = row.get(6)?;
    Ok(Account {
        name: row.get(0)?,
        role: row.get(1)?,
        enabled: row.get(2)?,
        password: row.get(3)?,
        totp_secret: row.get(4)?,
        totp_step: row.get::<_, Option<i64>>(5)?.map(uint),
        recovery: recovery.split_terminator('\n').map(str::to_owned).collect(),
        epoch: uint(row.get(7)?),
        created: time_at(row, 8)?,
        password_changed: maybe_time_at(row, 9)?,
        last_login: maybe_time_at(row, 10)?,
    })
}

pub(crate) fn find(db: &Connection, name: &str) -> Result<Option<Account>, Failed> {
    row(db, &format!("SELECT {COLUMNS} FROM accounts WHERE name = ?1"), [name], account)
}

fn create(db: &Connection, new: &NewAccount<'_>, now: Timestamp) -> Result<Account, Failed> {
    checked_name(new.name)?;
    checked_text("the role", new.role, 32)?;
    new.password.map_or(Ok(()), |password| checked_text("the password hash", password, 512))?;
    if find(db, new.name)?.is_some() {
        return Err(LedgerError::Exists { what: "account", name: new.name.to_owned() }.into());
    }
    if db.query_row("SELECT count(*) FROM accounts", [], |row| row.get::<_, i64>(0))? >= MOST {
        return Err(LedgerError::invalid("the account", format!("there are {MOST} already; remove some")).into());
    }
    let account = Account {
        name: new.name.to_owned(),
        role: new.role.to_owned(),
        enabled: true,
        password: new.password.map(str::to_owned),
        totp_secret: None,
        totp_step: None,
        recovery: Vec::new(),
        epoch: 1,
        created: stored_time(now),
        password_changed: new.password.map(|_| stored_time(now)),
        last_login: None,
    };
    store(db, &account)?;
    Ok(account)
}

/// Not REPLACE: that would take the row away first, and the sessions with it.
fn store(db: &Connection, account: &Account) -> Result<(), Failed> {
    let query = format!(
        "INSERT INTO accounts ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, enabled = excluded.enabled, password = excluded.password,
         totp_secret = excluded.totp_secret, totp_step = excluded.totp_step, recovery = excluded.recovery,
         epoch = excluded.epoch, password_changed = excluded.password_changed"
    );
    db.execute(
        &query,
        (
            &account.name,
            &account.role,
            account.enabled,
            &account.password,
            &account.totp_secret,
            account.totp_step.map(int),
            account.recovery.join("\n"),
            int(account.epoch),
            micros(account.created),
            account.password_changed.map(micros),
            account.last_login.map(micros),
        ),
    )?;
    Ok(())
}

fn administrators(db: &Connection) -> Result<i64, Failed> {
    let query = "SELECT count(*) FROM accounts WHERE role = ?1 AND enabled";
    Ok(db.query_row(query, [ADMINISTRATOR], |row| row.get(0))?)
}

/// Looks after the change, under its lock: a box that had an administrator keeps one.
fn administrator_remains(db: &Connection, had: i64, changed: &str) -> Result<(), Failed> {
    if had > 0 && administrators(db)? == 0 {
        return Err(LedgerError::LastAdministrator { name: changed.to_owned() }.into());
    }
    Ok(())
}

fn checked_recovery(codes: &[String]) -> Result<Vec<String>, LedgerError> {
    if codes.len() > 32 {
        return Err(LedgerError::invalid("the recovery codes", "there are at most 32"));
    }
    codes.iter().try_for_each(|code| checked_text("a recovery code", code, 256))?;
    Ok(codes.to_vec())
}

fn checked_name(name: &str) -> Result<(), LedgerError> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let goes_on = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    if !begins || name.len() > 32 || !name.bytes().all(goes_on) {
        let why = "it must be a lowercase letter, then lowercase letters, digits, '.', '_' or '-', at most 32";
        return Err(LedgerError::invalid("the account name", why));
    }
    if RESERVED.contains(&name) {
        return Err(LedgerError::invalid("the account name", "the appliance uses it for itself; choose another one"));
    }
    Ok(())
}
