//! Debian packages this machine lacks: found by the program they bring, installed with apt-get, as root or through sudo.
//!
//! Nothing is installed that is already there, whoever put it there; without apt-get or the right to use it, the answer is the exact
//! command to type.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::{say, succeed, typed};

/// A program and the Debian package (bookworm and trixie) that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Name of the program, or an absolute path when the package brings no program.
    program: &'static str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// What building needs besides Rust: a linker and a C compiler (aws-lc-sys).
pub(crate) const BUILD: &[Tool] = &[tool("cc", "build-essential")];

/// What a run in the lab needs.
pub(crate) const LAB: &[Tool] = &[
    tool("ip", "iproute2"),
    tool("nft", "nftables"),
    tool("unshare", "util-linux"),
    tool("nsenter", "util-linux"),
    tool("mount", "mount"),
];

/// What faults in whole runs need besides: a wall clock that steps.
pub(crate) const FAULTS: &[Tool] = &[tool("faketime", "faketime")];

/// What the tests start besides: clients and servers nobody here wrote.
pub(crate) const INTEROP: &[Tool] = &[
    tool("iptables", "iptables"),
    tool("curl", "curl"),
    tool("nginx", "nginx-light"),
    tool("openssl", "openssl"),
    tool("sslsplit", "sslsplit"),
    tool("h2load", "nghttp2-client"),
    tool("/usr/lib/frr/zebra", "frr"),
    tool("ping", "iputils-ping"),
    tool("testssl", "testssl.sh"),
    // A manager and a bus of the test's own for the agent's units.
    tool("/usr/lib/systemd/systemd", "systemd"),
    tool("dbus-daemon", "dbus-daemon"),
    // It brings no program, and slim images leave its documentation out; these are what it needs and hardly anybody else.
    tool("/usr/share/python-wheels", "python3-venv"),
];

/// What the browser tests drive; everything else of theirs comes from npm (`tests/browser/package-lock.json`).
pub(crate) const BROWSER: &[Tool] = &[
    tool("chromium", "chromium"),
    tool("node", "nodejs"),
    tool("npm", "npm"),
    // Without any font the pictures of pages are boxes.
    tool("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
];

/// What building an image needs of the machine; everything else comes from the tools tree, of the image's own Debian release.
pub(crate) const IMAGE: &[Tool] = &[
    tool("python3", "python3"),
    tool("apt-get", "apt"),
    tool("dpkg-deb", "dpkg"),
    tool("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    tool("git", "git"),
    tool("unshare", "util-linux"),
    tool("setpriv", "util-linux"),
    tool("mount", "mount"),
    tool("tar", "tar"),
    // mkosi copies trees with it before it has its own.
    tool("cp", "coreutils"),
];

/// What looking at disks needs.
pub(crate) const DISKS: &[Tool] = &[tool("lsblk", "util-linux")];

/// What `bench` compares with.
pub(crate) const PEERS: &[Tool] = &[
    tool("wrk", "wrk"),
    tool("h2load", "nghttp2-client"),
    tool("nginx", "nginx-light"),
    tool("caddy", "caddy"),
    tool("openssl", "openssl"),
    tool("taskset", "util-linux"),
    tool("bash", "bash"),
];

/// What `bench door` needs besides.
pub(crate) const DOOR: &[Tool] = &[tool("curl", "curl"), tool("setpriv", "util-linux")];

/// Installs what is missing of `groups`.
pub(crate) fn ensure(groups: &[&[Tool]]) -> Result<()> {
    let places = places();
    let missing = missing(groups, |program| is_there(program, &places));
    if missing.is_empty() {
        return Ok(());
    }
    let as_root = is_root();
    let by_hand = format!("{}apt-get install --yes {}", if as_root { "" } else { "sudo " }, missing.join(" "));
    let words = format!("this machine lacks {}", missing.join(", "));
    if !is_there("apt-get", &places) {
        bail!("{words}; this tool only knows apt-get (on Debian: {by_hand})");
    }
    let mut install = apt(as_root, &places).ok_or_else(|| anyhow::anyhow!("{words}; type: {by_hand}"))?;
    install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    say(&format!("{words}; running {}", typed(&install)));
    if succeed(&mut install).is_ok() {
        return Ok(());
    }
    // A new machine has no package lists yet, or old ones.
    let updated = apt(as_root, &places).is_some_and(|mut update| succeed(update.arg("update")).is_ok());
    if !updated || succeed(&mut install).is_err() {
        bail!("{words}, and apt-get could not install it; type: {by_hand}");
    }
    Ok(())
}

/// Packages whose program is not there, each once, in order.
fn missing(groups: &[&[Tool]], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for tool in groups.iter().copied().flatten() {
        if !is_there(tool.program) && !packages.contains(&tool.package) {
            packages.push(tool.package);
        }
    }
    packages
}

/// apt-get that asks nothing; `None` when we may not use it. sudo may ask for a password where somebody can type one.
fn apt(as_root: bool, places: &[PathBuf]) -> Option<Command> {
    if as_root {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Some(command);
    }
    if !is_there("sudo", places) {
        return None;
    }
    let mut command = Command::new("sudo");
    if !std::io::stdin().is_terminal() {
        let may = Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|it| it.success());
        if !may {
            return None;
        }
        command.arg("-n");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Some(command)
}

/// Directories of the path, and the system ones an ordinary user's path lacks on Debian.
fn places() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from)).collect()
}

/// The path for what we start: the same directories.
pub(crate) fn search_path() -> OsString {
    // A path that cannot be joined again was none before either.
    env::join_paths(places()).unwrap_or_else(|_| env::var_os("PATH").unwrap_or_default())
}

fn is_there(program: &str, places: &[PathBuf]) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    places.iter().any(|place| place.join(OsStr::new(program)).is_file())
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    is_there(program, &places())
}

/// Effective user 0, read from the kernel: no dependency for one number.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_user(&status) == Some(0))
}

fn effective_user(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_missing_package_once() {
        let there = |program: &str| program == "ip";
        assert_eq!(missing(&[LAB], there), ["nftables", "util-linux", "mount"]);
        assert_eq!(missing(&[LAB, PEERS], |_| true), Vec::<&str>::new());
    }

    #[test]
    fn reads_the_effective_user() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t1000\t1000\n"), Some(0));
        assert_eq!(effective_user("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_user("Uid:\n"), None);
    }
}
