//! The terminal device: opened by its path, set up for a line that nobody may be listening on, and opened again whenever it is lost.
//!
//! It is opened anew even when it is also our standard input, so that our flags (not blocking) are ours alone and a line that hung up can
//! be had again. What the terminal does never ends the program: an error here means "closed; try again at the next frame".

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::termios::{ControlFlags, InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// A line that takes nothing for this long is blocked (flow control, a pulled cable); the frame is given up.
const BLOCKED: Duration = Duration::from_secs(10);

/// Why nothing could be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TerminalError {
    /// The device cannot be opened.
    #[error("cannot open the terminal {}: {source}; check that the device exists and that this user may use it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was lost.
    #[error("lost the terminal {}: {source}; it is opened again", path.display())]
    Lost {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A terminal that is open, or will be again.
#[derive(Debug)]
pub(crate) struct Terminal {
    path: PathBuf,
    line: Option<Line>,
}

#[derive(Debug)]
struct Line {
    file: AsyncFd<File>,
    /// How it was before, `None` when it is no terminal.
    before: Option<Termios>,
}

impl Terminal {
    /// The terminal at `path`; opened when first written to.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, line: None }
    }

    /// Opens it if it is not open; says whether it was opened now, so that whatever it shows is unknown.
    ///
    /// # Errors
    /// [`TerminalError::Open`].
    pub(crate) fn ensure_open(&mut self) -> Result<bool, TerminalError> {
        if self.line.is_some() {
            return Ok(false);
        }
        let line = Line::open(&self.path).map_err(|source| TerminalError::Open { path: self.path.clone(), source })?;
        self.line = Some(line);
        Ok(true)
    }

    /// Forgets the open device, for instance after a hang-up.
    pub(crate) fn close(&mut self) {
        self.line = None;
    }

    /// Writes all bytes, in one call as far as the device takes them.
    ///
    /// # Errors
    /// [`TerminalError::Lost`]; the device is closed then.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), TerminalError> {
        let Some(line) = &self.line else { return Ok(()) };
        let outcome = match timeout(BLOCKED, line.write(bytes)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "it takes no more characters")),
        };
        outcome.map_err(|source| self.lost(source))
    }

    /// Waits for a key and swallows it with all that came along.
    ///
    /// Cancelling loses nothing: bytes are taken only after waiting. Without an open device it waits for ever.
    ///
    /// # Errors
    /// [`TerminalError::Lost`]; the device is closed then.
    pub(crate) async fn key(&mut self) -> Result<(), TerminalError> {
        let Some(line) = &self.line else { return std::future::pending().await };
        let outcome = line.read().await;
        outcome.map_err(|source| self.lost(source))
    }

    /// Leaves the device as it was found.
    pub(crate) fn restore(self) {
        if let Some(Line { file, before: Some(before) }) = self.line {
            // The program ends; nobody is left to be told.
            let _gone = tcsetattr(file.get_ref(), SetArg::TCSANOW, &before);
        }
    }

    fn lost(&mut self, source: io::Error) -> TerminalError {
        self.close();
        TerminalError::Lost { path: self.path.clone(), source }
    }
}

impl Line {
    fn open(path: &Path) -> io::Result<Self> {
        // Not blocking: opening a serial line would else wait for a carrier. Not controlling: its hang-up is an error, not a signal.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path)?;
        let before = tcgetattr(&file).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            // Ctrl-S would freeze the screen for whoever comes next.
            raw.input_flags.remove(InputFlags::IXON | InputFlags::IXOFF | InputFlags::IXANY);
            // Keys arrive one by one and are not shown; Ctrl-C stays a signal for whoever runs this by hand.
            raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            // A serial line without a carrier is not hung up.
            raw.control_flags.insert(ControlFlags::CLOCAL | ControlFlags::CREAD);
            tcsetattr(&file, SetArg::TCSANOW, &raw)?;
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe to call; a File keeps its one descriptor, which is all that is asked for"
        )]
        let file = AsyncFd::new(file)?;
        Ok(Self { file, before })
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.file.writable().await?;
            match ready.try_io(|file| file.get_ref().write(bytes)) {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Ok(written)) => bytes = bytes.get(written..).unwrap_or_default(),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    async fn read(&self) -> io::Result<()> {
        let mut keys = [0; 256];
        loop {
            let mut ready = self.file.readable().await?;
            match ready.try_io(|file| file.get_ref().read(&mut keys)) {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}
