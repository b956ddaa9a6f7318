//! One network namespace: made, entered and spoken to.
//!
//! A namespace is held open by a bind mount at `/run/netns/NAME`, where `ip netns` looks too. Threads that enter one are made for it
//! and end in it; no thread of a pool ever changes its namespace.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use tbi_bench::netplan::Namespace;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::NetworkError;
use super::place::{DIRECTORY, Place};

/// An open namespace and a netlink socket in it.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) place: Place,
    file: Arc<File>,
    pub(super) netlink: rtnetlink::Handle,
    /// The task that carries the netlink socket; ends with the room.
    carrier: AbortHandle,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Room {
    /// Makes the namespace and opens it.
    pub(super) async fn create(namespace: Namespace) -> Result<Self, NetworkError> {
        let place = Place::Bench(namespace);
        let failed = |source| NetworkError::Namespace { place, doing: "make", source };
        let path = place.path();
        on_own_thread(move || {
            fs::create_dir_all(DIRECTORY)?;
            File::create(&path)?;
            unshare(CloneFlags::CLONE_NEWNET)?;
            let kept: Result<(), io::Error> =
                mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                    .map_err(io::Error::from);
            kept.inspect_err(|_| drop(fs::remove_file(&path)))
        })
        .await
        .and_then(|done| done)
        .map_err(failed)?;
        Self::open(place).await
    }

    /// Opens a namespace that is there.
    pub(super) async fn open(place: Place) -> Result<Self, NetworkError> {
        let failed = |source| NetworkError::Namespace { place, doing: "open", source };
        let file = Arc::new(File::open(place.path()).map_err(failed)?);
        // A netlink socket belongs for ever to the namespace in which it was made.
        let connection = within(&file, rtnetlink::new_connection).await.and_then(|done| done).map_err(failed)?;
        let (carrier, netlink, _) = connection;
        let carrier = tokio::spawn(carrier).abort_handle();
        Ok(Self { place, file, netlink, carrier })
    }

    /// Whether the namespace is there, made by this process or an earlier one.
    pub(super) fn exists(namespace: Namespace) -> bool {
        // A file without a namespace mounted on it is left over from an attempt that failed.
        let file_system = |path: PathBuf| nix::sys::statfs::statfs(&path).map(|stat| stat.filesystem_type());
        file_system(Place::Bench(namespace).path()).is_ok_and(|found| found == nix::sys::statfs::NSFS_MAGIC)
    }

    /// Lets the namespace go; it ends when the last process in it does.
    pub(super) fn remove(namespace: Namespace) -> Result<(), NetworkError> {
        let place = Place::Bench(namespace);
        let failed = |source| NetworkError::Namespace { place, doing: "remove", source };
        let path = place.path();
        umount2(&path, MntFlags::MNT_DETACH).map_err(|errno| failed(errno.into()))?;
        fs::remove_file(&path).map_err(failed)
    }

    /// Descriptor for netlink requests that name this namespace.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` on a thread inside the namespace.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetworkError> {
        let failed = |source| NetworkError::Namespace { place: self.place, doing: "enter", source };
        within(&self.file, work).await.map_err(failed)
    }
}

async fn within<T: Send + 'static>(file: &Arc<File>, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let file = Arc::clone(file);
    let entered = move || {
        setns(&*file, CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    };
    on_own_thread(entered).await.and_then(|done| done)
}

/// A thread that only does `work`, with the caller's runtime at hand.
async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new().name("namespace".to_owned()).spawn(move || {
        let _runtime = runtime.enter();
        // Nobody waits any more when the caller was cancelled.
        drop(done.send(work()));
    })?;
    result.await.map_err(|_| io::Error::other("the thread in the namespace ended early"))
}
