//! The router between device and personas: which one there is, the operator's own in its slot, and whether their configuration fits. What the
//! slot is on the disk is [`super::super::own_router`]'s.

use axum::body::Bytes;
use futures_util::Stream;
use tbi_api::isp::{Check, Isp, Root as RouterRoot, Router};
use tbi_bench::catalogue::Catalogue;
use tbi_bench::isp::vyos;
use tbi_bench::topology::Topology;
use tokio::time::timeout;

use super::super::memory::Memory;
use super::super::own_router::{Slot, SlotError};
use super::super::seams::Changed;
use super::{Appliance, Lost, PATIENCE};

impl Appliance {
    /// Which router there is between device and personas.
    pub(crate) async fn isp(&self) -> Isp {
        Isp { router: self.in_force().checked.router, root: self.root_found().await }
    }

    /// Puts a router's root file system into the slot.
    ///
    /// # Errors
    /// [`SlotError`].
    pub(crate) async fn import_root<E>(
        &self,
        announced: Option<u64>,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<RouterRoot, SlotError> {
        // Said before gigabytes are sent for nothing; looked at again when they are there.
        let slot = self.slot.clone();
        self.remembering(move |memory| not_in_use(memory, &slot)).await?;
        let received = self.slot.receive(announced, pieces).await?;
        let slot = self.slot.clone();
        let placed = self.remembering(move |memory| {
            not_in_use(memory, &slot)?;
            slot.place(received)
        });
        let placed = placed.await?;
        tracing::info!(sha256 = placed.sha256, bytes = placed.bytes, "a router's root file system was imported");
        self.note(Changed::Root);
        Ok(placed)
    }

    /// Empties the slot.
    ///
    /// # Errors
    /// [`SlotError`].
    pub(crate) async fn remove_root(&self) -> Result<Isp, SlotError> {
        let slot = self.slot.clone();
        let removed = self.remembering(move |memory| {
            not_in_use(memory, &slot)?;
            slot.remove()
        });
        removed.await?;
        Ok(self.isp().await)
    }

    /// What a router in the slot is given.
    pub(crate) fn config_boot(&self) -> String {
        vyos::write_for_the_slot(&self.topology_in_force()).to_string()
    }

    /// Judges an operator's file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn check_config_boot(&self, text: &str) -> Result<Check, vyos::ReadError> {
        let (tree, topology) = (vyos::Tree::parse(text)?, self.topology_in_force());
        let interfaces = vyos::missing_addresses(&tree, &topology, &Catalogue::builtin());
        Ok(Check { routes: vyos::missing_routes(&tree, &topology), interfaces })
    }

    fn topology_in_force(&self) -> Topology {
        // What is in force was parsed before; the built-in one stands in all the same rather than a panic.
        Topology::parse(&self.in_force().topology, &Catalogue::builtin()).unwrap_or_else(|_| Topology::builtin())
    }

    /// What is in the slot; a disk that does not answer has nothing.
    pub(super) async fn root_found(&self) -> Option<RouterRoot> {
        let slot = self.slot.clone();
        let looking = tokio::task::spawn_blocking(move || slot.found());
        timeout(PATIENCE, looking).await.ok()?.ok()?
    }
}

impl From<Lost> for SlotError {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

/// An empty slot may be filled although it is chosen: that is the cure.
fn not_in_use(memory: &Memory, slot: &Slot) -> Result<(), SlotError> {
    match memory.in_force().checked.router {
        Router::Own if slot.found().is_some() => Err(SlotError::InUse),
        Router::Own | Router::Frr => Ok(()),
    }
}
