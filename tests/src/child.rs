//! Programs with deadlines, each in a process group of its own that is killed as a whole.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// What a program that ended said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Finished {
    /// Exit code; a signal that ended it is a failed test.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self.status.code() {
            Some(code) => code,
            None => panic!("ended by signal {:?}; it said:\n{}", self.status.signal(), self.stderr),
        }
    }

    /// That one line of what it said has all of `words`: one clear sentence, not words scattered over pages.
    #[track_caller]
    pub fn assert_says(&self, words: &[&str]) {
        let said =
            self.stderr.lines().chain(self.stdout.lines()).any(|line| words.iter().all(|word| line.contains(word)));
        assert!(said, "no line with {words:?} in:\n{}\n{}", self.stdout, self.stderr);
    }
}

/// A running program.
#[derive(Debug)]
pub struct Running {
    child: Child,
    started: Instant,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts `command` without standard input, with both outputs kept.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {command:?}: {error}"),
        };
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        Self { child, started, stdout, stderr }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program alone, not to its children: what `kill PID` does.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = kill(self.group(), signal) {
            panic!("cannot send {signal}: {error}");
        }
    }

    /// Waits for the end. At the deadline the whole group is killed and the test fails with what was said so far.
    #[must_use]
    pub fn finish(mut self, deadline: Duration) -> Finished {
        let end = self.started + deadline;
        // Both pipes closed means that the program and everything that inherited them is gone.
        let outputs =
            [&self.stdout, &self.stderr].map(|pipe| pipe.recv_timeout(end.saturating_duration_since(Instant::now())));
        let [Ok(stdout), Ok(stderr)] = outputs else {
            self.kill_group();
            let rest =
                [&self.stdout, &self.stderr].map(|pipe| pipe.recv_timeout(Duration::from_secs(5)).unwrap_or_default());
            let said = outputs.into_iter().flatten().chain(rest).collect::<String>();
            panic!("not ended within {} s; it said:\n{said}", deadline.as_secs());
        };
        match self.child.wait() {
            Ok(status) => Finished { status, stdout, stderr, took: self.started.elapsed() },
            Err(error) => panic!("cannot wait for a child: {error}"),
        }
    }

    /// Ends the whole group now and returns what was said.
    #[must_use]
    pub fn end(self) -> String {
        self.kill_group();
        [&self.stdout, &self.stderr].map(|pipe| pipe.recv_timeout(Duration::from_secs(5)).unwrap_or_default()).concat()
    }

    fn group(&self) -> Pid {
        // Process ids fit: the kernel's limit is 2^22 (proc(5), pid_max).
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn kill_group(&self) {
        // Gone already is what is wanted.
        let _gone = killpg(self.group(), Signal::SIGKILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
        let _reaped = self.child.wait();
    }
}

/// Runs `command` to its end.
#[must_use]
pub fn run(command: &mut Command, deadline: Duration) -> Finished {
    Running::start(command).finish(deadline)
}

/// Looks until `look` gives a value; the test fails with `what` at the deadline.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(start.elapsed() < deadline, "{what}: not within {} s", deadline.as_secs());
        // Not a guess at how long it takes, only a pause between two looks.
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe never stops the child.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error still tells something.
            let _partial = pipe.read_to_end(&mut bytes);
        }
        // The test may have ended.
        let _unread = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_code_and_words() {
        let finished = run(
            Command::new("sh").args(["-c", "echo all is well; echo 'no: plan x' >&2; exit 3"]),
            Duration::from_secs(10),
        );
        assert_eq!(finished.code(), 3);
        finished.assert_says(&["no:", "plan x"]);
    }

    #[test]
    #[should_panic(expected = "not ended within 0 s; it said:\nstarted")]
    fn kills_the_whole_group_at_the_deadline() {
        // The grandchild holds the pipe: only killing the group ends this test at once.
        let mut running = Running::start(Command::new("sh").args(["-c", "echo started; sleep 1000 & wait"]));
        until("the child to sleep", Duration::from_secs(10), || {
            std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).ok()?.contains(" S ").then_some(())
        });
        running.started = Instant::now();
        let _finished = running.finish(Duration::from_millis(100));
    }
}
