//! Finding and counting the programs of a run: by descent from the process the test started, so that nothing else is touched.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// All processes below `ancestor`, by process id, with their names (`comm`, at most 15 bytes).
#[must_use]
pub fn below(ancestor: u32) -> BTreeMap<u32, String> {
    let mut parents = BTreeMap::new();
    let mut names = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and this read.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // proc_pid_stat(5): pid (comm) state ppid …; comm may hold spaces and brackets.
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else { continue };
        let Some(parent) = stat[close + 1..].split_whitespace().nth(1).and_then(|field| field.parse().ok()) else {
            continue;
        };
        parents.insert(pid, parent);
        names.insert(pid, stat[open + 1..close].to_owned());
    }
    let descends = |mut pid: u32| {
        while let Some(&parent) = parents.get(&pid) {
            if parent == ancestor {
                return true;
            }
            pid = parent;
        }
        false
    };
    names.into_iter().filter(|(pid, _)| descends(*pid)).collect()
}

/// The process below `ancestor` whose name is `name`.
#[must_use]
pub fn find(ancestor: u32, name: &str) -> Option<u32> {
    // The kernel keeps 15 bytes of a name.
    let name: String = name.chars().take(15).collect();
    below(ancestor).into_iter().find(|(_, comm)| *comm == name).map(|(pid, _)| pid)
}

/// Sends a signal to one process.
pub fn signal(pid: u32, signal: Signal) {
    if let Err(error) = kill(Pid::from_raw(pid.cast_signed()), signal) {
        panic!("cannot send {signal} to {pid}: {error}");
    }
}

/// Whether a process is there and not a zombie.
#[must_use]
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}
