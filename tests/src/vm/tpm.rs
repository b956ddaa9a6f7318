//! A TPM 2.0 beside the machine: swtpm, which keeps what it holds in a folder of the machine's and ends with it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::tools;
use crate::child::until;

/// In the machine's folder.
const SOCKET: &str = "tpm.sock";
const LOG: &str = "tpm.log";
const PATIENCE: Duration = Duration::from_secs(30);

/// A running TPM.
#[derive(Debug)]
pub(super) struct Tpm {
    child: Child,
}

impl Tpm {
    /// The TPM of this name, a new one when the machine never had one of it.
    pub(super) fn start(folder: &Path, name: &str) -> Self {
        let state = folder.join(format!("tpm-{name}"));
        let socket = folder.join(SOCKET);
        // Left by the TPM that was there before.
        let _absent = fs::remove_file(&socket);
        let made = fs::create_dir_all(&state).and_then(|()| File::create(folder.join(LOG)));
        let child = made.and_then(|log| {
            let mut swtpm = tools::command("swtpm");
            swtpm.args(["socket", "--tpm2", "--terminate", "--ctrl"]).arg(format!("type=unixio,path={SOCKET}"));
            swtpm.arg("--tpmstate").arg(format!("dir={}", state.display()));
            swtpm.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
        });
        let mut child = match child {
            Ok(child) => child,
            Err(error) => panic!("no TPM in {}: {error}", folder.display()),
        };
        until("the TPM's socket", PATIENCE, || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("swtpm ended at once ({status}): {}", fs::read_to_string(folder.join(LOG)).unwrap_or_default());
            }
            socket.exists().then_some(())
        });
        Self { child }
    }

    /// How QEMU is told.
    pub(super) fn plug(qemu: &mut Command) {
        qemu.arg("-chardev").arg(format!("socket,id=tpm,path={SOCKET}"));
        qemu.args(["-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]);
    }

    /// Waits until it has ended as its machine has, with all that it holds on disk.
    pub(super) fn wait_end(mut self) {
        until("the TPM's end", PATIENCE, || self.child.try_wait().ok().flatten());
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
