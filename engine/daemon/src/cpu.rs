//! Processor time of this process, as the kernel accounts it.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tbi_bench::control::CpuTime;

/// User and system time of all threads of this process since it started, µs (`getrusage(RUSAGE_SELF)`).
#[must_use]
pub fn cpu_time() -> CpuTime {
    // getrusage fails only for a bad `who` or pointer (getrusage(2)), and both are fixed here; zero keeps the type total.
    getrusage(UsageWho::RUSAGE_SELF).map_or_else(
        |_| CpuTime::default(),
        |usage| CpuTime {
            user_us: u64::try_from(usage.user_time().num_microseconds()).unwrap_or(0),
            system_us: u64::try_from(usage.system_time().num_microseconds()).unwrap_or(0),
        },
    )
}
