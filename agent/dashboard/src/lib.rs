//! `tbi-dashboard`: the front door. Everything an operator or a program asks of the appliance passes it; it proves who asks, decides whether
//! they may, limits, and routes to the daemons' sockets. It keeps no state but its certificate. Table of contents only; a library so that the
//! fuzz targets reach the parsers ([`fuzzing`]), and of no use to another program.

mod access;
mod answers;
mod body;
mod caps;
mod certs;
mod connection;
mod digest;
mod door;
mod face;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod guard;
mod limits;
mod listen;
mod local;
mod measure;
mod openapi;
mod own;
mod pages;
mod paths;
mod proxy;
mod quic;
mod registry;
mod serve;
#[cfg(test)]
mod tests;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tbi_api::access::AccessClient;
use tbi_api::client::AgentClient;
use tbi_daemon::Shutdown;

use crate::access::Access;
use crate::access::clock::SystemClock;
use crate::caps::Most;
use crate::certs::{Agent, Brought, Certificates, Names};
use crate::limits::{Delays, Limits};
use crate::listen::Sockets;
use crate::local::{Local, Mount};
use crate::pages::Pages;
use crate::registry::Configured;
use crate::serve::{Config, serve};

/// Segment of the door's operations about access: `/api/v1/access/…`.
const ACCESS: &str = "access";
/// The daemon that knows what the box is called.
const AGENT: &str = "agent";
/// Longer than its status takes on a busy box.
const ANSWER: Duration = Duration::from_secs(5);

/// Front door of TLSStress.Art TBI.
#[derive(Debug, Parser)]
#[command(name = "tbi-dashboard", version)]
struct Args {
    /// Where to listen, TCP and UDP; not needed when systemd hands sockets over (LISTEN_FDS)
    #[arg(long, value_name = "ADDR:PORT", default_value = "[::]:443")]
    listen: Vec<SocketAddr>,
    /// Directory of the CA, the certificate and the keys
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tbi-dashboard")]
    state: PathBuf,
    /// Host name in the certificate, beside tbi.local and what the agent says that the box is called
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Address in the certificate, beside those that the agent says the box has on its management network
    #[arg(long, value_name = "ADDR")]
    address: Vec<IpAddr>,
    /// Certificate instead of one made here: PEM, leaf first. It is read again every minute and at SIGHUP, and none can be brought through the API
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// CA of client certificates, PEM; they are asked for only with it
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// The agent's socket for accounts, sessions and tokens
    #[arg(long, value_name = "SOCKET", default_value = tbi_api::access::ACCESS_SOCKET)]
    accounts: PathBuf,
    /// File with the code that makes the first administrator; without it none can be made through the door
    #[arg(long, value_name = "FILE")]
    claim_code: Option<PathBuf>,
    /// A daemon behind the door
    #[arg(long = "daemon", value_name = "NAME=SOCKET", default_value = concat!("agent=", "/run/tlsstress/agent.sock"))]
    daemons: Vec<Configured>,
    /// Most connections at once
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    connections: usize,
    /// Most connections at once from one address (IPv6: one /64)
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    connections_per_address: usize,
    /// Requests from one address within 10 seconds; an account has twice as many
    #[arg(long, value_name = "N", default_value_t = Limits::PER_ADDRESS.short.requests, value_parser = clap::value_parser!(u32).range(1..))]
    burst_limit: u32,
    /// Requests from one address within 5 minutes; an account has twice as many
    #[arg(long, value_name = "N", default_value_t = Limits::PER_ADDRESS.long.requests, value_parser = clap::value_parser!(u32).range(1..))]
    sustained_limit: u32,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// What to log, as tracing filter directives
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Runs the door with the arguments of this process until it is to stop.
///
/// # Errors
/// What keeps it from opening, for a person.
pub fn run() -> anyhow::Result<()> {
    let args = Args::parse();
    tbi_daemon::init_tracing("tbi-dashboard", &args.log);
    raise_descriptor_limit();
    keep_small_pages();
    // The door never opens without somebody who decides who comes in.
    let access = access_control(&args)?;
    let workers = usize::from(args.workers);
    let config = config(args, Arc::clone(&access))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async {
        let telling = Arc::clone(&access);
        let teller = tokio::spawn(async move { telling.keep_telling_refusals().await });
        let gate = Arc::clone(&access);
        let served = serve(config, gate, Shutdown::on_signals()?).await;
        teller.abort();
        access.tell_refusals().await;
        Ok(served?)
    })
}

fn access_control(args: &Args) -> anyhow::Result<Arc<Access>> {
    std::fs::create_dir_all(&args.state).with_context(|| format!("cannot make {}", args.state.display()))?;
    let Limits { mut short, mut long } = Limits::PER_ADDRESS;
    (short.requests, long.requests) = (args.burst_limit, args.sustained_limit);
    let per_address = Limits { short, long };
    let config = access::Config {
        state: args.state.clone(),
        claim_code: args.claim_code.clone(),
        per_address,
        per_identity: per_address.times(2),
        delays: Delays::default(),
    };
    let accounts = Arc::new(AccessClient::new(&args.accounts));
    Ok(Access::open(config, accounts, Arc::new(SystemClock::new()))?)
}

fn config(args: Args, access: Arc<Access>) -> anyhow::Result<Config> {
    let hosts = args.host.into_iter().chain(["tbi.local".to_owned()]).collect();
    let names = Names { hosts, addresses: args.address.into_iter().collect() };
    let brought = args.certificate.zip(args.key).map(|(chain, key)| Brought { chain, key });
    let sockets = Sockets::open(&args.listen)?;
    let certificates = Certificates::load(&args.state, names, brought, tls::provider())?;
    let agent = args.daemons.iter().find(|daemon| daemon.name == AGENT).map(|daemon| daemon.socket.clone());
    let pages = Pages::new(Arc::clone(&access), Arc::clone(&certificates), agent.as_deref());
    let status = agent.map(|socket| AgentClient::new(&socket).with_timeout(ANSWER));
    Ok(Config {
        sockets,
        certificates: Arc::clone(&certificates),
        agent: Agent { status, access: AccessClient::new(&args.accounts) },
        client_ca: args.client_ca,
        daemons: args.daemons,
        locals: vec![
            Local {
                name: ACCESS,
                place: Mount::Api,
                document: serde_json::to_value(access::openapi())?,
                router: access::routes(access, certificates),
            },
            pages::local(&pages),
        ],
        face: Some(pages),
        most: Most { all: args.connections, per_address: args.connections_per_address },
    })
}

/// The allocator asks for huge pages, and the kernel makes the whole of one resident when a byte of it is used: ten thousand connections would
/// take 200 MB more.
fn keep_small_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::warn!(%error, "huge pages stay in use; many connections take more memory");
    }
}

/// Every connection is a descriptor; the usual soft limit of 1024 is for programs that use `select`.
fn raise_descriptor_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is; many connections may run out of it");
    }
}
