//! What binds the box to its firmware and its hardware: Secure Boot with our key, which the firmware learns on the first start, and the box's
//! identity, which the machine's TPM holds.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tbi_api::health::State;
use tbi_api::node::{Capabilities, Identity, KeyStorage};
use tbi_tests::vm::image::Image;
use tbi_tests::vm::machine::BOOT;
use tbi_tests::vm::{Boot, Machine, Setup, tools, until};

const SOON: Duration = Duration::from_secs(90);
const LOADER: &str = "/EFI/BOOT/BOOTX64.EFI";

/// Path of the kernel image in the ESP as it is built, with its boot counter.
fn kernel_image(image: &Image) -> String {
    format!("/EFI/Linux/tbi_{}+3.efi", image.version)
}

fn serial(machine: &Machine) -> String {
    String::from_utf8_lossy(&machine.serial()).into_owned()
}

/// A machine that is refused its own disk: the firmware ends where it has nothing left to start, and says why on the way.
fn assert_refused(setup: Setup, why: &[&str]) -> Setup {
    let machine = setup.start();
    until("the firmware's last words", BOOT, || {
        serial(&machine).contains("No bootable option or device was found").then_some(())
    });
    let said = serial(&machine);
    assert!(why.iter().all(|words| said.contains(words)), "{why:?} is not what it says:\n{said}");
    // What the kernel and everything after it would have said first: the status screen, or what keeps it from coming.
    for alive in ["TLSStress.Art", "Linux version", "systemd["] {
        assert!(!said.contains(alive), "it runs all the same: {said}");
    }
    machine.power_cut()
}

fn capability(machine: &Machine, name: &str) -> (bool, String) {
    let list: Capabilities = machine.api().get("/v1/capabilities");
    let found = list.capabilities.into_iter().find(|it| it.name == name).unwrap();
    (found.available, found.sentence)
}

/// The kernel image signed by somebody whose key the firmware never saw, and well signed.
fn signed_by_a_stranger(image: &Image, setup: &Setup) -> PathBuf {
    let file = |name: &str| setup.folder().join(name);
    fs::write(file("plain.efi"), image.esp_file(&kernel_image(image))).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = tools::command(program).args(arguments).current_dir(setup.folder()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let subject = ["-subj", "/CN=stranger", "-keyout", "stranger.key", "-out", "stranger.crt"];
    run("openssl", &[&["req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "3650"][..], &subject].concat());
    run("sbattach", &["--remove", "plain.efi"]);
    run("sbsign", &["--key", "stranger.key", "--cert", "stranger.crt", "--output", "stranger.efi", "plain.efi"]);
    run("sbverify", &["--cert", "stranger.crt", "stranger.efi"]);
    file("stranger.efi")
}

#[test]
fn vm_secure_boot_learns_our_key_and_refuses_what_is_not_signed_with_it() {
    let image = Image::built();
    let loader = image.esp_file(LOADER);
    let kernel = image.esp_file(&kernel_image(&image));
    // Where an attacker would like to change something: what the root file system must hash to.
    let hash = kernel.windows(9).position(|bytes| bytes == b"roothash=").unwrap() + 9;
    let in_kernel = image.places_on_disk(&kernel)[0] + hash as u64;
    let in_loader: Vec<u64> = image.places_on_disk(&loader).iter().map(|at| at + loader.len() as u64 / 2).collect();

    let mut machine = Setup::of(&image).boot(Boot::SecureBoot).start();
    machine.wait_boot_complete();
    assert!(serial(&machine).contains("Secure Boot keys successfully enrolled"), "{}", serial(&machine));
    assert!(until("the status", SOON, || machine.api().status()).slot.secure_boot);
    assert_eq!(capability(&machine, "boot.secure"), (true, String::new()));
    machine.until_screen("Secure Boot on", SOON);
    let variable =
        |name: &str| format!("od -An -tu1 /sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    assert_eq!(machine.sh(&variable("SecureBoot")).ok().split_whitespace().last(), Some("1"));
    assert_eq!(machine.sh(&variable("SetupMode")).ok().split_whitespace().last(), Some("0"));
    machine.sh("sync").ok();

    // One bit of the loader: the firmware refuses it. It is there twice, and neither may be whole.
    let setup = machine.power_cut();
    let loader_byte = loader[loader.len() / 2];
    in_loader.iter().for_each(|at| setup.overwrite_disk(*at, 1, loader_byte ^ 1));
    let setup = assert_refused(setup, &["failed to load Boot", "Access Denied"]);
    in_loader.iter().for_each(|at| setup.overwrite_disk(*at, 1, loader_byte));

    // One bit of the kernel image: the loader is refused it.
    setup.overwrite_disk(in_kernel, 1, kernel[hash] ^ 1);
    let refusal = [r"Error loading \EFI\Linux\tbi_", ".efi: Access denied"];
    let setup = assert_refused(setup, &refusal);
    setup.overwrite_disk(in_kernel, 1, kernel[hash]);

    // As it was, it starts: nothing but that bit was refused.
    let machine = setup.start();
    let status = until("the status", BOOT, || machine.api().status());
    assert!(status.slot.secure_boot);
    assert_eq!(status.slot.root_hash.as_deref(), Some(image.root_hash.as_str()));

    // A whole disk by somebody else, in this machine.
    let setup = machine.power_cut();
    let stranger = signed_by_a_stranger(&image, &setup);
    setup.replace_disk(&kernel_image(&image), &stranger);
    let _off = assert_refused(setup, &refusal);
}

/// Who the box says it is, and where its key is.
fn identity(machine: &Machine) -> Identity {
    until("the status", BOOT, || machine.api().status());
    machine.api().get("/v1/identity")
}

#[test]
fn vm_secure_identity_is_held_by_the_tpm_and_another_tpm_is_another_box() {
    let image = Image::built();
    let mut machine = Setup::of(&image).tpm("own").start();
    machine.wait_boot_complete();
    let first = identity(&machine);
    assert_eq!(first.key_storage, KeyStorage::SealedToTpm, "{:?}", machine.api().component("identity"));
    assert_eq!(capability(&machine, "identity.tpm"), (true, String::new()));
    assert_eq!(machine.api().get::<tbi_api::hardware::Hardware>("/v1/hardware").tpm.as_deref(), Some("2.0"));
    assert_eq!(machine.api().component("identity").unwrap().state, State::Healthy);
    // On the disk it is in no other form, and it is bound to no PCR (the first eight bytes of systemd's `struct tpm2_credential_header`,
    // behind 48 of its general header): the firmware's settings may change, and it is the same box.
    let secrets = "/var/lib/tlsstress/secrets";
    assert_ne!(machine.sh(&format!("grep --recursive --quiet 'PRIVATE KEY' {secrets}")).code, 0, "the key is in clear");
    let pcrs = machine.sh(&format!("base64 -d {secrets}/node.key.sealed | od -An -tx1 -j48 -N8")).ok();
    assert_eq!(pcrs.split_whitespace().collect::<String>(), "0000000000000000");
    machine.sh("sync").ok();

    let machine = machine.power_cut().start();
    let again = identity(&machine);
    assert_eq!(again, first, "the same box after a start");

    // The disk in another machine.
    let mut machine = machine.power_cut().tpm("another").start();
    let moved = identity(&machine);
    assert_ne!(moved.node_id, first.node_id);
    assert_ne!(moved.certificate_sha256, first.certificate_sha256);
    assert_eq!(moved.key_storage, KeyStorage::SealedToTpm, "the new key is held by the new TPM");
    let trouble = machine.api().component("identity").unwrap();
    assert_eq!(trouble.state, State::Degraded);
    let (wrong, advice) = ("the disk comes from another machine", "compare the new certificate fingerprint");
    assert!(trouble.sentence.contains(wrong) && trouble.sentence.contains(advice), "{}", trouble.sentence);
    machine.wait_boot_complete();
    machine.until_screen(wrong, SOON);
    machine.until_screen(advice, SOON);
    let kept = machine.sh(&format!("ls {secrets}")).ok();
    assert!(kept.contains("node.key.sealed.broken-"), "the old key is not thrown away: {kept}");
}
