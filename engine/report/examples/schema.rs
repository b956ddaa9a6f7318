//! Prints the JSON Schema of the run record: `cargo run -p tbi-report --example schema > engine/report/schema/run-v1.json`.
#![expect(clippy::print_stdout, reason = "printing is its whole purpose")]

fn main() {
    println!("{:#}", tbi_report::schema());
}
