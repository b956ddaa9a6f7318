//! The task behind [`super::Units`]: subscribes, looks, and carries out what slots want.
//!
//! A signal is only a hint to look at its unit. One task does everything about units in turn, so that a look never sees half a start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::FutureExt as _;
use futures_util::stream::{SelectAll, StreamExt as _};
use tbi_daemon::UnixClient;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream};

use super::bus::{Bus, subscribe};
use super::facts::Facts;
use super::proxies::{JobRemovedStream, ManagerProxy};
use super::slot::Stop;
use super::units::{Shared, unit_of};
use super::{Systemd, SystemdError, unit_path};
use crate::process::Workload;

/// Between two looks when no signal comes.
const TICK: Duration = Duration::from_secs(5);
/// Between two tries when systemd is on the bus and does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The order to start a unit.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) workload: Workload,
    pub(super) answer: oneshot::Sender<Result<(), SystemdError>>,
}

pub(super) struct Watcher {
    systemd: Systemd,
    shared: Arc<Shared>,
    starts: mpsc::Receiver<Start>,
    names: Vec<String>,
    /// Which process of which unit a probe asked about, and its answer.
    probes: JoinSet<(String, u64, Result<(), String>)>,
    /// What became of the last job of each unit.
    jobs: BTreeMap<String, String>,
}

/// What woke the watcher.
enum Woken {
    Unit(String),
    All,
    Start(Box<Start>),
    Wishes,
    Over,
}

/// The signals of one connection.
struct Ears {
    jobs: JobRemovedStream,
    changes: SelectAll<MessageStream>,
}

impl Watcher {
    pub(super) fn new(systemd: Systemd, shared: Arc<Shared>, starts: mpsc::Receiver<Start>) -> Self {
        let names = shared.slots().keys().cloned().collect();
        Self { systemd, shared, starts, names, probes: JoinSet::new(), jobs: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let now = self.systemd.bus.borrow_and_update().clone();
            match now {
                Bus::Up(connection) => {
                    if let Err(error) = self.follow(&connection).await {
                        tracing::warn!(%error, "systemd's units cannot be looked at; trying again");
                        sleep(AGAIN).await;
                    }
                }
                // Starts wait for the first word, which comes within one answer's time.
                Bus::Asking => {
                    if self.systemd.bus.changed().await.is_err() {
                        return;
                    }
                }
                Bus::Down(why) => {
                    // Both arms may be dropped: the channel keeps what was not received, the watch is a level.
                    tokio::select! {
                        start = self.starts.recv() => match start {
                            Some(start) => drop(start.answer.send(Err(self.systemd.unreachable(&why)))),
                            None => return,
                        },
                        changed = self.systemd.bus.changed() => if changed.is_err() { return },
                    }
                }
            }
            if self.starts.is_closed() {
                return;
            }
        }
    }

    /// Follows the units over one connection until that is no longer the one in use.
    async fn follow(&mut self, connection: &Connection) -> zbus::Result<()> {
        let manager = ManagerProxy::new(connection).await?;
        let mut ears = self.listen(connection, &manager).await?;
        for name in self.names.clone() {
            self.look(connection, &mut ears, &name).await?;
        }
        loop {
            self.carry_out(&manager).await;
            self.probe();
            match self.wake(&mut ears).await {
                Woken::Over => return Ok(()),
                Woken::Unit(name) => self.look(connection, &mut ears, &name).await?,
                Woken::Start(start) => {
                    let name = start.workload.name.clone();
                    self.start(&manager, *start).await;
                    self.look(connection, &mut ears, &name).await?;
                }
                Woken::Wishes => {
                    self.late();
                    self.carry_out(&manager).await;
                    for name in self.names.clone() {
                        self.look(connection, &mut ears, &name).await?;
                    }
                }
                Woken::All => {
                    for name in self.names.clone() {
                        self.look(connection, &mut ears, &name).await?;
                    }
                }
            }
            self.late();
        }
    }

    async fn listen(&self, connection: &Connection, manager: &ManagerProxy<'_>) -> zbus::Result<Ears> {
        let jobs = manager.receive_job_removed().await?;
        let mut changes = SelectAll::new();
        for name in &self.names {
            let rule = MatchRule::builder()
                .msg_type(Type::Signal)
                .sender("org.freedesktop.systemd1")
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .path(unit_path(&unit_of(name)))
                .build()?;
            changes.push(MessageStream::for_match_rule(rule, connection, None).await?);
        }
        subscribe(manager).await?;
        Ok(Ears { jobs, changes })
    }

    /// Waits for a reason to do something.
    async fn wake(&mut self, ears: &mut Ears) -> Woken {
        let latest = Instant::now() + TICK;
        let deadline = self.shared.slots().values().filter_map(super::slot::Slot::deadline).min().unwrap_or(latest);
        let pause = deadline.min(latest).saturating_duration_since(Instant::now());
        // Every arm is a stream, channel or level that keeps what was not taken from it.
        tokio::select! {
            start = self.starts.recv() => start.map_or(Woken::Over, |start| Woken::Start(Box::new(start))),
            job = ears.jobs.next() => match job {
                Some(job) => match self.keep_job(&job) {
                    Some(name) => Woken::Unit(name),
                    None => Woken::Unit(String::new()),
                },
                None => Woken::Over,
            },
            change = ears.changes.next() => match change {
                Some(Ok(change)) => Woken::Unit(self.named(&change).unwrap_or_default()),
                Some(Err(_)) | None => Woken::Over,
            },
            Some(probe) = self.probes.join_next() => {
                if let Ok((name, generation, answer)) = probe {
                    self.shared.with(&name, |slot| {
                        if slot.generation == generation {
                            slot.probe_ended(answer, Instant::now());
                        }
                    });
                }
                Woken::Unit(String::new())
            },
            () = self.shared.poke.notified() => Woken::Wishes,
            _ = self.systemd.bus.changed() => Woken::Over,
            () = sleep(pause) => Woken::All,
        }
    }

    fn keep_job(&mut self, job: &super::proxies::JobRemoved) -> Option<String> {
        let args = job.args().ok()?;
        let name = self.names.iter().find(|name| unit_of(name) == args.unit)?.clone();
        self.jobs.insert(name.clone(), args.result.clone());
        Some(name)
    }

    fn named(&self, change: &zbus::Message) -> Option<String> {
        let header = change.header();
        let path = header.path()?.as_str();
        self.names.iter().find(|name| unit_path(&unit_of(name)) == path).cloned()
    }

    async fn look(&mut self, connection: &Connection, ears: &mut Ears, name: &str) -> zbus::Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let facts = Facts::read(connection, &unit_of(name)).await?;
        // What systemd said of jobs before it answered is in the queue by now.
        while let Some(Some(job)) = ears.jobs.next().now_or_never() {
            self.keep_job(&job);
        }
        let job = self.jobs.get(name).map(String::as_str);
        self.shared.with(name, |slot| slot.look(&facts, job, Instant::now()));
        Ok(())
    }

    async fn start(&mut self, manager: &ManagerProxy<'_>, start: Start) {
        let Start { workload, answer } = start;
        let unit = unit_of(&workload.name);
        self.jobs.remove(&workload.name);
        // systemd counts starts and would refuse after a few; pauses are the reconciler's business.
        let _not_failed = manager.reset_failed_unit(&unit).await;
        let result = manager.start_unit(&unit, "replace").await;
        let result = result.map(|_job| ()).map_err(|error| SystemdError::of(&error, &format!("start {unit}"), &unit));
        if result.is_ok() {
            self.shared.with(&workload.name, |slot| slot.started(&workload, Instant::now()));
        }
        // Nobody waits for it when the reconciler ended meanwhile.
        let _heard = answer.send(result);
    }

    /// Tells systemd what slots want. What it does not take is told again with the next look.
    async fn carry_out(&mut self, manager: &ManagerProxy<'_>) {
        let ending: Vec<String> = {
            let slots = self.shared.slots();
            let wanted = slots.iter().filter(|(_, slot)| slot.stop == Stop::Wanted);
            wanted.map(|(name, _)| name.clone()).collect()
        };
        for name in ending {
            match manager.stop_unit(&unit_of(&name), "replace").await {
                Ok(_job) => drop(self.shared.with(&name, |slot| slot.stop = Stop::Told)),
                Err(error) => tracing::warn!(%error, "systemd did not end {}", unit_of(&name)),
            }
        }
    }

    fn late(&mut self) {
        for name in &self.names {
            self.shared.with(name, |slot| slot.too_late(Instant::now()));
        }
    }

    fn probe(&mut self) {
        for (name, slot) in self.shared.slots().iter_mut() {
            if let Some((socket, within)) = slot.wants_probe(Instant::now()) {
                slot.probed = true;
                let (name, generation) = (name.clone(), slot.generation);
                self.probes.spawn(async move {
                    let ready = UnixClient::new(socket).wait_ready(within).await;
                    (name, generation, ready.map_err(|error| error.to_string()))
                });
            }
        }
    }
}
