//! Keys that sign the kernel image, the loader and the root hash: the operator's own, or development keys made once. Development keys are
//! said loudly: whoever has this checkout can sign for every device that trusts them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{output_of, say};
use crate::image::files;
use crate::image::tools::Tools;

const SUBJECT: &str = "/CN=TLSStress.Art TBI development key - never trust it on a device/";
const DAYS: &str = "3650";

/// A key and its certificate.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// PEM.
    pub(crate) key: PathBuf,
    /// PEM.
    pub(crate) certificate: PathBuf,
    /// Made by this tool.
    pub(crate) development: bool,
}

/// The keys given, or those in `folder`, made when they are not there.
pub(crate) fn keys(given: Option<(&Path, &Path)>, folder: &Path, tools: &Tools) -> Result<Keys> {
    if let Some((key, certificate)) = given {
        let absolute = |path: &Path| {
            path.canonicalize().with_context(|| format!("{} cannot be read; it must be a PEM file", path.display()))
        };
        let keys = Keys { key: absolute(key)?, certificate: absolute(certificate)?, development: false };
        check(&keys, tools)?;
        return Ok(keys);
    }
    let keys =
        Keys { key: folder.join("development.key"), certificate: folder.join("development.crt"), development: true };
    if !keys.key.is_file() || !keys.certificate.is_file() {
        files::make(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot protect {}", folder.display()))?;
        // RSA 2048: what every UEFI firmware checks.
        let mut openssl = tools.command("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", DAYS, "-subj", SUBJECT]);
        openssl.arg("-keyout").arg(&keys.key).arg("-out").arg(&keys.certificate);
        output_of(&mut openssl)?;
    }
    say(
        "WARNING: signed with DEVELOPMENT KEYS of this checkout; for an image to give away use --key and --certificate",
    );
    Ok(keys)
}

/// A certificate for another key makes an image that no machine starts; better to know now.
fn check(keys: &Keys, tools: &Tools) -> Result<()> {
    let of_key = output_of(tools.command("openssl").args(["pkey", "-pubout", "-in"]).arg(&keys.key))
        .with_context(|| format!("{} holds no private key", keys.key.display()))?;
    let of_certificate =
        output_of(tools.command("openssl").args(["x509", "-pubkey", "-noout", "-in"]).arg(&keys.certificate))
            .with_context(|| format!("{} holds no certificate", keys.certificate.display()))?;
    if of_key.trim() != of_certificate.trim() {
        bail!("{} is not the certificate of {}", keys.certificate.display(), keys.key.display());
    }
    Ok(())
}
