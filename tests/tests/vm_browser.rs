//! The same operator's day against the image: a new box in a virtual machine, reached through a forwarded port under its own name.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use tbi_tests::browser::{Target, walk};
use tbi_tests::vm::Machine;
use tbi_tests::vm::image::Image;

/// For what takes a moment on an emulated processor.
const SOON: Duration = Duration::from_secs(90);

#[test]
fn vm_browser_an_operators_day_on_a_new_box() {
    let mut machine = Machine::booted(&Image::built());
    // A saved machine continues at the time it was saved; its sessions would be over before they began.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    machine.sh(&format!("date --set=@{now}")).ok();
    machine.until_screen("makes the first administrator", SOON);
    let rows = machine.screen().rows();
    let row = rows.iter().find(|row| row.contains("Claim code")).unwrap();
    let code = row.split_whitespace().nth(2).unwrap().to_owned();
    let resolve = format!("tbi.local {}", machine.door_tcp());
    // Runs on an emulated processor take too long to be part of a story; `vm_campaign` measures there.
    let target = Target { url: "https://tbi.local/", code: &code, resolve: Some(&resolve), measures: false, lab: None };
    walk("story", "en", &target, Duration::from_secs(900));
}
