//! What the front door is measured in: the agent, a daemon that costs next to nothing, the door before both, and nginx before the same socket.
//!
//! The door has the server core for itself, and so has nginx, one at a time; everything else shares the other core. All is on loopback, in a
//! directory that is gone at the end. The first administrator is made as on a new box, over HTTPS with a claim code; a token of theirs with
//! the scope `read` is what the load tools carry. The requests that are no load are curl's, which verifies the door's certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::load::Target;
use crate::bench::servers::{self, CLIENT_CORE, Process, SERVER_CORE};
use crate::bench::{Home, wait};
use crate::command::output_of;
use crate::packages::{is_root, search_path};
use crate::run::civil_from_days;

/// The names under which the door knows the daemon: two, so that it has something to route.
pub(super) const DAEMONS: [&str; 2] = ["bench", "other"];
/// Connections and requests above anything that is measured here; the limits are a measurement of their own.
const MOST_CONNECTIONS: &str = "12000";
const NO_LIMIT: u32 = 1_000_000_000;
const START: Duration = Duration::from_secs(30);
/// Of a person who exists as long as this directory.
const ACCOUNT: &str = "bench";
const PASSWORD: &str = "four-words-on-loopback-only";
const CLAIM_CODE: &str = "claim-code-of-the-bench";
const DAY: u64 = 86_400;

/// Everything, running.
pub(crate) struct Stand {
    door: Door,
    nginx: std::result::Result<Nginx, String>,
    // Ended after the door, so that it does not complain of their absence.
    _daemon: Process,
    _agent: Process,
    programs: PathBuf,
    home: Home,
}

/// A running door and how to ask it.
pub(crate) struct Door {
    pub(super) process: Process,
    pub(super) port: u16,
    ca: PathBuf,
    token: String,
}

struct Nginx {
    process: Process,
    port: u16,
}

impl Stand {
    /// Starts everything and logs in.
    pub(crate) fn start(programs: &Path) -> Result<Self> {
        let home = Home::make()?;
        let path = &home.path;
        fs::create_dir(path.join("agent"))?;
        fs::write(path.join("claim-code"), CLAIM_CODE)?;
        let mut agent = Process::start("tbi-agent", CLIENT_CORE, &programs.join("tbi-agent"), |command| {
            command.arg("serve").arg("--state").arg(path.join("agent")).arg("--run").arg(path);
            command.arg("--socket").arg(path.join("agent.sock")).arg("--access-socket").arg(path.join("access.sock"));
            // No service manager of this machine is asked, and none is told.
            command.args(["--bus", "unix:path=/nonexistent", "--log", "error"]).env_remove("NOTIFY_SOCKET");
        })?;
        servers::wait_ready(&mut agent, &path.join("agent.sock"))?;
        let mut daemon = Process::start("door-daemon", CLIENT_CORE, &programs.join("door-daemon"), |command| {
            command.arg("--socket").arg(daemon_socket(path)).args(["--log", "warn"]);
        })?;
        servers::wait_ready(&mut daemon, &daemon_socket(path))?;
        let mut door = start_door(programs, path, "door", NO_LIMIT)?;
        door.token = make_token(&door, path)?;
        servers::make_certificates(path)?;
        let nginx = start_nginx(path).map_err(|error| format!("{error:#}"));
        let programs = programs.to_owned();
        Ok(Self { door, nginx, _daemon: daemon, _agent: agent, programs, home })
    }

    /// An error when the door has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.door.process.check()
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// Another door before the same daemons, that carried no load yet; the token is good there, too. Somebody logged in, as at every door that
    /// is in use: hashing a password takes memory that stays with the process.
    pub(super) fn another_door(&self, name: &str) -> Result<Door> {
        let door = start_door(&self.programs, &self.home.path, name, NO_LIMIT)?;
        log_in(&door, &self.home.path.join("cookies"))?;
        Ok(Door { token: self.door.token.clone(), ..door })
    }

    /// Another door, with the limit `burst` for one address within ten seconds.
    pub(super) fn limited_door(&self, burst: u32) -> Result<Door> {
        start_door(&self.programs, &self.home.path, "limited", burst)
    }

    /// File with the cookie of somebody who logs in now: a session of before may have ended for want of use.
    pub(super) fn cookies(&self) -> Result<String> {
        let jar = self.home.path.join("cookies");
        log_in(&self.door, &jar)?;
        Ok(jar.to_string_lossy().into_owned())
    }

    /// The path for a file that load tools write.
    pub(super) fn log_file(&self) -> PathBuf {
        self.home.path.join("requests.log")
    }

    /// The same daemon without anything before it.
    pub(super) fn directly(&self) -> Target {
        Target::Socket(daemon_socket(&self.home.path))
    }

    /// nginx before the same daemon, and its process.
    pub(super) fn nginx(&mut self) -> Result<(u32, Target)> {
        let nginx = self.nginx.as_mut().map_err(|reason| anyhow::anyhow!("{reason}"))?;
        nginx.process.check()?;
        Ok((nginx.process.pid(), Target::Tls { port: nginx.port, token: None }))
    }
}

impl Door {
    /// What requests through it go to.
    pub(super) fn target(&self) -> Target {
        Target::Tls { port: self.port, token: Some(self.token.clone()) }
    }

    /// Memory of the door that is resident now and was at most, kB.
    pub(crate) fn memory_kb(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.process.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("{path}: the door has ended"))?;
        let field = |name: &str| field_kb(&status, name).with_context(|| format!("{path} lacks {name}"));
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// TCP connections to the door that are established, as the kernel counts them.
    pub(super) fn connections(&self) -> Result<usize> {
        let table = fs::read_to_string("/proc/net/tcp").context("/proc/net/tcp cannot be read")?;
        Ok(established(&table, self.port))
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// curl with this door's CA, quiet, with `words`; what it printed.
    pub(super) fn curl(&self, words: &[&str]) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(&self.ca);
        output_of(curl.args(words))
    }

    /// Its own numbers of connections and handshakes, for whoever looks for the reason why something was not answered.
    pub(super) fn refusals(&self) -> Result<String> {
        let metrics = self.curl(&["--fail", "--header", &self.authorization(), &self.url("/metrics")])?;
        let told = ["tbi_door_connections_refused", "tbi_door_handshakes_failed", "tbi_door_connections_total"];
        let lines = metrics.lines().filter(|line| told.iter().any(|name| line.starts_with(name)));
        Ok(lines.collect::<Vec<_>>().join(", "))
    }

    /// Header with the token.
    pub(super) fn authorization(&self) -> String {
        bearer(&self.token)
    }

    /// One JSON request; an error unless it succeeds.
    fn ask(&self, words: &[&str], path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let url = self.url(path);
        let request = ["--write-out", "\n%{http_code}", "--header", "content-type: application/json", "--data", &body];
        let said = self.curl(&[&request, words, &[&url]].concat())?;
        let (answer, status) = said.rsplit_once('\n').context("curl did not say the status")?;
        let answer: Value = serde_json::from_str(answer).unwrap_or(Value::Null);
        if !status.starts_with('2') {
            bail!("POST {path}: {status} {}", answer["detail"].as_str().unwrap_or("without a reason"));
        }
        Ok(answer)
    }
}

pub(super) fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

fn daemon_socket(home: &Path) -> PathBuf {
    home.join("bench.sock")
}

fn start_door(programs: &Path, home: &Path, name: &str, burst: u32) -> Result<Door> {
    let port = servers::free_port()?;
    let (state, socket) = (home.join(name), daemon_socket(home));
    let program = programs.join("tbi-dashboard");
    let process = Process::start("tbi-dashboard", SERVER_CORE, &program, |command| {
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--address", "127.0.0.1", "--workers", "1"]);
        command.arg("--state").arg(&state).arg("--accounts").arg(home.join("access.sock"));
        command.arg("--claim-code").arg(home.join("claim-code"));
        command.arg("--daemon").arg(format!("agent={}", home.join("agent.sock").display()));
        for daemon in DAEMONS {
            command.arg("--daemon").arg(format!("{daemon}={}", socket.display()));
        }
        command.args(["--connections", MOST_CONNECTIONS, "--connections-per-address", MOST_CONNECTIONS]);
        command.args(["--burst-limit", &burst.to_string(), "--sustained-limit", &NO_LIMIT.to_string()]);
        command.args(["--log", "error"]).env_remove("NOTIFY_SOCKET");
    })?;
    let mut door = Door { process, port, ca: home.join(format!("{name}-ca.pem")), token: String::new() };
    servers::wait_listening(&mut door.process, port)?;
    // Whoever sets a box up takes its CA once, on trust, and checks everything with it from then on.
    let fetched = output_of(
        Command::new("curl").args(["--silent", "--show-error", "--fail", "--insecure"]).arg(door.url("/ca.pem")),
    )?;
    fs::write(&door.ca, fetched)?;
    let mut last = String::new();
    wait::until("", START, || {
        door.process.check()?;
        // The agent is not ready without the services of an appliance; that every daemon was heard is what is needed.
        match door.curl(&["--fail", &door.url("/health/startup")]) {
            Ok(_heard) => Ok(Some(())),
            Err(error) => {
                last = format!("{error:#}");
                Ok(None)
            }
        }
    })
    .with_context(|| format!("the front door did not hear its daemons: {last}"))?;
    Ok(door)
}

/// Makes the first administrator, logs in, and takes a token with which nothing can be changed.
fn make_token(door: &Door, home: &Path) -> Result<String> {
    let claim = json!({"claim_code": CLAIM_CODE, "account": ACCOUNT, "password": PASSWORD});
    door.ask(&[], "/api/v1/access/first-administrator", &claim)?;
    let jar = home.join("cookies");
    let session = log_in(door, &jar)?;
    let jar = jar.to_string_lossy();
    let csrf = format!("x-tbi-csrf: {}", session["csrf"].as_str().context("the login gave no token for changes")?);
    let origin = format!("origin: {}", door.url(""));
    let order = json!({"label": "bench", "scopes": ["read"], "expires": tomorrow()?});
    let words = ["--cookie", &jar, "--header", &csrf, "--header", &origin];
    let made = door.ask(&words, "/api/v1/access/tokens", &order)?;
    Ok(made["secret"].as_str().context("the door gave no token")?.to_owned())
}

/// A new session, whose cookie goes into `jar`; what the door says of it.
fn log_in(door: &Door, jar: &Path) -> Result<Value> {
    let login = json!({"account": ACCOUNT, "password": PASSWORD});
    door.ask(&["--cookie-jar", &jar.to_string_lossy()], "/api/v1/access/login", &login)
}

/// Midnight, UTC, at least a day from now.
fn tomorrow() -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970; set it")?.as_secs();
    let (year, month, day) = civil_from_days(now / DAY + 2);
    Ok(format!("{year:04}-{month:02}-{day:02}T00:00:00Z"))
}

/// nginx with one worker: the same TLS, the same paths, connections to the same socket that are kept.
fn start_nginx(home: &Path) -> Result<Nginx> {
    let port = servers::free_port()?;
    let conf = home.join("nginx-door.conf");
    // Started by root its worker would be somebody whom the daemon's socket lets in as little as anybody.
    let user = if is_root() { "user root; " } else { "" };
    let text = format!(
        "{user}daemon off; worker_processes 1; pid {home}/nginx-door.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream daemon {{ server unix:{socket}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 300s; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {home}/leaf.pem; ssl_certificate_key {home}/leaf.key; ssl_protocols TLSv1.3;
    location /api/v1/{daemon}/ {{
      proxy_pass http://daemon/v1/; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header X-Real-IP $remote_addr;
    }}
  }}
}}
",
        home = home.display(),
        socket = daemon_socket(home).display(),
        daemon = DAEMONS[0],
    );
    fs::write(&conf, text)?;
    let mut process = Process::start("nginx", SERVER_CORE, Path::new("nginx"), |command| {
        command.arg("-p").arg(home).arg("-c").arg(&conf).env("PATH", search_path());
    })?;
    servers::wait_listening(&mut process, port)?;
    Ok(Nginx { process, port })
}

fn field_kb(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Lines of `/proc/net/tcp` (proc(5)) with this local port in state 01.
fn established(table: &str, port: u16) -> usize {
    let local = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|address| address.ends_with(&local)) && fields.nth(1) == Some("01")
    };
    table.lines().filter(is_ours).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        assert_eq!(field_kb("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n", "VmRSS:"), Some(1024));
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 0100007F:01BB 00000000:0000 0A 0\n   \
                     1: 0100007F:01BB 0100007F:C000 01 0\n   2: 0100007F:C000 0100007F:01BB 01 0\n";
        assert_eq!(established(table, 443), 1);
    }
}
