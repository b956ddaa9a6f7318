//! Python programs nobody here wrote, of a pinned version, each in a virtual environment of its own beside the build products.
//!
//! Invariant: an environment is whole or made again, also when a test was killed while it made one, and two tests never make it at once.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::child::run;
use crate::{program, stand};

/// The environment's Python with `requirement` (`name==version`) from PyPI. Made once; a half-made one is made again, because the marker is
/// written last.
#[must_use]
pub fn python(requirement: &str) -> PathBuf {
    let programs = program("tbi-agent").parent().map(PathBuf::from).unwrap_or_default();
    let name = requirement.split_once("==").map_or(requirement, |(name, _version)| name);
    let home = programs.join("../tbi/python").join(name);
    let (python, marker) = (home.join("bin/python"), home.join(requirement));
    let _one_at_a_time = lock(&home.with_extension("lock"));
    if !marker.exists() {
        let venv = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), Duration::from_secs(60));
        assert_eq!(venv.code(), 0, "type: apt-get install python3-venv\n{}", venv.stderr);
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        let pip = run(pip.arg(requirement), Duration::from_secs(180));
        assert_eq!(pip.code(), 0, "{requirement} cannot be installed from PyPI:\n{}", pip.stderr);
        stand::write(&marker, "");
    }
    python
}

/// Held until it is dropped, whichever way its process ends.
fn lock(path: &std::path::Path) -> File {
    let locked = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let file = File::create(path)?;
        file.lock()?;
        Ok(file)
    });
    match locked {
        Ok(file) => file,
        Err(error) => panic!("cannot lock {}: {error}", path.display()),
    }
}
