//! One hash of everything that goes into an image, so that nothing is built twice. Package versions at the mirror are not part of it:
//! `--force` asks for new ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::image::digest::hex;
use crate::image::{digest, files};

/// Collects inputs; the order matters.
pub(crate) struct Inputs(Sha256);

impl Inputs {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// A word with its meaning.
    pub(crate) fn word(&mut self, name: &str, value: &str) {
        // Lengths in front: no two lists of words are the same bytes.
        for part in [name, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
    }

    /// A file's content.
    pub(crate) fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        self.word(name, &digest::of_file(path)?);
        Ok(())
    }

    /// Names, modes, links and content of a whole tree. A tree that is not there is one without files.
    pub(crate) fn tree(&mut self, name: &str, root: &Path) -> Result<()> {
        self.word("tree", name);
        if !root.exists() {
            return Ok(());
        }
        for file in files::walk(root)? {
            let path = root.join(&file);
            if let Ok(link) = fs::read_link(&path) {
                self.word(&file.to_string_lossy(), &format!("-> {}", link.display()));
                continue;
            }
            let mode =
                fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.permissions().mode();
            self.word("mode", if mode & 0o111 == 0 { "file" } else { "program" });
            self.file(&file.to_string_lossy(), &path)?;
        }
        Ok(())
    }

    /// The hash of all.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(root: &Path) -> String {
        let mut inputs = Inputs::new();
        inputs.tree("t", root).unwrap();
        inputs.finish()
    }

    #[test]
    fn content_names_and_modes_count_and_times_do_not() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a");
        fs::write(&file, "1").unwrap();
        let first = of(home.path());
        fs::write(&file, "1").unwrap();
        assert_eq!(first, of(home.path()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let program = of(home.path());
        assert_ne!(first, program);
        fs::rename(&file, home.path().join("b")).unwrap();
        assert_ne!(program, of(home.path()));
    }

    #[test]
    fn words_cannot_run_into_each_other() {
        let hash = |pairs: &[(&str, &str)]| {
            let mut inputs = Inputs::new();
            pairs.iter().for_each(|(name, value)| inputs.word(name, value));
            inputs.finish()
        };
        assert_ne!(hash(&[("a", "bc")]), hash(&[("ab", "c")]));
    }
}
