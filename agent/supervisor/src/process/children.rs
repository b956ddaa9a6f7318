//! The lab's backend: programs as child processes in the namespaces of the network plan.
//!
//! Each child has one task that reads its output, waits until it says it is ready, and waits for its end. Dropping the backend kills
//! every child. Tasks live in one set; each ends with its child.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tbi_daemon::UnixClient;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::log::{self, LastLine};
use super::{Backend, Launch, Readiness, StartError, State, Workload};
use crate::network::NetworkHost;

/// Children of this process.
#[derive(Debug)]
pub(crate) struct Children {
    host: Arc<Mutex<NetworkHost>>,
    logs: PathBuf,
    slots: BTreeMap<String, Slot>,
    changed: Arc<Notify>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Slot {
    state: watch::Receiver<State>,
    stop: Option<oneshot::Sender<()>>,
}

impl Children {
    /// Children in the namespaces of `host`, with their logs below `logs`.
    pub(crate) fn new(host: Arc<Mutex<NetworkHost>>, logs: PathBuf) -> Self {
        Self { host, logs, slots: BTreeMap::new(), changed: Arc::default(), tasks: JoinSet::new() }
    }
}

impl Backend for Children {
    async fn start(&mut self, workload: &Workload) -> Result<(), StartError> {
        // Tasks of children that ended need no result; taking them out keeps the set as small as the number of children.
        while self.tasks.try_join_next().is_some() {}
        let foreign = |what| StartError::Foreign { name: workload.name.clone(), what };
        let Launch::Program { namespace, program, arguments, drain } = &workload.launch else {
            return Err(foreign("it is a unit, and there is no systemd here"));
        };
        let Readiness::Socket(socket) = &workload.readiness else {
            return Err(foreign("it says that it is ready to systemd only"));
        };
        let path = log::path(&self.logs, &workload.name);
        let opened = log::open(&path).await;
        let file = opened.map_err(|source| StartError::Log { path: path.clone(), source })?;
        let second = file.try_clone().await.map_err(|source| StartError::Log { path, source })?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let mut child = self.host.lock().await.spawn_in(*namespace, command).await?;
        let pid = child.id().ok_or_else(|| StartError::Gone { name: workload.name.clone() })?;

        let (state, states) = watch::channel(State::Starting { pid });
        let (stop, stopped) = oneshot::channel();
        let last = LastLine::default();
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(log::forward(workload.name.clone(), stdout, file, LastLine::default()));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(log::forward(workload.name.clone(), stderr, second, last.clone()));
        }
        let changed = Arc::clone(&self.changed);
        let (client, ready_within) = (UnixClient::new(socket), workload.ready_within);
        let watch = Watch { child, pid, client, ready_within, drain: *drain, state, changed };
        self.tasks.spawn(watch.run(stopped, output, last));
        self.slots.insert(workload.name.clone(), Slot { state: states, stop: Some(stop) });
        self.changed.notify_one();
        Ok(())
    }

    fn stop(&mut self, name: &str) {
        if let Some(stop) = self.slots.get_mut(name).and_then(|slot| slot.stop.take()) {
            // Nobody listens any more when the child has just ended by itself.
            let _ = stop.send(());
        }
    }

    fn forget(&mut self, name: &str) {
        self.slots.remove(name);
    }

    fn states(&self) -> BTreeMap<String, State> {
        self.slots.iter().map(|(name, slot)| (name.clone(), slot.state.borrow().clone())).collect()
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

/// One child from start to end.
struct Watch {
    child: Child,
    pid: u32,
    client: UnixClient,
    ready_within: Duration,
    drain: Duration,
    state: watch::Sender<State>,
    changed: Arc<Notify>,
}

/// What the watching of a child came to.
enum Seen {
    Exit(std::io::Result<ExitStatus>),
    Ready,
    NotReady(String),
    StopAsked,
}

impl Watch {
    async fn run(mut self, mut stop: oneshot::Receiver<()>, mut output: JoinSet<()>, last: LastLine) {
        let client = self.client.clone();
        let mut ready_since = None;
        // Both arms besides the exit may be dropped: the probe has no effect, and a stop request is not taken before it is there.
        let mut seen = tokio::select! {
            exit = self.child.wait() => Seen::Exit(exit),
            ready = client.wait_ready(self.ready_within) => match ready {
                Ok(()) => Seen::Ready,
                Err(error) => Seen::NotReady(error.to_string()),
            },
            _ = &mut stop => Seen::StopAsked,
        };
        if let Seen::Ready = seen {
            let since = Instant::now();
            ready_since = Some(since);
            self.become_state(State::Ready { pid: self.pid, since });
            seen = tokio::select! {
                exit = self.child.wait() => Seen::Exit(exit),
                _ = &mut stop => Seen::StopAsked,
            };
        }
        let status = match seen {
            Seen::Exit(exit) => ending(exit),
            Seen::NotReady(reason) => {
                self.end().await;
                reason
            }
            Seen::StopAsked | Seen::Ready => {
                self.become_state(State::Stopping);
                self.end().await
            }
        };
        // The last words may still be in the pipe; a grandchild that holds it open must not hold us.
        drop(timeout(Duration::from_millis(500), async { while output.join_next().await.is_some() {} }).await);
        let said = last.take();
        let status = if said.is_empty() { status } else { format!("{status}; it last said: {said}") };
        self.become_state(State::Ended { status, ready_for: ready_since.map(|since: Instant| since.elapsed()) });
    }

    fn become_state(&self, state: State) {
        self.state.send_replace(state);
        self.changed.notify_one();
    }

    /// SIGTERM, and SIGKILL when the drain time is over.
    async fn end(&mut self) -> String {
        // Not yet waited for, so the id is still this child's.
        let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM);
        match timeout(self.drain, self.child.wait()).await {
            Ok(exit) => ending(exit),
            Err(_elapsed) => {
                drop(self.child.kill().await);
                format!("killed, as it did not end within {} ms", self.drain.as_millis())
            }
        }
    }
}

fn ending(exit: std::io::Result<ExitStatus>) -> String {
    match exit {
        Ok(status) => status.to_string(),
        Err(error) => format!("it could not be waited for ({error})"),
    }
}
