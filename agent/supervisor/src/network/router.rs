//! Waits until the ISP router shows the routes the plan expects of it, whoever put them there.

use std::collections::BTreeSet;
use std::time::Duration;

use tbi_bench::netplan::{Namespace, Route};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::namespace::Room;
use super::place::Place;
use super::{NetworkError, NetworkHost, observe};

/// FRR follows a link within some ten milliseconds; asking costs two dumps of a small table.
const EVERY: Duration = Duration::from_millis(100);

impl NetworkHost {
    /// Enters a namespace that somebody else made.
    ///
    /// # Errors
    /// When it is not there or cannot be entered.
    pub(crate) async fn join(&mut self, namespace: Namespace) -> Result<(), NetworkError> {
        self.rooms.insert(namespace, Room::open(Place::Bench(namespace)).await?);
        Ok(())
    }

    /// Waits until every expected route is in force and nothing else leads to its destination. What is still missing at the deadline
    /// is the answer; an empty one is success.
    ///
    /// # Errors
    /// When the ISP router's namespace cannot be looked at.
    pub(crate) async fn missing_routes(
        &self,
        expected: &BTreeSet<Route>,
        patience: Duration,
    ) -> Result<Vec<Route>, NetworkError> {
        let deadline = Instant::now() + patience;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found =
                if expected.is_empty() { Vec::new() } else { observe::main_routes(self.room(Namespace::Isp)?).await? };
            let in_force = |wanted: &&Route| {
                let mut same = found.iter().filter(|route| route.destination == wanted.destination).peekable();
                same.peek().is_some() && same.all(|route| route == *wanted)
            };
            let missing: Vec<Route> = expected.iter().filter(|wanted| !in_force(wanted)).cloned().collect();
            if missing.is_empty() || Instant::now() >= deadline {
                return Ok(missing);
            }
        }
    }
}
