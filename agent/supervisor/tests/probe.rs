//! `tbi-agent network probe` as its unit starts it: the built program inside a namespace with CAP_NET_RAW and no other capability, with a
//! neighbour that has one of our addresses.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::process::Command;

use serde_json::Value;

/// Interfaces that are called as VLANs of the trunk are; the program cares for no more. The neighbour is in a namespace of its own.
const STORY: &str = r#"
    mount -t tmpfs tmpfs /run
    ip netns add neighbour
    for vlan in 20 30; do
        ip link add vlan$vlan type veth peer name peer$vlan netns neighbour
        ip link set vlan$vlan up
        ip netns exec neighbour ip link set peer$vlan up
    done
    ip netns exec neighbour ip link set peer30 address 52:54:00:00:00:09
    ip netns exec neighbour ip address add 172.17.0.2/24 dev peer30
    ip netns exec neighbour ip address add 172.16.0.1/24 dev peer20
    exec setpriv --bounding-set -all,+net_raw --inh-caps -all,+net_raw --no-new-privs \
        "$PROGRAM" network probe --in agents --config "$FOLDER/network.json" --outcome "$FOLDER/outcome.json"
"#;

#[test]
fn with_one_capability_it_finds_the_neighbour_that_has_our_address() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{ "version": 1, "topology": null, "trunk": { "mac": "52:54:00:00:00:01" }, "isp": "frr" }"#;
    fs::write(folder.path().join("network.json"), config).unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec", STORY])
        .env("PROGRAM", env!("CARGO_BIN_EXE_tbi-agent"))
        .env("FOLDER", folder.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&fs::read(folder.path().join("outcome.json")).unwrap()).unwrap();
    let answers = |vlan: usize, address: &str| -> Vec<Value> {
        let all = outcome["vlans"][vlan]["addresses"].as_array().unwrap();
        let one = all.iter().find(|one| one["address"] == address).unwrap();
        one["answers"].as_array().unwrap().clone()
    };
    assert_eq!((&outcome["sentence"], &outcome["trunk"]), (&Value::from(""), &Value::from("52:54:00:00:00:01")));
    assert_eq!(answers(1, "172.17.0.2"), ["52:54:00:00:00:09"], "{outcome}");
    assert_eq!(answers(0, "172.16.0.2"), Vec::<Value>::new(), "{outcome}");
    assert_eq!(answers(0, "172.16.0.1").len(), 1, "the device's own address: {outcome}");
    assert!(outcome["took_ms"].as_u64().unwrap() < 20_000, "{outcome}");
}
