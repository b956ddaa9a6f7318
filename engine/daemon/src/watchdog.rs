//! Life signs to the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)). They come from the main loop itself, one turn each, so a
//! loop that hangs or is starved stops them and the manager starts the daemon anew. No thread of its own: that would go on alone.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::notify::notify;

/// How often the manager wants to hear from this process; `None` when it does not.
fn wanted(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok().filter(|usec| *usec > 0)?;
    // WATCHDOG_PID names whom it is meant for; a child that inherited the environment is not.
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    Some(Duration::from_micros(usec))
}

/// Sends `WATCHDOG=1` at half the wanted interval, for ever; does nothing, for ever, when no watchdog is set. Poll it in the task whose
/// turning is to be shown.
pub async fn life_signs() {
    let variable = |name: &str| std::env::var(name).ok();
    let wanted = wanted(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id());
    let Some(wanted) = wanted else { return std::future::pending().await };
    // A process that was stopped and goes on sends one sign, not all it missed.
    let mut ticks = interval(wanted / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify("WATCHDOG=1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_meant_sends_life_signs() {
        assert_eq!(wanted(Some("20000000"), None, 7), Some(Duration::from_secs(20)));
        assert_eq!(wanted(Some("20000000"), Some("7"), 7), Some(Duration::from_secs(20)));
        for (usec, pid) in [(None, None), (Some("0"), None), (Some("soon"), None), (Some("20000000"), Some("8"))] {
            assert_eq!(wanted(usec, pid, 7), None);
        }
    }
}
