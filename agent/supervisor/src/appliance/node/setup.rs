//! What the wizard looks at: the clock, the card towards the device. Judged by [`super::super::setup`].

use jiff::Timestamp;
use tbi_api::setup::{TimeReport, TrunkCheck};

use super::super::observe::Clock;
use super::super::setup::{clock, trunk};
use super::Appliance;

impl Appliance {
    /// The clock and what it is set by.
    pub(crate) async fn time(&self) -> TimeReport {
        let seen = self.look().await;
        let networkd = self.place.root.text("run/systemd/netif/state").unwrap_or_default();
        clock::report(&clock::Seen {
            clock: Clock { now: Timestamp::now().as_second(), ..seen.observed.clock },
            servers: &self.in_force().snapshot.settings.ntp_servers,
            from_dhcp: &clock::named_by_dhcp(&networkd),
            built: self.facts.built,
        })
    }

    /// Looks at the card towards the device.
    pub(crate) async fn check_trunk(&self) -> TrunkCheck {
        // Somebody has just plugged something in: not what was seen seconds ago.
        *self.last_look.lock().await = None;
        let seen = self.look().await;
        let counted =
            |name: &str, what: &str| self.place.root.number(&format!("sys/class/net/{name}/statistics/{what}_packets"));
        let nic = seen.roles.trunk.as_ref();
        trunk::report(&trunk::Seen {
            wanted: self.in_force().checked.wanted.trunk,
            nic,
            frames: nic.and_then(|nic| counted(&nic.name, "rx").zip(counted(&nic.name, "tx"))),
            network: seen.observed.network.as_ref(),
        })
    }
}
