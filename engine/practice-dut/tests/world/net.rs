//! The world around the gateway: three network namespaces inside a private user namespace, made by re-executing the test in `unshare`.
//!
//! The test process itself lives in the agents' namespace; threads enter the personas'; the gateway under test is a child in its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tbi_bench::control::practice_dut::{Behaviour, Counters};
use tbi_daemon::UnixClient;

const INSIDE_MARK: &str = "TBI_TEST_INSIDE_WORLD";

/// Runs `story` inside a fresh world. Call it first thing in a test, with the test's own name.
pub(crate) fn in_a_world(test: &str, story: impl FnOnce()) {
    if std::env::var_os(INSIDE_MARK).is_some() {
        return story();
    }
    let status = Command::new("unshare")
        .args(["-Urnmp", "--kill-child", "--fork", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE_MARK, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its world");
}

pub(crate) fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn sh_output(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Links, addresses and routes: agents — dut — personas.
pub(crate) fn build() {
    sh("mount -t tmpfs tmpfs /run; mkdir -p /run/netns
        ip netns add dut; ip netns add personas
        ip link add in0 type veth peer name in0 netns dut
        ip -n dut link add out0 type veth peer name p0 netns personas
        ip link set lo up; ip -n dut link set lo up; ip -n personas link set lo up
        ip link set in0 up; ip -n dut link set in0 up; ip -n dut link set out0 up; ip -n personas link set p0 up
        ip addr add 172.16.0.2/24 dev in0; ip addr add 2001:db8:16::2/64 dev in0 nodad
        ip -n dut addr add 172.16.0.1/24 dev in0; ip -n dut addr add 2001:db8:16::1/64 dev in0 nodad
        ip -n dut addr add 203.0.113.1/24 dev out0; ip -n dut addr add 2001:db8:99::1/64 dev out0 nodad
        ip -n personas addr add 203.0.113.2/24 dev p0; ip -n personas addr add 2001:db8:99::2/64 dev p0 nodad
        ip route add default via 172.16.0.1; ip -6 route add default via 2001:db8:16::1
        ip -n personas route add default via 203.0.113.1; ip -n personas -6 route add default via 2001:db8:99::1
        ip -n dut route add 198.51.100.0/24 via 203.0.113.2; ip -n dut -6 route add 2001:db8:1::/64 via 2001:db8:99::2
        for n in 10 20 66; do ip -n personas addr add 198.51.100.$n/32 dev lo; ip -n personas addr add 2001:db8:1::$n/128 dev lo nodad; done
        ip netns exec dut sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'");
}

/// Moves the calling thread, and the threads it starts, into the personas' namespace.
pub(crate) fn enter_personas() {
    setns(File::open("/run/netns/personas").unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
}

/// The gateway under test.
pub(crate) struct Dut {
    child: Child,
    pub(crate) client: UnixClient,
    pub(crate) ca_pem: String,
}

impl Dut {
    /// Starts the gateway and waits until it says it is ready.
    pub(crate) async fn start(persona_ca_pem: &str) -> Self {
        let dir = PathBuf::from("/run/dut");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("persona-ca.pem"), persona_ca_pem).unwrap();
        let config = serde_json::json!({
            "inside_interfaces": ["in0"], "outside_interfaces": ["out0"], "persona_ca_file": "/run/dut/persona-ca.pem",
            "ca_dir": "/run/dut/ca", "key": "ecdsa-p256", "workers": 2,
        });
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let child = gateway_command().spawn().unwrap();
        let client = UnixClient::new("/run/dut/socket");
        client.wait_ready(Duration::from_secs(20)).await.unwrap();
        let ca_pem = client.get_text("/v1/ca.pem").await.unwrap();
        Self { child, client, ca_pem }
    }

    pub(crate) async fn behave(&self, behaviour: Behaviour) {
        let in_force: Behaviour = self.client.put_json("/v1/behaviour", &behaviour).await.unwrap();
        assert_eq!(in_force, behaviour);
    }

    pub(crate) async fn counters(&self) -> Counters {
        self.client.get_json("/v1/counters").await.unwrap()
    }

    /// SIGTERM; returns the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// SIGKILL: no chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

/// The gateway in its namespace, with the configuration [`Dut::start`] wrote.
pub(crate) fn gateway_command() -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "dut", env!("CARGO_BIN_EXE_tbi-practice-dut")]);
    command.args(["--config", "/run/dut/config.json", "--socket", "/run/dut/socket"]);
    if let Ok(filter) = std::env::var("TBI_TEST_LOG") {
        command.args(["--log", &filter]);
    }
    command.stdin(Stdio::null());
    command
}
