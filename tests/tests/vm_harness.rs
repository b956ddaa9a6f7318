//! The harness itself: what every other test of a machine stands on.

use std::time::{Duration, Instant};

use tbi_tests::vm::Machine;
use tbi_tests::vm::image::Image;

#[test]
fn vm_harness_two_machines_continue_from_one_boot_and_share_nothing() {
    let image = Image::built();
    let mut one = Machine::booted(&image);
    let started = Instant::now();
    let mut two = Machine::booted(&image);
    assert!(started.elapsed() < Duration::from_secs(60), "a machine that continues took {:?}", started.elapsed());

    assert_eq!(one.sh("exit 3 | cat; (exit 7)").code, 7);
    assert_eq!(one.sh("printf 'a\\nb'; echo no >&2").ok(), "a\nbno\n");
    assert_eq!(one.boot_id(), two.boot_id(), "both come from one boot");
    one.sh("echo one > /var/tmp/vm-harness && sync").ok();
    assert_ne!(two.sh("test -e /var/tmp/vm-harness").code, 0, "the disks are apart");
    assert!(two.try_sh("sleep 30", Duration::from_secs(1)).is_none());

    // After a reset the shell is there again, and it is another boot.
    let before = one.boot_id();
    one.reset();
    one.wait_reset(Duration::from_secs(20));
    one.wait_boot_complete();
    assert_ne!(one.boot_id(), before);
    assert_eq!(one.sh("cat /var/tmp/vm-harness").ok(), "one\n");
    let text = String::from_utf8(one.serial()).unwrap_or_default();
    assert!(!text.is_empty(), "the serial line carried nothing");

    drop(one);
    assert_eq!(two.sh("true").code, 0, "ending one machine ends no other");
}
