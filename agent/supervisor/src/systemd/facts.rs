//! What systemd says of a unit, and in which words a person hears how it ended. Pure but for [`Facts::read`].

use std::collections::HashMap;

use nix::sys::signal::Signal;
use zbus::fdo::PropertiesProxy;
use zbus::{Connection, OwnedVariant};

use super::proxies::UnitProxy;
use super::unit_path;

/// How a unit ends that another one keeps from starting.
pub(crate) const NEEDS_FAILED: &str = "not started: a unit it depends on failed";
/// `si_code` of a child that exited, from `waitid`.
const CLD_EXITED: i32 = 1;
/// ... that was killed.
const CLD_KILLED: i32 = 2;
/// ... that was killed and left a core.
const CLD_DUMPED: i32 = 3;

/// Properties of one unit at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) active: String,
    pub(super) sub: String,
    /// Differs with every start.
    pub(super) invocation: Vec<u8>,
    /// 0 when there is none.
    pub(super) job: u32,
    /// Whether the conditions of its unit held when it was started last.
    pub(super) condition: bool,
    pub(super) result: String,
    pub(super) pid: u32,
    pub(super) code: i32,
    pub(super) status: i32,
    /// What it told systemd of itself.
    pub(super) text: String,
}

impl Facts {
    /// Asks systemd.
    pub(super) async fn read(connection: &Connection, unit: &str) -> zbus::Result<Self> {
        let path = unit_path(unit);
        let proxy = UnitProxy::builder(connection)
            .path(path.as_str())
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        // Before the rest: a job that is over by then has left its traces in what follows.
        let (job, _) = proxy.job().await?;
        let all = PropertiesProxy::new(connection, "org.freedesktop.systemd1", path.as_str()).await?;
        let mut unit = all.get_all("org.freedesktop.systemd1.Unit".try_into()?).await?;
        let mut service = all.get_all("org.freedesktop.systemd1.Service".try_into()?).await?;
        Ok(Self {
            active: take(&mut unit, "ActiveState"),
            sub: take(&mut unit, "SubState"),
            invocation: take(&mut unit, "InvocationID"),
            job,
            condition: take(&mut unit, "ConditionResult"),
            result: take(&mut service, "Result"),
            pid: take(&mut service, "MainPID"),
            code: take(&mut service, "ExecMainCode"),
            status: take(&mut service, "ExecMainStatus"),
            text: take(&mut service, "StatusText"),
        })
    }

    /// Whether it has, or is about to have, or still has a process.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "activating" | "deactivating" | "refreshing")
    }

    /// How it ended, for a person. `job` is what became of the job that started it, when that is known.
    pub(super) fn ending(&self, job: Option<&str>) -> String {
        if self.active == "inactive" || self.code == 0 {
            match job {
                Some("dependency") => return NEEDS_FAILED.to_owned(),
                Some("canceled") => return "not started: somebody cancelled it".to_owned(),
                // systemd calls a start that a condition forbids done.
                Some("done" | "skipped") if !self.condition => {
                    return "not started: a condition of its unit does not hold".to_owned();
                }
                Some("assert") => return "not started: an assertion of its unit does not hold".to_owned(),
                Some("invalid" | "unsupported") => return "not started: its unit cannot be started".to_owned(),
                _ => {}
            }
        }
        let how = self.process_end();
        let how = match self.result.as_str() {
            "timeout" => format!("its unit's time was over ({how})"),
            "watchdog" => format!("it no longer fed its watchdog ({how})"),
            "oom-kill" => format!("memory ran out ({how})"),
            "resources" => "not started: systemd could not set up what its unit asks for".to_owned(),
            "start-limit-hit" => "not started: systemd found it was started too often".to_owned(),
            "protocol" => format!("it did not tell systemd that it was ready ({how})"),
            _ => how,
        };
        if self.text.is_empty() { how } else { format!("{how}; it last said: {}", self.text) }
    }

    fn process_end(&self) -> String {
        match self.code {
            CLD_KILLED | CLD_DUMPED => {
                let core = if self.code == CLD_DUMPED { " (core dumped)" } else { "" };
                Signal::try_from(self.status).map_or_else(
                    |_unknown| format!("killed by signal {}{core}", self.status),
                    |signal| format!("killed by {signal}{core}"),
                )
            }
            CLD_EXITED => match before_the_program(self.status) {
                Some(why) => format!("exit status {}: {why}", self.status),
                None => format!("exit status {}", self.status),
            },
            _ => "it had no process".to_owned(),
        }
    }
}

/// Exit statuses with which systemd's own code before the program ends (systemd.exec(5), "Process Exit Codes").
fn before_the_program(status: i32) -> Option<&'static str> {
    Some(match status {
        200 => "systemd could not enter its working directory",
        203 => "systemd could not execute its program",
        213 => "systemd could not open its standard output",
        216 | 217 => "its user or group does not exist",
        218 => "systemd could not set its capabilities",
        219 => "systemd could not put it into its control group",
        225 => "systemd could not enter its network namespace",
        226 => "systemd could not set up its file system view",
        228 => "systemd could not set its system call filter",
        233 | 238..=240 => "systemd could not make one of its directories",
        243 => "systemd could not hand it its credentials",
        _ => return None,
    })
}

fn take<T: TryFrom<OwnedVariant> + Default>(properties: &mut HashMap<String, OwnedVariant>, name: &str) -> T {
    properties.remove(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(result: &str, code: i32, status: i32) -> Facts {
        Facts { active: "failed".to_owned(), result: result.to_owned(), code, status, ..Facts::default() }
    }

    #[test]
    fn ends_read_as_sentences() {
        assert_eq!(failed("signal", CLD_KILLED, 9).ending(None), "killed by SIGKILL");
        assert_eq!(failed("core-dump", CLD_DUMPED, 11).ending(None), "killed by SIGSEGV (core dumped)");
        assert_eq!(failed("signal", CLD_KILLED, 60).ending(None), "killed by signal 60");
        assert_eq!(failed("exit-code", CLD_EXITED, 2).ending(Some("failed")), "exit status 2");
        let talked = Facts { text: "the persona CA has expired".to_owned(), ..failed("exit-code", CLD_EXITED, 1) };
        assert_eq!(talked.ending(None), "exit status 1; it last said: the persona CA has expired");
        assert!(failed("exit-code", CLD_EXITED, 203).ending(None).contains("could not execute its program"));
        assert_eq!(failed("oom-kill", CLD_KILLED, 9).ending(None), "memory ran out (killed by SIGKILL)");
        assert!(failed("watchdog", CLD_DUMPED, 6).ending(None).contains("watchdog (killed by SIGABRT"));
        assert!(failed("timeout", CLD_KILLED, 15).ending(None).contains("time was over (killed by SIGTERM)"));
        let inactive = Facts { active: "inactive".to_owned(), ..Facts::default() };
        assert_eq!(inactive.ending(Some("done")), "not started: a condition of its unit does not hold");
        assert_eq!(inactive.ending(Some("dependency")), "not started: a unit it depends on failed");
        assert_eq!(
            failed("resources", 0, 0).ending(Some("failed")),
            "not started: systemd could not set up what its unit asks for"
        );
    }
}
