//! KVM where it really works, else QEMU's own emulation (TCG). A device node promises nothing: in nested machines guests hang or die under a KVM that
//! opens without complaint. So the image's own kernel is started for a moment; the answer is kept until this machine starts anew.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::command::typed;
use crate::image::tools::Tools;
use crate::image::{Places, files};

/// With KVM a kernel is here within a second or two; a machine that is very busy gets more.
const PATIENCE: Duration = Duration::from_secs(20);
/// The kernel got through all of its own start and looks for what comes next, which the probe does not give it.
const THROUGH: [&str; 3] = ["Unable to mount root fs", "Run /init as init process", "No working init found"];

/// Who runs the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Kvm,
    Tcg,
}

/// The choice and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accel {
    pub(super) kind: Kind,
    why: String,
}

impl Accel {
    /// For the person in front.
    pub(super) fn sentence(&self) -> String {
        match self.kind {
            Kind::Kvm => format!("KVM: {}", self.why),
            Kind::Tcg => format!("no KVM, emulating instead (a start takes minutes): {}", self.why),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Of this machine, as the kernel names it.
    boot: String,
    accel: Accel,
}

/// Tries KVM with `kernel`, or remembers.
pub(super) fn choose(tools: &Tools, kernel: &Path, places: &Places) -> Result<Accel> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    let path = places.vm().join("accel.json");
    let note: Option<Note> = fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    if let Some(note) = note.filter(|note| note.boot == boot && !boot.is_empty()) {
        return Ok(note.accel);
    }
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm").map(|_| ());
    let tried = match opened {
        Ok(()) => Some(try_kernel(&mut probe(tools, kernel), &places.vm().join("accel.log"))?),
        Err(_) => None,
    };
    let accel = judge(opened, tried.as_ref());
    files::write(&path, &serde_json::to_vec(&Note { boot, accel: accel.clone() })?)?;
    Ok(accel)
}

fn probe(tools: &Tools, kernel: &Path) -> Command {
    let mut qemu = tools.held("qemu-system-x86_64");
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-machine",
        "q35",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "512",
    ]);
    qemu.args(["-display", "none", "-serial", "stdio", "-append", "console=ttyS0 panic=-1", "-kernel"]).arg(kernel);
    qemu
}

/// What became of the trial.
#[derive(Debug)]
struct Trial {
    /// What the kernel and QEMU said.
    said: String,
    /// It ended by itself, in time.
    ended: bool,
}

/// Starts the kernel and waits for its end, or until patience ends.
fn try_kernel(qemu: &mut Command, log: &Path) -> Result<Trial> {
    let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = file.try_clone().context("cannot share a log file")?;
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {}", typed(qemu)))?;
    let ended = wait(&mut child, PATIENCE)?;
    let said = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(Trial { said: String::from_utf8_lossy(&said).into_owned(), ended })
}

/// Whether the child ended in time; if not, it is ended.
fn wait(child: &mut Child, patience: Duration) -> Result<bool> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).context("odd process id")?);
    let ended = std::thread::scope(|scope| {
        let started = Instant::now();
        scope.spawn(move || {
            // A killed child ends, so this wait does too.
            let _told_or_gone = tell.send(child.wait());
        });
        let ended = told.recv_timeout(patience).is_ok();
        if !ended && started.elapsed() >= patience {
            // The child is not yet waited for, so the id is still its own.
            let _already_gone = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL);
        }
        ended
    });
    Ok(ended)
}

/// The decision. Pure.
fn judge(opened: io::Result<()>, tried: Option<&Trial>) -> Accel {
    let tcg = |why: String| Accel { kind: Kind::Tcg, why };
    match (opened, tried) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => tcg("this machine has no /dev/kvm".to_owned()),
        (Err(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
            tcg("you may not use /dev/kvm; membership in the group kvm would change that".to_owned())
        }
        (Err(error), _) => tcg(format!("/dev/kvm cannot be opened ({error})")),
        (Ok(()), None) => tcg("it was not tried".to_owned()),
        (Ok(()), Some(trial)) if THROUGH.iter().any(|words| trial.said.contains(words)) => {
            Accel { kind: Kind::Kvm, why: "the image's kernel started in a trial".to_owned() }
        }
        (Ok(()), Some(trial)) => {
            let last =
                trial.said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
            let how = if trial.ended { "died" } else { "hung" };
            tcg(format!("/dev/kvm is there, but the image's kernel {how} in a trial (last words: {last})"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn trial(said: &str, ended: bool) -> Trial {
        Trial { said: said.to_owned(), ended }
    }

    #[test]
    fn only_a_kernel_that_started_proves_kvm() {
        let through = trial(
            "Linux version 6.12\nKernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
            true,
        );
        assert_eq!(judge(Ok(()), Some(&through)).kind, Kind::Kvm);
        let died = judge(Ok(()), Some(&trial("Linux version 6.12\nKVM internal error. Suberror: 1\n\n", true)));
        assert_eq!(died.kind, Kind::Tcg);
        assert!(
            died.sentence().contains("died in a trial (last words: KVM internal error. Suberror: 1)"),
            "{}",
            died.sentence()
        );
        let hung = judge(Ok(()), Some(&trial("", false)));
        assert!(hung.sentence().contains("hung") && hung.sentence().contains("it said nothing"), "{}", hung.sentence());
    }

    #[test]
    fn a_missing_or_forbidden_device_is_said() {
        let none = judge(Err(io::ErrorKind::NotFound.into()), None);
        assert!(none.sentence().contains("has no /dev/kvm"));
        let forbidden = judge(Err(io::ErrorKind::PermissionDenied.into()), None);
        assert!(forbidden.sentence().contains("group kvm"));
        assert_eq!((none.kind, forbidden.kind), (Kind::Tcg, Kind::Tcg));
    }

    #[test]
    fn fault_a_trial_that_hangs_is_ended() {
        let started = Instant::now();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(!wait(&mut child, Duration::from_millis(50)).unwrap());
        assert!(started.elapsed() < Duration::from_secs(60));
        let mut child = Command::new("true").spawn().unwrap();
        assert!(wait(&mut child, Duration::from_secs(60)).unwrap());
    }
}
