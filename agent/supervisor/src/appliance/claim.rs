//! The claim code: while a box has no account, whoever reads this code on its console may make the first administrator through the front door.
//! The code is in memory and in a file of `/run` that only the door reads; it goes with the first account, and a restart of the machine makes
//! another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tbi_daemon::{Access, replace_file};

/// Below the run directory; the folder gives the file to the door's group.
const FILE: &str = "door/claim-code";
/// Letters and digits that nobody takes for another one.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// 20 letters of 5 bits each: 100 bits.
const LENGTH: usize = 20;
/// Letters between two hyphens.
const GROUP: usize = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    code: Mutex<Option<String>>,
}

impl Claim {
    /// A code for a box without an account; the one of before when only the agent was restarted. With accounts there is none.
    pub(crate) fn of_box(run: &Path, has_accounts: bool) -> Self {
        let claim = Self { path: run.join(FILE), code: Mutex::new(None) };
        if has_accounts {
            claim.used();
            return claim;
        }
        let before =
            fs::read_to_string(&claim.path).ok().map(|text| text.trim().to_owned()).filter(|text| is_code(text));
        let code = before.or_else(|| {
            let code = new_code()?;
            let parent = claim.path.parent().map_or(Ok(()), fs::create_dir_all);
            let written = parent.map_err(|error| error.to_string()).and_then(|()| {
                replace_file(&claim.path, format!("{code}\n").as_bytes(), Access::Group)
                    .map_err(|error| error.to_string())
            });
            written
                .inspect_err(|error| tracing::warn!(error, "no claim code; the first administrator cannot be made"))
                .ok()?;
            Some(code)
        });
        *claim.lock() = code;
        claim
    }

    /// The code, while nobody has used it.
    pub(crate) fn code(&self) -> Option<String> {
        self.lock().clone()
    }

    /// There is an account now.
    pub(crate) fn used(&self) {
        *self.lock() = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // The door refuses it all the same: there is an account.
                tracing::warn!(%error, "the used claim code stays in its file");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_code() -> Option<String> {
    let mut random = [0; LENGTH];
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        tracing::error!("the system gives no random numbers, so there is no claim code; restart the machine");
        return None;
    }
    let letters = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let mut code = String::new();
    for (index, letter) in letters.enumerate() {
        if index > 0 && index % GROUP == 0 {
            code.push('-');
        }
        code.push(letter);
    }
    Some(code)
}

fn is_code(text: &str) -> bool {
    let letters = text.bytes().filter(|byte| *byte != b'-');
    text.len() == LENGTH + LENGTH / GROUP - 1
        && letters.clone().count() == LENGTH
        && letters.clone().all(|byte| LETTERS.contains(&byte))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_box_without_an_account_has_a_code_until_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let claim = Claim::of_box(dir.path(), false);
        let code = claim.code().unwrap();
        assert!(is_code(&code) && code.len() == 23, "{code}");
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), code);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o007, 0, "others read nothing");
        assert_eq!(Claim::of_box(dir.path(), false).code(), Some(code), "a restarted agent keeps it");
        claim.used();
        assert_eq!((claim.code(), file.exists()), (None, false));
        let _again = Claim::of_box(dir.path(), false);
        assert_eq!(Claim::of_box(dir.path(), true).code(), None);
        assert!(!file.exists());
    }

    #[test]
    fn a_file_that_holds_no_code_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("door")).unwrap();
        fs::write(dir.path().join(FILE), "password").unwrap();
        assert_ne!(Claim::of_box(dir.path(), false).code().unwrap(), "password");
    }
}
