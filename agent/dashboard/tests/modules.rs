//! The modules of the pages, without a browser: their own decisions, run by Node over stand-ins for what a browser has.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

#[test]
fn what_is_typed_is_kept_for_its_writer_and_never_a_secret() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("node")
        .arg(here.join("tests/modules/keep.mjs"))
        .arg(here.join("assets"))
        .output()
        .expect("node is missing; install the package nodejs");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "every promise was kept");
}
