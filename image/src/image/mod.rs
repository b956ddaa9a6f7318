//! `cargo tbi image`: from this tree to an appliance, and what one does with it: build, boot in a virtual machine, write to a stick, compare.
//!
//! What is in the image is data (`mkosi/`, `units/`); this module brings the pieces together, runs mkosi from a cached tools tree of the
//! image's own Debian release, and checks what came out. It decides nothing about the appliance itself.

pub(crate) mod bare;
mod boot;
mod build;
pub(crate) mod cache;
mod compare;
mod digest;
pub(crate) mod disk;
pub(crate) mod files;
mod flash;
pub(crate) mod gates;
mod inputs;
mod keys;
pub(crate) mod manifest;
mod oci;
pub(crate) mod outputs;
mod pe;
mod places;
mod sources;
pub(crate) mod spdx;
mod stage;
mod steps;
pub(crate) mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

pub(crate) use build::Build;
pub(crate) use places::Places;

/// The appliance's image: build it, boot it, write it to a stick.
#[derive(Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(build::Build),
    Boot(boot::Boot),
    Flash(flash::Flash),
    Compare(compare::Compare),
}

/// Which appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// What is given to people: nobody logs in.
    Release,
    /// For development and tests: the API on a port, a way in.
    Debug,
}

impl Variant {
    /// The name in options, profiles and folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::Release => "release",
            Variant::Debug => "debug",
        }
    }

    /// What file names carry, so that the two are never mistaken for each other.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Variant::Release => "",
            Variant::Debug => "_debug",
        }
    }
}

impl Image {
    /// Hands over to the subcommand.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Build(build) => build.run(),
            Command::Boot(boot) => boot.run(),
            Command::Flash(flash) => flash.run(),
            Command::Compare(compare) => compare.run(),
        }
    }
}
