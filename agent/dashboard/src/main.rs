//! `tbi-dashboard`, the program. All of it is in the library beside it.

/// Requests and connections are many small allocations; docs/decisions/0010 has what this one saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    tbi_dashboard::run()
}
