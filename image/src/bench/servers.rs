//! The servers a bench run measures or leans on: our personas, nginx and caddy, each one worker, pinned to the server core.
//!
//! All serve the same 1024 bytes from memory under `/o/1KB`, with an ECDSA P-256 certificate, TLS 1.3, AES-128-GCM, X25519 and no session
//! tickets, which is the choice that costs the peers least. They die with this process.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{api, wait};
use crate::command::{output_of, succeed};
use crate::packages::search_path;

/// Name every server answers to.
pub(super) const SERVER_NAME: &str = "bench.br.persona.tlsstress.art";
/// Path of the object.
pub(super) const OBJECT_PATH: &str = "/o/1KB";
const OBJECT_BYTES: usize = 1024;
/// Core of whatever serves and core of whatever asks.
pub(super) const SERVER_CORE: &str = "0";
pub(super) const CLIENT_CORE: &str = "1";
const START: Duration = Duration::from_secs(20);

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Personas,
    Nginx,
    Caddy,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Personas => "personas",
            Kind::Nginx => "nginx",
            Kind::Caddy => "caddy",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) port: u16,
    /// Authority to trust, PEM.
    pub(super) ca: PathBuf,
    pub(super) has_h3: bool,
}

/// A child that is ended when it goes out of scope.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts `program` on one core; the kernel ends it when we die, however we die.
    pub(super) fn start(
        name: &'static str,
        core: &str,
        program: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", "taskset", "--cpu-list", core]).arg(program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        configure(&mut command);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name, child })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended early ({status}); what it said is above", self.name);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first, so that nginx takes its worker along.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let ended =
            asked.is_ok() && wait::until("", Duration::from_secs(5), || Ok(self.child.try_wait()?.map(|_| ()))).is_ok();
        if !ended {
            let _gone = self.child.kill();
        }
        let _reaped = self.child.wait();
    }
}

/// Waits until a daemon says on its socket that it is ready.
pub(super) fn wait_ready(process: &mut Process, socket: &Path) -> Result<()> {
    let mut last = String::new();
    wait::until("", START, || {
        process.check()?;
        match api::request(socket, "GET", "/health/ready", None) {
            Ok(_) => Ok(Some(())),
            Err(error) => {
                last = format!("{error:#}");
                Ok(None)
            }
        }
    })
    .with_context(|| format!("{} did not get ready: {last}", process.name))
}

pub(super) fn wait_listening(process: &mut Process, port: u16) -> Result<()> {
    wait::until(&format!("{} did not listen", process.name), START, || {
        process.check()?;
        Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(|_| ()))
    })
}

/// A port nobody uses now, for TCP and UDP.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?.local_addr()?.port())
}

/// Starts one server with its files under `home`.
pub(super) fn start(kind: Kind, programs: &Path, home: &Path) -> Result<Server> {
    let port = free_port()?;
    match kind {
        Kind::Personas => personas(programs, home, port),
        Kind::Nginx => nginx(home, port),
        Kind::Caddy => caddy(home, port),
    }
}

fn personas(programs: &Path, home: &Path, port: u16) -> Result<Server> {
    let (config, socket, ca_dir) = (home.join("personas.json"), home.join("personas.sock"), home.join("persona-ca"));
    fs::create_dir_all(&ca_dir)?;
    let words = json!({
        "sites": [{"persona": "bench", "server_name": SERVER_NAME, "addresses": ["127.0.0.1"]}],
        "key": "ecdsa-p256", "ca_dir": ca_dir, "workers": 1, "port": port,
    });
    fs::write(&config, words.to_string())?;
    let program = programs.join("tbi-personas");
    let mut process = Process::start("tbi-personas", SERVER_CORE, &program, |command| {
        command.arg("--config").arg(&config).arg("--socket").arg(&socket).args(["--log", "warn"]);
    })?;
    wait_ready(&mut process, &socket)?;
    Ok(Server { process, port, ca: ca_dir.join("ca.pem"), has_h3: true })
}

fn nginx(home: &Path, port: u16) -> Result<Server> {
    let has_h3 = nginx_has_h3()?;
    let quic = if has_h3 { format!("listen 127.0.0.1:{port} quic; quic_gso on;") } else { String::new() };
    let conf = home.join("nginx.conf");
    let text = format!(
        "daemon off; worker_processes 1; pid {home}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi; default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port} ssl http2; {quic} server_name {SERVER_NAME};
    ssl_certificate {home}/leaf.pem; ssl_certificate_key {home}/leaf.key;
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve X25519;
    ssl_session_tickets off; ssl_session_cache off;
    location = {OBJECT_PATH} {{ return 200 \"{body}\"; }}
  }}
}}
",
        home = home.display(),
        body = body()
    );
    fs::write(&conf, text)?;
    let mut process = Process::start("nginx", SERVER_CORE, Path::new("nginx"), |command| {
        command.arg("-p").arg(home).arg("-c").arg(&conf).env("PATH", search_path());
    })?;
    wait_listening(&mut process, port)?;
    Ok(Server { process, port, ca: home.join("ca.pem"), has_h3 })
}

fn nginx_has_h3() -> Result<bool> {
    let output =
        Command::new("nginx").arg("-V").env("PATH", search_path()).output().context("nginx cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stderr).contains("--with-http_v3_module"))
}

fn caddy(home: &Path, port: u16) -> Result<Server> {
    let conf = home.join("caddy.json");
    let words = json!({
        "admin": {"disabled": true},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {
            "tls": {
                "certificates": {"load_files": [{"certificate": home.join("leaf.pem"), "key": home.join("leaf.key")}]},
                "session_tickets": {"disabled": true},
            },
            "http": {"servers": {"bench": {
                "listen": [format!("127.0.0.1:{port}")],
                "protocols": ["h1", "h2", "h3"],
                "automatic_https": {"disable": true},
                "tls_connection_policies": [{"curves": ["x25519"], "protocol_min": "tls1.3"}],
                "routes": [{
                    "match": [{"path": [OBJECT_PATH]}],
                    "handle": [{"handler": "static_response", "status_code": 200, "body": body()}],
                }],
            }}},
        },
    });
    fs::write(&conf, words.to_string())?;
    let mut process = Process::start("caddy", SERVER_CORE, Path::new("caddy"), |command| {
        command.arg("run").arg("--config").arg(&conf);
        // One worker, like the others; its files stay here.
        command.env("GOMAXPROCS", "1").env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home).env("HOME", home);
        command.stderr(Stdio::null());
    })?;
    wait_listening(&mut process, port)?;
    Ok(Server { process, port, ca: home.join("ca.pem"), has_h3: true })
}

fn body() -> String {
    "x".repeat(OBJECT_BYTES)
}

/// Authority and leaf for the peers, ECDSA P-256 like the personas' own.
pub(super) fn make_certificates(home: &Path) -> Result<()> {
    fs::write(
        home.join("leaf.ext"),
        format!("subjectAltName=DNS:{SERVER_NAME},IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
    )?;
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(home).stderr(Stdio::null()).stdout(Stdio::null());
        succeed(&mut command)
    };
    openssl("ecparam -name prime256v1 -genkey -noout -out ca.key")?;
    openssl("req -x509 -new -key ca.key -subj /CN=tbi-bench-peers -days 2 -out ca.pem")?;
    openssl("ecparam -name prime256v1 -genkey -noout -out leaf.key")?;
    openssl(&format!("req -new -key leaf.key -subj /CN={SERVER_NAME} -out leaf.csr"))?;
    openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem")
}

/// `name version` of each peer, as it says itself.
pub(super) fn peer_versions() -> Vec<String> {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).env("PATH", search_path()).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
        Some(line.split(" Copyright").next().unwrap_or_default().to_owned())
    };
    let openssl = output_of(Command::new("openssl").arg("version")).map(|text| text.trim().to_owned()).ok();
    let caddy = said("caddy", "version").map(|version| format!("caddy {version}"));
    let all = [said("wrk", "-v"), said("h2load", "--version"), said("nginx", "-v"), caddy, openssl];
    all.into_iter().flatten().collect()
}
