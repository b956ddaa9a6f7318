//! The connection to systemd: kept by one task that connects again when the bus or systemd goes away, and what is asked over it
//! without being watched.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zbus::fdo::DBusProxy;
use zbus::{Connection, connection};

use super::proxies::{ManagerProxy, ServiceProxy};
use super::{ANSWER, SystemdError, unit_path};
use crate::process::Backoff;

/// Bus of the system.
pub(crate) const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// Name of systemd on the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// The connection as it is now.
#[derive(Debug, Clone)]
pub(super) enum Bus {
    /// Not known yet.
    Asking,
    /// There.
    Up(Connection),
    /// Not there, with why.
    Down(String),
}

/// systemd behind a bus. Clones share one connection, which ends with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Systemd {
    address: Arc<str>,
    pub(super) bus: watch::Receiver<Bus>,
    _keeper: Arc<Keeper>,
}

#[derive(Debug)]
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Systemd {
    /// Begins to keep a connection to the bus at `address`, a D-Bus address ([`SYSTEM_BUS`] on the appliance).
    pub(crate) fn on(address: &str) -> Self {
        let address: Arc<str> = address.into();
        let (tell, bus) = watch::channel(Bus::Asking);
        let keeper = Keeper(tokio::spawn(keep(Arc::clone(&address), tell)));
        Self { address, bus, _keeper: Arc::new(keeper) }
    }

    /// Why systemd cannot be asked now; `None` when it can, or when the first answer is still to come.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &*self.bus.borrow() {
            Bus::Up(_) | Bus::Asking => None,
            Bus::Down(why) => Some(self.unreachable(why).to_string()),
        }
    }

    /// Whether systemd can be asked now.
    #[cfg(test)]
    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.bus.borrow(), Bus::Up(_))
    }

    pub(super) fn unreachable(&self, why: &str) -> SystemdError {
        SystemdError::Unreachable { address: self.address.to_string(), why: why.to_owned() }
    }

    /// The connection; waits a moment for one that is on its way.
    async fn connection(&self) -> Result<Connection, SystemdError> {
        let mut bus = self.bus.clone();
        let up = timeout(ANSWER, bus.wait_for(|bus| matches!(bus, Bus::Up(_)))).await;
        if let Ok(Ok(now)) = up
            && let Bus::Up(connection) = &*now
        {
            return Ok(connection.clone());
        }
        let why = match &*self.bus.borrow() {
            Bus::Down(why) => why.clone(),
            Bus::Up(_) | Bus::Asking => "no answer".to_owned(),
        };
        Err(self.unreachable(&why))
    }

    async fn manager(&self) -> Result<ManagerProxy<'static>, SystemdError> {
        let connection = self.connection().await?;
        ManagerProxy::new(&connection).await.map_err(|error| self.unreachable(&error.to_string()))
    }

    /// Starts a oneshot unit and waits until it has done its work.
    ///
    /// # Errors
    /// [`SystemdError`]; [`SystemdError::Job`] when the unit failed.
    pub(crate) async fn oneshot(&self, unit: &str, within: Duration) -> Result<(), SystemdError> {
        let manager = self.manager().await?;
        let doing = format!("start {unit}");
        let fail = |error: zbus::Error| SystemdError::of(&error, &doing, unit);
        // First the ears, then the question: a short oneshot is over before its start is answered.
        let mut jobs = manager.receive_job_removed().await.map_err(fail)?;
        subscribe(&manager).await.map_err(fail)?;
        // A unit that failed often in a short time would be refused.
        let _never_failed = manager.reset_failed_unit(unit).await;
        let job = manager.start_unit(unit, "replace").await.map_err(fail)?;
        let ended = timeout(within, async {
            while let Some(removed) = jobs.next().await {
                if let Ok(args) = removed.args()
                    && args.job == job
                {
                    return Some(args.result.clone());
                }
            }
            None
        });
        let bad = |result: String| Err(SystemdError::Job { unit: unit.to_owned(), result });
        match ended.await {
            Ok(Some(result)) if result == "done" => Ok(()),
            Ok(Some(result)) => bad(result),
            Ok(None) => Err(self.unreachable("the connection ended")),
            Err(_elapsed) => bad(format!("it has not ended after {} s", within.as_secs())),
        }
    }

    /// Starts a unit and does not wait for what becomes of it; one that is starting or running goes on.
    ///
    /// # Errors
    /// [`SystemdError`] when systemd does not take the order.
    pub(crate) async fn start(&self, unit: &str) -> Result<(), SystemdError> {
        let manager = self.manager().await?;
        // A unit that failed often in a short time would be refused.
        let _never_failed = manager.reset_failed_unit(unit).await;
        let started = manager.start_unit(unit, "replace").await;
        started.map(|_job| ()).map_err(|error| SystemdError::of(&error, &format!("start {unit}"), unit))
    }

    /// Memory of a unit's control group, bytes; `None` when it does not run or is not accounted.
    pub(crate) async fn memory(&self, unit: &str) -> Option<u64> {
        let Bus::Up(connection) = self.bus.borrow().clone() else { return None };
        let service = ServiceProxy::new(&connection, unit_path(unit)).await.ok()?;
        service.memory_current().await.ok().filter(|bytes| *bytes != u64::MAX)
    }

    /// Starts the machine again, after ending everything cleanly.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub(crate) async fn reboot(&self) -> Result<(), SystemdError> {
        self.start_for_good("reboot.target", "reboot").await
    }

    /// Switches the machine off, after ending everything cleanly.
    ///
    /// # Errors
    /// [`SystemdError`].
    pub(crate) async fn power_off(&self) -> Result<(), SystemdError> {
        self.start_for_good("poweroff.target", "power off").await
    }

    /// A target that ends everything. Its own method of the manager is for root only; a start of the target asks polkit.
    async fn start_for_good(&self, target: &str, doing: &str) -> Result<(), SystemdError> {
        let answer = self.manager().await?.start_unit(target, "replace-irreversibly").await;
        answer.map(|_job| ()).map_err(|error| SystemdError::of(&error, doing, target))
    }
}

/// Asks for signals. Asking twice on one connection is no error worth telling.
pub(super) async fn subscribe(manager: &ManagerProxy<'_>) -> zbus::Result<()> {
    match manager.subscribe().await {
        Err(zbus::Error::MethodError(name, ..)) if name.as_str().ends_with("AlreadySubscribed") => Ok(()),
        other => other,
    }
}

async fn keep(address: Arc<str>, tell: watch::Sender<Bus>) {
    let mut failures = 0u32;
    loop {
        match follow(&address, &tell).await {
            Ok(()) => failures = 0,
            Err(_told) => failures = failures.saturating_add(1),
        }
        sleep(Backoff::PROGRAMS.pause(failures)).await;
    }
}

/// One connection from its beginning to its end. An error when it never came to be.
async fn follow(address: &str, tell: &watch::Sender<Bus>) -> zbus::Result<()> {
    let down = |why: String| {
        tracing::warn!(address, %why, "systemd cannot be asked");
        tell.send_replace(Bus::Down(why));
    };
    let connected = async {
        let connection = connection::Builder::address(address).method_timeout(ANSWER).build().await?;
        let bus = DBusProxy::new(&connection).await?;
        let owners = bus.receive_name_owner_changed_with_args(&[(0, SYSTEMD)]).await?;
        let there = bus.name_has_owner(SYSTEMD.try_into()?).await?;
        Ok::<_, zbus::Error>((connection, owners, there))
    };
    let connected = match timeout(ANSWER, connected).await {
        Ok(connected) => connected,
        Err(_elapsed) => Err(zbus::Error::Failure("no answer".to_owned())),
    };
    let (connection, mut owners, there) = connected.inspect_err(|error| down(error.to_string()))?;
    let say = |there: bool| {
        if there {
            tell.send_replace(Bus::Up(connection.clone()));
        } else {
            down("systemd is not on the bus".to_owned());
        }
    };
    say(there);
    while let Some(change) = owners.next().await {
        let Ok(args) = change.args() else { continue };
        say(args.new_owner().is_some());
    }
    down("the bus went away".to_owned());
    Ok(())
}
