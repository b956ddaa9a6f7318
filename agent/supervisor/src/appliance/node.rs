//! The appliance as one value: facts that stay, memory that changes, and the parts behind [`super::seams`]. Handlers of the API ask it; what
//! they ask of the router is in [`router`], of the bench in [`bench`], of the setup in [`setup`], of trials in [`trial`].
//!
//! Nothing here blocks the reactor: disk and database are asked on a blocking thread, and a disk that does not answer is a sentence after
//! [`PATIENCE`], not an API that hangs.

mod bench;
mod router;
mod setup;
mod trial;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tbi_api::access::DoorCertificate;
use tbi_api::bench::Evidence as RecordEvidence;
use tbi_api::hardware::Hardware;
use tbi_api::health::Health;
use tbi_api::isp::Router;
use tbi_api::node::Capabilities;
use tbi_api::power;
use tbi_api::settings::{Change, Snapshot};
use tbi_api::status::{BootKind, BootReason, Status};
use tbi_api::trial::Outcome;
use tbi_daemon::Shutdown;
use tbi_ledger::Found;
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::books::Books;
use super::boot::{self, BootFacts};
use super::capabilities::{self, Equipment};
use super::checks::Checks;
use super::hardware;
use super::health::{self, Evidence};
use super::identity::{self, IdentityError, Node};
use super::memory::{ChangeError, InForce, Memory};
use super::nic::{FoundNic, Roles, choose};
use super::observe::{Observed, look};
use super::own_router::Slot;
use super::sealing::Sealer;
use super::seams::{self, Changed, ChosenRouter, Power, Reapply, Reporting, Runs, Workloads};
use super::sysfs::{self, Root};

/// A look is good for this long; consoles and dashboards ask once a second, and each look writes to the disk.
const FRESH: Duration = Duration::from_secs(5);
/// A disk that takes longer than this does not work.
const PATIENCE: Duration = Duration::from_secs(5);
/// Changes that wait to be carried out; more are one and the same work.
pub(crate) const WAITING_CHANGES: usize = 8;

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) root: Root,
    pub(crate) state: PathBuf,
    /// Directory of sockets and of what lives until the machine restarts.
    pub(crate) run: PathBuf,
}

/// Parts the API needs and does not know.
#[derive(Clone)]
pub(crate) struct Seams {
    pub(crate) runs: Arc<dyn Runs>,
    pub(crate) workloads: Arc<dyn Workloads>,
    pub(crate) power: Arc<dyn Power>,
    pub(crate) reapply: Arc<dyn Reapply>,
    pub(crate) reporting: Arc<dyn Reporting>,
    pub(crate) checks: Arc<dyn Checks>,
}

/// See the module.
pub(crate) struct Appliance {
    place: Place,
    seams: Seams,
    facts: BootFacts,
    last_boot: BootReason,
    node: Node,
    found: Found,
    slot: Slot,
    pub(super) books: Books,
    /// Only locked on blocking threads: it holds a database.
    memory: Arc<Mutex<Memory>>,
    in_force: RwLock<Arc<InForce>>,
    last_look: AsyncMutex<Option<(Instant, Seen)>>,
    changes: mpsc::Sender<Changed>,
    /// When the management network that is on trial is taken back.
    trial_until: watch::Sender<Option<Instant>>,
    reapply_trouble: Mutex<Option<String>>,
    /// As the door said last.
    door_certificate: Mutex<Option<DoorCertificate>>,
    /// What the newest record says, with the run that was the newest one then.
    evidence: Mutex<Option<(String, RecordEvidence)>>,
}

/// One look, with the cards there were.
#[derive(Debug, Clone, Default)]
struct Seen {
    nics: Vec<FoundNic>,
    roles: Roles,
    observed: Observed,
}

/// An order to the machine was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PowerError {
    #[error("a reason has 1 to 200 characters on one line, because the next start shows it")]
    Reason,
    #[error("{0}")]
    Refused(String),
}

impl Appliance {
    /// Finds out what and who the box is, and why it started. The receiver goes to [`Self::carry_out`].
    ///
    /// # Errors
    /// [`IdentityError`]; everything else that is wrong becomes a sentence.
    pub(crate) async fn open(
        place: Place,
        seams: Seams,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Changed>), IdentityError> {
        let now = Timestamp::now();
        let facts = boot::facts(&place.root);
        let mut memory = Memory::open(&place.state, now);
        let last_boot = match memory.begin_boot(&facts.boot_id, &facts.version, now) {
            Ok(boot) => BootReason { kind: kind(boot.kind), sentence: boot.sentence },
            Err(error) => BootReason {
                kind: BootKind::Unclean,
                sentence: format!("Why the machine started is not known: {error}."),
            },
        };
        let node = identity::load(&place.state, Sealer::of_machine(&place.root).as_ref(), now).await?;
        for sentence in memory.found().sentence().iter().chain(node.trouble.iter().map(|(_, sentence)| sentence)) {
            tracing::warn!("{sentence}");
        }
        match memory.ledger().note_restore(node.key.as_ref(), now) {
            Ok(None) => {}
            Ok(Some(entry)) => tracing::warn!(seq = entry.seq, detail = entry.detail, "the database was restored"),
            Err(error) => tracing::warn!(%error, "that the database was restored is not in the audit chain yet"),
        }
        let slot = Slot::of(&place.state);
        slot.tidy();
        let (changes, waiting) = mpsc::channel(WAITING_CHANGES);
        let appliance = Self {
            seams,
            facts,
            last_boot,
            node,
            found: memory.found().clone(),
            in_force: RwLock::new(Arc::new(memory.in_force().clone())),
            slot,
            books: Books::open(&place, memory.ledger()),
            memory: Arc::new(Mutex::new(memory)),
            last_look: AsyncMutex::new(None),
            changes,
            trial_until: watch::Sender::new(None),
            reapply_trouble: Mutex::new(None),
            door_certificate: Mutex::new(None),
            evidence: Mutex::new(None),
            place,
        };
        if appliance.in_force().trial.is_some()
            && let Err(error) = appliance.revert_trial(Outcome::Restarted).await
        {
            tracing::error!(%error, "a trial of before this start cannot be taken back for good; it is tried again");
            appliance.trial_until.send_replace(Some(Instant::now()));
        }
        Ok((Arc::new(appliance), waiting))
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn runs(&self) -> &dyn Runs {
        self.seams.runs.as_ref()
    }

    pub(crate) fn reporting(&self) -> &dyn Reporting {
        self.seams.reporting.as_ref()
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn health(&self) -> Health {
        let seen = self.look().await;
        self.judged(&seen)
    }

    pub(crate) async fn status(&self) -> Status {
        let seen = self.look().await;
        let health = self.judged(&seen);
        let mut unwell: Vec<_> = health.components.iter().filter(|part| !part.sentence.is_empty()).collect();
        unwell.sort_by_key(|part| std::cmp::Reverse(part.state));
        // Two parts may suffer from one thing, which is said once.
        let mut problems: Vec<String> = self.in_force().trial_sentence.iter().cloned().collect();
        for part in unwell {
            if !problems.contains(&part.sentence) {
                problems.push(part.sentence.clone());
            }
        }
        let runs = self.seams.runs.list();
        Status {
            version: self.facts.version.clone(),
            commit: self.facts.commit.clone(),
            variant: self.facts.variant.clone(),
            slot: self.facts.slot.clone(),
            host_name: self.place.root.text("proc/sys/kernel/hostname").unwrap_or_default(),
            addresses: seen.observed.addresses.clone(),
            management_interface: seen.roles.management.as_ref().map(|nic| nic.name.clone()),
            certificate_sha256: self.node.identity.certificate_sha256.clone(),
            door_certificate: self.door_certificate(),
            health: health.state,
            problems,
            last_boot: self.last_boot.clone(),
            uptime_seconds: seen.observed.uptime_seconds,
            time: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            time_synchronised: seen.observed.clock.synchronised,
            claim_code: self.claim().code(),
            run: runs.iter().find(|run| !run.state.is_over()).or_else(|| runs.first()).cloned(),
        }
    }

    /// The certificate that the door shows, once it has said so.
    pub(super) fn door_certificate(&self) -> Option<DoorCertificate> {
        self.door_certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The door said which certificate it shows.
    pub(super) fn door_shows(&self, certificate: DoorCertificate) {
        *self.door_certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    pub(crate) async fn hardware(&self) -> Hardware {
        let seen = self.look().await;
        let root = self.place.root.clone();
        // A probe reads some hundred small files of the kernel's; none of them is on a disk.
        hardware::probe(&root, &seen.nics, &seen.roles)
    }

    pub(crate) async fn capabilities(&self) -> Capabilities {
        let seen = self.look().await;
        capabilities::report(&Equipment {
            facts: &self.facts,
            roles: &seen.roles,
            trunk_wanted: self.in_force().checked.wanted.trunk.is_some(),
            tpm: Sealer::of_machine(&self.place.root).is_some(),
            key: self.node.identity.key_storage,
            frr: self.place.root.exists("usr/lib/machines/isp"),
            own: self.root_found().await.is_some(),
        })
    }

    /// Stores settings; they are carried out afterwards, and health says how that went.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub(crate) async fn change_settings(&self, change: Change) -> Result<Snapshot, ChangeError> {
        let changed = self.remembering(move |memory| memory.change_settings(change, Timestamp::now())).await;
        if changed.is_ok() {
            self.carry_out_other_settings().await;
        }
        changed
    }

    /// Stores a topology; it is carried out afterwards, and health says how that went.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub(crate) async fn change_topology(&self, yaml: String) -> Result<(), ChangeError> {
        let changed = self.remembering(move |memory| memory.change_topology(&yaml, Timestamp::now())).await;
        if changed.is_ok() {
            self.note(Changed::Topology);
        }
        changed
    }

    /// Writes down why and asks the machine to go down.
    ///
    /// # Errors
    /// [`PowerError`].
    pub(crate) async fn power(&self, order: power::Order) -> Result<(), PowerError> {
        let reason = order.reason.trim();
        if reason.is_empty() || reason.chars().count() > 200 || reason.chars().any(char::is_control) {
            return Err(PowerError::Reason);
        }
        let what = match order.action {
            power::Action::Reboot => "Restart",
            power::Action::PowerOff => "Power off",
        };
        let sentence = format!("{what} ordered: {reason}");
        tracing::info!("{sentence}");
        // A restart may be the cure for a disk that cannot be written, so it is not refused for the lack of a note.
        if let Err(error) = self.remembering(move |memory| memory.mark_ordered(&sentence)).await {
            tracing::warn!(%error, "the next start will not know why it happened");
        }
        let asked = self.seams.power.ask(order.action).await;
        if asked.is_err()
            && let Err(error) = self.remembering(Memory::withdraw_order).await
        {
            tracing::warn!(%error, "the next start will name an order that was refused");
        }
        asked.map_err(PowerError::Refused)
    }

    /// Notes the orderly end; a disk that does not answer does not hold it up.
    pub(crate) async fn end(&self) {
        let ending = async {
            self.settle_refusals().await;
            self.remembering(Memory::mark_clean).await
        };
        match timeout(PATIENCE, ending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the next start will take this end for a power cut"),
            Err(_) => tracing::warn!("the database does not answer; the next start will take this end for a power cut"),
        }
    }

    /// Carries changes out one after the other, and takes trials back that nobody confirmed, until `shutdown`. Run it as one task for as long
    /// as the agent lives.
    pub(crate) async fn carry_out(&self, waiting: mpsc::Receiver<Changed>, shutdown: Shutdown) {
        // A change may take a minute; the end of a trial is not held up by one.
        tokio::join!(self.carry_out_changes(waiting, shutdown.clone()), self.watch_trials(shutdown));
    }

    async fn carry_out_changes(&self, mut waiting: mpsc::Receiver<Changed>, shutdown: Shutdown) {
        let mut next = Some(Changed::Start);
        while let Some(what) = next {
            let in_force = self.in_force();
            let trunk = in_force.checked.wanted.trunk;
            let router = match in_force.checked.router {
                Router::Frr => ChosenRouter::Frr,
                Router::Own => ChosenRouter::Own(self.root_found().await.map(|root| root.sha256)),
            };
            let change = seams::Change { what, topology: in_force.topology.clone(), trunk, router };
            let done = self.seams.reapply.reapply(change).await;
            if let Err(why) = &done {
                tracing::warn!(?what, %why, "a change could not be carried out");
            }
            *self.reapply_trouble.lock().unwrap_or_else(PoisonError::into_inner) = done.err();
            // Cancel safe: `recv` loses nothing when it is dropped, and nobody needs what waits at the end.
            next = tokio::select! {
                changed = waiting.recv() => changed,
                () = shutdown.requested() => None,
            };
        }
    }

    fn note(&self, what: Changed) {
        // Full means that enough waits to carry out this change, too: what is done is read when it is done.
        let _enough_waits = self.changes.try_send(what);
    }

    /// Asks the database on a blocking thread, and publishes what is in force after it.
    pub(super) async fn remembering<T: Send + 'static, E: From<Lost> + Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Memory) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let memory = Arc::clone(&self.memory);
        let asking = tokio::task::spawn_blocking(move || {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = ask(&mut memory);
            (answer, Arc::new(memory.in_force().clone()))
        });
        let (answer, in_force) = asking.await.map_err(|_panicked| E::from(Lost))?;
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
        answer
    }

    fn judged(&self, seen: &Seen) -> Health {
        let in_force = self.in_force();
        let reapply = self.reapply_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut components = health::components(&Evidence {
            found: &self.found,
            in_force: &in_force,
            identity: &self.node.trouble,
            roles: &seen.roles,
            seen: &seen.observed,
            built: self.facts.built,
            reapply: &reapply,
        });
        components.retain(|part| !self.seams.workloads.lacks().contains(&part.name.as_str()));
        components.extend(self.books.components(&self.found));
        components.extend(self.seams.workloads.components());
        Health::of(components)
    }

    /// Looks around, at most once in [`FRESH`].
    async fn look(&self) -> Seen {
        let mut last = self.last_look.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return seen.clone();
        }
        let (place, wanted) = (self.place.clone(), self.in_force().checked.wanted);
        let looking = tokio::task::spawn_blocking(move || {
            let nics = sysfs::nics(&place.root);
            let roles = choose(&nics, wanted);
            let name = |role: &Option<FoundNic>| role.as_ref().map(|nic| nic.name.clone());
            let (management, trunk) = (name(&roles.management), name(&roles.trunk));
            let now = Timestamp::now().as_second();
            let observed = look(&place.root, &place.state, now, management.as_deref(), trunk.as_deref());
            Seen { nics, roles, observed }
        });
        let seen = match timeout(PATIENCE, looking).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) | Err(_) => {
                let mut seen = last.take().map(|(_, seen)| seen).unwrap_or_default();
                seen.observed.state.unwritable = Some(format!("it gave no answer within {} s", PATIENCE.as_secs()));
                seen
            }
        };
        *last = Some((Instant::now(), seen.clone()));
        seen
    }
}

/// The thread that asked the database panicked.
#[derive(Debug)]
pub(crate) struct Lost;

impl From<Lost> for tbi_ledger::LedgerError {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

impl From<Lost> for ChangeError {
    fn from(lost: Lost) -> Self {
        Self::Ledger { what: "nothing is known of the change", source: lost.into() }
    }
}

fn kind(kind: tbi_ledger::BootKind) -> BootKind {
    match kind {
        tbi_ledger::BootKind::First => BootKind::First,
        tbi_ledger::BootKind::Ordered => BootKind::Ordered,
        tbi_ledger::BootKind::Clean => BootKind::Clean,
        tbi_ledger::BootKind::Unclean => BootKind::Unclean,
    }
}
