//! The image in a virtual machine: started, looked into, asked, hurt, and ended.
//!
//! [`image::Image`] is what was built; a [`machine::Machine`] is one running box with a root shell (debug variant only), the agent's API on
//! a TCP port, a serial console that is read like a screen, a trunk whose frames the test reads and writes, and a monitor. A machine ends
//! with the value that owns it. Booting takes a minute or more without KVM, so [`snapshot`] boots once for each image and everything that
//! is not about booting continues from there.

pub mod api;
pub mod image;
pub mod machine;
mod monitor;
pub mod screen;
mod setup;
mod shell;
pub mod snapshot;
mod tools;
pub mod trunk;
mod uki;

pub use machine::{Boot, Machine};
pub use setup::Setup;
pub use shell::Output;
