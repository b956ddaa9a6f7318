//! systemd, told and watched over D-Bus: the appliance's implementation of [`crate::process::Backend`], and the few other things the
//! agent asks of the service manager (a oneshot unit, memory of a unit, reboot).
//!
//! ```text
//!  Systemd ── one task keeps the bus connection ──▶ watch: Up(connection) | Down(sentence)
//!     ├─ Units      the backend: one task subscribes first, then looks; every signal only makes it look again
//!     └─ oneshot(), memory(), reboot(), power_off()
//! ```
//!
//! The bus address is configuration. Nothing here decides what should run. A bus that goes away does not end units: their last state
//! stands until it is back, starts fail with a sentence meanwhile, and then every unit is looked at afresh.

mod bus;
mod facts;
mod proxies;
mod slot;
#[cfg(test)]
pub(crate) mod tests;
mod units;
mod watcher;

use std::time::Duration;

pub(crate) use bus::{SYSTEM_BUS, Systemd};
pub(crate) use facts::NEEDS_FAILED;
pub(crate) use units::{Units, unit_of};

/// How long systemd may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// systemd did not do what was asked. One sentence with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SystemdError {
    /// No bus, or nobody on it.
    #[error(
        "systemd cannot be asked over the bus {address} ({why}); it is asked again by itself, reboot the box when it stays so"
    )]
    Unreachable {
        /// Bus.
        address: String,
        /// Last error.
        why: String,
    },
    /// No answer in time.
    #[error("systemd did not answer within {} s when asked to {doing}; it is asked again by itself, reboot the box when it stays so", ANSWER.as_secs())]
    Silent {
        /// What was asked of it.
        doing: String,
    },
    /// No such unit.
    #[error("there is no unit {unit}; the image lacks it, install the image of this version again")]
    Missing {
        /// Unit.
        unit: String,
    },
    /// Masked.
    #[error(
        "unit {unit} is masked, so systemd refuses to start it; remove the link {unit} to /dev/null below /etc/systemd/system or /run/systemd/system"
    )]
    Masked {
        /// Unit.
        unit: String,
    },
    /// polkit said no.
    #[error(
        "the agent may not {doing} ({why}); the image's polkit rule for units named tbi-* is missing, install the image again"
    )]
    Denied {
        /// What was asked of it.
        doing: String,
        /// Words of systemd.
        why: String,
    },
    /// Any other refusal.
    #[error("systemd refuses to {doing} ({why}); look at the unit with `systemctl status`")]
    Refused {
        /// What was asked of it.
        doing: String,
        /// Words of systemd.
        why: String,
    },
    /// A job did not end well.
    #[error("unit {unit} did not do its work ({result}); look at its log with `journalctl -u {unit}`")]
    Job {
        /// Unit.
        unit: String,
        /// What became of it.
        result: String,
    },
    /// What the agent remembers of a unit cannot be kept.
    #[error("cannot write {path} ({why}); check that the directory is writable and the disk not full")]
    Record {
        /// File.
        path: String,
        /// The system's words.
        why: String,
    },
}

impl SystemdError {
    /// What an error of a call about `unit` means.
    fn of(error: &zbus::Error, doing: &str, unit: &str) -> Self {
        use zbus::fdo;
        let (doing, unit) = (doing.to_owned(), unit.to_owned());
        match error {
            zbus::Error::MethodError(name, text, _) => {
                let why = text.clone().unwrap_or_else(|| name.to_string());
                match name.as_str() {
                    "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.systemd1.LoadFailed"
                        if why.contains("not found") || why.contains("not loaded") =>
                    {
                        Self::Missing { unit }
                    }
                    "org.freedesktop.systemd1.UnitMasked" => Self::Masked { unit },
                    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => Self::Denied { doing, why },
                    _ => Self::Refused { doing, why },
                }
            }
            zbus::Error::FDO(inner) => match inner.as_ref() {
                fdo::Error::AccessDenied(why) | fdo::Error::InteractiveAuthorizationRequired(why) => {
                    Self::Denied { doing, why: why.clone() }
                }
                fdo::Error::FileNotFound(_) => Self::Missing { unit },
                fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => Self::Silent { doing },
                other => Self::Refused { doing, why: other.to_string() },
            },
            zbus::Error::InputOutput(io) if io.kind() == std::io::ErrorKind::TimedOut => Self::Silent { doing },
            other => Self::Refused { doing, why: other.to_string() },
        }
    }
}

/// Object path of a unit: every byte that is no letter or digit becomes `_` and its two hex digits, a leading digit, too.
fn unit_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}
