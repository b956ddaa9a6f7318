//! Small things with files that more than one step needs: copying trees, writing whole files, walking in a fixed order.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Makes a directory and its parents.
pub(crate) fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// An empty directory, whatever was there.
pub(crate) fn make_empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    make(directory)
}

/// Replaces a file in one step: a reader sees the old content or the new.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        make(parent)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, content).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Everything below `root` that is not a directory, relative to it, in an order that does not depend on the file system.
pub(crate) fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
            let path = entry.path();
            if entry.file_type().with_context(|| format!("cannot read {}", path.display()))?.is_dir() {
                open.push(path);
            } else {
                // Every path was made by joining to root.
                found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies files and symbolic links below `from` to the same places below `to`.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for file in walk(from)? {
        let (source, target) = (from.join(&file), to.join(&file));
        if let Some(parent) = target.parent() {
            make(parent)?;
        }
        let copied = match fs::read_link(&source) {
            Ok(link) => std::os::unix::fs::symlink(link, &target),
            Err(_) => fs::copy(&source, &target).map(|_| ()),
        };
        copied.with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))?;
    }
    Ok(())
}

/// Length of a file.
pub(crate) fn length(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn trees_are_copied_with_their_links() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        write(&from.join("a/b"), b"1").unwrap();
        std::os::unix::fs::symlink("b", from.join("a/c")).unwrap();
        copy_tree(&from, &to).unwrap();
        assert_eq!(walk(&to).unwrap(), [PathBuf::from("a/b"), PathBuf::from("a/c")]);
        assert_eq!(fs::read_link(to.join("a/c")).unwrap(), PathBuf::from("b"));
        make_empty(&to).unwrap();
        assert!(walk(&to).unwrap().is_empty());
    }
}
