//! The personas and a client nobody here wrote: curl, with every HTTP version it was built with.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tbi_bench::control::personas::Saw;
use tbi_bench::object::Object;
use tbi_tests::child::{Finished, run};
use tbi_tests::stand::{self, SERVER_NAME, free_port};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn curl(home: &Path, port: u16, path: &str, options: &[&str]) -> Finished {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "10", "--cacert"]).arg(home.join("persona-ca/ca.pem"));
    curl.args(["--resolve", &format!("{SERVER_NAME}:{port}:127.0.0.1")]).args(options);
    run(curl.arg(format!("https://{SERVER_NAME}:{port}{path}")), Duration::from_secs(20))
}

/// Options and what `%{http_version}` then says; HTTP/3 only where this curl has it (Debian's has from trixie on).
fn versions() -> Vec<(&'static str, &'static str)> {
    let says = run(Command::new("curl").arg("--version"), Duration::from_secs(10)).stdout;
    let mut versions = vec![("--http1.1", "1.1"), ("--http2", "2")];
    if says.contains("HTTP3") {
        versions.push(("--http3-only", "3"));
    }
    versions
}

#[tokio::test]
async fn interop_personas_answer_curl() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let _personas = stand::personas(home.path(), LOOPBACK, port).await;
    for (option, version) in versions() {
        for object in Object::ALL {
            let (path, bytes) = object.request(3);
            let format = "%{http_version} %{http_code} %{size_download}";
            let answer = curl(home.path(), port, path, &[option, "--output", "/dev/null", "--write-out", format]);
            assert_eq!(answer.stdout, format!("{version} 200 {bytes}"), "{path}: {}", answer.stderr);
        }
        let saw: Saw = serde_json::from_str(&curl(home.path(), port, "/saw", &[option]).stdout).unwrap();
        assert_eq!((saw.server_name.as_str(), saw.tls_version.as_str()), (SERVER_NAME, "TLS 1.3"));
        let headers =
            curl(home.path(), port, "/o/1KB", &[option, "--output", "/dev/null", "--dump-header", "-"]).stdout;
        assert_eq!(headers.to_lowercase().contains("alt-svc: h3="), version != "3", "{headers}");
        let missing =
            curl(home.path(), port, "/o/3KB", &[option, "--output", "/dev/null", "--write-out", "%{http_code}"]);
        assert_eq!(missing.stdout, "404");
    }
}

#[tokio::test]
async fn interop_personas_refuse_what_they_must() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let _personas = stand::personas(home.path(), LOOPBACK, port).await;
    let old = curl(home.path(), port, "/o/1KB", &["--tls-max", "1.1"]);
    assert_ne!(old.code(), 0, "TLS 1.1 was accepted");
    let mut other = Command::new("curl");
    other.args(["--silent", "--insecure", "--max-time", "10", "--resolve", &format!("other.test:{port}:127.0.0.1")]);
    let other = run(other.arg(format!("https://other.test:{port}/o/1KB")), Duration::from_secs(20));
    assert_ne!(other.code(), 0, "another server name was accepted: {}", other.stdout);
}
