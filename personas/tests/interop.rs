//! Clients nobody here wrote: curl over HTTP/1.1 and HTTP/2 (Debian package `curl`), aioquic over HTTP/3 (from PyPI, so this one test
//! needs the network the first time; afterwards its virtual environment under `target/` is used).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{BANK, Daemon, SHOP, daemon};

/// A version that speaks QUIC version 1 and is packaged for all current Pythons.
const AIOQUIC: &str = "aioquic==1.2.0";

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || {
        command.output().expect("the program is installed; run `cargo tbi test`, which sees to it")
    })
    .await
    .unwrap()
}

async fn curl(daemon: &Daemon, arguments: &[&str], address: &str, name: &str, path: &str) -> Output {
    let port = daemon.client.port;
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "20", "--cacert"]).arg(&daemon.ca);
    command.args(["--resolve", &format!("{name}:{port}:{address}")]).args(arguments);
    command.arg(format!("https://{name}:{port}{path}"));
    run(command).await
}

#[tokio::test]
async fn curl_gets_objects_over_http_1_and_2() {
    let daemon = daemon().await;
    for (version, line) in [("--http1.1", "HTTP/1.1 200 OK\r\n"), ("--http2", "HTTP/2 200 \r\n")] {
        for tls in ["1.2", "1.3"] {
            for (address, name) in [("127.0.0.1", BANK), ("[::1]", BANK), ("127.0.0.2", SHOP)] {
                let arguments =
                    [version, "--tls-max", tls, "--header", "x-tlsstress-token: 000102030405060708090a0b0c0d0e0f"];
                let output = curl(&daemon, &arguments, address, name, "/o/64KB").await;
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                let (head, _body) = said.split_once("\r\n\r\n").unwrap();
                assert!(
                    said.starts_with(line) && head.contains("x-tlsstress-echo: ") && head.contains("alt-svc: h3="),
                    "{head}"
                );
                let head_end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                assert_eq!(output.stdout.len() - head_end, 65_536);
            }
        }
    }
}

#[tokio::test]
async fn curl_is_refused_with_another_name() {
    let daemon = daemon().await;
    let output = curl(&daemon, &["--http2"], "127.0.0.2", BANK, "/").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("unrecognized name"), "{said}");
}

#[tokio::test]
async fn aioquic_gets_objects_over_http_3() {
    let daemon = daemon().await;
    let python = aioquic().await;
    for (address, name, path, bytes) in [
        ("127.0.0.1", BANK, "/o/1KB", 1024),
        ("::1", BANK, "/o/256KB", 262_144),
        ("127.0.0.2", SHOP, "/o/mix/9", 355_328),
    ] {
        let mut command = Command::new(&python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aioquic_get.py")).arg(&daemon.ca);
        command.args([address, &daemon.client.port.to_string(), name, path]);
        let output = run(command).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((answer["status"].as_u64(), answer["length"].as_u64()), (Some(200), Some(bytes)), "{answer}");
        assert_eq!(answer["headers"]["x-tlsstress-echo"].as_str().unwrap().len(), 32);
        assert_eq!(answer["headers"]["content-length"], bytes.to_string());
    }
}

/// Python with aioquic, in a virtual environment that outlives the test. The file `ready` is written last, so half of one is made anew.
async fn aioquic() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
    let home = target.join("aioquic-1.2.0");
    let python = home.join("bin/python");
    let ready = home.join("ready");
    if !ready.exists() {
        let _half = std::fs::remove_dir_all(&home);
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&home);
        let made = run(make).await;
        assert!(made.status.success(), "python3 -m venv: {}", String::from_utf8_lossy(&made.stderr));
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", AIOQUIC]);
        let installed = run(install).await;
        assert!(installed.status.success(), "pip: {}", String::from_utf8_lossy(&installed.stderr));
        std::fs::write(&ready, AIOQUIC).unwrap();
    }
    python
}
