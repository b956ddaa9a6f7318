//! Keeps the processors awake while tenths of milliseconds are measured. A processor that sleeps between sparse requests takes its time to wake, up
//! to 0.2 ms on some hosts, and a delay that keeps it awake then looks shorter than it is. What runs here runs only when nothing else wants to.

use std::process::{Child, Command, Stdio};

/// One idle-priority program per processor, gone with the value.
#[derive(Debug)]
pub struct Awake(Vec<Child>);

impl Awake {
    /// Starts them.
    #[must_use]
    pub fn keep() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let spin = || {
            let mut command = Command::new("chrt");
            command.args(["--idle", "0", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
            match command.spawn() {
                Ok(child) => child,
                Err(error) => panic!("cannot start chrt (package util-linux): {error}"),
            }
        };
        Self((0..processors).map(|_| spin()).collect())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}
