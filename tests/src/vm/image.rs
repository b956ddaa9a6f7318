//! The built image: what `manifest.json` in the folder named by `TBI_IMAGE_DIR` lists.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::uki::section;

/// What tests need to know of the built debug image.
#[derive(Debug, Clone)]
pub struct Image {
    folder: PathBuf,
    raw: Listed,
    uki: Listed,
    /// Version of the appliance.
    pub version: String,
    /// What verifies the root file system.
    pub root_hash: String,
}

/// Kernel, initrd and command line, for starting without firmware.
#[derive(Debug, Clone)]
pub struct KernelParts {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initrd.
    pub initrd: PathBuf,
    /// Its command line, root hash included.
    pub command_line: String,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    version: String,
    variant: String,
    root_hash: String,
    outputs: Vec<Listed>,
}

#[derive(Debug, Clone, Deserialize)]
struct Listed {
    file: String,
    kind: String,
    sha256: String,
}

impl Image {
    /// The image; a missing one is a failed test that says how to get it.
    #[must_use]
    pub fn built() -> Self {
        let Some(folder) = std::env::var_os("TBI_IMAGE_DIR") else {
            panic!("TBI_IMAGE_DIR names no folder with a built debug image; run: cargo tbi test vm");
        };
        Self::in_folder(Path::new(&folder))
    }

    /// The image whose manifest lies in `folder`.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let path = folder.join("manifest.json");
        let Ok(text) = fs::read_to_string(&path) else {
            panic!("no image: {} cannot be read; run: cargo tbi test vm", path.display());
        };
        let manifest: Manifest = match serde_json::from_str(&text) {
            Ok(manifest) => manifest,
            Err(error) => panic!("{} is not understood: {error}", path.display()),
        };
        assert!(
            manifest.variant == "debug",
            "the image in {} is the {} variant; tests need the debug variant: cargo tbi test vm",
            folder.display(),
            manifest.variant
        );
        let listed = |kind: &str| {
            let Some(output) = manifest.outputs.iter().find(|output| output.kind == kind) else {
                panic!("{} lists no {kind} image; run: cargo tbi test vm", path.display());
            };
            assert!(folder.join(&output.file).is_file(), "{} is missing; run: cargo tbi test vm", output.file);
            output.clone()
        };
        Self {
            raw: listed("raw"),
            uki: listed("uki"),
            folder: fs::canonicalize(folder).unwrap_or_else(|_error| folder.to_owned()),
            version: manifest.version,
            root_hash: manifest.root_hash,
        }
    }

    /// The disk as built.
    #[must_use]
    pub fn raw(&self) -> PathBuf {
        self.folder.join(&self.raw.file)
    }

    /// Where snapshots and extracted parts of this image are kept: its hash is the name, so another image never finds them.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        let Some(short) = self.raw.sha256.get(..16) else { panic!("the manifest's SHA-256 is too short") };
        let cache = self.folder.join("snapshots").join(short);
        if let Err(error) = fs::create_dir_all(&cache) {
            panic!("cannot make {}: {error}", cache.display());
        }
        cache
    }

    /// Kernel and initrd out of the UKI.
    #[must_use]
    pub fn kernel_parts(&self) -> KernelParts {
        let path = self.folder.join(&self.uki.file);
        let pe = match fs::read(&path) {
            Ok(pe) => pe,
            Err(error) => panic!("cannot read {}: {error}", path.display()),
        };
        let part = |name: &str| match section(&pe, name) {
            Some(bytes) => bytes,
            None => panic!("{} has no section {name}", path.display()),
        };
        let cache = self.cache();
        let save = |name: &str, bytes: &[u8]| {
            let to = cache.join(name);
            // Written beside and renamed: another test may read it at this moment.
            let beside = cache.join(format!("{name}.{}", std::process::id()));
            if let Err(error) = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, &to)) {
                panic!("cannot write {}: {error}", to.display());
            }
            to
        };
        let command_line = String::from_utf8_lossy(part(".cmdline"));
        KernelParts {
            kernel: save("linux", part(".linux")),
            initrd: save("initrd", part(".initrd")),
            command_line: command_line.trim_end_matches(['\0', '\n']).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    #[should_panic(expected = "run: cargo tbi test vm")]
    fn missing_image_says_how_to_get_one() {
        let _image = Image::in_folder(Path::new("/nonexistent"));
    }

    #[test]
    #[should_panic(expected = "tests need the debug variant")]
    fn release_variant_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let manifest = r#"{"version": "1", "variant": "release", "root_hash": "", "outputs": []}"#;
        fs::write(home.path().join("manifest.json"), manifest).unwrap();
        let _image = Image::in_folder(home.path());
    }
}
