//! `tbi-agent lab run` with a dashboard: the agent of an appliance over the bench of a lab, a front door before it, and the run that was
//! asked for, ordered as anybody orders one. Everything is inside the sandbox and ends with it; what stays is in the folders of
//! [`Places`].
//!
//! Tasks, all of this process's one thread: the agent's API and its housekeeping ([`crate::serve::answer`]), the door ([`keep_door`]), and
//! the story that a person at the terminal follows ([`Story`]).

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tbi_api::access::{By, LOCAL};
use tbi_api::client::AgentClient;
use tbi_api::preflight::Bypass;
use tbi_api::runs::{Order, Run};
use tbi_bench::record::RunRecord;
use tbi_daemon::{Health, Listener, Shutdown};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::appliance::node::{Appliance, Place, Seams};
use crate::appliance::permit::Permit;
use crate::appliance::seams::Runs as _;
use crate::appliance::sysfs::Root;
use crate::front::Front;
use crate::lab_bench::{LabBench, LabHome};
use crate::run::desk::RunDesk;
use crate::run::lab::RUN;
use crate::run::options::{Places, RunArgs};
use crate::run::{actor, conclude, link_latest};
use crate::{NOT_MEASURED, serve};

/// Everything is down this long after Ctrl-C, whatever hangs: what is left dies with the sandbox.
const DOWN_WITHIN: Duration = Duration::from_secs(4);
/// A run that is stopped writes its record, which is a matter of a second.
const RECORD_WITHIN: Duration = Duration::from_secs(2);
/// The door cuts what is still open; a browser that follows a run is.
const DOOR_WITHIN: Duration = Duration::from_secs(1);
/// A door that ends is not started again in a busy loop.
const DOOR_PAUSE: Duration = Duration::from_secs(1);
/// The agent takes an order at once, but the first one waits until it is open.
const ORDER_WITHIN: Duration = Duration::from_secs(30);

/// Serves the dashboard, has the run measured, and stays up until SIGINT or SIGTERM. The exit code is the first run's.
pub(crate) async fn run(arguments: RunArgs) -> anyhow::Result<ExitCode> {
    let front = Front::handed_over()?;
    let order = order_of(&arguments)?;
    let stop = Shutdown::on_signals()?;
    let places = arguments.places();
    let _alone = alone(&places)?;
    let run = Path::new(RUN);
    let sockets = [run.join("agent.sock"), run.join("access.sock")];
    let [listener, access] = [Listener::bind(&sockets[0])?, Listener::bind(&sockets[1])?];

    let home = Arc::new(LabHome::new(arguments.authorities.clone(), places.state.join("logs")));
    let permit = Arc::new(Permit::default());
    let desk = RunDesk::open(places.runs.clone(), Arc::clone(&home), Arc::clone(&permit) as _)?;
    let bench = Arc::new(LabBench::new(Arc::clone(&home), desk.clone()));
    let seams = Seams {
        runs: Arc::clone(&bench) as _,
        checks: Arc::clone(&bench) as _,
        workloads: Arc::clone(&bench) as _,
        power: Arc::clone(&bench) as _,
        reapply: Arc::clone(&bench) as _,
        reporting: Arc::clone(&bench) as _,
    };
    let place = Place { root: Root::new(Path::new("/")), state: places.state.clone(), run: run.to_owned() };
    let (appliance, waiting) = Appliance::open(place, seams).await?;
    permit.belongs_to(&appliance);
    desk.catch_up().await;

    let down = Shutdown::new();
    let door = Door { front, log: places.state.join("dashboard.log"), state: places.state.join("door") };
    let url = format!("https://{}/", door.front.address().context("the dashboard's port is not known")?);
    announce(&url, &appliance, &places);
    let agent = AgentClient::new(&sockets[0]).with_timeout(ORDER_WITHIN);
    let story = Story { agent, bench, out: arguments.out.clone(), places, terse: arguments.terse };
    let answering = serve::answer(appliance, waiting, (listener, Some(access)), (Health::new(), down.clone()));
    let telling = async {
        let code = story.tell(&order, &stop, &down).await;
        // A failed agent has already said so.
        down.request();
        code
    };
    let all = async {
        let (answered, code, door) = tokio::join!(answering, telling, keep_door(&door, &down));
        home.take_down().await;
        answered.and(door).map(|()| code)
    };
    let late = async {
        stop.requested().await;
        sleep(DOWN_WITHIN).await;
    };
    // Dropping the first arm kills what is left, which is what the second asks for.
    tokio::select! {
        ended = all => ended,
        () = late => Ok(ExitCode::from(NOT_MEASURED)),
    }
}

/// The run that the command line asks for, as an order.
fn order_of(arguments: &RunArgs) -> anyhow::Result<Order> {
    let plan = serde_json::to_value(arguments.resolve()?).context("the plan cannot be written down")?;
    let preflight_bypass = arguments.bypass_preflight.clone().map(|reason| Bypass { reason });
    Ok(Order { plan: Some(plan), preflight_bypass, ..Order::default() })
}

/// Two agents on one state would lose each other's entries. The lock goes with the process.
fn alone(places: &Places) -> anyhow::Result<File> {
    for folder in [&places.state, &places.runs] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let path = places.state.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!(
            "another lab with a dashboard uses {}; order the run on its page, end it with Ctrl-C, or give --out or --no-dashboard",
            places.state.display()
        ),
        Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
    }
}

#[expect(clippy::print_stderr, reason = "for the person at the terminal")]
fn announce(url: &str, appliance: &Appliance, places: &Places) {
    eprintln!("dashboard  {url}");
    match appliance.claim().code() {
        Some(code) => eprintln!("code       {code}  (once: it makes the first account)"),
        None => eprintln!(
            "log in     with the account that you made here before; delete {} to begin anew",
            places.state.display()
        ),
    }
    eprintln!(
        "           The browser does not know the lab's certificate; its CA is {}.",
        places.state.join("door/ca.crt").display()
    );
    eprintln!("           Ctrl-C takes everything down.");
}

/// What a person at the terminal follows: the run they asked for, its result, the end.
struct Story {
    agent: AgentClient,
    bench: Arc<LabBench>,
    out: Option<PathBuf>,
    places: Places,
    terse: bool,
}

impl Story {
    /// Orders the run, tells how it goes and what it showed, and waits for `stop`. `down` is requested when the agent itself ends.
    #[expect(clippy::print_stderr, reason = "for the person at the terminal")]
    async fn tell(&self, order: &Order, stop: &Shutdown, down: &Shutdown) -> ExitCode {
        let by = By { actor: actor(), role: None, source: LOCAL.to_owned(), correlation_id: String::new() };
        let agent = self.agent.clone().on_behalf_of(&by);
        let ordered = tokio::select! {
            ordered = agent.start_run(order) => ordered,
            () = down.requested() => return ExitCode::from(NOT_MEASURED),
        };
        let code = match ordered {
            Ok(run) => {
                eprintln!("run        {} is under way, also on the dashboard", run.id);
                self.follow(&run, stop).await;
                self.conclude(&run)
            }
            Err(error) => {
                eprintln!("error: the run was not taken: {error}");
                ExitCode::from(NOT_MEASURED)
            }
        };
        if !stop.is_requested() {
            eprintln!("The dashboard stays up; order the next run there. Ctrl-C takes everything down.");
        }
        tokio::select! {
            () = stop.requested() => {}
            () = down.requested() => {}
        }
        // One that was ordered on a page meanwhile.
        if let Some(run) = self.bench.list().into_iter().find(|run| !run.state.is_over()) {
            self.follow(&run, stop).await;
        }
        code
    }

    /// Until the run is over; after `stop` it is asked to end, and has a moment to write its record.
    #[expect(clippy::print_stderr, reason = "for the person at the terminal")]
    async fn follow(&self, run: &Run, stop: &Shutdown) {
        let Some(mut watch) = self.bench.watch(&run.id) else { return };
        let mut told = 0;
        loop {
            let now = watch.borrow_and_update().clone();
            if let Some(progress) = now.progress.as_ref().filter(|progress| progress.blocks_done > told) {
                told = progress.blocks_done;
                eprintln!(
                    "block {told:>2}/{}  {}  remaining {} s",
                    progress.blocks, progress.last_block, progress.remaining_seconds
                );
            }
            if now.state.is_over() {
                return;
            }
            // Both are levels.
            tokio::select! {
                changed = watch.changed() => if changed.is_err() { return },
                () = stop.requested() => break,
            }
        }
        self.bench.stop(&run.id);
        if timeout(RECORD_WITHIN, watch.wait_for(|run| run.state.is_over())).await.is_err() {
            eprintln!("run {} did not end in time; the next lab in this folder closes its record", run.id);
        }
    }

    /// Prints what the run showed, and puts its files where `--out` promised them.
    #[expect(clippy::print_stderr, reason = "for the person at the terminal")]
    fn conclude(&self, run: &Run) -> ExitCode {
        let folder = self.places.runs.join(&run.id);
        let read = File::open(folder.join("run.json")).map_err(|error| error.to_string());
        let record: Result<RunRecord, String> = read
            .and_then(|file| serde_json::from_reader(std::io::BufReader::new(file)).map_err(|error| error.to_string()));
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let sentence = self.bench.get(&run.id).map_or_else(String::new, |run| run.sentence);
                eprintln!("error: {} cannot be read ({error}). {sentence}", folder.join("run.json").display());
                return ExitCode::from(NOT_MEASURED);
            }
        };
        link_latest(&folder);
        if let Some(out) = &self.out {
            for name in ["run.json", "report.html"] {
                // A convenience: the run is not worse for lacking it.
                let link = out.join(name);
                let _gone = fs::remove_file(&link);
                let _linked = std::os::unix::fs::symlink(Path::new("runs").join(&run.id).join(name), &link);
            }
        }
        conclude(self.terse, &record, &folder);
        ExitCode::from(record.verdict.exit_code())
    }
}

/// The front door of a lab.
struct Door {
    front: Front,
    log: PathBuf,
    state: PathBuf,
}

impl Door {
    fn start(&self) -> anyhow::Result<Child> {
        let run = Path::new(RUN);
        let program = std::env::current_exe().context("this program's path is not known")?;
        let program = program.with_file_name("tbi-dashboard");
        if !program.is_file() {
            bail!(
                "{} is not there; build it with `cargo build --release -p tbi-dashboard` or start the run with `cargo tbi run`",
                program.display()
            );
        }
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut door = std::process::Command::new(&program);
        door.args(["--host", "localhost", "--address", &self.front.address()?.ip().to_string()]);
        door.arg("--state").arg(&self.state).arg("--accounts").arg(run.join("access.sock"));
        door.arg("--claim-code").arg(run.join("door/claim-code"));
        door.arg("--daemon").arg(format!("agent={}", run.join("agent.sock").display()));
        // Whoever reaches a developer's loopback is the developer, also with many tabs, a script or a crawler.
        door.args(["--burst-limit", "100000", "--sustained-limit", "1000000"]);
        door.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.front.hand_over(&mut door)?;
        let started = Command::from(door).kill_on_drop(true).spawn();
        self.front.keep_back()?;
        started.with_context(|| format!("{} cannot be started", program.display()))
    }
}

/// Keeps the door open until `down`, then closes it.
#[expect(clippy::print_stderr, reason = "for the person at the terminal")]
async fn keep_door(door: &Door, down: &Shutdown) -> anyhow::Result<()> {
    loop {
        let mut child = match door.start() {
            Ok(child) => child,
            Err(error) => {
                down.request();
                return Err(error);
            }
        };
        // Waiting for an end takes nothing that another wait would miss.
        tokio::select! {
            ended = child.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                eprintln!("the dashboard ended ({how}) and is started again; its words are in {}", door.log.display());
            }
            () = down.requested() => return close(child).await,
        }
        tokio::select! {
            () = sleep(DOOR_PAUSE) => {}
            () = down.requested() => return Ok(()),
        }
    }
}

async fn close(mut child: Child) -> anyhow::Result<()> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // Gone already is what is wanted.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(DOOR_WITHIN, child.wait()).await.is_err() {
        child.kill().await.context("the dashboard cannot be ended")?;
    }
    Ok(())
}
