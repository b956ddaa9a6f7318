//! Decisions with simulated time; children with real programs in real namespaces.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use tbi_bench::catalogue::Catalogue;
use tbi_bench::netplan::NetworkPlan;
use tbi_bench::topology::Topology;
use tokio::sync::{Mutex, broadcast};
use tokio::time::timeout;

use super::plan::{Memories, Step, decide};
use super::*;
use crate::network::NetworkHost;
use crate::network::tests::in_namespaces;

fn workload(name: &str, needs: &[&str]) -> Workload {
    Workload {
        name: name.to_owned(),
        launch: program("/bin/true", Vec::new(), Duration::from_secs(1)),
        readiness: Readiness::Socket(socket(name)),
        needs: needs.iter().map(|&need| need.to_owned()).collect(),
        ready_within: Duration::from_secs(10),
    }
}

fn socket(name: &str) -> PathBuf {
    PathBuf::from("/run").join(format!("{name}.sock"))
}

fn program(path: &str, arguments: Vec<std::ffi::OsString>, drain: Duration) -> Launch {
    Launch::Program { namespace: Namespace::Agents, program: PathBuf::from(path), arguments, drain }
}

/// A reconciler's world without processes.
struct World {
    memories: Memories,
    actual: BTreeMap<String, State>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { memories: Memories::default(), actual: BTreeMap::new(), now: Instant::now() }
    }

    /// Names of started and stopped workloads, and what was told; forgetting is done at once.
    fn look(&mut self, wanted: &[Workload]) -> (Vec<String>, Vec<Happening>) {
        let decision = decide(wanted, &self.actual, &mut self.memories, Backoff::PROGRAMS, self.now);
        let mut steps = Vec::new();
        for step in decision.steps {
            match step {
                Step::Start(workload) => {
                    self.actual.insert(workload.name.clone(), State::Starting { pid: 7 });
                    steps.push(format!("start {}", workload.name));
                }
                Step::Stop(name) => steps.push(format!("stop {name}")),
                Step::Forget(name) => {
                    if matches!(self.actual.get(&name), Some(State::Ended { .. })) {
                        self.actual.remove(&name);
                    }
                }
            }
        }
        (steps, decision.events.into_iter().map(|event| event.what).collect())
    }

    fn set(&mut self, name: &str, state: State) {
        self.actual.insert(name.to_owned(), state);
    }

    fn end(&mut self, name: &str, ready_for: Option<Duration>) {
        self.set(name, State::Ended { status: "exit status: 1".to_owned(), ready_for });
    }
}

#[test]
fn a_workload_waits_for_what_it_needs() {
    let mut world = World::new();
    let wanted = [workload("dut", &["personas"]), workload("personas", &[])];
    assert_eq!(world.look(&wanted).0, ["start personas"]);
    assert_eq!(world.look(&wanted), (vec![], vec![Happening::Started { pid: 7 }]));
    world.set("personas", State::Ready { pid: 7, since: world.now });
    assert_eq!(world.look(&wanted), (vec!["start dut".to_owned()], vec![Happening::Ready]));
    assert_eq!(world.look(&wanted), (vec![], vec![Happening::Started { pid: 7 }]));
    assert_eq!(world.look(&wanted), (vec![], vec![]), "nothing changed, nothing to do or tell");
}

#[test]
fn what_dies_comes_back_after_growing_pauses_and_a_steady_time_forgives() {
    let mut world = World::new();
    let wanted = [workload("engine", &[])];
    assert_eq!(world.look(&wanted).0, ["start engine"]);
    world.look(&wanted);
    for (failure, pause_ms) in [250, 500, 1000].into_iter().enumerate() {
        world.end("engine", None);
        let died = Happening::Died { status: "exit status: 1".to_owned() };
        assert_eq!(world.look(&wanted), (vec![], vec![died]), "not at once");
        world.now += Duration::from_millis(pause_ms - 1);
        assert_eq!(world.look(&wanted).0, Vec::<String>::new(), "a millisecond early");
        world.now += Duration::from_millis(1);
        assert_eq!(world.look(&wanted).0, ["start engine"]);
        let times = u32::try_from(failure).unwrap() + 1;
        assert_eq!(world.look(&wanted).1, [Happening::Restarted { pid: 7, times }]);
    }
    world.end("engine", Some(Duration::from_secs(31)));
    world.look(&wanted);
    world.now += Duration::from_millis(250);
    assert_eq!(world.look(&wanted).0, ["start engine"]);
}

#[test]
fn what_is_no_longer_wanted_is_stopped_once_and_stays_away() {
    let mut world = World::new();
    let wanted = [workload("engine", &[])];
    world.look(&wanted);
    assert_eq!(world.look(&[]).0, ["stop engine"]);
    assert_eq!(world.look(&[]).0, Vec::<String>::new());
    world.set("engine", State::Stopping);
    assert_eq!(world.look(&[]).0, Vec::<String>::new());
    world.end("engine", None);
    assert_eq!(world.look(&[]), (vec![], vec![Happening::Stopped]));
    assert!(world.actual.is_empty());
    assert_eq!(world.look(&[]), (vec![], vec![]));
}

#[test]
fn what_runs_already_is_adopted_and_replaced_only_when_its_definition_changes() {
    let mut world = World::new();
    let wanted = [workload("engine", &[])];
    world.set("engine", State::Ready { pid: 9, since: world.now });
    world.memories.of("engine").adopt(&wanted[0]);
    assert_eq!(world.look(&wanted), (vec![], vec![Happening::Adopted { pid: 9 }, Happening::Ready]));
    world.end("engine", None);
    world.look(&wanted);
    world.now += Duration::from_millis(250);
    assert_eq!(world.look(&wanted).0, ["start engine"]);
    assert_eq!(world.look(&wanted).1, [Happening::Restarted { pid: 7, times: 1 }]);
    let mut stranger = World::new();
    stranger.set("engine", State::Ready { pid: 9, since: stranger.now });
    assert_eq!(stranger.look(&wanted).0, ["stop engine"], "with another definition");
    let mut unwanted = World::new();
    unwanted.set("practice-dut", State::Ready { pid: 9, since: unwanted.now });
    assert_eq!(unwanted.look(&[]).0, ["stop practice-dut"], "nobody here started it, and nobody wants it");
}

#[test]
fn a_changed_definition_replaces_the_program() {
    let mut world = World::new();
    world.look(&[workload("engine", &[])]);
    let mut other = workload("engine", &[]);
    other.launch = program("/bin/true", vec!["--workers=2".into()], Duration::from_secs(1));
    let wanted = [other];
    assert_eq!(world.look(&wanted).0, ["stop engine"]);
    world.end("engine", None);
    assert_eq!(world.look(&wanted).0, ["start engine"], "at once: it did not fail");
}

/// Not a test by itself: the program that the tests below start. `TBI_FAKE` is its socket.
#[test]
fn fake_daemon() {
    let Some(socket) = std::env::var_os("TBI_FAKE") else { return };
    drop(std::fs::remove_file(&socket));
    let listener = UnixListener::bind(&socket).unwrap();
    std::io::stderr().write_all(b"listening\n").unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        drop(stream.read(&mut [0; 4096]));
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        drop(stream.write_all(answer));
    }
}

/// A workload that runs a line of shell; `$FAKE` in it becomes the fake daemon's command.
fn shell(name: &str, line: &str) -> Workload {
    let workload = workload(name, &[]);
    let this = std::env::current_exe().unwrap();
    let fake = format!(
        "TBI_FAKE={} {} --exact process::tests::fake_daemon --nocapture",
        socket(name).display(),
        this.display()
    );
    let arguments = vec!["-c".into(), line.replace("$FAKE", &fake).into()];
    Workload { launch: program("/bin/sh", arguments, Duration::from_secs(1)), ..workload }
}

async fn supervisor(backoff: Backoff) -> Supervisor {
    let mut host = NetworkHost::default();
    let plan = NetworkPlan::new(&Topology::builtin(), &Catalogue::builtin(), tbi_bench::netplan::Path::ThroughDut);
    host.apply(&plan).await.unwrap();
    Supervisor::start(Children::new(Arc::new(Mutex::new(host)), PathBuf::from("/run/logs")), backoff)
}

fn quick() -> Backoff {
    Backoff::new(Duration::from_millis(10), Duration::from_millis(20)).unwrap()
}

const SOON: Duration = Duration::from_secs(20);

async fn next(events: &mut broadcast::Receiver<Event>) -> Happening {
    timeout(SOON, events.recv()).await.unwrap().unwrap().what
}

fn started(what: &Happening) -> i32 {
    match what {
        Happening::Started { pid } | Happening::Restarted { pid, .. } => pid.cast_signed(),
        other => panic!("{other:?}"),
    }
}

/// Programs of the pid namespace besides init and the test itself.
fn processes_with(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).count()
}

#[test]
fn a_killed_program_is_reported_and_comes_back() {
    in_namespaces("process::tests::a_killed_program_is_reported_and_comes_back", || async {
        let supervisor = supervisor(quick()).await;
        let mut events = supervisor.events();
        supervisor.want(vec![shell("engine", "exec env $FAKE")]);
        supervisor.wait_ready(SOON).await.unwrap();
        let pid = started(&next(&mut events).await);
        assert_eq!(next(&mut events).await, Happening::Ready);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        let died = next(&mut events).await;
        assert!(matches!(&died, Happening::Died { status } if status.contains("SIGKILL")), "{died:?}");
        let again = next(&mut events).await;
        assert!(matches!(again, Happening::Restarted { times: 1, .. }), "{again:?}");
        assert_eq!(next(&mut events).await, Happening::Ready);
        supervisor.wait_ready(SOON).await.unwrap();
        assert!(std::fs::read_to_string("/run/logs/engine.log").unwrap().matches("listening").count() >= 2);
        // It runs where it should.
        let here = std::fs::read_link(format!("/proc/{}/ns/net", started(&again))).unwrap();
        assert_ne!(here, std::fs::read_link("/proc/self/ns/net").unwrap());
        supervisor.shut_down(SOON).await.unwrap();
        assert_eq!(processes_with("process::tests::fake_daemon"), 0);
    });
}

#[test]
fn a_program_that_will_not_end_is_killed() {
    in_namespaces("process::tests::a_program_that_will_not_end_is_killed", || async {
        let supervisor = supervisor(quick()).await;
        let mut stubborn = shell("engine", "trap '' TERM; exec env $FAKE");
        if let Launch::Program { drain, .. } = &mut stubborn.launch {
            *drain = Duration::from_millis(100);
        }
        supervisor.want(vec![stubborn]);
        supervisor.wait_ready(SOON).await.unwrap();
        supervisor.shut_down(SOON).await.unwrap();
        assert_eq!(processes_with("process::tests::fake_daemon"), 0);
    });
}

#[test]
fn a_program_that_never_says_it_is_ready_is_ended_and_reported() {
    in_namespaces("process::tests::a_program_that_never_says_it_is_ready_is_ended_and_reported", || async {
        let supervisor = supervisor(quick()).await;
        let mut events = supervisor.events();
        let mut silent = shell("personas", "exec sleep 4711");
        silent.ready_within = Duration::from_millis(100);
        supervisor.want(vec![silent]);
        started(&next(&mut events).await);
        let died = next(&mut events).await;
        assert!(matches!(&died, Happening::Died { status } if status.contains("personas.sock")), "{died:?}");
    });
}

#[test]
fn last_words_are_in_the_error() {
    in_namespaces("process::tests::last_words_are_in_the_error", || async {
        let supervisor = supervisor(quick()).await;
        supervisor.want(vec![shell("personas", "echo the persona CA has expired >&2; exit 3")]);
        let error = supervisor.wait_ready(Duration::from_secs(2)).await.unwrap_err().to_string();
        assert!(error.contains("'personas' is not ready after 2 s"), "{error}");
        assert!(error.contains("exit status: 3; it last said: the persona CA has expired"), "{error}");
    });
}

#[test]
fn a_program_that_is_not_there_is_named() {
    in_namespaces("process::tests::a_program_that_is_not_there_is_named", || async {
        let supervisor = supervisor(quick()).await;
        let launch = program("/nowhere/tbi-engine", Vec::new(), Duration::from_secs(1));
        let missing = Workload { launch, ..workload("engine", &[]) };
        supervisor.want(vec![missing]);
        let error = supervisor.wait_ready(Duration::from_millis(300)).await.unwrap_err().to_string();
        assert!(error.contains("cannot start /nowhere/tbi-engine in network namespace 'agents'"), "{error}");
    });
}

#[test]
fn a_chatty_program_is_not_held_up() {
    in_namespaces("process::tests::a_chatty_program_is_not_held_up", || async {
        let supervisor = supervisor(quick()).await;
        // One line of 4 MiB and no end of line, more than any pipe holds.
        supervisor.want(vec![shell("engine", "head -c 4194304 /dev/zero | tr '\\0' x >&2; exec env $FAKE")]);
        supervisor.wait_ready(SOON).await.unwrap();
        assert!(std::fs::metadata("/run/logs/engine.log").unwrap().len() >= 4 << 20);
    });
}
