//! Where the image tool keeps things in the target directory. Nothing else writes there, and everything there can be deleted.

use std::path::{Path, PathBuf};

use crate::image::Variant;
use crate::workspace::Workspace;

/// Folders of one variant.
///
/// ```text
/// target/tbi/image/            outputs of the release variant, manifest.json
///                  debug/      outputs of the debug variant, its manifest.json
///                  keys/       development keys, made once
///                  sandbox/    package sources for mkosi
///                  stage/      what the image takes from this tree
///                  work/V/     what mkosi leaves behind, by variant
///                  lists/V/    packages in the last image
///                  logs/       mkosi's own words
///                  vm/V/       disks of booted machines
///                  bare/       the bare Debian image `bench image` compares with
///                  bench/      disks of the machines it starts
/// ```
#[derive(Debug, Clone)]
pub(crate) struct Places {
    root: PathBuf,
    variant: Variant,
}

impl Places {
    /// Folders of `variant` in this checkout.
    pub(crate) fn new(workspace: &Workspace, variant: Variant) -> Self {
        Self::below(&workspace.output().join("image"), variant)
    }

    /// The same folders below another root.
    pub(crate) fn below(root: &Path, variant: Variant) -> Self {
        Self { root: root.to_owned(), variant }
    }

    /// Where outputs and `manifest.json` of the variant go.
    pub(crate) fn outputs(&self) -> PathBuf {
        match self.variant {
            Variant::Release => self.root.clone(),
            Variant::Debug => self.root.join("debug"),
        }
    }

    /// Signing keys for development, shared by the variants: a machine that trusts one boots the other.
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Package sources for mkosi's sandbox.
    pub(crate) fn sandbox(&self) -> PathBuf {
        self.root.join("sandbox")
    }

    /// What the image takes from this tree.
    pub(crate) fn stage(&self) -> PathBuf {
        self.root.join("stage").join(self.variant.name())
    }

    /// mkosi's output directory.
    pub(crate) fn work(&self) -> PathBuf {
        self.root.join("work").join(self.variant.name())
    }

    /// mkosi's output directory of a second build, for comparison.
    pub(crate) fn second(&self) -> PathBuf {
        self.root.join("work").join(format!("{}-second", self.variant.name()))
    }

    /// Lists of packages of the variant's last image, for its bill of materials; they outlive a later build that fails.
    pub(crate) fn lists(&self) -> PathBuf {
        self.root.join("lists").join(self.variant.name())
    }

    /// Logs of steps.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// State of the virtual machine of this variant.
    pub(crate) fn vm(&self) -> PathBuf {
        self.root.join("vm").join(self.variant.name())
    }

    /// The bare Debian image of `bench image`.
    pub(crate) fn bare(&self) -> PathBuf {
        self.root.join("bare")
    }

    /// What it was made from.
    pub(crate) fn bare_note(&self) -> PathBuf {
        self.root.join("bare.inputs")
    }

    /// Disks of the machines `bench image` starts.
    pub(crate) fn bench(&self) -> PathBuf {
        self.root.join("bench")
    }

    /// The manifest of the variant's last build.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.outputs().join("manifest.json")
    }

    /// `tbi_0.1.0_debug` + `.raw` and the like.
    pub(crate) fn output(&self, version: &str, ending: &str) -> PathBuf {
        self.outputs().join(file_name(version, self.variant, ending))
    }

    /// What mkosi calls the same file: it knows no variants.
    pub(crate) fn made(&self, version: &str, ending: &str) -> PathBuf {
        made_in(&self.work(), version, ending)
    }
}

/// A file of mkosi's in `directory`.
pub(crate) fn made_in(directory: &Path, version: &str, ending: &str) -> PathBuf {
    directory.join(format!("tbi_{version}{ending}"))
}

fn file_name(version: &str, variant: Variant, ending: &str) -> String {
    format!("tbi_{version}{}{ending}", variant.suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_variants_apart() {
        assert_eq!(file_name("0.1.0", Variant::Release, ".raw"), "tbi_0.1.0.raw");
        assert_eq!(file_name("0.1.0", Variant::Debug, ".raw.zst"), "tbi_0.1.0_debug.raw.zst");
    }
}
