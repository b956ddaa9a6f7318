//! The private place in which the lab runs: own user, network, mount and pid namespaces, so that it needs no privileges and leaves
//! nothing behind.
//!
//! ```text
//!  tbi-agent (outside)          makes the namespaces, then only waits and forwards signals; exit code is that of the supervisor
//!    └─ tbi-agent (init)        process 1 inside; dies with the one outside, and everything inside dies with it; reaps orphans
//!         └─ tbi-agent (inside) the supervisor proper, with its own children
//! ```
//!
//! All three are the same program with the same arguments; [`enter`] tells which it is from an environment variable and returns only
//! in the last. It must be called before threads exist: the kernel refuses a new user namespace to a process with several.
//! Inside there is an empty /run; files elsewhere are the machine's own, with the rights of the user who started it.

use std::env;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid};

use crate::front::Front;

const STAGE: &str = "TBI_SANDBOX_STAGE";
const PARENT: &str = "TBI_SANDBOX_PARENT";
const INIT: &str = "init";
const INSIDE: &str = "inside";

/// What [`enter`] found itself to be.
#[derive(Debug)]
pub(crate) enum Entered {
    /// The supervisor proper, inside.
    Inside,
    /// Everything is over; the process should end with this code.
    Ended(ExitCode),
}

/// Why there is no private place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error(
        "this kernel refuses user namespaces to ordinary users ({setting}); run `sudo sysctl -w {remedy}` and try again"
    )]
    Forbidden { setting: String, remedy: &'static str },
    #[error(
        "the kernel refuses a private {what} ({errno}); run on a Linux that allows user namespaces, not in a container that forbids them"
    )]
    Refused { what: &'static str, errno: Errno },
    #[error(
        "cannot write {path} ({source}); run on a Linux that allows user namespaces, not in a container that forbids them"
    )]
    IdentityMap { path: &'static str, source: io::Error },
    #[error("cannot start {what} ({source}); check that the program file is still there and may be executed")]
    Spawn { what: &'static str, source: io::Error },
    #[error("cannot wait for {what} ({errno}); start the lab again")]
    Wait { what: &'static str, errno: Errno },
    #[error("the lab's parent process is gone; start the lab again")]
    Orphan,
    #[error("{STAGE} is set to '{stage}' from outside; unset it and start again")]
    Stage { stage: String },
}

/// Whether this process is the one outside, which alone reaches the machine's network.
pub(crate) fn is_outside() -> bool {
    env::var_os(STAGE).is_none()
}

/// Goes through the stages; see the module's picture. What is bound outside (`front`) is handed over to the process inside.
///
/// # Errors
/// When the kernel does not allow it, with the remedy.
pub(crate) fn enter(front: Option<Front>) -> Result<Entered, SandboxError> {
    match env::var(STAGE).ok().as_deref() {
        None => outside(front).map(Entered::Ended),
        Some(INIT) => init().map(Entered::Ended),
        Some(INSIDE) if nix::unistd::getppid().as_raw() == 1 => {
            // The mask of init is inherited; the supervisor and its children want their signals.
            watched_signals().thread_unblock().map_err(|errno| SandboxError::Wait { what: "signals", errno })?;
            Ok(Entered::Inside)
        }
        Some(stage) => Err(SandboxError::Stage { stage: stage.to_owned() }),
    }
}

fn outside(front: Option<Front>) -> Result<ExitCode, SandboxError> {
    // Asked before unshare: afterwards both read as the overflow ids.
    let (user, group) = (geteuid(), getegid());
    let all = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    unshare(all).map_err(|errno| refused("user namespace", errno))?;
    // A user may map their own id only after giving up setgroups (user_namespaces(7)).
    write_map("/proc/self/setgroups", "deny")?;
    write_map("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write_map("/proc/self/gid_map", &format!("0 {group} 1"))?;
    private_mounts()?;
    let signals = block_signals()?;
    // Its own process group: Ctrl-C then reaches only this process, which forwards it once.
    let mut first = again(INIT)?;
    first.process_group(0).env(PARENT, own_pid_in_proc());
    let spawn = |source| SandboxError::Spawn { what: "the lab's first process", source };
    if let Some(front) = &front {
        front.hand_over(&mut first).map_err(spawn)?;
    }
    let child = first.spawn().map_err(spawn)?;
    // From here on only those inside hold them, so that the port is free when they are gone.
    drop(front);
    wait_for(Pid::from_raw(child.id().cast_signed()), &signals)
}

fn init() -> Result<ExitCode, SandboxError> {
    // SIGKILL to the process outside must end this one, and with process 1 the kernel ends everything inside.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| refused("death signal", errno))?;
    // The parent may have died before that line. /proc is still the one outside, so its ids are comparable.
    if env::var(PARENT).ok() != parent_pid_in_proc() {
        return Err(SandboxError::Orphan);
    }
    let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), hardened, None::<&str>).map_err(|errno| refused("/proc", errno))?;
    let options = Some("mode=0755");
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, options)
        .map_err(|errno| refused("/run", errno))?;
    let signals = block_signals()?;
    let child = again(INSIDE)?.spawn().map_err(|source| SandboxError::Spawn { what: "the supervisor", source })?;
    wait_for(Pid::from_raw(child.id().cast_signed()), &signals)
}

/// The same program and arguments for the next stage.
fn again(stage: &'static str) -> Result<Command, SandboxError> {
    let program = env::current_exe().map_err(|source| SandboxError::Spawn { what: "this program again", source })?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).env(STAGE, stage);
    Ok(command)
}

fn write_map(path: &'static str, text: &str) -> Result<(), SandboxError> {
    match fs::write(path, text) {
        Ok(()) => Ok(()),
        Err(source) => Err(forbidden().unwrap_or(SandboxError::IdentityMap { path, source })),
    }
}

/// Nothing mounted from here on is seen outside.
fn private_mounts() -> Result<(), SandboxError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| refused("mount namespace", errno))
}

fn refused(what: &'static str, errno: Errno) -> SandboxError {
    forbidden().unwrap_or(SandboxError::Refused { what, errno })
}

/// The setting that forbids user namespaces, when it is one we know.
fn forbidden() -> Option<SandboxError> {
    const SETTINGS: [(&str, &str, &str); 3] = [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ];
    SETTINGS.iter().find_map(|(path, bad, remedy)| {
        let value = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
        let setting = || format!("{} = {bad}", path.replace('/', "."));
        (value.trim() == *bad).then(|| SandboxError::Forbidden { setting: setting(), remedy })
    })
}

fn own_pid_in_proc() -> String {
    proc_status("Pid:").unwrap_or_default()
}

fn parent_pid_in_proc() -> Option<String> {
    proc_status("PPid:")
}

fn proc_status(field: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}

fn watched_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
}

/// Signals this process waits for instead of being interrupted by them. Blocked signals reach process 1 of a namespace too.
fn block_signals() -> Result<SigSet, SandboxError> {
    let signals = watched_signals();
    signals.thread_block().map_err(|errno| SandboxError::Wait { what: "signals", errno })?;
    Ok(signals)
}

/// Forwards signals to `child` and reaps whatever ends, until `child` has ended.
fn wait_for(child: Pid, signals: &SigSet) -> Result<ExitCode, SandboxError> {
    loop {
        match signals.wait().map_err(|errno| SandboxError::Wait { what: "signals", errno })? {
            Signal::SIGCHLD => {
                if let Some(code) = reap(child)? {
                    return Ok(code);
                }
            }
            // A child that ended meanwhile is reaped at its own SIGCHLD.
            signal => {
                let _ = kill(child, signal);
            }
        }
    }
}

/// Several ends can hide behind one SIGCHLD.
fn reap(child: Pid) -> Result<Option<ExitCode>, SandboxError> {
    loop {
        let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            // The shell's convention.
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(SandboxError::Wait { what: "children", errno }),
        };
        if pid == child {
            return Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(1))));
        }
    }
}
