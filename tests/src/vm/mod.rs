//! The image in a virtual machine: started, looked into, asked, hurt, and ended.
//!
//! [`image::Image`] is what was built; a [`machine::Machine`] is one running box with a root shell (debug variant only), the agent's API on
//! a TCP port, a serial console that is read like a screen, a trunk whose frames the test reads and writes, and a monitor. A machine ends
//! with the value that owns it. Booting takes a minute or more without KVM, so [`snapshot`] boots once for each image and everything that
//! is not about booting continues from there.

pub mod api;
mod esp;
pub mod image;
pub mod machine;
mod monitor;
pub mod screen;
mod setup;
mod shell;
pub mod snapshot;
pub mod tools;
mod tpm;
pub mod trunk;
mod uki;

use std::time::{Duration, Instant};

pub use machine::{Boot, Machine};
pub use setup::{MANAGEMENT_MAC, Setup, TRUNK_MAC};
pub use shell::Output;

/// Pause between two looks into a machine: each costs it work that it needs for what is waited for.
const PAUSE: Duration = Duration::from_millis(400);

/// Looks into a machine until `look` gives a value; the test fails with `what` at the deadline.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {} s", deadline.as_secs());
        std::thread::park_timeout(PAUSE);
    }
}
