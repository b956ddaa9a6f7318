//! The image's units, without a machine: how exposed each service is (`systemd-analyze security` of the image's own systemd), compared with
//! what is written down here with its reason; and that both lists of partitions say the same.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tbi_tests::repository::root;
use tbi_tests::vm::tools;

/// More than this needs a reason below.
const FINE: f64 = 3.0;
/// Services above [`FINE`]: the most they may have, and why they have it.
const EXPOSED: [(&str, f64, &str); 4] = [
    (
        "tbi-isp.service",
        8.0,
        "a container manager: it mounts, makes namespaces and is root; what runs inside is confined by nspawn",
    ),
    (
        "tbi-isp-own.service",
        8.0,
        "as tbi-isp.service, with a whole system inside, which starts as root of the machine's own user namespace",
    ),
    (
        "tbi-network@.service",
        5.0,
        "makes and enters namespaces for everybody, so it cannot have a mount namespace of its own",
    ),
    ("tbi-network-prepare.service", 5.0, "the same program as tbi-network@"),
];

#[test]
fn vm_units_are_no_more_exposed_than_written_down() {
    let units = root().join("units/systemd/system");
    let place = tempfile::tempdir().unwrap();
    let installed = place.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&installed).unwrap();
    let mut services = Vec::new();
    for entry in fs::read_dir(&units).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        fs::copy(&path, installed.join(&name)).unwrap();
        if name.ends_with(".service") {
            services.push(name);
        }
    }
    assert!(services.len() > 8, "{services:?}");
    let mut broken = Vec::new();
    for service in services {
        let instance = service.replace("@.", "@x.");
        let mut command = tools::command("systemd-analyze");
        command.args(["security", "--offline=yes", "--no-pager"]).arg(format!("--root={}", place.path().display()));
        let output = command.arg(&instance).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found =
            text.lines().rev().find_map(|line| line.split("service: ").nth(1)?.split(' ').next()?.parse::<f64>().ok());
        let Some(found) = found else { panic!("{service}: {text}{}", String::from_utf8_lossy(&output.stderr)) };
        let allowed = EXPOSED.iter().find(|(name, ..)| *name == service).map_or(FINE, |(_, most, _)| *most);
        if found > allowed {
            broken.push(format!("{service} has an exposure of {found}, {allowed} is allowed"));
        }
        if allowed > FINE && found <= FINE {
            broken.push(format!("{service} has an exposure of {found} only; it needs no exception any more"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `Type=` and sizes of a folder's definitions, in order.
fn definitions(folder: &Path) -> Vec<BTreeMap<String, String>> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let keys = ["Type", "Label", "SizeMinBytes", "SizeMaxBytes"];
    let read = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.filter(|(key, _)| keys.contains(key)).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    files.iter().map(|path| read(path)).collect()
}

#[test]
fn vm_units_partitions_of_the_build_are_those_of_the_first_boot() {
    let built = definitions(&root().join("mkosi/mkosi.repart"));
    let made = definitions(&root().join("units/repart.d"));
    assert_eq!((built.len(), made.len()), (4, 8));
    for (built, made) in built.iter().zip(&made) {
        for (key, value) in built {
            assert_eq!(made.get(key), Some(value), "{built:?} and {made:?}");
        }
    }
    // Slot B is slot A in everything but its label.
    for (a, b) in made[1..4].iter().zip(&made[4..7]) {
        let without_label = |it: &BTreeMap<String, String>| {
            let mut it = it.clone();
            it.remove("Label");
            it
        };
        assert_eq!(without_label(a), without_label(b));
        assert_eq!(b.get("Label").map(String::as_str), Some("_empty"));
    }
}
