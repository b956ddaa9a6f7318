//! The backend against a real systemd: `systemd --user` on its own D-Bus bus, in namespaces of the test's own, with units the test made.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};

use super::*;
use crate::network::tests::in_namespaces;
use crate::process::{Backoff, Event, Happening, Launch, Readiness, Supervisor, Workload};

/// Everything here takes well below a second; another compiler on the machine must not matter.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A systemd that ends with the value.
pub(crate) struct Stand {
    _systemd: Child,
}

/// Bus of the stand.
pub(crate) const BUS: &str = "unix:path=/run/user/0/bus";
const UNITS: &str = "/run/units";

impl Stand {
    /// Starts a systemd that knows these units; call inside [`in_namespaces`].
    pub(crate) async fn with(units: &[(&str, String)]) -> Self {
        for (program, package) in [("/usr/lib/systemd/systemd", "systemd"), ("/usr/bin/dbus-daemon", "dbus-daemon")] {
            assert!(
                Path::new(program).exists(),
                "{program} is not installed; install the Debian package {package} (`cargo tbi test` does)"
            );
        }
        for directory in ["/run/systemd/system", "/run/user/0", "/run/home", UNITS] {
            fs::create_dir_all(directory).unwrap();
        }
        let bus = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
                   \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>session</type>\
                   <listen>unix:path=/run/user/0/bus</listen><auth>EXTERNAL</auth><policy context=\"default\">\
                   <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy>\
                   </busconfig>";
        fs::write("/run/bus.conf", bus).unwrap();
        unit("default.target", "Wants=dbus.socket dbus.service\n", "");
        unit("shutdown.target", "", "");
        unit("dbus.socket", "", "[Socket]\nListenStream=/run/user/0/bus\n");
        unit(
            "dbus.service",
            "Requires=dbus.socket\n",
            "[Service]\nExecStart=/usr/bin/dbus-daemon --config-file=/run/bus.conf --address=systemd: --nofork --nopidfile\n",
        );
        for (name, text) in units {
            fs::write(Path::new(UNITS).join(name), text).unwrap();
        }
        let systemd = Command::new("/usr/lib/systemd/systemd")
            .args(["--user", "--log-target=null"])
            .env("XDG_RUNTIME_DIR", "/run/user/0")
            .env("HOME", "/run/home")
            .env("DBUS_SESSION_BUS_ADDRESS", BUS)
            .env("SYSTEMD_UNIT_PATH", UNITS)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let there = Systemd::on(BUS);
        until("systemd is on its bus", || there.is_up()).await;
        Self { _systemd: systemd }
    }
}

/// Waits until `is` holds.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn unit(name: &str, unit: &str, rest: &str) {
    fs::write(Path::new(UNITS).join(name), unit_text(unit, rest)).unwrap();
}

pub(crate) fn unit_text(unit: &str, rest: &str) -> String {
    format!("[Unit]\nDefaultDependencies=no\n{unit}{rest}")
}

/// A service that runs this line.
pub(crate) fn service(line: &str) -> String {
    unit_text("", &format!("[Service]\nTimeoutStopSec=5\nExecStart={line}\n"))
}

fn socket(name: &str) -> PathBuf {
    Path::new("/run").join(format!("{name}.sock"))
}

/// A service that answers on the workload's socket after these lines of a unit.
pub(crate) fn daemon(name: &str, more: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let line = format!("{} --exact process::tests::fake_daemon --nocapture", this.display());
    unit_text("", &format!("[Service]\nEnvironment=TBI_FAKE={}\nExecStart={line}\n{more}", socket(name).display()))
}

fn workload(name: &str, definition: &str) -> Workload {
    Workload {
        name: name.to_owned(),
        launch: Launch::Unit { definition: definition.to_owned() },
        readiness: Readiness::Socket(socket(name)),
        needs: Vec::new(),
        ready_within: SOON,
    }
}

fn supervisor(names: &[&str]) -> Supervisor {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(100)).unwrap();
    Supervisor::start(Units::new(Systemd::on(BUS), names, PathBuf::from("/run/records")), backoff)
}

async fn next(events: &mut broadcast::Receiver<Event>) -> Happening {
    timeout(SOON, events.recv()).await.unwrap().unwrap().what
}

async fn died(events: &mut broadcast::Receiver<Event>) -> String {
    loop {
        if let Happening::Died { status } = next(events).await {
            return status;
        }
    }
}

fn kill(pid: u32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// `systemctl` of the stand.
async fn systemctl(words: &[&str]) {
    let status = Command::new("systemctl")
        .arg("--user")
        .args(words)
        .env("XDG_RUNTIME_DIR", "/run/user/0")
        .env("DBUS_SESSION_BUS_ADDRESS", BUS)
        .status()
        .await
        .unwrap();
    assert!(status.success(), "systemctl {words:?}");
}

#[test]
fn units_are_found_on_the_bus_by_their_escaped_names() {
    assert_eq!(unit_path("tbi-practice-dut.service"), "/org/freedesktop/systemd1/unit/tbi_2dpractice_2ddut_2eservice");
    assert_eq!(unit_path("0a@b.service"), "/org/freedesktop/systemd1/unit/_30a_40b_2eservice");
}

#[test]
fn a_killed_unit_is_reported_with_its_signal_and_comes_back() {
    in_namespaces("systemd::tests::a_killed_unit_is_reported_with_its_signal_and_comes_back", || async {
        let _stand = Stand::with(&[("tbi-engine.service", daemon("engine", ""))]).await;
        let supervisor = supervisor(&["engine"]);
        let mut events = supervisor.events();
        supervisor.want(vec![workload("engine", "a")]);
        supervisor.wait_ready(SOON).await.unwrap();
        for times in 1..=10 {
            let (Happening::Started { pid } | Happening::Restarted { pid, .. }) = next(&mut events).await else {
                panic!("not started, {times}")
            };
            assert_ne!(pid, 0);
            assert_eq!(next(&mut events).await, Happening::Ready);
            kill(pid);
            assert_eq!(next(&mut events).await, Happening::Died { status: "killed by SIGKILL".to_owned() }, "{times}");
        }
        supervisor.wait_ready(SOON).await.unwrap();
        let systemd = Systemd::on(BUS);
        until("systemd is asked", || systemd.is_up()).await;
        let memory = systemd.memory(&units::unit_of("engine")).await;
        assert!(memory.is_none_or(|bytes| bytes > 0), "{memory:?}");
        supervisor.shut_down(SOON).await.unwrap();
        assert!(fs::read_dir("/proc").unwrap().flatten().all(|entry| {
            let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            !line.contains("process::tests::fake_daemon")
        }));
    });
}

#[test]
fn a_changed_definition_replaces_the_unit() {
    in_namespaces("systemd::tests::a_changed_definition_replaces_the_unit", || async {
        let _stand = Stand::with(&[("tbi-engine.service", daemon("engine", ""))]).await;
        let supervisor = supervisor(&["engine"]);
        let mut events = supervisor.events();
        supervisor.want(vec![workload("engine", "one worker")]);
        supervisor.wait_ready(SOON).await.unwrap();
        supervisor.want(vec![workload("engine", "two workers")]);
        supervisor.wait_ready(SOON).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 5 {
            seen.push(next(&mut events).await);
        }
        assert!(
            matches!(
                seen.as_slice(),
                [
                    Happening::Started { .. },
                    Happening::Ready,
                    Happening::Stopped,
                    Happening::Restarted { .. },
                    Happening::Ready
                ]
            ),
            "{seen:?}"
        );
    });
}

#[test]
fn a_unit_that_never_becomes_ready_is_ended_and_reported() {
    in_namespaces("systemd::tests::a_unit_that_never_becomes_ready_is_ended_and_reported", || async {
        let units = [
            ("tbi-personas.service", service("/bin/sleep 4711")),
            ("tbi-isp.service", unit_text("", "[Service]\nType=notify\nExecStart=/bin/sleep 4712\n")),
        ];
        let _stand = Stand::with(&units).await;
        let supervisor = supervisor(&["personas", "isp"]);
        let mut events = supervisor.events();
        let soon = |workload| Workload { ready_within: Duration::from_secs(1), ..workload };
        supervisor.want(vec![soon(workload("personas", ""))]);
        let status = died(&mut events).await;
        assert!(status.contains("/run/personas.sock") && status.contains("not ready after"), "{status}");
        supervisor.want(vec![soon(Workload { readiness: Readiness::Unit, ..workload("isp", "") })]);
        loop {
            let event = timeout(SOON, events.recv()).await.unwrap().unwrap();
            if let (Happening::Died { status }, "isp") = (&event.what, event.workload.as_str()) {
                assert_eq!(status, "its unit did not say that it is ready in time");
                break;
            }
        }
        supervisor.shut_down(SOON).await.unwrap();
    });
}

#[test]
fn a_unit_that_says_itself_that_it_is_ready() {
    in_namespaces("systemd::tests::a_unit_that_says_itself_that_it_is_ready", || async {
        let line = "/bin/sh -c 'systemd-notify --ready --status=routing; exec sleep 4713'";
        let text = unit_text("", &format!("[Service]\nType=notify\nNotifyAccess=all\nExecStart={line}\n"));
        let _stand = Stand::with(&[("tbi-isp.service", text)]).await;
        let supervisor = supervisor(&["isp"]);
        let mut events = supervisor.events();
        supervisor.want(vec![Workload { readiness: Readiness::Unit, ..workload("isp", "") }]);
        supervisor.wait_ready(SOON).await.unwrap();
        let Happening::Started { pid } = next(&mut events).await else { panic!("not started") };
        assert_eq!(next(&mut events).await, Happening::Ready);
        kill(pid);
        assert_eq!(died(&mut events).await, "killed by SIGKILL; it last said: routing");
    });
}

/// As `tbi-isp-own.service` is: ready when another program says so.
#[test]
fn a_unit_that_another_program_declares_ready_or_not() {
    in_namespaces("systemd::tests::a_unit_that_another_program_declares_ready_or_not", || async {
        let judged = |main: &str, judge: &str| {
            let lines =
                format!("ExecStart=/bin/sh -c '{main}'\nExecStartPost=/bin/sh -c '{judge}' judge ${{MAINPID}}\n");
            unit_text("", &format!("[Service]\nType=exec\nNotifyAccess=all\n{lines}"))
        };
        let verdict = "systemd-notify --status=\"no routes\"; exit 1";
        let gone = "while test -d /proc/$1; do sleep 0.1; done; ".to_owned() + verdict;
        let units = [
            ("tbi-good.service", judged("exec sleep 4721", "test -f /run/go")),
            ("tbi-idle.service", judged("exec sleep 4722", verdict)),
            ("tbi-dies.service", judged("sleep 0.5; exit 3", &gone)),
        ];
        let _stand = Stand::with(&units).await;
        for (name, words) in
            [("idle", "no routes"), ("dies", "exit status 3; it last said: no routes"), ("good", "exit status")]
        {
            let supervisor = supervisor(&[name]);
            let mut events = supervisor.events();
            supervisor.want(vec![Workload { readiness: Readiness::Unit, ..workload(name, "") }]);
            let status = died(&mut events).await;
            assert!(status.contains(words) || name == "good", "{name}: {status}");
            if name == "good" {
                fs::write("/run/go", "").unwrap();
                supervisor.wait_ready(SOON).await.unwrap();
            }
        }
    });
}

#[test]
fn one_router_in_the_place_of_another() {
    in_namespaces("systemd::tests::one_router_in_the_place_of_another", || async {
        // The second refuses to start while the first has not cleared up after itself.
        let first = "[Service]\nType=exec\nExecStartPre=/bin/touch /run/routes\nExecStart=/bin/sleep 4723\nExecStopPost=/bin/sh -c 'sleep 0.5; rm /run/routes'\n";
        let second = "[Service]\nType=exec\nExecStartPre=/bin/test ! -e /run/routes\nExecStart=/bin/sleep 4724\n";
        let units = [
            ("tbi-isp.service", unit_text("", first)),
            ("tbi-isp-own.service", unit_text("Conflicts=tbi-isp.service\nAfter=tbi-isp.service\n", second)),
        ];
        let _stand = Stand::with(&units).await;
        let unit = |name: &str| Workload { readiness: Readiness::Unit, ..workload(name, "") };
        let names = ["isp", "isp-own"];
        let frr = supervisor(&names);
        frr.want(vec![unit("isp")]);
        frr.wait_ready(SOON).await.unwrap();
        drop(frr);
        // The agent that comes with the other choice.
        for (wanted, other) in [("isp-own", "isp"), ("isp", "isp-own")] {
            let next = supervisor(&names);
            let mut events = next.events();
            next.want(vec![unit(wanted)]);
            next.wait_ready(SOON).await.unwrap();
            until("the other one has ended", || !next.standing().states.contains_key(other)).await;
            assert!(next.standing().is_ready(wanted));
            while let Ok(event) = events.try_recv() {
                assert!(!matches!(event.what, Happening::Died { .. }) || event.workload == other, "{event:?}");
            }
        }
    });
}

#[test]
fn units_that_cannot_be_started_are_named_with_the_reason() {
    in_namespaces("systemd::tests::units_that_cannot_be_started_are_named_with_the_reason", || async {
        let units = [
            ("tbi-exits.service", service("/bin/sh -c 'exit 2'")),
            ("tbi-nowhere.service", service("/nowhere/tbi-engine")),
            (
                "tbi-needy.service",
                unit_text("Requires=fails.service\nAfter=fails.service\n", "[Service]\nExecStart=/bin/sleep 1\n"),
            ),
            ("fails.service", unit_text("", "[Service]\nType=oneshot\nExecStart=/bin/false\n")),
            ("tbi-picky.service", unit_text("ConditionPathExists=/nowhere\n", "[Service]\nExecStart=/bin/sleep 1\n")),
        ];
        let _stand = Stand::with(&units).await;
        std::os::unix::fs::symlink("/dev/null", format!("{UNITS}/tbi-masked.service")).unwrap();
        let expected = [
            ("missing", "there is no unit tbi-missing.service"),
            ("masked", "unit tbi-masked.service is masked"),
            ("exits", "exit status 2"),
            ("nowhere", "exit status 203: systemd could not execute its program"),
            ("needy", "not started: a unit it depends on failed"),
            ("picky", "a condition of its unit does not hold"),
        ];
        for (name, words) in expected {
            let supervisor = supervisor(&[name]);
            let mut events = supervisor.events();
            supervisor.want(vec![workload(name, "")]);
            let status = died(&mut events).await;
            assert!(status.contains(words), "{name}: {status}");
        }
    });
}

#[test]
fn units_that_run_are_adopted_by_the_next_agent_unless_they_should_be_others() {
    in_namespaces(
        "systemd::tests::units_that_run_are_adopted_by_the_next_agent_unless_they_should_be_others",
        || async {
            let units =
                [("tbi-engine.service", daemon("engine", "")), ("tbi-extra.service", service("/bin/sleep 4714"))];
            let _stand = Stand::with(&units).await;
            let first = supervisor(&["engine", "extra"]);
            let mut events = first.events();
            first.want(vec![workload("engine", "a")]);
            first.wait_ready(SOON).await.unwrap();
            let Happening::Started { pid } = next(&mut events).await else { panic!("not started") };
            drop(first);
            systemctl(&["start", "tbi-extra.service"]).await;

            let second = supervisor(&["engine", "extra"]);
            let mut events = second.events();
            until("what runs is seen", || second.standing().states.len() == 2).await;
            second.want(vec![workload("engine", "a")]);
            second.wait_ready(SOON).await.unwrap();
            until("the unit that nobody wants ends", || second.standing().states.len() == 1).await;
            let mut seen = Vec::new();
            while let Ok(event) = events.try_recv() {
                if event.workload == "engine" {
                    seen.push(event.what);
                }
            }
            assert_eq!(seen, [Happening::Adopted { pid }, Happening::Ready], "the same process");
            drop(second);

            let third = supervisor(&["engine", "extra"]);
            let mut events = third.events();
            until("what runs is seen", || !third.standing().states.is_empty()).await;
            third.want(vec![workload("engine", "another definition")]);
            third.wait_ready(SOON).await.unwrap();
            let mut pids = Vec::new();
            while let Ok(event) = events.try_recv() {
                if let Happening::Started { pid } | Happening::Restarted { pid, .. } = event.what {
                    pids.push(pid);
                }
            }
            assert_ne!(pids.last(), Some(&pid), "replaced: {pids:?}");
        },
    );
}

#[test]
fn a_bus_that_goes_away_and_comes_back() {
    in_namespaces("systemd::tests::a_bus_that_goes_away_and_comes_back", || async {
        let _stand = Stand::with(&[("tbi-engine.service", daemon("engine", ""))]).await;
        let systemd = Systemd::on(BUS);
        let supervisor = supervisor(&["engine"]);
        let mut events = supervisor.events();
        supervisor.want(vec![workload("engine", "a")]);
        supervisor.wait_ready(SOON).await.unwrap();
        let Happening::Started { pid } = next(&mut events).await else { panic!("not started") };
        assert_eq!(next(&mut events).await, Happening::Ready);
        // Not with systemctl, whose answer would come over the bus that it kills.
        let bus = fs::read_dir("/proc").unwrap().flatten().find(|entry| {
            fs::read_to_string(entry.path().join("cmdline"))
                .is_ok_and(|line| line.contains("--config-file=/run/bus.conf"))
        });
        kill(bus.unwrap().file_name().to_str().unwrap().parse().unwrap());
        until("the loss is noticed", || systemd.trouble().is_some()).await;
        kill(pid);
        // Its socket brings the bus back with the first who connects; systemd joins it by itself.
        until("the bus is back", || systemd.is_up()).await;
        assert_eq!(died(&mut events).await, "killed by SIGKILL", "although nobody was told");
        supervisor.wait_ready(SOON).await.unwrap();
    });
}

#[test]
fn no_bus_is_a_sentence() {
    in_namespaces("systemd::tests::no_bus_is_a_sentence", || async {
        let units = Units::new(Systemd::on("unix:path=/run/nobody"), &["engine"], PathBuf::from("/run/records"));
        let supervisor = Supervisor::start(units, Backoff::PROGRAMS);
        let mut events = supervisor.events();
        supervisor.want(vec![workload("engine", "a")]);
        let status = died(&mut events).await;
        assert!(status.contains("systemd cannot be asked over the bus unix:path=/run/nobody"), "{status}");
    });
}

#[test]
fn oneshot_units_end_well_or_with_a_sentence() {
    in_namespaces("systemd::tests::oneshot_units_end_well_or_with_a_sentence", || async {
        let oneshot = |line: &str| unit_text("", &format!("[Service]\nType=oneshot\nExecStart={line}\n"));
        let units = [
            ("tbi-good.service", oneshot("/bin/true")),
            ("tbi-bad.service", oneshot("/bin/false")),
            ("tbi-slow.service", oneshot("/bin/sleep 4715")),
        ];
        let _stand = Stand::with(&units).await;
        let systemd = Systemd::on(BUS);
        for _ in 0..10 {
            systemd.oneshot("tbi-good.service", SOON).await.unwrap();
            let error = systemd.oneshot("tbi-bad.service", SOON).await.unwrap_err().to_string();
            assert!(error.contains("unit tbi-bad.service did not do its work (failed)"), "{error}");
        }
        let error = systemd.oneshot("tbi-slow.service", Duration::from_millis(100)).await.unwrap_err().to_string();
        assert!(error.contains("it has not ended after"), "{error}");
        // Started and not waited for; ordered again while it runs, it goes on.
        for _ in 0..2 {
            systemd.start("tbi-slow.service").await.unwrap();
        }
        let missing = systemd.start("tbi-none.service").await;
        assert_eq!(missing, Err(SystemdError::Missing { unit: "tbi-none.service".to_owned() }));
        let missing = systemd.oneshot("tbi-none.service", SOON).await;
        assert_eq!(missing, Err(SystemdError::Missing { unit: "tbi-none.service".to_owned() }));
    });
}
