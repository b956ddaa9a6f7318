//! The personas and an HTTP/3 client nobody here wrote: aioquic, from PyPI, in a virtual environment kept beside the build products.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tbi_bench::object::Object;
use tbi_tests::child::run;
use tbi_tests::python::python;
use tbi_tests::repository::root;
use tbi_tests::stand::{self, SERVER_NAME, free_port};

/// The version this was written against; another may be asked for when this one is gone.
const AIOQUIC: &str = "aioquic==1.2.0";

fn get(home: &Path, port: u16, paths: &[&str]) -> String {
    let mut client = Command::new(python(AIOQUIC));
    client.arg(root().join("tests/tests/data/aioquic_get.py")).arg(port.to_string()).arg(SERVER_NAME);
    let finished = run(client.arg(home.join("persona-ca/ca.pem")).args(paths), Duration::from_secs(30));
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    finished.stdout
}

#[tokio::test]
async fn interop_personas_answer_aioquic() {
    let home = tempfile::tempdir().unwrap();
    let port = free_port();
    let _personas = stand::personas(home.path(), IpAddr::V4(Ipv4Addr::LOCALHOST), port).await;
    let requests = Object::ALL.map(|object| object.request(9));
    let expected: String = requests.iter().map(|(_path, bytes)| format!("200 {bytes}\n")).collect();
    assert_eq!(get(home.path(), port, &requests.map(|(path, _bytes)| path)), expected);
    assert!(get(home.path(), port, &["/o/3KB"]).starts_with("404 "));
}
