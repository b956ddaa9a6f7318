//! The personas and an HTTP/3 client nobody here wrote: aioquic, from PyPI, in a virtual environment kept beside the build products.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tbi_bench::object::Object;
use tbi_tests::child::run;
use tbi_tests::program;
use tbi_tests::repository::root;
use tbi_tests::stand::{self, SERVER_NAME, free_port};

/// The version this was written against; another may be asked for when this one is gone.
const AIOQUIC: &str = "aioquic==1.2.0";

/// Python with aioquic. Made once; a half-made one is made again, because the marker is written last.
fn python() -> PathBuf {
    let home = program("tbi-personas").parent().unwrap().join("../tbi/python");
    let (python, marker) = (home.join("bin/python"), home.join(AIOQUIC));
    if !marker.exists() {
        let venv = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), Duration::from_secs(60));
        assert_eq!(venv.code(), 0, "type: apt-get install python3-venv\n{}", venv.stderr);
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", AIOQUIC]);
        let pip = run(&mut pip, Duration::from_secs(180));
        assert_eq!(pip.code(), 0, "aioquic cannot be installed from PyPI:\n{}", pip.stderr);
        stand::write(&marker, "");
    }
    python
}

fn get(home: &Path, port: u16, paths: &[&str]) -> String {
    let mut client = Command::new(python());
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
