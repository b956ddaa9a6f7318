//! Programs of the tools tree (Debian trixie: QEMU, OVMF, qemu-img): run with the tree's `/usr` over ours, in a mount namespace of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Root of the tools tree, which `cargo tbi test` names in `TBI_TOOLS_TREE`.
pub(super) fn tree() -> PathBuf {
    let tree = std::env::var_os("TBI_TOOLS_TREE").map(PathBuf::from).unwrap_or_default();
    assert!(
        tree.join("usr/bin/qemu-system-x86_64").is_file(),
        "TBI_TOOLS_TREE names no tools tree with QEMU ('{}'); run: cargo tbi test vm",
        tree.display()
    );
    tree
}

/// `program` of the tools tree. It replaces the wrapper, so the child's id is the program's; and it dies with the test's thread, so that
/// not even a test that is killed leaves a machine behind.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]);
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", "mount --rbind \"$0/usr\" /usr && exec \"$@\""]).arg(tree()).arg(program);
    command
}

/// A file of the tools tree, as the program inside sees it.
pub(super) fn file(path: &str) -> PathBuf {
    let outside = tree().join(path.trim_start_matches('/'));
    assert!(outside.is_file(), "the tools tree lacks {}", outside.display());
    outside
}

/// Runs a program of the tools tree to its end and gives its standard output.
pub(super) fn run(program: &str, arguments: impl FnOnce(&mut Command)) -> String {
    let mut command = command(program);
    arguments(&mut command);
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => panic!("{program} failed: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("cannot start {program}: {error}"),
    }
}

/// A qcow2 over `base`, of `bytes` when it is to be larger.
pub(super) fn overlay(base: &Path, format: &str, to: &Path, bytes: Option<u64>) {
    run("qemu-img", |command| {
        command.args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(base).arg(to);
        if let Some(bytes) = bytes {
            command.arg(bytes.to_string());
        }
    });
}
