//! `tbi-dashboard`, the program. All of it is in the library beside it.

fn main() -> anyhow::Result<()> {
    tbi_dashboard::run()
}
