//! Life signs to the service manager (`WatchdogSec=`, sd_watchdog_enabled(3)), from the loop that serves. As `tbi_daemon::serve` sends them,
//! which the door does not use: it listens on no unix socket.

use std::time::Duration;

use tbi_daemon::notify;
use tokio::time::{MissedTickBehavior, interval};

/// Sends `WATCHDOG=1` at half the wanted interval, for ever; nothing, for ever, when no watchdog is set.
pub(crate) async fn life_signs() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let meant_for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let Some(usec) = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && meant_for_us) else {
        return std::future::pending().await;
    };
    let mut ticks = interval(Duration::from_micros(usec) / 2);
    // A process that was stopped and goes on sends one sign, not all it missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify("WATCHDOG=1");
    }
}
