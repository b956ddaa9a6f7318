//! Programs of the tools tree: Debian trixie's own QEMU, zstd, erofs-utils and so on, so that what the build machine has does not matter.
//!
//! A program runs in a mount namespace in which the tools tree's /usr lies over ours; nothing of the machine is changed and everything
//! outside /usr is where it was. An ordinary user gets a user namespace for that.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages;

/// Everything before `exec` happens in a namespace that dies with the program.
const ENTER: &str = r#"mount --rbind "$0/usr" /usr && exec "$@""#;

/// A tools tree that is complete.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    tree: PathBuf,
}

impl Tools {
    /// `tree` must be a finished tools tree; the cache knows.
    pub(crate) fn new(tree: PathBuf) -> Self {
        Self { tree }
    }

    /// For mkosi's `--tools-tree`.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    /// A program of the tree. The process started is the program itself in the end: its id can be signalled.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        if !packages::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER]);
        command.arg(&self.tree).arg(program).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// The same with all of an ordinary user's identities: for programs that give files to somebody else.
    pub(crate) fn owning(&self, program: &str) -> Command {
        let mut command = self.command(program);
        if !packages::is_root() {
            let mut inner = Command::new("unshare");
            inner.arg("--map-auto").args(command.get_args());
            inner.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command = inner;
        }
        command
    }

    /// The same, ended by the kernel when we die: a machine nobody watches would keep its disk's lock.
    pub(crate) fn held(&self, program: &str) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--pdeathsig", "TERM", "--", program]);
        command
    }
}
