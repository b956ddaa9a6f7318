//! Single daemons of ours on a test stand: started with a configuration, asked over their socket, gone with the test.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tbi_bench::control::engine::{Load, Phases, Target, TlsProfile, TrialOrder, TrialReport, TrialStatus, Trust};
use tbi_bench::object::Object;
use tbi_bench::protocol::Protocol;
use tbi_bench::units::Span;
use tbi_daemon::UnixClient;

use crate::child::Running;
use crate::program;

/// Longest wait for a daemon to get ready; certificates of a hundred sites are made in a debug build.
const READY: Duration = Duration::from_secs(30);
/// Name the stand's persona answers to.
pub const SERVER_NAME: &str = "stand.br.persona.tlsstress.art";

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Speaks to it.
    pub client: UnixClient,
    running: Running,
}

impl Daemon {
    /// Starts `command` (with `--socket` added) and waits until it says that it is ready.
    pub async fn start(mut command: Command, socket: &Path) -> Self {
        command.arg("--socket").arg(socket);
        Self::adopt(Running::start(&mut command), socket).await
    }

    /// The daemon that answers on `socket`, started by `running` in whatever way.
    pub async fn adopt(running: Running, socket: &Path) -> Self {
        let client = UnixClient::new(socket);
        if let Err(error) = client.wait_ready(READY).await {
            panic!("{error}; it said:\n{}", running.end());
        }
        Self { client, running }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// A port nobody uses now. Somebody may take it before it is bound again; then the test says so.
#[must_use]
pub fn free_port() -> u16 {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => address.port(),
        Err(error) => panic!("no free port on loopback: {error}"),
    }
}

/// `tbi-personas` with one site.
pub async fn personas(home: &Path, address: IpAddr, port: u16) -> Daemon {
    let (command, socket) = personas_command(home, address, port);
    Daemon::start(command, &socket).await
}

/// The command for one persona and the socket it will listen on; its CA will be `persona-ca/ca.pem` under `home`.
#[must_use]
pub fn personas_command(home: &Path, address: IpAddr, port: u16) -> (Command, std::path::PathBuf) {
    let (config, ca_dir) = (home.join("personas.json"), home.join("persona-ca"));
    let words = json!({
        "sites": [{"persona": "stand", "server_name": SERVER_NAME, "addresses": [address]}],
        "key": "ecdsa-p256", "ca_dir": ca_dir, "workers": 1, "port": port,
    });
    write(&config, &words.to_string());
    if let Err(error) = fs::create_dir_all(&ca_dir) {
        panic!("cannot make {}: {error}", ca_dir.display());
    }
    let mut command = Command::new(program("tbi-personas"));
    command.arg("--config").arg(&config);
    (command, home.join("personas.sock"))
}

/// `tbi-engine` with one worker.
pub async fn engine(home: &Path) -> Daemon {
    let mut command = Command::new(program("tbi-engine"));
    command.args(["--workers", "1"]);
    Daemon::start(command, &home.join("engine.sock")).await
}

/// A closed-loop order of about a second that fetches 1 KB over `protocol` from one target.
#[must_use]
pub fn order(protocol: Protocol, address: IpAddr, port: u16, server_name: &str, persona_ca: &Path) -> TrialOrder {
    TrialOrder {
        protocol,
        object: Object::Kb1,
        load: Load::Closed { connections: 4, streams: if protocol == Protocol::H1 { 1 } else { 4 } },
        transactions_per_connection: 10,
        phases: Phases {
            init: Span::ZERO,
            ramp_up: Span::from_millis(100),
            sustain: Span::from_millis(1000),
            ramp_down: Span::from_millis(100),
        },
        targets: vec![Target { persona: "stand".to_owned(), address, port, server_name: server_name.to_owned() }],
        sources: Vec::new(),
        trust: Trust { persona_ca_pem: read(persona_ca), dut_ca_pem: None },
        tls: TlsProfile::default(),
        handshake_timeout: Span::from_secs(5),
        request_timeout: Span::from_secs(5),
        seed: 1,
    }
}

/// Runs one trial to its end.
pub async fn trial(engine: &Daemon, id: &str, order: &TrialOrder) -> TrialReport {
    let path = format!("/v1/trials/{id}");
    let running = async {
        let _accepted: Value = engine.client.put_json(&path, order).await?;
        let mut ticks = engine.client.events(&format!("{path}/ticks")).await?;
        // The stream ends with the trial.
        while let Some(tick) = ticks.next().await {
            let _tick = tick?;
        }
        engine.client.get_json::<TrialStatus>(&path).await
    };
    match tokio::time::timeout(Duration::from_secs(60), running).await {
        Ok(Ok(TrialStatus::Ended { report })) => *report,
        Ok(Ok(TrialStatus::Running { elapsed })) => {
            panic!("trial {id}: the ticks ended, the trial goes on ({elapsed})")
        }
        Ok(Err(error)) => panic!("trial {id}: {error}"),
        Err(_elapsed) => panic!("trial {id} has not ended after a minute"),
    }
}

/// That nothing is unaccounted for: the sums that [`tbi_bench::control::engine::Attempts`] promises.
#[track_caller]
pub fn assert_adds_up(report: &TrialReport) {
    let it = &report.attempts;
    assert_eq!(it.transactions, it.succeeded + it.failed + it.unfinished, "{it:?}");
    let errors: u64 = report.errors.iter().map(|error| error.count).sum();
    assert!(errors <= it.failed.max(it.sent), "{:?}", report.errors);
}

/// Reads a text file.
#[must_use]
pub fn read(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    }
}

/// Writes a text file.
pub fn write(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        panic!("cannot write {}: {error}", path.display());
    }
}
