//! Passwords: which are taken, how they are hashed and compared.
//!
//! argon2id takes 19 MiB and some tens of milliseconds on purpose. So at most two are computed at once, on threads that may block; some more
//! wait in line for a bounded time; the others are told to come again. An account that does not exist costs the same work.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tbi_api::access::Hidden;
use tokio::sync::Semaphore;

/// Memory of one hash, KiB; with [`PASSES`] the least that OWASP's Password Storage Cheat Sheet (2024) asks of argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes computed at once: 38 MiB.
const AT_ONCE: usize = 2;
/// Requests that wait for their turn.
const IN_LINE: usize = 32;
/// How long they wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const SHORTEST: usize = 12;
const LONGEST: usize = 256;

/// The most used passwords of twelve characters and more in published leaks, and what this box would tempt to.
const WORST: [&str; 32] = [
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789123",
    "1234567891234",
    "123123123123",
    "111111111111",
    "000000000000",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiop[]",
    "qwertyuiopasdfghjkl",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "qazwsxedcrfv",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "passw0rd1234",
    "administrator",
    "administrator1",
    "adminadminadmin",
    "letmeinletmein",
    "welcome12345",
    "changeme1234",
    "changemechangeme",
    "iloveyou1234",
    "tlsstress.art",
    "tlsstresstbi",
    "correcthorsebatterystaple",
];

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("the password is too short; take 12 characters or more, for example four words")]
    TooShort,
    #[error("the password is too long; take 256 characters or fewer")]
    TooLong,
    #[error("the password contains the name of the account; take another one")]
    Name,
    #[error("the password is one of those that are tried first, or one character repeated; take another one")]
    Worst,
}

/// Whether a password may be set for an account.
pub(crate) fn may_be_set(account: &str, password: &Hidden) -> Result<(), NotTaken> {
    let text = password.reveal();
    let count = text.chars().take(LONGEST + 1).count();
    if count < SHORTEST {
        return Err(NotTaken::TooShort);
    }
    if count > LONGEST {
        return Err(NotTaken::TooLong);
    }
    let lower = text.to_lowercase();
    // A one-letter name is in every other password; only what is mostly the name is refused.
    if lower == account || (account.len() >= 4 && lower.contains(account)) {
        return Err(NotTaken::Name);
    }
    let first = lower.chars().next();
    if WORST.contains(&lower.as_str()) || lower.chars().all(|character| Some(character) == first) {
        return Err(NotTaken::Worst);
    }
    Ok(())
}

/// Whether a password is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is, and its hash is as strong as new ones.
    Right,
    /// It is, and should be hashed anew.
    RightButWeaklyHashed,
    /// It is not, or there is no such account.
    Wrong,
}

/// Too many passwords at once, or the system gives no randomness; try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked; try again in a few seconds")]
pub(crate) struct Busy;

/// Computes hashes within its bounds.
#[derive(Debug)]
pub(crate) struct Passwords {
    work: Params,
    /// Of a password nobody knows: compared when there is no account.
    nobody: Arc<str>,
    turn: Arc<Semaphore>,
    line: Semaphore,
}

impl Passwords {
    /// With the work that new hashes are to cost. Computes one hash, on the calling thread.
    pub(crate) fn new() -> Result<Self, Busy> {
        Self::with_work(Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_error| Busy)?)
    }

    /// Less work, for tests that log in a hundred times.
    #[cfg(test)]
    pub(crate) fn quick() -> Self {
        #[expect(clippy::unwrap_used, reason = "tests")]
        Self::with_work(Params::new(64, 1, 1, None).unwrap()).unwrap()
    }

    fn with_work(work: Params) -> Result<Self, Busy> {
        let mut unknown = [0; 32];
        aws_lc_rs::rand::fill(&mut unknown).map_err(|_error| Busy)?;
        let nobody = compute(&work, &unknown)?.into();
        Ok(Self { work, nobody, turn: Arc::new(Semaphore::new(AT_ONCE)), line: Semaphore::new(IN_LINE) })
    }

    /// PHC string of a password, with a salt of its own.
    pub(crate) async fn hash(&self, password: &Hidden) -> Result<Hidden, Busy> {
        let (work, password) = (self.work.clone(), password.clone());
        self.in_turn(move || compute(&work, password.reveal().as_bytes())).await?.map(Hidden::new)
    }

    /// Compares; without a hash (no such account) it does the same work and says no.
    pub(crate) async fn verify(&self, password: &Hidden, hash: Option<&Hidden>) -> Result<Verdict, Busy> {
        let (work, password, exists) = (self.work.clone(), password.clone(), hash.is_some());
        let hash: Arc<str> = hash.map_or_else(|| Arc::clone(&self.nobody), |hash| hash.reveal().into());
        self.in_turn(move || {
            // A longer password was never set; its length must not buy work.
            let bytes = password.reveal().as_bytes();
            let bytes = bytes.get(..LONGEST * 4 + 1).unwrap_or(bytes);
            let Ok(parsed) = PasswordHash::new(&hash) else {
                tracing::error!("a stored password hash is not a PHC string; set the account's password anew");
                return Verdict::Wrong;
            };
            let right = Argon2::default().verify_password(bytes, &parsed).is_ok();
            match (right && exists, Params::try_from(&parsed)) {
                (false, _) => Verdict::Wrong,
                (true, Ok(used)) if at_least(&used, &work) => Verdict::Right,
                (true, _) => Verdict::RightButWeaklyHashed,
            }
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(&self, compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _in_line = self.line.try_acquire().map_err(|_full| Busy)?;
        let turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.turn).acquire_owned());
        let turn = turn.await.map_err(|_elapsed| Busy)?.map_err(|_closed| Busy)?;
        // The turn goes along: a client that leaves does not free the memory its hash still takes.
        let computed = tokio::task::spawn_blocking(move || {
            let computed = compute();
            drop(turn);
            computed
        });
        computed.await.map_err(|_ended| Busy)
    }
}

#[cfg(test)]
impl Passwords {
    /// Holds every turn: nobody computes.
    pub(crate) async fn all_turns(&self) -> tokio::sync::OwnedSemaphorePermit {
        #[expect(clippy::unwrap_used, reason = "tests")]
        Arc::clone(&self.turn).acquire_many_owned(AT_ONCE as u32).await.unwrap()
    }

    /// Holds every place in line: nobody waits.
    pub(crate) async fn whole_line(&self) -> tokio::sync::SemaphorePermit<'_> {
        #[expect(clippy::unwrap_used, reason = "tests")]
        self.line.acquire_many(IN_LINE as u32).await.unwrap()
    }
}

fn at_least(used: &Params, wanted: &Params) -> bool {
    used.m_cost() >= wanted.m_cost() && used.t_cost() >= wanted.t_cost()
}

fn compute(work: &Params, password: &[u8]) -> Result<String, Busy> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_error| Busy)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, work.clone());
    let hash: PasswordHash = argon2.hash_password_with_salt(password, &salt).map_err(|_error| Busy)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn hidden(text: &str) -> Hidden {
        Hidden::new(text)
    }

    #[test]
    fn short_long_named_and_worst_passwords_are_not_taken() {
        let set = |text: &str| may_be_set("j.doe", &hidden(text));
        assert_eq!(set("elevenchars"), Err(NotTaken::TooShort));
        assert_eq!(set("twelve chars"), Ok(()));
        assert_eq!(set("éééééééééééé1"), Ok(()), "characters are counted, not bytes");
        assert_eq!(set(&"ab".repeat(128)), Ok(()));
        assert_eq!(set(&("ab".repeat(128) + "c")), Err(NotTaken::TooLong));
        assert_eq!(set("J.Doe is the best"), Err(NotTaken::Name));
        assert_eq!(may_be_set("administrator-x", &hidden("administrator-x")), Err(NotTaken::Name));
        assert_eq!(may_be_set("a", &hidden("a password with an a")), Ok(()));
        for worst in WORST {
            assert_eq!(set(&worst.to_uppercase()), Err(NotTaken::Worst), "{worst}");
        }
        assert_eq!(set("zzzzzzzzzzzzzzz"), Err(NotTaken::Worst));
    }

    #[tokio::test]
    async fn hashes_are_argon2id_with_the_parameters_of_owasp_and_a_salt_of_their_own() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash(&hidden("correct horse")).await.unwrap();
        assert!(hash.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.reveal());
        assert_ne!(hash, passwords.hash(&hidden("correct horse")).await.unwrap());
        assert_eq!(passwords.verify(&hidden("correct horse"), Some(&hash)).await, Ok(Verdict::Right));
        assert_eq!(passwords.verify(&hidden("correct horsf"), Some(&hash)).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn a_hash_with_less_work_is_right_and_to_be_made_anew() {
        let weak = Passwords::quick().hash(&hidden("correct horse")).await.unwrap();
        let passwords = Passwords::new().unwrap();
        assert_eq!(passwords.verify(&hidden("correct horse"), Some(&weak)).await, Ok(Verdict::RightButWeaklyHashed));
        assert_eq!(passwords.verify(&hidden("wrong"), Some(&weak)).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn an_account_that_does_not_exist_costs_the_same_work() {
        let passwords = Passwords::new().unwrap();
        // Same algorithm and parameters as a new hash: the work is equal by construction, whatever the machine's mood.
        let new = passwords.hash(&hidden("x")).await.unwrap();
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(&passwords.nobody), cost(new.reveal()));
        assert_eq!(passwords.verify(&hidden("x"), None).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn no_more_than_two_at_once_and_a_bounded_line() {
        let passwords = Arc::new(Passwords::quick());
        let held = Arc::clone(&passwords.turn).acquire_many_owned(2).await.unwrap();
        let waiting: Vec<_> = (0..IN_LINE)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.verify(&hidden("x"), None).await })
            })
            .collect();
        while passwords.line.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.verify(&hidden("x"), None).await, Err(Busy), "the line is full");
        drop(held);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(Verdict::Wrong));
        }
    }

    #[tokio::test]
    async fn a_broken_stored_hash_lets_nobody_in() {
        let passwords = Passwords::quick();
        for broken in ["", "x", "$argon2id$v=19$m=64,t=1,p=1$", "$1$abc$def"] {
            assert_eq!(passwords.verify(&hidden("x"), Some(&hidden(broken))).await, Ok(Verdict::Wrong));
        }
    }
}
