//! The root file system: read-only, verified, and not run when it was tampered with.

use std::time::Duration;

use tbi_tests::vm::Machine;
use tbi_tests::vm::image::Image;
use tbi_tests::vm::machine::BOOT;
use tbi_tests::vm::until;

#[test]
fn vm_root_cannot_be_written() {
    let mut machine = Machine::booted(&Image::built());
    for path in ["/x", "/usr/x", "/usr/lib/tlsstress/x", "/usr/bin/bash"] {
        let output = machine.sh(&format!("printf x >> {path}"));
        assert_ne!(output.code, 0, "{path} was written");
        assert!(output.text.contains("Read-only file system"), "{path}: {}", output.text);
    }
    assert_ne!(machine.sh("mount -o remount,rw /").code, 0, "the root was made writable");
    assert_ne!(machine.sh("printf x >> /usr/bin/bash").code, 0);
    let source = machine.sh("findmnt --noheadings --output SOURCE,FSTYPE,OPTIONS /").ok();
    assert!(source.contains("erofs") && source.contains("ro"), "{source}");
    let table = machine.sh("dmsetup table --target verity").ok();
    assert!(table.contains("verity") && table.contains("restart_on_corruption"), "{table}");
}

#[test]
fn vm_root_flipped_byte_is_detected_and_not_run() {
    let image = Image::built();
    let mut machine = Machine::booted(&image);
    // The partition of the slot is named by the first half of the root hash (Discoverable Partitions Specification).
    let hash = &image.root_hash[..32];
    let uuid = [&hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..]].join("-");
    let slot = format!("/dev/disk/by-partuuid/{uuid}");
    machine.sh(&format!("test -b {slot}")).ok();
    // A few bytes in every mebibyte of the first 256: whatever is read next from the disk is hit soon.
    let at = "bs=512 seek=$((i * 2048 + 1))";
    let flip =
        format!("for i in $(seq 1 255); do printf TAMPERED | dd of={slot} {at} conv=notrunc status=none; done; sync");
    machine.sh(&flip).ok();
    // Looks at programs, from the disk and not from memory.
    let look = "cat /usr/bin/* /usr/lib/tlsstress/* /usr/lib/x86_64-linux-gnu/*.so* > /dev/null";
    let output = machine.sh(&format!("(sleep 1; echo 3 > /proc/sys/vm/drop_caches; {look}) &"));
    assert_eq!(output.code, 0, "{}", output.text);
    // It does not go on with what it read: the kernel restarts the machine.
    machine.wait_reset(Duration::from_secs(120));
    let said = |machine: &Machine, words: &str| String::from_utf8_lossy(&machine.serial()).contains(words);
    assert!(said(&machine, "is corrupted"), "the kernel names the block on the serial line");
    // And it does not start: the next attempt ends the same way, before anything of ours runs.
    machine.wait_reset(BOOT);
    until("the second detection", Duration::from_secs(10), || {
        (String::from_utf8_lossy(&machine.serial()).matches("is corrupted").count() >= 2).then_some(())
    });
    assert!(machine.api().status().is_none(), "tampered code answers");
}
