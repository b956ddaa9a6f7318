//! What the box can be used for, with the reason where it cannot. Pure. A capability says what is possible, never what is allowed.

use tbi_api::node::{Capabilities, Capability, KeyStorage};

use super::boot::BootFacts;
use super::nic::Roles;

/// What there is.
#[derive(Debug)]
pub(crate) struct Equipment<'a> {
    pub(crate) facts: &'a BootFacts,
    pub(crate) roles: &'a Roles,
    pub(crate) trunk_wanted: bool,
    pub(crate) tpm: bool,
    pub(crate) key: KeyStorage,
    /// Whether the image carries the FRR container.
    pub(crate) frr: bool,
    /// Whether the operator put a router's root file system into the slot.
    pub(crate) own: bool,
}

pub(crate) fn report(equipment: &Equipment<'_>) -> Capabilities {
    let Equipment { facts, roles, .. } = equipment;
    let capability = |name: &str, available: bool, otherwise: &str| Capability {
        name: name.to_owned(),
        available,
        sentence: if available { String::new() } else { otherwise.to_owned() },
    };
    let external = match (&roles.trunk, equipment.trunk_wanted) {
        (Some(_), _) => String::new(),
        (None, true) => roles.trunk_sentence.clone().unwrap_or_default(),
        (None, false) => "No trunk is chosen; choose the card towards the device in the settings.".to_owned(),
    };
    let key = match (equipment.key, equipment.tpm) {
        (KeyStorage::SealedToTpm, _) => String::new(),
        (_, true) => "There is a TPM 2.0, but the box's key is not sealed to it.".to_owned(),
        (_, false) => "There is no TPM 2.0, so the box's key is not bound to the machine.".to_owned(),
    };
    let mut capabilities = vec![
        capability(
            "boot.secure",
            facts.slot.secure_boot,
            "The firmware did not enforce Secure Boot; switch it on there.",
        ),
        capability(
            "boot.verified",
            facts.slot.root_hash.is_some(),
            "The root file system is not verified; this is no release image.",
        ),
        capability("identity.tpm", key.is_empty(), &key),
        capability(
            "isp.frr",
            equipment.frr,
            "This image carries no FRR container; routes towards the personas are static.",
        ),
        capability(
            "isp.own",
            equipment.own,
            "No root file system of a router was imported; send one with PUT /v1/isp/root.",
        ),
        capability("measure.external_dut", external.is_empty(), &external),
        capability(
            "measure.practice_dut",
            !equipment.trunk_wanted,
            "A trunk is chosen; remove it from the settings to measure through the practice DUT.",
        ),
    ];
    // Compiled into engine and personas, whatever the machine.
    capabilities.extend(["protocol.h1", "protocol.h2", "protocol.h3"].map(|name| capability(name, true, "")));
    Capabilities { capabilities }
}

#[cfg(test)]
mod tests {
    use super::super::boot::facts;
    use super::super::nic::{Wanted, choose, tests::nic};
    use super::super::sysfs::tests::fixture;
    use super::*;

    fn available(trunk: Option<&str>, tpm: bool, key: KeyStorage) -> Vec<String> {
        let (_dir, root) =
            fixture(&[("proc/cmdline", "roothash=4c6f5f4cb9f94a0fb1d6d5f7a0e9c8d7b6a5948372615049382716055f4e3d2c")]);
        let trunk = trunk.and_then(|mac| mac.parse().ok());
        let cards = [nic("ens3", "52:54:00:00:00:03", "a1"), nic("ens4", "52:54:00:00:00:04", "a2")];
        let roles = choose(&cards, Wanted { management: None, trunk });
        let facts = facts(&root);
        let equipment =
            Equipment { facts: &facts, roles: &roles, trunk_wanted: trunk.is_some(), tpm, key, frr: true, own: false };
        let report = report(&equipment);
        assert!(report.capabilities.is_sorted_by_key(|it| it.name.clone()));
        for capability in &report.capabilities {
            assert_eq!(capability.available, capability.sentence.is_empty(), "{capability:?}");
        }
        report.capabilities.into_iter().filter(|it| it.available).map(|it| it.name).collect()
    }

    #[test]
    fn each_lack_is_explained() {
        let protocols = ["protocol.h1", "protocol.h2", "protocol.h3"];
        let with = |more: &[&'static str]| [more, &protocols[..]].concat();
        assert_eq!(
            available(None, false, KeyStorage::StatePartition),
            with(&["boot.verified", "isp.frr", "measure.practice_dut"])
        );
        assert_eq!(
            available(Some("52:54:00:00:00:04"), true, KeyStorage::SealedToTpm),
            with(&["boot.verified", "identity.tpm", "isp.frr", "measure.external_dut"])
        );
        assert_eq!(
            available(Some("52:54:00:00:00:77"), true, KeyStorage::ThisStartOnly),
            with(&["boot.verified", "isp.frr"])
        );
    }
}
