//! The control socket: handed over by systemd, or made at a path. Owner and group may connect, nobody else.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// A bound control socket. The file is removed when the value goes, unless systemd owns it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    owned_path: Option<PathBuf>,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Neither socket activation nor a path.
    #[error("there is no control socket; give one with --socket PATH or start the daemon from a systemd socket unit")]
    None,
    /// systemd handed over something else.
    #[error(
        "the descriptor handed over by systemd is no listening unix stream socket; set ListenStream= to a path in the socket unit ({0})"
    )]
    Activation(io::Error),
    /// A file that is no socket is in the way.
    #[error("{} exists and is no socket; remove it or give another --socket", .0.display())]
    Occupied(PathBuf),
    /// Somebody answers there.
    #[error("another process already serves {}; stop it or give another --socket", .0.display())]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot make the control socket {}: {reason}; check that its directory is writable and the path shorter than 108 bytes", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

impl Listener {
    /// The socket systemd handed over (LISTEN_FDS), else a new one at `path`.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn open(path: Option<&Path>) -> Result<Self, ListenError> {
        // listenfd checks LISTEN_PID and the socket's type before it takes descriptor 3.
        if let Some(socket) = listenfd::ListenFd::from_env().take_unix_listener(0).map_err(ListenError::Activation)? {
            return Ok(Self { socket, owned_path: None });
        }
        Self::bind(path.ok_or(ListenError::None)?)
    }

    /// The sockets systemd handed over under these names (`LISTEN_FDNAMES`, sd_listen_fds_with_names(3): the socket unit's name when the
    /// unit gives no other), `None` for each that it did not. All at once, because the environment tells of them only once.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn handed_over<const N: usize>(names: [&str; N]) -> Result<[Option<Self>; N], ListenError> {
        let given = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = listenfd::ListenFd::from_env();
        let mut found = [const { None }; N];
        for (place, name) in found.iter_mut().zip(names) {
            if let Some(index) = given.split(':').position(|given| given == name) {
                let socket = handed.take_unix_listener(index).map_err(ListenError::Activation)?;
                *place = socket.map(|socket| Self { socket, owned_path: None });
            }
        }
        Ok(found)
    }

    /// A new socket at `path` with mode 0660; parent directories are made, a stale socket file is removed.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |reason| ListenError::Bind { path: path.to_owned(), reason };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => return Err(ListenError::Occupied(path.to_owned())),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(ListenError::InUse(path.to_owned())),
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        let socket = bound(path).map_err(failed)?;
        Ok(Self { socket, owned_path: Some(path.to_owned()) })
    }

    /// The listening socket for a runtime.
    pub(crate) fn for_tokio(&self) -> io::Result<tokio::net::UnixListener> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(socket)
    }
}

/// Never open to others, not even for a moment: a socket file takes the mode of the unbound socket, less the umask (`unix_bind_bsd` in the
/// kernel's `net/unix/af_unix.c`). What the umask took from the group is given back before anybody can be accepted.
fn bound(path: &Path) -> io::Result<UnixListener> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket.into())
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.owned_path {
            // Already gone is as good as removed.
            let _gone = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/control.sock");
        let first = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(Listener::bind(&path), Err(ListenError::InUse(_))));
        drop(first);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Listener::bind(&path).unwrap();
    }

    #[test]
    fn a_plain_file_in_the_way_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(Listener::bind(&path), Err(ListenError::Occupied(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }

    #[test]
    fn no_socket_at_all_is_one_sentence() {
        assert!(Listener::open(None).unwrap_err().to_string().contains("--socket PATH"));
    }
}
