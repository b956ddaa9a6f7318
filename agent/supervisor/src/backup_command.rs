//! `tbi-agent backup`: the daily copies of the database, and the way back. Run it while the agent is stopped: it alone opens the database.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::appliance::upkeep::BACKUPS;

/// Backups of the database.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Lists the backups, newest first
    List(StateArgs),
    /// Puts a backup in the place of the database, which is moved aside.
    ///
    /// Example: tbi-agent backup restore tbi-2026-01-31.db
    Restore(RestoreArgs),
}

/// Where the state is.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Directory of everything that is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tlsstress")]
    state: PathBuf,
}

/// See [`BackupCommand::Restore`].
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Name of the backup, as listed
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    state: StateArgs,
}

impl BackupCommand {
    /// # Errors
    /// When there is no such backup, or it is not sound; nothing was changed then.
    #[expect(clippy::print_stdout, reason = "the result of the command")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List(StateArgs { state }) => {
                for backup in tbi_ledger::backups(&state.join(BACKUPS))? {
                    println!("{} {} bytes", backup.name, backup.bytes);
                }
            }
            Self::Restore(RestoreArgs { name, state: StateArgs { state } }) => {
                let aside = tbi_ledger::restore(&state, &state.join(BACKUPS), &name, Timestamp::now())?;
                match aside {
                    Some(path) => println!("{name} is in place; the database of before is {}", path.display()),
                    None => println!("{name} is in place; there was no database"),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
