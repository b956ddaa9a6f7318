//! Applies a network plan to the kernel: namespaces, veth pairs, VLANs of the trunk, addresses, routes, rules, settings, nftables.
//!
//! [`NetworkHost::apply`] looks at what is there, compares it with the plan and does only what is missing or too much; it needs no
//! hint about what changed and may be called again at any time. Routes and rules carry [`PROTOCOL`], so that those of other programs
//! (a DUT, a routing daemon) are neither seen nor touched. It decides nothing: the plan does.

mod act;
mod error;
mod namespace;
mod observe;
mod place;
pub(crate) mod probe;
mod router;
#[cfg(test)]
pub(crate) mod tests;
mod trunk;
#[cfg(test)]
mod trunk_tests;

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(test)]
use tbi_bench::netplan::Interface;
use tbi_bench::netplan::{Action, MacAddress, Namespace, NetworkPlan, NetworkState, RELEASE_TRUNK, diff};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval};

pub(crate) use error::NetworkError;
use namespace::Room;
use place::Place;
use trunk::Sublayer;
pub(crate) use trunk::{TrunkReport, TrunkState};

/// Marks our routes and rules in the kernel (`rtm_protocol`, `FRA_PROTOCOL`); not assigned to anybody in rtnetlink.h.
const PROTOCOL: u8 = 84;

/// A copper port takes two or three seconds to agree on a speed after it was started.
const CARRIER_PATIENCE: Duration = Duration::from_secs(5);
const CARRIER_EVERY: Duration = Duration::from_millis(100);

/// The namespaces of this machine, as far as they are ours.
#[derive(Debug, Default)]
pub(crate) struct NetworkHost {
    rooms: BTreeMap<Namespace, Room>,
    /// Scripts in force. nft has no cheap way to compare, and replacing a table by itself is harmless.
    firewalls: BTreeMap<Namespace, String>,
    /// The machine's own namespace, once a trunk is or was ours.
    machine: Option<Room>,
    /// Rules of the trunk that are in force.
    trunk_firewall: Option<String>,
    sublayer: Sublayer,
}

/// What [`NetworkHost::lay`] did and found.
#[derive(Debug)]
pub(crate) struct Laid {
    /// Steps it took, 0 when the kernel already looked like the plan.
    pub(crate) steps: usize,
    /// The trunk; when it is missing, everything but what hangs on it was laid.
    pub(crate) trunk: TrunkReport,
}

impl NetworkHost {
    /// Makes the kernel look like the plan; returns how many steps that took, 0 when it already did.
    ///
    /// # Errors
    /// The first step that failed; what was done before it stays, and a later call goes on from there.
    pub(crate) async fn apply(&mut self, plan: &NetworkPlan) -> Result<usize, NetworkError> {
        self.reach(&plan.state).await
    }

    /// Removes everything of ours.
    ///
    /// # Errors
    /// As [`Self::apply`].
    #[cfg(test)]
    pub(crate) async fn remove_all(&mut self) -> Result<usize, NetworkError> {
        self.reach(&NetworkState::default()).await
    }

    /// As [`Self::apply`], and tells how the trunk is doing. Without its NIC everything else is laid; a later call adds what was
    /// missing.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) async fn lay(&mut self, plan: &NetworkPlan) -> Result<Laid, NetworkError> {
        let Some(trunk) = plan.state.trunk else {
            if self.trunk_firewall.is_some() {
                self.release_trunk().await?;
            }
            return Ok(Laid { steps: self.reach(&plan.state).await?, trunk: TrunkReport::not_used() });
        };
        let nics = trunk::nics(self.machine().await?).await?;
        let Ok(nic) = trunk::find(&nics, trunk) else {
            let steps = self.reach(&plan.state.without_trunk()).await?;
            return Ok(Laid { steps, trunk: trunk::report(&nics, trunk) });
        };
        let patience = if nic.started { Duration::ZERO } else { CARRIER_PATIENCE };
        let steps = self.reach(&plan.state).await?;
        Ok(Laid { steps, trunk: self.trunk_with_carrier(trunk, patience).await? })
    }

    /// How the trunk is doing now. Changes nothing.
    ///
    /// # Errors
    /// When the machine's namespace cannot be looked at.
    pub(crate) async fn trunk(&mut self, trunk: Option<MacAddress>) -> Result<TrunkReport, NetworkError> {
        let Some(trunk) = trunk else { return Ok(TrunkReport::not_used()) };
        Ok(trunk::report(&trunk::nics(self.machine().await?).await?, trunk))
    }

    /// Forgets any trunk: what shut a NIC towards the machine is taken away. For a plan without one, after a plan with one that an
    /// earlier process may have laid.
    ///
    /// # Errors
    /// When nft refuses.
    pub(crate) async fn release_trunk(&mut self) -> Result<(), NetworkError> {
        act::firewall(self.machine().await?, RELEASE_TRUNK).await?;
        self.trunk_firewall = None;
        Ok(())
    }

    /// The trunk as soon as it has a carrier, or as it is when patience ends.
    async fn trunk_with_carrier(&mut self, trunk: MacAddress, patience: Duration) -> Result<TrunkReport, NetworkError> {
        let deadline = Instant::now() + patience;
        let mut ticks = interval(CARRIER_EVERY);
        loop {
            ticks.tick().await;
            let report = self.trunk(Some(trunk)).await?;
            if report.state != TrunkState::NoCarrier || Instant::now() >= deadline {
                return Ok(report);
            }
        }
    }

    async fn machine(&mut self) -> Result<&Room, NetworkError> {
        if self.machine.is_none() {
            self.machine = Some(Room::open(Place::Machine).await?);
        }
        self.opened_machine()
    }

    fn opened_machine(&self) -> Result<&Room, NetworkError> {
        self.machine.as_ref().ok_or(NetworkError::Absent { place: Place::Machine })
    }

    async fn reach(&mut self, wanted: &NetworkState) -> Result<usize, NetworkError> {
        for namespace in Namespace::ALL {
            if !self.rooms.contains_key(&namespace) && Room::exists(namespace) {
                self.rooms.insert(namespace, Room::open(Place::Bench(namespace)).await?);
            }
        }
        if wanted.trunk.is_some() {
            self.machine().await?;
        }
        let nics = match &self.machine {
            Some(machine) => trunk::nics(machine).await?,
            None => Vec::new(),
        };
        let mut found = observe::state(&self.rooms, &self.firewalls, &wanted.sysctls, (&nics, self.sublayer)).await?;
        if let (Some(trunk), Some(machine)) = (wanted.trunk, &self.machine)
            && let Ok(nic) = trunk::find(&nics, trunk)
            && trunk::is_set(machine, nic, self.trunk_firewall.as_ref()).await?
        {
            found.trunk = Some(trunk);
        }
        let actions = diff(&found, wanted);
        let steps = actions.len();
        for action in actions {
            self.act(action).await?;
        }
        Ok(steps)
    }

    /// Starts a program in a namespace. Its standard streams and environment are as `command` says.
    ///
    /// # Errors
    /// When the namespace is not there or the program cannot be started.
    pub(crate) async fn spawn_in(&self, namespace: Namespace, mut command: Command) -> Result<Child, NetworkError> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        // A child is born into the namespace of the thread that makes it.
        let child = self.room(namespace)?.run(move || command.spawn()).await?;
        let place = Place::Bench(namespace);
        child.map_err(|source| NetworkError::Spawn { place, program, source })
    }

    /// Pulls a cable: deletes a link of a namespace, and with it the other end. [`Self::apply`] puts it back.
    ///
    /// # Errors
    /// When there is no such link.
    #[cfg(test)]
    pub(crate) async fn delete_link(&self, namespace: Namespace, interface: &Interface) -> Result<(), NetworkError> {
        act::delete_link(self.room(namespace)?, interface).await
    }

    fn room(&self, namespace: Namespace) -> Result<&Room, NetworkError> {
        self.rooms.get(&namespace).ok_or(NetworkError::Absent { place: Place::Bench(namespace) })
    }

    async fn act(&mut self, action: Action) -> Result<(), NetworkError> {
        match action {
            Action::AddNamespace(namespace) => {
                let room = Room::create(namespace).await?;
                act::loopback_up(&room).await?;
                self.rooms.insert(namespace, room);
                Ok(())
            }
            Action::RemoveNamespace(namespace) => {
                self.rooms.remove(&namespace);
                self.firewalls.remove(&namespace);
                Room::remove(namespace)
            }
            Action::SetSysctl(sysctl) => act::set_sysctl(self.room(sysctl.namespace)?, sysctl).await,
            Action::SetFirewall(namespace, script) => {
                act::firewall(self.room(namespace)?, &script).await?;
                self.firewalls.insert(namespace, script);
                Ok(())
            }
            Action::RemoveFirewall(namespace) => {
                act::firewall(self.room(namespace)?, "delete table inet tbi\n").await?;
                self.firewalls.remove(&namespace);
                Ok(())
            }
            Action::AddLink(link) => {
                act::add_link(self.room(link.near.namespace)?, self.room(link.far.namespace)?, &link).await
            }
            Action::RemoveLink(link) => act::delete_link(self.room(link.near.namespace)?, &link.near.interface).await,
            Action::SetTrunk(trunk) => {
                self.trunk_firewall = Some(trunk::set(self.opened_machine()?, trunk).await?);
                Ok(())
            }
            Action::ReleaseTrunk(_) => self.release_trunk().await,
            Action::AddUplink(uplink) => {
                let room = self.room(uplink.end.namespace)?;
                trunk::add_uplink(self.opened_machine()?, room, &uplink, self.sublayer).await
            }
            Action::RemoveUplink(uplink) => {
                act::delete_link(self.room(uplink.end.namespace)?, &uplink.end.interface).await
            }
            Action::AddAddress(address) => act::add_address(self.room(address.end.namespace)?, &address).await,
            Action::RemoveAddress(address) => act::remove_address(self.room(address.end.namespace)?, &address).await,
            Action::AddRoute(route) => act::add_route(self.room(route.namespace)?, &route).await,
            Action::RemoveRoute(route) => act::remove_route(self.room(route.namespace)?, &route).await,
            Action::AddRule(rule) => act::add_rule(self.room(rule.namespace)?, &rule).await,
            Action::RemoveRule(rule) => act::remove_rule(self.room(rule.namespace)?, &rule).await,
        }
    }
}
