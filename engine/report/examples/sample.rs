//! Writes sample records and their reports into a directory, to look at:
//! `cargo run -p tbi-report --example sample -- DIR`. With `--fixture` it prints the committed fixture instead.
#![expect(clippy::print_stdout, reason = "printing is its purpose")]

use std::error::Error;
use std::path::PathBuf;

#[path = "../tests/common/mod.rs"]
mod common;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1).ok_or("name a directory, or --fixture")?;
    if argument == "--fixture" {
        print!("{}", tbi_report::json(&common::small())?);
        return Ok(());
    }
    let directory = PathBuf::from(argument);
    for (name, record) in [
        ("small", common::small()),
        ("short", common::short()),
        ("seconds", common::seconds()),
        ("empty", common::empty()),
    ] {
        std::fs::write(directory.join(format!("{name}.json")), tbi_report::json(&record)?)?;
        std::fs::write(directory.join(format!("{name}.html")), tbi_report::html(&record)?)?;
        println!("── {name} ──\n{}", tbi_report::table(&record, 100, tbi_report::Colour::Plain));
    }
    Ok(())
}
