//! `cargo tbi`: the one tool of this repository for newcomers and for automation.
//!
//! It prepares the machine, builds what is needed and hands over: `run` to the agent, `test` to the test runner, `image` to mkosi and QEMU. It
//! measures nothing of the product itself except in `bench`, which compares our programs with well-known ones. It holds no product logic, so that it
//! compiles in seconds; everything it starts is a program that can be started by hand too.

mod bench;
mod command;
mod image;
mod licences;
mod packages;
mod run;
mod soak;
mod terminal;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code for "could not do what was asked", as the agent uses it too.
const COULD_NOT: u8 = 2;

/// Measure what TLS decryption in a firewall costs; test the thing that measures it.
#[derive(Parser)]
#[command(
    name = "cargo tbi",
    bin_name = "cargo tbi",
    after_help = "Examples:
  cargo tbi run --quick           first result within minutes
  cargo tbi test                  everything a change must pass
  cargo tbi image build           the appliance
  cargo tbi bench                 our CPU per request beside wrk, h2load, nginx and caddy"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Test(test::Test),
    Bench(bench::Bench),
    Soak(soak::Soak),
    Image(image::Image),
    Licences(licences::Licences),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Test(test) => test.run(),
        Command::Bench(bench) => bench.run(),
        Command::Soak(soak) => soak.run(),
        Command::Image(image) => image.run(),
        Command::Licences(licences) => licences.run(),
    };
    outcome.unwrap_or_else(|error| {
        command::say(&format!("error: {error:#}"));
        ExitCode::from(COULD_NOT)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
