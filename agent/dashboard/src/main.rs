//! The front door. Until listener, routing and access control are joined, this binary only says so and refuses to start.
#![allow(dead_code, unused_imports, reason = "the parts are joined by the listener, which is written beside this")]

mod access;
mod gate;
mod limits;

fn main() -> std::process::ExitCode {
    tracing::error!("the parts of the front door are not joined yet");
    std::process::ExitCode::FAILURE
}
