//! The real program in its private namespaces: as an ordinary user, ended gently, ended with SIGKILL.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tbi-agent"))
}

/// The program as an ordinary user runs it. Root gives up root for that, on a copy that everybody may execute.
fn agent_of_an_ordinary_user() -> (Command, Option<TempDir>) {
    if !geteuid().is_root() {
        return (agent(), None);
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let copy: PathBuf = directory.path().join("tbi-agent");
    fs::copy(env!("CARGO_BIN_EXE_tbi-agent"), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).current_dir("/");
    (command, Some(directory))
}

/// Polls until `condition` holds.
fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::yield_now();
    }
}

/// Whether a process of this machine, in whatever namespace, was started with exactly this argument.
fn runs_with(argument: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        line.starts_with(b"sleep\0") && line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())
    })
}

/// A lab whose command sleeps for a time that nobody else sleeps for.
fn sleeping_lab(mut agent: Command, time: &str) -> Child {
    let child = agent.args(["lab-shell", "ip", "netns", "exec", "agents", "sleep", time]).spawn().unwrap();
    soon("the lab is up", || runs_with(time));
    child
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn an_ordinary_user_gets_the_whole_network() {
    let (mut agent, _directory) = agent_of_an_ordinary_user();
    let look = "id -u; ip netns; ip netns exec agents ip route get 200.160.4.10 from 172.17.200.3";
    let output = agent.args(["lab-shell", "sh", "-c", look]).stdin(Stdio::null()).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in ["0\n", "agents", "dut", "isp", "personas", "via 172.17.0.1 dev vlan30"] {
        assert!(said.contains(expected), "{expected} is not in: {said}");
    }
}

#[test]
fn the_exit_code_is_the_commands() {
    let status = agent().args(["lab-shell", "sh", "-c", "exit 42"]).status().unwrap();
    assert_eq!(status.code(), Some(42));
}

#[test]
fn kill_9_leaves_no_process_and_no_mount() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let (agent, _directory) = agent_of_an_ordinary_user();
    let time = format!("98{}", std::process::id());
    let mut lab = sleeping_lab(agent, &time);
    assert_eq!(mounts(), before, "nothing is mounted outside while the lab is up");
    lab.kill().unwrap();
    lab.wait().unwrap();
    soon("everything inside is gone", || !runs_with(&time));
    assert_eq!(mounts(), before);
}

#[test]
fn sigterm_is_forwarded_and_leaves_nothing() {
    let time = format!("97{}", std::process::id());
    let mut lab = sleeping_lab(agent(), &time);
    kill(Pid::from_raw(lab.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(lab.wait().unwrap().code(), Some(128 + Signal::SIGTERM as i32));
    soon("everything inside is gone", || !runs_with(&time));
}

#[test]
fn a_stage_set_from_outside_is_refused() {
    for stage in ["inside", "nonsense"] {
        let output = agent().args(["lab-shell", "true"]).env("TBI_SANDBOX_STAGE", stage).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output).contains("unset it and start again"), "{}", text(&output));
    }
}
