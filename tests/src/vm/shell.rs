//! The debug variant's root shell on a virtio-serial port: a plain `bash` that reads commands from the port and answers on it.
//!
//! A command is followed by a marker with a number of its own and the exit code; what comes before the marker is its output. So whatever an
//! earlier command that took too long still says is never taken for the answer of a later one.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a command in the machine said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code.
    pub code: i32,
    /// Standard output and error as they came.
    pub text: String,
}

impl Output {
    /// The text of a command that must succeed.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "exit code {}: {}", self.code, self.text);
        self.text
    }
}

/// The shell.
#[derive(Debug)]
pub(super) struct Shell {
    stream: UnixStream,
    number: u64,
    seen: Vec<u8>,
}

impl Shell {
    /// Connects at once, before the machine runs: a port without a reader on the host side reads as end of file in the guest.
    pub(super) fn connect(socket: &Path) -> Self {
        match UnixStream::connect(socket) {
            Ok(stream) => Self { stream, number: 0, seen: Vec::new() },
            Err(error) => panic!("cannot connect to the debug port {}: {error}", socket.display()),
        }
    }

    /// Runs a command; `None` when it did not end in time. What is sent before the shell is there waits in the port.
    pub(super) fn run(&mut self, command: &str, deadline: Duration) -> Option<Output> {
        let end = Instant::now() + deadline;
        self.number += 1;
        // Random enough not to be in any output: the test's process id and a running number.
        let marker = format!("@{}.{}@", std::process::id(), self.number);
        // The marker in the command differs from the one that is printed, should the port echo.
        let line =
            format!("{{ {command}\n}} </dev/null 2>&1; printf '\\n@%s@ %d\\n' {} $?\n", &marker[1..marker.len() - 1]);
        if let Err(error) = self.stream.write_all(line.as_bytes()) {
            panic!("the debug port is gone: {error}");
        }
        self.seen.clear();
        loop {
            if let Some(output) = answer(&self.seen, &marker) {
                return Some(output);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.read(left);
        }
    }

    fn read(&mut self, at_most: Duration) {
        let mut bytes = [0; 8192];
        let outcome = self.stream.set_read_timeout(Some(at_most)).and_then(|()| self.stream.read(&mut bytes));
        match outcome {
            Ok(0) => panic!("the debug port was closed: QEMU ended"),
            Ok(count) => self.seen.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the debug port broke: {error}"),
        }
    }
}

/// The output before `marker`, when the whole marker line has come.
fn answer(seen: &[u8], marker: &str) -> Option<Output> {
    let text = String::from_utf8_lossy(seen);
    let (before, after) = text.split_once(&format!("\n{marker} "))?;
    let (code, _rest) = after.split_once('\n')?;
    // What an earlier command said late ends at its own marker, which looks the same but for its number.
    let prefix = format!("\n@{}.", std::process::id());
    let own = before
        .rfind(&prefix)
        .and_then(|at| before.get(at + 1..)?.split_once('\n'))
        .map_or(before, |(_marker, own)| own);
    Some(Output { code: code.trim().parse().ok()?, text: own.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_their_marker() {
        let id = std::process::id();
        let marker = format!("@{id}.7@");
        let seen = format!("late\n\n@{id}.6@ 0\nline one\ntwo\n\n@{id}.7@ 3\nmore");
        let output = answer(seen.as_bytes(), &marker);
        assert_eq!(output, Some(Output { code: 3, text: "line one\ntwo\n".to_owned() }));
        assert_eq!(answer(b"line one\n@7", &marker), None);
        assert_eq!(answer(format!("x\n{marker} 1").as_bytes(), &marker), None, "the line is not complete");
    }
}
