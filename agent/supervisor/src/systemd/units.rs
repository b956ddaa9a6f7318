//! The backend's face: what the reconciler calls. The work is done by [`super::watcher`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::slot::Slot;
use super::watcher::{Start, Watcher};
use super::{Systemd, SystemdError};
use crate::process::{Backend, Launch, StartError, State, Workload};

/// Starts asked for and not answered; the reconciler asks for one at a time.
const STARTS: usize = 4;

/// Name of a workload's unit.
pub(crate) fn unit_of(name: &str) -> String {
    format!("tbi-{name}.service")
}

/// The units of systemd that the agent looks after.
#[derive(Debug)]
pub(crate) struct Units {
    shared: Arc<Shared>,
    starts: mpsc::Sender<Start>,
    records: PathBuf,
    watcher: JoinHandle<()>,
}

/// What face and watcher both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    slots: Mutex<BTreeMap<String, Slot>>,
    /// For the watcher: a slot wants something.
    pub(super) poke: Notify,
    /// For the reconciler: a state changed.
    pub(super) changed: Arc<Notify>,
}

impl Shared {
    pub(super) fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a slot, and tells the reconciler when its state became another.
    pub(super) fn with<T>(&self, name: &str, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.slots();
        let slot = slots.get_mut(name)?;
        let before = slot.state.clone();
        let result = change(slot);
        if slot.state != before {
            self.changed.notify_one();
        }
        Some(result)
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Units {
    /// Looks after the units of these workloads and no others, whoever started them. Below `records` it remembers with which definition
    /// it started each, so that the agent that comes after this one knows.
    pub(crate) fn new(systemd: Systemd, names: &[&str], records: PathBuf) -> Self {
        let slots = names.iter().map(|name| ((*name).to_owned(), Slot::default())).collect();
        let shared = Arc::new(Shared { slots: Mutex::new(slots), ..Shared::default() });
        let (starts, taken) = mpsc::channel(STARTS);
        let watcher = tokio::spawn(Watcher::new(systemd, Arc::clone(&shared), taken).run());
        Self { shared, starts, records, watcher }
    }

    fn record(&self, name: &str) -> PathBuf {
        self.records.join(format!("{name}.definition"))
    }
}

impl Backend for Units {
    async fn start(&mut self, workload: &Workload) -> Result<(), StartError> {
        let Launch::Unit { definition } = &workload.launch else {
            return Err(StartError::Foreign { name: workload.name.clone(), what: "it is no unit of systemd" });
        };
        let path = self.record(&workload.name);
        let refuse =
            |error: std::io::Error| SystemdError::Record { path: path.display().to_string(), why: error.to_string() };
        tokio::fs::create_dir_all(&self.records).await.map_err(refuse)?;
        tokio::fs::write(&path, definition).await.map_err(refuse)?;
        let (answer, answered) = oneshot::channel();
        let gone = || StartError::Gone { name: workload.name.clone() };
        self.starts.send(Start { workload: workload.clone(), answer }).await.map_err(|_closed| gone())?;
        answered.await.map_err(|_closed| gone())??;
        Ok(())
    }

    fn stop(&mut self, name: &str) {
        self.shared.with(name, |slot| slot.end(None));
        self.shared.poke.notify_one();
    }

    fn forget(&mut self, name: &str) {
        self.shared.with(name, Slot::forget);
        self.shared.poke.notify_one();
    }

    fn states(&self) -> BTreeMap<String, State> {
        self.shared.slots().iter().filter_map(|(name, slot)| Some((name.clone(), slot.state.clone()?))).collect()
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changed)
    }

    fn adopt(&mut self, wanted: &Workload) -> bool {
        let Launch::Unit { definition } = &wanted.launch else { return false };
        // Without a record somebody else started it, with the files as they are.
        let same = std::fs::read_to_string(self.record(&wanted.name)).map_or(true, |known| known == *definition);
        if same {
            self.shared.with(&wanted.name, |slot| slot.adopt(wanted, Instant::now()));
            self.shared.poke.notify_one();
        }
        same
    }
}
