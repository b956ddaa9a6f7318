//! The door's certificate over real connections: names that the agent tells, a change that counts without a restart, and what the agent is
//! told.

use std::sync::Mutex;

use axum::extract::State;
use rustls::pki_types::IpAddr as TlsAddress;
use tbi_api::access::{DoorCertificate, Origin};

use super::*;
use crate::certs;

/// An agent with a status and an ear.
struct Agent {
    dir: tempfile::TempDir,
    status: Arc<Mutex<Value>>,
    told: watch::Receiver<Vec<DoorCertificate>>,
    stop: Shutdown,
}

fn status(host: &str, addresses: &[&str]) -> Value {
    json!({
        "version": "0.1.0", "commit": null, "variant": "debug",
        "slot": {"label": "a", "root_hash": null, "entry": null, "secure_boot": false},
        "host_name": host, "addresses": addresses, "management_interface": "eth0", "certificate_sha256": "",
        "health": "healthy", "problems": [], "last_boot": {"kind": "clean", "sentence": ""},
        "uptime_seconds": 1, "time": "", "time_synchronised": true, "run": null,
    })
}

impl Agent {
    fn start(first: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stop, status) = (Shutdown::new(), Arc::new(Mutex::new(first)));
        let (ear, told) = watch::channel(Vec::new());
        let say = |State(status): State<Arc<Mutex<Value>>>| async move { axum::Json(status.lock().unwrap().clone()) };
        let hear = move |axum::Json(said): axum::Json<DoorCertificate>| async move {
            ear.send_modify(|told| told.push(said));
            StatusCode::NO_CONTENT
        };
        let asked = Router::new().route("/v1/status", get(say)).with_state(Arc::clone(&status));
        for (name, router) in [("agent.sock", asked), ("access.sock", Router::new().route("/v1/door", put(hear)))] {
            let listener = Listener::bind(&dir.path().join(name)).unwrap();
            let (health, stop) = (Health::new(), stop.clone());
            health.set_ready(Ok(()));
            tokio::spawn(async move {
                tbi_daemon::serve(listener, router, health, document(), String::new, stop).await.unwrap();
            });
        }
        Self { dir, status, told, stop }
    }

    fn sockets(&self) -> certs::Agent {
        certs::Agent {
            status: Some(AgentClient::new(&self.dir.path().join("agent.sock"))),
            access: AccessClient::new(&self.dir.path().join("access.sock")),
        }
    }

    async fn told(&mut self, wanted: impl Fn(&DoorCertificate) -> bool) -> DoorCertificate {
        let heard = self.told.wait_for(|told| told.last().is_some_and(&wanted));
        timeout(SOON, heard).await.expect("the agent was not told").unwrap().last().unwrap().clone()
    }
}

#[tokio::test]
async fn the_leaf_is_for_what_the_agent_says_and_the_agent_is_told_what_is_shown() {
    let mut agent = Agent::start(status("Bench-1", &["192.0.2.7/24", "2001:db8::7/64", "fe80::1/64"]));
    let stand = Stand::beside(agent.sockets()).await;
    let said = agent.told(|said| said.names.len() > 2).await;
    assert_eq!(said.names, ["bench-1", "localhost", "127.0.0.1", "192.0.2.7", "2001:db8::7"]);
    assert_eq!((said.origin, &said.trouble), (Origin::Own, &None));
    assert_eq!(said.ca_sha256.as_str(), certs::fingerprint(&stand.ca).replace(':', "").to_lowercase());
    let seen = async |name: ServerName<'static>| {
        let tcp = TcpStream::connect(stand.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(stand.client_config("h2", &[&TLS13])));
        let tls = connector.connect(name, tcp).await.unwrap();
        let leaf = tls.get_ref().1.peer_certificates().unwrap()[0].clone();
        certs::fingerprint(&leaf).replace(':', "").to_lowercase()
    };
    let address = std::net::IpAddr::from([192, 0, 2, 7]);
    for name in [ServerName::try_from("bench-1").unwrap(), ServerName::IpAddress(TlsAddress::from(address))] {
        assert_eq!(seen(name).await, said.leaf_sha256.as_str());
    }
    // A connection that is open keeps what it saw; the next one sees the new leaf.
    let mut old = stand.http2().await;
    *agent.status.lock().unwrap() = status("bench-2", &["198.51.100.9/24"]);
    stand.certificates.learn(certs::Names::parse(&["bench-2".to_owned()]).unwrap());
    stand.certificates.reload().unwrap();
    let changed = agent.told(|told| told.leaf_sha256 != said.leaf_sha256).await;
    assert_eq!(changed.names, ["bench-2", "localhost", "127.0.0.1"]);
    assert_eq!(changed.ca_sha256, said.ca_sha256);
    assert_eq!(seen(ServerName::try_from("bench-2").unwrap()).await, changed.leaf_sha256.as_str());
    let request = Request::get("https://localhost/health/live").body(Full::default()).unwrap();
    assert_eq!(timeout(SOON, old.send_request(request)).await.unwrap().unwrap().status(), StatusCode::OK);
    agent.stop.request();
    stand.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_silent_costs_neither_the_door_nor_its_names() {
    let sockets = certs::Agent {
        status: Some(AgentClient::new(std::path::Path::new("/nonexistent/agent.sock"))),
        access: AccessClient::new(std::path::Path::new("/nonexistent/access.sock")),
    };
    let stand = Stand::beside(sockets).await;
    assert_eq!(stand.get("/health/live", None).await.status(), StatusCode::OK);
    assert_eq!(stand.certificates.said().names, ["localhost", "127.0.0.1"]);
    stand.stop().await.unwrap();
}
