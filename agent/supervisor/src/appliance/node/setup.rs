//! What the wizard looks at: the clock, the card towards the device. Judged by [`super::super::setup`].

use jiff::Timestamp;
use tbi_api::setup::{TimeReport, TrunkCheck};

use super::super::checks::ProbeRefused;
use super::super::observe::Clock;
use super::super::setup::{clock, trunk};
use super::Appliance;
use crate::network::probe::ProbeOutcome;

/// What the probes in the two namespaces left.
const PROBES: [&str; 2] = ["run/tlsstress-probe/agents/outcome.json", "run/tlsstress-probe/isp/outcome.json"];

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
            probes: &self.probes(),
        })
    }

    /// What was seen when the trunk was asked last, by namespace; nothing of one that was never asked.
    fn probes(&self) -> [Option<ProbeOutcome>; 2] {
        PROBES.map(|path| serde_json::from_str(&self.place.root.text(path)?).ok())
    }

    /// Asks the trunk who has the addresses of the topology, and looks at it.
    ///
    /// # Errors
    /// [`ProbeRefused`].
    pub(crate) async fn probe_trunk(&self) -> Result<TrunkCheck, ProbeRefused> {
        if self.in_force().checked.wanted.trunk.is_none() {
            return Err(ProbeRefused::NoTrunk);
        }
        let before = self.probes();
        match self.checks().probe().await {
            Ok(()) => Ok(self.check_trunk().await),
            // The program's own words, if it got as far as saying any, are better than systemd's about it.
            Err(ProbeRefused::NotDone(why)) => {
                let fresh = self.probes().into_iter().zip(before).filter(|(now, before)| now != before);
                let mut said = fresh.filter_map(|(now, _)| Some(now?.sentence).filter(|said| !said.is_empty()));
                Err(ProbeRefused::NotDone(said.next().unwrap_or(why)))
            }
            Err(refused) => Err(refused),
        }
    }
}
