//! The rules every file and every crate of this repository keeps (docs/decisions/0001): who may import whom, how long a file is, how it
//! opens, which crates and licences may come in. A rule that is only written down is broken within a month.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;

use serde::Deserialize;
use tbi_tests::repository::{compiled, licence_is_allowed, metadata, root, rust_files};

/// Programs of ours that speak to each other over sockets and never import each other.
const DAEMONS: [&str; 5] = ["tbi-agent", "tbi-dashboard", "tbi-engine", "tbi-personas", "tbi-practice-dut"];
/// A file that is longer is two files.
const MOST_LINES: usize = 500;

/// Rooms a room's crates may depend on.
fn may_import(room: &str) -> &'static [&'static str] {
    match room {
        "engine" => &["engine"],
        "personas" => &["engine"],
        "agent" => &["engine", "agent"],
        "image" | "tests" => &["engine", "personas", "agent", "image", "tests"],
        other => panic!("room '{other}' is new: say in docs/decisions/0001 and here what it may import"),
    }
}

#[test]
fn imports_point_downwards() {
    let metadata = metadata();
    let room_of =
        |name: &str| metadata.packages.iter().find(|package| package.name == name).map(|it| metadata.room(it));
    let mut broken = Vec::new();
    for package in &metadata.packages {
        let room = metadata.room(package);
        // A crate's own tests may stand a neighbour up beside it; what is installed may not know it.
        for dependency in package.dependencies.iter().filter(|dependency| dependency.ships()) {
            let Some(other) = room_of(&dependency.name) else { continue };
            if !may_import(&room).contains(&other.as_str()) {
                broken.push(format!("{} ({room}/) imports {} ({other}/)", package.name, dependency.name));
            }
            if DAEMONS.contains(&dependency.name.as_str()) && room != "tests" && package.name != dependency.name {
                broken.push(format!("{} imports the daemon {}; speak to its socket", package.name, dependency.name));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_core_does_no_io() {
    let metadata = metadata();
    let bench = metadata.packages.iter().find(|package| package.name == "tbi-bench").unwrap();
    for dependency in &bench.dependencies {
        let name = dependency.name.as_str();
        assert!(
            !name.starts_with("tbi-") && !["tokio", "quinn", "hyper", "socket2", "nix"].contains(&name),
            "tbi-bench imports {name}"
        );
    }
    let mut broken = Vec::new();
    for file in rust_files(&metadata.directory(bench).join("src")) {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let io = [
                "std::fs",
                "TcpStream",
                "TcpListener",
                "UdpSocket",
                "UnixStream",
                "std::process",
                "SystemTime::now",
                "Instant::now",
            ];
            if let Some(word) = io.iter().find(|word| code.contains(*word)) {
                broken.push(format!("{}:{}: {word}: time and input come in as arguments", file.display(), number + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// REQUIREMENTS G1: what a run costs is spent at one gate, and one place of the run driver goes through it.
#[test]
fn only_the_run_driver_calls_authorize() {
    /// Who asks, and who answers it with the ledger's gate.
    const CALLERS: [&str; 2] = ["agent/supervisor/src/run/admission.rs", "agent/supervisor/src/appliance/permit.rs"];
    let sought = "fn authorize() {}\nledger.authorize(1);\n// it.authorize(2)\nlet gate = Ledger::authorize;\n#[cfg(test)]\nit.authorize(3)";
    assert_eq!(calls_authorize(sought).collect::<Vec<_>>(), [2, 4], "the search finds calls and nothing else");
    let mut found = Vec::new();
    for file in rust_files(&root()) {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        // Tests of the gate go through it, too; they ship with nobody.
        if name.split('/').any(|part| part == "tests") || name.ends_with("tests.rs") {
            continue;
        }
        found.extend(calls_authorize(&fs::read_to_string(&file).unwrap()).map(|line| format!("{name}:{line}")));
    }
    let expected = CALLERS.map(|caller| found.iter().filter(|place| place.starts_with(caller)).count());
    assert!(found.len() == 2 && expected == [1, 1], "only {CALLERS:?} may call authorize(), each once: {found:?}");
}

/// Numbers of the lines that call it, whatever it is called on, up to the tests at a file's end.
fn calls_authorize(text: &str) -> impl Iterator<Item = usize> + '_ {
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).enumerate();
    code.filter(|(_, line)| {
        let code = line.split("//").next().unwrap_or_default();
        [".authorize(", "::authorize(", "::authorize)", "::authorize;"].iter().any(|call| code.contains(call))
    })
    .map(|(number, _)| number + 1)
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut broken = Vec::new();
    let files = rust_files(&root());
    assert!(files.len() > 20, "the repository was not found");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display();
        let lines = text.lines().count();
        if lines > MOST_LINES {
            broken.push(format!("{name} has {lines} lines; split it by state or by noun"));
        }
        if !text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default().starts_with("//!") {
            broken.push(format!("{name} does not open with //!: what is it for, what does it not do?"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[derive(Deserialize)]
struct Deny {
    bans: Bans,
    licenses: Licences,
    sources: Sources,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    registries: Vec<String>,
}

#[test]
fn dependencies_are_those_deny_toml_allows() {
    let deny: Deny = toml::from_str(&fs::read_to_string(root().join("deny.toml")).unwrap()).unwrap();
    let compiled = compiled();
    assert!(compiled.len() > 100, "cargo tree listed only {} packages", compiled.len());
    let mut broken = Vec::new();
    for package in compiled {
        if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == package.name) {
            broken.push(format!("{}: {}", package.name, ban.reason));
        }
        if !licence_is_allowed(&package.licence, &deny.licenses.allow) {
            broken.push(format!("{} is under '{}'", package.name, package.licence));
        }
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for source in lock.lines().filter_map(|line| line.strip_prefix("source = ")) {
        if !deny.sources.registries.iter().any(|registry| source == format!("\"registry+{registry}\"")) {
            broken.push(format!("Cargo.lock names the source {source}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
