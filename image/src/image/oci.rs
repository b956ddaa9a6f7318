//! The root file system as an OCI archive: an image layout (OCI image specification 1.1) with one layer, for scanners and for who wants to
//! look inside with container tools. It is no way to run the appliance: that needs its kernel, its partitions and its state.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::command::{output_of, typed};
use crate::image::digest::{self, hex};
use crate::image::files;
use crate::image::tools::Tools;

const CHUNK: usize = 1 << 20;

/// What is said about the image.
pub(crate) struct About<'a> {
    pub(crate) version: &'a str,
    pub(crate) variant: &'a str,
    pub(crate) commit: Option<&'a str>,
    /// Unix seconds and the same as RFC 3339.
    pub(crate) epoch: u64,
    pub(crate) created: &'a str,
}

/// Packs `root` into `archive`, with `work` for the pieces.
pub(crate) fn pack(tools: &Tools, root: &Path, work: &Path, archive: &Path, about: &About<'_>) -> Result<()> {
    files::make_empty(work)?;
    let blobs = work.join("blobs/sha256");
    files::make(&blobs)?;
    let mut tar = tools.command("tar");
    tar.args(reproducible(about.epoch)).arg("--xattrs").arg("-C").arg(root).args(["-cf", "-", "."]);
    let raw = work.join("layer");
    let contents = pipe(&mut tar, tools.command("gzip").args(["-n", "-6"]), &raw)?;
    let layer = digest::of_file(&raw)?;
    let layer_bytes = files::length(&raw)?;
    fs::rename(&raw, blobs.join(&layer)).context("cannot place the layer")?;

    let config = blob(&blobs, &config(&contents, about))?;
    let manifest = blob(&blobs, &manifest(&config, (&layer, layer_bytes)))?;
    files::write(&work.join("index.json"), index(&manifest, about).as_bytes())?;
    files::write(&work.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut outer = tools.command("tar");
    outer.args(reproducible(about.epoch)).args(["--owner=0", "--group=0", "--mode=u=rw,go=r,a+X"]);
    outer.arg("-C").arg(work).arg("-cf").arg(archive).args(["oci-layout", "index.json", "blobs"]);
    output_of(&mut outer)?;
    files::make_empty(work)
}

fn reproducible(epoch: u64) -> [String; 5] {
    [
        "--sort=name".to_owned(),
        "--numeric-owner".to_owned(),
        "--format=posix".to_owned(),
        // Unpacking makes directories now; in the image every time is the epoch already.
        format!("--mtime=@{epoch}"),
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime".to_owned(),
    ]
}

/// A blob's digest and length.
type Blob = (String, u64);

fn blob(blobs: &Path, content: &str) -> Result<Blob> {
    let name = digest::of_bytes(content.as_bytes());
    files::write(&blobs.join(&name), content.as_bytes())?;
    Ok((name, content.len() as u64))
}

fn labels(about: &About<'_>) -> serde_json::Value {
    json!({
        "org.opencontainers.image.title": "TLSStress.Art TBI root file system",
        "org.opencontainers.image.description": "the appliance's root file system, to look into; it is not meant to run as a container",
        "org.opencontainers.image.version": about.version,
        "org.opencontainers.image.revision": about.commit.unwrap_or_default(),
        "org.opencontainers.image.licenses": "Apache-2.0",
        "art.tlsstress.variant": about.variant,
    })
}

fn config(contents: &str, about: &About<'_>) -> String {
    json!({
        "created": about.created,
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/usr/lib/systemd/systemd"], "StopSignal": "SIGRTMIN+3", "Labels": labels(about) },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{contents}")] },
        "history": [{ "created": about.created, "created_by": "cargo tbi image build" }],
    })
    .to_string()
}

fn manifest(config: &Blob, (layer, layer_bytes): (&str, u64)) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{}", config.0), "size": config.1 },
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": format!("sha256:{layer}"), "size": layer_bytes }],
    })
    .to_string()
}

fn index(manifest: &Blob, about: &About<'_>) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", manifest.0),
            "size": manifest.1,
            "platform": { "architecture": "amd64", "os": "linux" },
            "annotations": { "org.opencontainers.image.ref.name": about.version },
        }],
    })
    .to_string()
}

/// `from | to > file`; returns the hash of what went through the pipe.
fn pipe(from: &mut Command, to: &mut Command, file: &Path) -> Result<String> {
    let out = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut source = from
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", typed(from)))?;
    let mut sink =
        to.stdin(Stdio::piped()).stdout(out).spawn().with_context(|| format!("cannot start {}", typed(to)))?;
    let mut hash = Sha256::new();
    let mut pump = || -> Result<()> {
        let mut reader = source.stdout.take().context("no pipe")?;
        let mut writer = sink.stdin.take().context("no pipe")?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = reader.read(&mut buffer)?;
            let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else { return Ok(()) };
            hash.update(chunk);
            writer.write_all(chunk)?;
        }
    };
    let pumped = pump();
    let (first, second) = (source.wait()?, sink.wait()?);
    if !first.success() || !second.success() {
        bail!("{} ended with {first}, {} with {second}", typed(from), typed(to));
    }
    pumped?;
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_pipe_hashes_what_passes_and_tells_a_failed_end() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("out");
        let hash = pipe(Command::new("printf").arg("abc"), &mut Command::new("cat"), &file).unwrap();
        assert_eq!(hash, digest::of_bytes(b"abc"));
        assert_eq!(fs::read(&file).unwrap(), b"abc");
        assert!(pipe(Command::new("sh").args(["-c", "exit 1"]), &mut Command::new("cat"), &file).is_err());
    }

    #[test]
    fn documents_point_at_each_other() {
        let about =
            About { version: "0.1.0", variant: "release", commit: None, epoch: 0, created: "1970-01-01T00:00:00Z" };
        let home = tempfile::tempdir().unwrap();
        let config = blob(home.path(), &config("cc", &about)).unwrap();
        let manifest = blob(home.path(), &manifest(&config, ("aa", 7))).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index(&manifest, &about)).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(home.path().join(digest)).unwrap()).unwrap();
        assert_eq!(manifest["layers"][0]["size"], 7);
        assert_eq!(manifest["config"]["size"], config.1);
    }
}
