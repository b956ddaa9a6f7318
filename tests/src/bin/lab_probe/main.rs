//! Questions that can only be asked inside a lab: `tbi-agent lab exec -- lab-probe QUESTION`.
//!
//! The lab hands over its sockets, targets and trust in `$TBI_LAB/lab.json`. Each question prints one JSON document with what was
//! counted and exits 0 when the answer is the wanted one, 1 with a sentence when it is not.

mod cable;
mod classes;
mod interception;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "lab-probe")]
struct Cli {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// Is every connection in the right interception class, in every behaviour of the practice DUT?
    Interception(interception::Interception),
    /// Is each of the six QUIC classes recognised?
    Classes(classes::Classes),
    /// Does unplugging the device leave no path?
    Cable(cable::Cable),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let answer = match Cli::parse().question {
        Question::Interception(question) => question.ask().await,
        Question::Classes(question) => question.ask().await,
        Question::Cable(question) => question.ask().await,
    };
    match answer {
        Ok(document) => {
            world::print(&document);
            ExitCode::SUCCESS
        }
        Err(error) => {
            world::complain(&error);
            ExitCode::FAILURE
        }
    }
}
