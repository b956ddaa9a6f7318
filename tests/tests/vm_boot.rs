//! Starting the image: from its firmware to `boot-complete.target`, on disks of every size, after a power cut, and what the partitions
//! look like each time.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::Value;
use tbi_api::power::{Action, Order};
use tbi_api::status::BootKind;
use tbi_tests::vm::image::Image;
use tbi_tests::vm::machine::BOOT;
use tbi_tests::vm::until;
use tbi_tests::vm::{Machine, Setup};

const GIB: u64 = 1 << 30;

/// Partitions of the machine's disk, in order of their place.
fn partitions(machine: &mut Machine) -> Vec<Value> {
    let text = machine.sh("sfdisk --json /dev/vda").ok();
    let mut table: Value = serde_json::from_str(&text).unwrap();
    let mut partitions: Vec<Value> = table["partitiontable"]["partitions"].as_array_mut().unwrap().drain(..).collect();
    partitions.sort_by_key(|partition| partition["start"].as_u64());
    partitions
}

fn label(partition: &Value) -> &str {
    partition["name"].as_str().unwrap_or_default()
}

fn bytes(partition: &Value) -> u64 {
    partition["size"].as_u64().unwrap() * 512
}

/// Both slots are there and alike, the first with this version, the second empty; the rest of the disk is state, and /var is on it.
fn assert_slots_and_state(machine: &mut Machine, image: &Image, disk: u64) {
    let partitions = partitions(machine);
    let labels: Vec<&str> = partitions.iter().map(label).collect();
    assert_eq!(partitions.len(), 8, "{labels:?}");
    let version = format!("tbi_{}", image.version);
    assert_eq!(labels.iter().filter(|label| **label == version).count(), 3, "slot A: {labels:?}");
    assert_eq!(labels.iter().filter(|label| **label == "_empty").count(), 3, "slot B: {labels:?}");
    let sizes = |wanted: &str| {
        let mut sizes: Vec<u64> = partitions.iter().filter(|partition| label(partition) == wanted).map(bytes).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&version), sizes("_empty"), "an update must fit: {labels:?}");
    let others: u64 = partitions.iter().filter(|partition| label(partition) != "state").map(bytes).sum();
    let state = partitions.iter().find(|partition| label(partition) == "state").map(bytes).unwrap();
    assert!(state + others > disk - disk / 50, "state has {state} of what {others} of {disk} bytes leave");
    let source = machine.sh("findmnt --noheadings --output SOURCE,FSTYPE,SIZE --bytes /var").ok();
    let fields: Vec<&str> = source.split_whitespace().collect();
    assert_eq!(fields[1], "ext4", "{source}");
    assert!(fields[2].parse::<u64>().unwrap() > state / 10 * 9, "the file system fills its partition: {source}");
}

#[test]
fn vm_boot_reaches_boot_complete_and_the_api_answers() {
    let image = Image::built();
    let mut machine = Machine::booted(&image);
    assert_eq!(machine.sh("systemctl is-active boot-complete.target").ok().trim(), "active");
    let status = until("the status", Duration::from_secs(60), || machine.api().status());
    assert_eq!(status.version, image.version);
    assert_eq!(status.variant, "debug");
    assert_eq!(status.slot.root_hash.as_deref(), Some(image.root_hash.as_str()));
    assert_eq!(status.slot.label, format!("tbi_{}", image.version));
    assert_eq!(status.last_boot.kind, BootKind::First, "{}", status.last_boot.sentence);
    assert!(!status.addresses.is_empty(), "QEMU's network has a DHCP server");
    assert!(status.host_name.starts_with("tbi-"), "{}", status.host_name);
    for path in [
        "/v1/identity",
        "/v1/hardware",
        "/v1/capabilities",
        "/v1/settings",
        "/v1/topology",
        "/v1/runs",
        "/openapi.json",
    ] {
        let _value: Value = machine.api().get(path);
    }
    // The boot loader's counter was taken off: this version is known to be good.
    let kernels = machine.sh("ls /boot/EFI/Linux /efi/EFI/Linux 2>/dev/null").text;
    assert!(kernels.contains(&format!("tbi_{}.efi", image.version)), "the kernel image is still counted: {kernels}");
    assert_eq!(machine.sh("systemctl --failed --no-legend --plain").ok().trim(), "", "no unit has failed");

    let address = status.addresses[0].split('/').next().unwrap_or_default().to_owned();
    machine.until_screen(&format!("https://{address}/"), Duration::from_secs(60));
    machine.until_screen(&status.host_name, Duration::from_secs(10));
    machine.until_screen(&image.root_hash[..16], Duration::from_secs(10));
    assert_slots_and_state(&mut machine, &image, 16_000_000_000);
}

#[test]
fn vm_boot_power_cut_keeps_state_and_the_second_boot_changes_nothing() {
    let image = Image::built();
    let mut machine = Machine::booted(&image);
    let before = partitions(&mut machine);
    let identity: Value = machine.api().get("/v1/identity");
    let mut settings: Value = machine.api().get("/v1/settings");
    settings["settings"]["host_name"] = "kept-over-a-power-cut".into();
    let change = serde_json::json!({ "based_on": settings["version"], "settings": settings["settings"] });
    let stored: Value = machine.api().send("PUT", "/v1/settings", &change).expect(200).json();
    // A setup that was begun: some of its steps were done, one was left out.
    let locale: Value = serde_json::json!({ "language": "pt-BR", "zone": "America/Sao_Paulo" });
    let _kept = machine.api().send("PUT", "/v1/locale", &locale).expect(200);
    for (step, state) in [("language", "done"), ("name", "skipped")] {
        let path = format!("/v1/setup/steps/{step}");
        let _marked = machine.api().send("PUT", &path, &serde_json::json!({ "state": state })).expect(200);
    }
    let setup: tbi_api::setup::Setup = machine.api().get("/v1/setup");
    let boot = machine.boot_id();

    let mut machine = machine.power_cut().start();
    machine.wait_boot_complete();
    assert_ne!(machine.boot_id(), boot);
    assert_eq!(partitions(&mut machine), before, "the second boot changes no partition");
    assert_eq!(machine.api().get::<Value>("/v1/identity"), identity, "the box is still the same");
    let kept: Value = machine.api().get("/v1/settings");
    assert_eq!((&kept["version"], &kept["settings"]), (&stored["version"], &stored["settings"]));
    assert_eq!(machine.api().get::<tbi_api::setup::Setup>("/v1/setup"), setup, "the setup goes on where it was");
    assert_eq!(machine.api().get::<Value>("/v1/locale"), locale);
    let status = until("the status", Duration::from_secs(60), || machine.api().status());
    assert_eq!(status.last_boot.kind, BootKind::Unclean, "{}", status.last_boot.sentence);
    assert_eq!(status.host_name, "kept-over-a-power-cut", "settings are rendered at each boot");

    // The third boot, ordered with a reason.
    let order = Order { action: Action::Reboot, reason: "the third boot of a test".to_owned() };
    let _accepted = machine.api().send("POST", "/v1/power", &order).expect(202);
    machine.wait_reset(Duration::from_secs(120));
    machine.wait_boot_complete();
    let serial = String::from_utf8_lossy(&machine.serial()).into_owned();
    assert!(!serial.contains("Failed unmounting"), "something held a file system until the end");
    assert_eq!(partitions(&mut machine), before, "the third boot changes no partition");
    let status = until("the status", Duration::from_secs(60), || machine.api().status());
    assert_eq!(status.last_boot.kind, BootKind::Ordered, "{}", status.last_boot.sentence);
    assert!(status.last_boot.sentence.contains("the third boot of a test"), "{}", status.last_boot.sentence);

    // Everything ends in order when somebody presses the button: no daemon has to be killed, nothing is in the way of the state partition.
    let mut machine = machine.power_button(Duration::from_secs(90)).start();
    machine.wait_boot_complete();
    let status = until("the status", Duration::from_secs(60), || machine.api().status());
    assert_eq!(status.last_boot.kind, BootKind::Clean, "{}", status.last_boot.sentence);
}

#[test]
fn vm_boot_first_boot_on_64_gb() {
    let image = Image::built();
    let disk = 64 * GIB;
    let mut machine = Setup::of(&image).disk_bytes(disk).start();
    machine.wait_boot_complete();
    assert_slots_and_state(&mut machine, &image, disk);
}

/// The smallest disk, and everything around the box missing or wrong: it still boots, and says so on its own screen and to its own API.
#[test]
fn vm_boot_first_boot_on_8_gb_without_network_and_with_a_wrong_clock() {
    let image = Image::built();
    let disk = 8 * GIB;
    let mut machine = Setup::of(&image).disk_bytes(disk).without_network().clock("2001-01-01T00:00:00").start();
    machine.wait_boot_complete();
    assert_slots_and_state(&mut machine, &image, disk);
    let ask = "curl --silent --fail --max-time 10 --unix-socket /run/tlsstress/agent.sock http://tbi/v1/health";
    let health: tbi_api::health::Health =
        serde_json::from_str(&machine.until_sh(ask, Duration::from_secs(60))).unwrap();
    for part in ["management", "clock"] {
        let component = health.components.iter().find(|component| component.name == part).unwrap();
        assert!(component.state > tbi_api::health::State::Healthy, "{part}: {component:?}");
        assert!(!component.sentence.is_empty(), "{part} does not say what to do");
        machine.until_screen(&component.sentence, Duration::from_secs(60));
    }
    machine.until_screen("no address on the management network", Duration::from_secs(30));
}

#[test]
fn vm_boot_disk_too_small_says_so() {
    let image = Image::built();
    // Room for what the image brings, none for a second slot and state.
    let raw = std::fs::metadata(image.raw()).unwrap().len();
    let machine = Setup::of(&image).disk_bytes(raw + (64 << 20)).start();
    until("a sentence about the disk on the serial line", BOOT, || {
        let serial = String::from_utf8_lossy(&machine.serial()).to_lowercase();
        (serial.contains("too small") && serial.contains("disk")).then_some(())
    });
}
