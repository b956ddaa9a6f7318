//! `tbi-dashboard`: the front door. Everything an operator or a program asks of the appliance passes it; it proves who asks, decides whether
//! they may, limits, and routes to the daemons' sockets. It keeps no state but its certificate. Table of contents only.

mod answers;
mod body;
mod caps;
mod certs;
mod connection;
mod door;
#[allow(dead_code, reason = "the access module reads what is asked")]
mod gate;
mod guard;
mod listen;
mod measure;
mod openapi;
mod own;
mod paths;
mod proxy;
mod quic;
mod registry;
mod serve;
#[cfg(test)]
mod tests;
mod tls;
mod watchdog;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tbi_daemon::Shutdown;

use crate::caps::Most;
use crate::certs::{Brought, Names};
use crate::gate::Gate;
use crate::listen::Sockets;
use crate::registry::Configured;
use crate::serve::{Config, serve};

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
    /// Host name in the certificate, beside tbi.local
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// Address in the certificate
    #[arg(long, value_name = "ADDR")]
    address: Vec<IpAddr>,
    /// Own certificate instead of one made here: PEM, leaf first
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Key of the own certificate, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// CA of client certificates, PEM; they are asked for only with it
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// A daemon behind the door
    #[arg(long = "daemon", value_name = "NAME=SOCKET", default_value = concat!("agent=", "/run/tlsstress/agent.sock"))]
    daemons: Vec<Configured>,
    /// Most connections at once
    #[arg(long, value_name = "N", default_value_t = 12_000)]
    connections: usize,
    /// Most connections at once from one address (IPv6: one /64)
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    connections_per_address: usize,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// What to log, as tracing filter directives
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// The door never opens without somebody who decides who comes in.
#[derive(Debug, thiserror::Error)]
#[error("this build has no access control; use one that has")]
struct NoAccessControl;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tbi_daemon::init_tracing("tbi-dashboard", &args.log);
    raise_descriptor_limit();
    let gate = access_control()?;
    let workers = usize::from(args.workers);
    let config = config(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(async { Ok(serve(config, gate, Shutdown::on_signals()?).await?) })
}

fn access_control() -> Result<Arc<dyn Gate>, NoAccessControl> {
    Err(NoAccessControl)
}

fn config(args: Args) -> anyhow::Result<Config> {
    let hosts = args.host.into_iter().chain(["tbi.local".to_owned()]).collect();
    Ok(Config {
        sockets: Sockets::open(&args.listen)?,
        state: args.state,
        names: Names { hosts, addresses: args.address.into_iter().collect() },
        brought: args.certificate.zip(args.key).map(|(chain, key)| Brought { chain, key }),
        client_ca: args.client_ca,
        daemons: args.daemons,
        local: None,
        most: Most { all: args.connections, per_address: args.connections_per_address },
    })
}

/// Every connection is a descriptor; the usual soft limit of 1024 is for programs that use `select`.
fn raise_descriptor_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is; many connections may run out of it");
    }
}
