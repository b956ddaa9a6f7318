//! Applies a network plan to the kernel: namespaces, veth pairs, addresses, routes, rules, settings, nftables.
//!
//! [`NetworkHost::apply`] looks at what is there, compares it with the plan and does only what is missing or too much; it needs no
//! hint about what changed and may be called again at any time. Routes and rules carry [`PROTOCOL`], so that those of other programs
//! (a DUT, a routing daemon) are neither seen nor touched. It decides nothing: the plan does.

mod act;
mod error;
mod namespace;
mod observe;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

#[cfg(test)]
use tbi_bench::netplan::Interface;
use tbi_bench::netplan::{Action, Namespace, NetworkPlan, NetworkState, diff};
use tokio::process::{Child, Command};

pub(crate) use error::NetworkError;
use namespace::Room;

/// Marks our routes and rules in the kernel (`rtm_protocol`, `FRA_PROTOCOL`); not assigned to anybody in rtnetlink.h.
const PROTOCOL: u8 = 84;

/// The namespaces of this machine, as far as they are ours.
#[derive(Debug, Default)]
pub(crate) struct NetworkHost {
    rooms: BTreeMap<Namespace, Room>,
    /// Scripts in force. nft has no cheap way to compare, and replacing a table by itself is harmless.
    firewalls: BTreeMap<Namespace, String>,
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

    async fn reach(&mut self, wanted: &NetworkState) -> Result<usize, NetworkError> {
        for namespace in Namespace::ALL {
            if !self.rooms.contains_key(&namespace) && Room::exists(namespace) {
                self.rooms.insert(namespace, Room::open(namespace).await?);
            }
        }
        let found = observe::state(&self.rooms, &self.firewalls, &wanted.sysctls).await?;
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
        child.map_err(|source| NetworkError::Spawn { namespace, program, source })
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
        self.rooms.get(&namespace).ok_or(NetworkError::Absent { namespace })
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
            Action::AddAddress(address) => act::add_address(self.room(address.end.namespace)?, &address).await,
            Action::RemoveAddress(address) => act::remove_address(self.room(address.end.namespace)?, &address).await,
            Action::AddRoute(route) => act::add_route(self.room(route.namespace)?, &route).await,
            Action::RemoveRoute(route) => act::remove_route(self.room(route.namespace)?, &route).await,
            Action::AddRule(rule) => act::add_rule(self.room(rule.namespace)?, &rule).await,
            Action::RemoveRule(rule) => act::remove_rule(self.room(rule.namespace)?, &rule).await,
        }
    }
}
