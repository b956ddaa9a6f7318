//! What a program writes: kept in its log file and forwarded to ours under its name. Nothing it writes can block it for long or fill
//! memory or disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

/// A longer line is cut into lines of this length, bytes.
const LINE: u64 = 16 * 1024;
/// What one start of a program may write to its file, bytes; the rest is only forwarded.
const FILE: u64 = 64 << 20;

/// The last line a program wrote: usually why it ended.
#[derive(Debug, Clone, Default)]
pub(super) struct LastLine(Arc<Mutex<String>>);

impl LastLine {
    fn set(&self, line: &str) {
        if !line.trim().is_empty() {
            line.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(super) fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Log file of a workload.
pub(super) fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

/// Opens a log file for more lines.
pub(super) async fn open(path: &Path) -> std::io::Result<File> {
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await?;
    }
    OpenOptions::new().create(true).append(true).open(path).await
}

/// Reads one stream of a program to its end.
pub(super) async fn forward(name: String, stream: impl AsyncRead + Unpin, file: File, last: LastLine) {
    let mut stream = BufReader::new(stream);
    let mut file = Some(file);
    let mut written = 0u64;
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stream).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        last.set(text);
        tracing::debug!(daemon = %name, "{text}");
        let Some(open) = &mut file else { continue };
        written += line.len() as u64;
        let kept = if written > FILE {
            Err(std::io::Error::other("it wrote more than one start may"))
        } else {
            keep(open, &line).await
        };
        // The program must go on even when its log cannot.
        if let Err(error) = kept {
            tracing::warn!(daemon = %name, %error, "its log file ends here");
            file = None;
        }
    }
}

async fn keep(file: &mut File, line: &[u8]) -> std::io::Result<()> {
    file.write_all(line).await?;
    file.flush().await
}
