//! Starting other programs, with an error that names the program and what to do; and speaking to the person in front.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// One line for the person in front. Standard error, so that what programs print for programs stays clean.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard error is gone.
    let _closed = writeln!(std::io::stderr(), "{line}");
}

/// Text for standard output, as it is.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A closed pipe (`| head`) is no error of ours.
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The command as a person would type it.
pub(crate) fn typed(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Runs to the end with our own output; an error unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {}", typed(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", typed(command));
    }
    Ok(())
}

/// Runs to the end and returns what it printed; an error, with what it complained of, unless it succeeds.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", typed(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", typed(command), output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes the command: its output is the last, its exit code ours, and signals reach it directly. Returns only when that fails.
pub(crate) fn become_program(command: &mut Command) -> Result<ExitCode> {
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot start {}", typed(command))))
}
