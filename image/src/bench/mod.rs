//! `cargo tbi bench`: what our programs cost beside well-known ones, side by side in one run on the same two cores.
//!
//! `cargo tbi bench image` and `cargo tbi bench door` are other measurements, of the appliance's image and of its front door, in modules of
//! their own.
//!
//! It measures processor time per request, which does not depend on who waits for whom, in rounds that alternate between ours and the
//! peer's, so that a machine that slows down slows both. It says nothing of what any firewall costs.

mod api;
mod clients;
mod contests;
mod cpu;
pub(crate) mod door;
mod figures;
mod image;
mod machine;
mod servers;
mod table;
mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::command::{print, say, succeed};
use crate::packages;
use crate::run::{build, civil_from_days};
use crate::workspace::{Profile, Workspace};
use clients::{Clients, Protocol};
use contests::{Bout, Contest, LAG_BAR_US, LAG_PROTOCOLS, Whose};
use servers::Server;
use table::{Record, Row};

const UNIT: &str = "us CPU per request";
const LAG_UNIT: &str = "us";
/// A promised bar was missed, everything was measured.
const BAR_MISSED: u8 = 1;

/// Compare CPU per request and per handshake with wrk, h2load, nginx, caddy and the h3 crate.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Writes target/tbi/bench.json and, unless --only or --programs is given, the head of docs/figures.md.
Exit codes: 0 every bar met, 1 a bar missed, 2 something could not be measured.

Examples:
  cargo tbi bench
  cargo tbi bench --only h3 --seconds 2 --rounds 1
  cargo tbi bench door            the front door beside nginx, and its scenarios
  cargo tbi bench image           size, start and memory of the appliance"
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    other: Option<Other>,
    /// Only rows whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Directory with the programs to measure, built already; nothing is built then.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What else is measured.
#[derive(Subcommand)]
enum Other {
    Door(door::Door),
    Image(image::Image),
}

impl Bench {
    /// Measures everything asked for and writes it down.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match &self.other {
            Some(Other::Door(door)) => return door.run(),
            Some(Other::Image(image)) => return image.run(),
            None => {}
        }
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            bail!("bench needs two cores, one for the server and one for the client");
        }
        packages::ensure(&[packages::BUILD, packages::PEERS])?;
        let workspace = Workspace::find()?;
        let programs = match &self.programs {
            Some(directory) => directory.clone(),
            None => build_all(&workspace)?,
        };
        let busy_before = machine::busy_share()?;
        if busy_before > machine::QUIET {
            say(&format!(
                "warning: other programs keep the machine {:.0} % busy; lags measured now are theirs as much as ours",
                busy_before * 100.0
            ));
        }
        let home = Home::make()?;
        let rows = self.measure(&programs, &home.path)?;
        let record = self.record(rows, busy_before)?;
        print(&table::text(&record.rows));
        fs::create_dir_all(workspace.output())?;
        let file = workspace.output().join("bench.json");
        fs::write(&file, serde_json::to_string_pretty(&record)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        say(&format!("written to {}", file.display()));
        let failed = record.rows.iter().any(|row| row.note.is_some() && row.ours.is_none());
        if self.only.is_none() && self.programs.is_none() && !failed {
            figures::write(&workspace, figures::Section::Programs, &table::page(&record))?;
        }
        Ok(if failed {
            ExitCode::from(crate::COULD_NOT)
        } else if record.rows.iter().any(|row| row.met == Some(false)) {
            ExitCode::from(BAR_MISSED)
        } else {
            ExitCode::SUCCESS
        })
    }

    fn wanted(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }

    fn measure(&self, programs: &Path, home: &Path) -> Result<Vec<Row>> {
        servers::make_certificates(home)?;
        let mut ring = Ring {
            servers: Servers::start(programs, home)?,
            clients: Clients::start(programs, home, Duration::from_secs(self.seconds))?,
            rounds: self.rounds,
        };
        let mut rows = Vec::new();
        for contest in contests::all().iter().filter(|contest| self.wanted(&contest.name)) {
            say(&contest.name);
            rows.extend(ring.compare(contest));
        }
        for protocol in LAG_PROTOCOLS {
            let name = format!("engine {} schedule lag p99 at half load", protocol.name());
            if self.wanted(&name) {
                say(&name);
                rows.push(match ring.lag(protocol) {
                    Ok(values) => Row::absolute(name, LAG_UNIT, values, LAG_BAR_US),
                    Err(error) => Row::missing(&name, LAG_UNIT, None, Some(LAG_BAR_US), format!("{error:#}")),
                });
            }
        }
        if rows.is_empty() {
            bail!("no row is called like '{}'", self.only.as_deref().unwrap_or_default());
        }
        Ok(rows)
    }

    fn record(&self, rows: Vec<Row>, busy_before: f64) -> Result<Record> {
        Ok(Record {
            version: 1,
            date: today()?,
            seconds_each: self.seconds as f64,
            rounds: self.rounds,
            machine: machine::describe(busy_before, servers::peer_versions()),
            rows,
        })
    }
}

/// UTC, `YYYY-MM-DD`.
fn today() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970; set it")?.as_secs();
    let (year, month, day) = civil_from_days(now / 86_400);
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

/// Builds everything a bench run starts; the directory it is in.
fn build_all(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace)?;
    succeed(workspace.cargo().args(["build", "--release", "--locked", "--package", "tbi-tests", "--bin", "h3-peer"]))?;
    Ok(workspace.programs(Profile::Release))
}

/// Directory for configurations and sockets; short, because a unix socket's path is (unix(7)), and gone at the end.
struct Home {
    path: PathBuf,
}

impl Home {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("tbi-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Left for the system's own cleaning when it cannot be removed.
        let _left = fs::remove_dir_all(&self.path);
    }
}

/// All servers, running at once; idle ones cost nothing. Our own must start, a peer may be missing, and the reason is kept.
struct Servers {
    personas: Server,
    nginx: std::result::Result<Server, String>,
    caddy: std::result::Result<Server, String>,
}

impl Servers {
    fn start(programs: &Path, home: &Path) -> Result<Self> {
        let peer = |kind| servers::start(kind, programs, home).map_err(|error| format!("{error:#}"));
        Ok(Self {
            personas: servers::start(servers::Kind::Personas, programs, home)?,
            nginx: peer(servers::Kind::Nginx),
            caddy: peer(servers::Kind::Caddy),
        })
    }

    fn find(&mut self, kind: servers::Kind) -> Result<&mut Server> {
        match kind {
            servers::Kind::Personas => Ok(&mut self.personas),
            servers::Kind::Nginx => self.nginx.as_mut().map_err(|reason| anyhow::anyhow!("{reason}")),
            servers::Kind::Caddy => self.caddy.as_mut().map_err(|reason| anyhow::anyhow!("{reason}")),
        }
    }
}

/// Where contests take place.
struct Ring {
    servers: Servers,
    clients: Clients,
    rounds: u32,
}

impl Ring {
    /// One row per peer. A peer that cannot speak the protocol at all has none.
    fn compare(&mut self, contest: &Contest) -> Vec<Row> {
        let mut rows = Vec::new();
        for &(peer, bar) in &contest.peers {
            let lacks_h3 = self.servers.find(peer.server).is_ok_and(|server| !server.has_h3);
            if contest.pattern.protocol == Protocol::H3 && lacks_h3 {
                continue;
            }
            let name = contest.peer_name(peer);
            let rounds: Result<Vec<_>> =
                (0..self.rounds).map(|_| Ok((self.bout(contest, contest.ours)?, self.bout(contest, peer)?))).collect();
            rows.push(match rounds {
                Ok(rounds) => Row::compare(&contest.name, UNIT, name, &rounds, bar),
                Err(error) => Row::missing(&contest.name, UNIT, Some(name), bar, format!("{error:#}")),
            });
        }
        rows
    }

    /// Processor time per request, µs, of the side the contest is about.
    fn bout(&mut self, contest: &Contest, bout: Bout) -> Result<f64> {
        let server = self.servers.find(bout.server)?;
        server.process.check()?;
        let before = cpu::used_us(server.process.pid())?;
        let done = self.clients.drive(bout.client, contest.pattern, server)?;
        let server_cpu_us = (cpu::used_us(server.process.pid())? - before) as f64;
        Ok(match contest.whose {
            Whose::Client => done.client_cpu_us,
            Whose::Server => server_cpu_us,
        } / done.requests as f64)
    }

    fn lag(&mut self, protocol: Protocol) -> Result<Vec<f64>> {
        let server = &self.servers.personas;
        let capacity = self.clients.capacity(protocol, server)?;
        (0..self.rounds).map(|_| self.clients.schedule_lag_p99(protocol, capacity / 2.0, server)).collect()
    }
}
