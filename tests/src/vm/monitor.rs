//! QEMU's monitor (QMP): one JSON object a line, commands answered in order, events in between skipped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::until;

/// Longest a command may take; loading and saving a machine's memory go on in the background.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection to the monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
    /// Names of the events that came and were not waited for yet.
    events: Vec<String>,
}

impl Monitor {
    /// Connects as soon as QEMU listens. `alive` says why it does not, once it has ended.
    pub(super) fn connect(socket: &Path, mut alive: impl FnMut()) -> Self {
        let stream = until("QEMU's monitor", Duration::from_secs(30), || {
            alive();
            UnixStream::connect(socket).ok()
        });
        if let Err(error) = stream.set_read_timeout(Some(ANSWER)) {
            panic!("cannot set a limit on the monitor: {error}");
        }
        let mut monitor = Self { stream: BufReader::new(stream), events: Vec::new() };
        let greeting = monitor.line();
        assert!(greeting.get("QMP").is_some(), "the monitor greets with {greeting}");
        let _nothing = monitor.ask("qmp_capabilities", Value::Null);
        monitor
    }

    /// Gives a command and waits for its answer.
    pub(super) fn ask(&mut self, command: &str, arguments: Value) -> Value {
        match self.try_ask(command, arguments) {
            Ok(answer) => answer,
            Err(error) => panic!("{command}: {error}"),
        }
    }

    /// The same, with QEMU's refusal as a value.
    pub(super) fn try_ask(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let mut message = json!({ "execute": command });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        writeln!(self.stream.get_mut(), "{message}").map_err(|error| format!("the monitor is gone: {error}"))?;
        loop {
            let mut line = self.line();
            if let Some(answer) = line.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = line.get("error") {
                return Err(error["desc"].to_string());
            }
            self.keep_event(&line);
        }
    }

    /// A command of the human monitor, with its words.
    pub(super) fn human(&mut self, line: &str) -> String {
        self.ask("human-monitor-command", json!({ "command-line": line })).as_str().unwrap_or_default().to_owned()
    }

    /// Waits for an event; one that came since the last wait counts.
    #[track_caller]
    pub(super) fn wait_event(&mut self, name: &str, deadline: Duration) {
        let end = Instant::now() + deadline;
        loop {
            if let Some(at) = self.events.iter().position(|event| event == name) {
                self.events.drain(..=at);
                return;
            }
            assert!(Instant::now() < end, "no {name} within {} s", deadline.as_secs());
            // Asking makes the monitor answer at once, with all events before the answer.
            let _status = self.ask("query-status", Value::Null);
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    fn keep_event(&mut self, line: &Value) {
        if let Some(event) = line["event"].as_str() {
            self.events.push(event.to_owned());
        }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => panic!("QEMU ended"),
            Ok(_) => serde_json::from_str(&line).unwrap_or_else(|error| panic!("the monitor said {line:?}: {error}")),
            Err(error) => panic!("the monitor does not answer: {error}"),
        }
    }
}
