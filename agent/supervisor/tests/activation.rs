//! The agent as systemd starts it: with both its sockets handed over. The environment tells of them only once, and an agent that takes one and
//! loses the other is a box that nobody can log in to.
//!
//! Descriptors 3 and 4 are put in place by `sh`, which is also what knows the process id that `LISTEN_PID` must have.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tbi_api::access::AccessClient;
use tbi_api::client::AgentClient;
use tbi_daemon::UnixClient;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const AGENT: (&str, &str) = ("a.sock", "tbi-agent.socket");
const ACCESS: (&str, &str) = ("access.sock", "tbi-access.socket");

/// An agent whose sockets were made by somebody else.
struct Activated {
    child: Child,
    dir: TempDir,
}

impl Activated {
    /// With `sockets` (file and name of the unit) as descriptors 3 and 4, in this order.
    fn start(sockets: [(&str, &str); 2]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] =
            sockets.map(|(file, _unit)| OwnedFd::from(UnixListener::bind(dir.path().join(file)).unwrap()));
        let hand_over = r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec "$@""#;
        let child = Command::new("sh")
            .args(["-c", hand_over, "sh", env!("CARGO_BIN_EXE_tbi-agent"), "serve", "--bus", "unix:path=/nonexistent"])
            .args(["--state".into(), dir.path().join("state"), "--run".into(), dir.path().join("run")])
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", sockets.map(|(_file, unit)| unit).join(":"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::from(first))
            .stdout(Stdio::from(second))
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    /// That each socket answers what is asked of it, and nothing of the other's.
    async fn assert_both_answer(&self) {
        let (agent, access) = (self.dir.path().join(AGENT.0), self.dir.path().join(ACCESS.0));
        UnixClient::new(agent.clone()).wait_ready(SOON).await.unwrap();
        AgentClient::new(&agent).status().await.unwrap();
        assert_eq!(AccessClient::new(&access).accounts().await.unwrap(), []);
        AccessClient::new(&agent).accounts().await.unwrap_err();
        AgentClient::new(&access).status().await.unwrap_err();
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[tokio::test]
async fn both_sockets_that_systemd_hands_over_answer() {
    Activated::start([AGENT, ACCESS]).assert_both_answer().await;
}

/// systemd hands them over in an order of its own.
#[tokio::test]
async fn sockets_handed_over_in_the_other_order_are_told_apart_by_their_names() {
    Activated::start([ACCESS, AGENT]).assert_both_answer().await;
}
