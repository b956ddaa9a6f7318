//! Stands between the report program and the agent's socket and carries one request after the other, past [`Points`]. It changes nothing.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::SOON;
use super::points::Points;

pub(crate) struct Bridge {
    socket: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    pub(crate) fn start(socket: PathBuf, agent: PathBuf, points: Arc<Points>) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever was killed cannot read or write any more; the other one sees the connection end.
                let _broken = client.and_then(|client| carry(&client, &agent, &points));
            }
        });
        Self { socket, over, thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _woken = UnixStream::connect(&self.socket);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn carry(mut client: &UnixStream, agent: &Path, points: &Points) -> io::Result<()> {
    client.set_read_timeout(Some(SOON))?;
    let request = message(client)?;
    let what = String::from_utf8_lossy(&request).split(['?', ' ']).nth(1).unwrap_or_default().to_owned();
    points.pass(&format!("{what} asked"));
    let mut agent = UnixStream::connect(agent)?;
    agent.set_read_timeout(Some(SOON))?;
    agent.write_all(&request)?;
    points.pass(&format!("{what} given to the agent"));
    let answer = message(&agent)?;
    points.pass(&format!("{what} answered"));
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Write)
}

/// One HTTP/1.1 message with its body; both sides give its length.
fn message(mut from: &UnixStream) -> io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
        let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if bytes.len() >= head + 4 + length.unwrap_or(0) {
            return Ok(bytes);
        }
    }
}
