//! Tests of the bill of materials.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn package(name: &str, licences: &[&str]) -> DebianPackage {
    DebianPackage {
        name: name.to_owned(),
        version: "1:2.0+b1~x".to_owned(),
        architecture: "amd64".to_owned(),
        licences: licences.iter().map(|it| (*it).to_owned()).collect(),
    }
}

#[test]
fn every_reference_points_at_something_and_ids_are_unique() {
    let bill = Bill {
        version: "0.1.0",
        inputs: "abc",
        created: "2026-01-01T00:00:00Z",
        trees: BTreeMap::from([
            ("root", vec![package("libstdc++6", &["GPL-2+", "public domain"]), package("zlib1g", &[])]),
            ("isp", vec![package("zlib1g", &[])]),
        ]),
        crates: vec![
            Crate {
                name: "tbi-agent".into(),
                version: "0.1.0".into(),
                licence: Some("Apache-2.0".into()),
                sha256: None,
            },
            Crate {
                name: "old".into(),
                version: "1.0.0".into(),
                licence: Some("MIT/Apache-2.0".into()),
                sha256: Some("ff".into()),
            },
        ],
        outputs: vec![Described { file: "tbi_0.1.0.raw", sha256: "00" }],
    };
    let text = render(&bill);
    assert_eq!(text, render(&bill), "the same lists, the same bytes");
    let document: Value = serde_json::from_str(&text).unwrap();
    let ids: Vec<&str> =
        document["packages"].as_array().unwrap().iter().map(|it| it["SPDXID"].as_str().unwrap()).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    assert!(ids.iter().all(|id| id.chars().all(|it| it.is_ascii_alphanumeric() || ".-".contains(it))), "{ids:?}");
    for relation in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            let id = relation[end].as_str().unwrap();
            assert!(id == "SPDXRef-DOCUMENT" || unique.contains(id), "{id}");
        }
    }
    // One package in two trees is one package.
    assert_eq!(ids.iter().filter(|id| id.contains("zlib1g")).count(), 1);
    assert!(
        text.contains("MIT OR Apache-2.0") && text.contains("pkg:deb/debian/libstdc%2B%2B6@1%3A2.0%2Bb1~x?arch=amd64")
    );
    let licences: BTreeSet<_> = document["hasExtractedLicensingInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["licenseId"].as_str().unwrap())
        .collect();
    assert_eq!(licences.len(), 2, "{licences:?}");
}

#[test]
fn packages_come_from_mkosis_list() {
    let mkosi = br#"{"manifest_version":1,"config":{"name":"tbi"},"packages":[{"type":"deb","name":"b","version":"2","architecture":"all"},
        {"type":"deb","name":"a","version":"1","architecture":"amd64"}]}"#;
    let names = |list: &[DebianPackage]| list.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&from_mkosi(mkosi).unwrap()), ["a", "b"]);
    assert!(from_mkosi(b"{}").is_err());
}

#[test]
fn licences_of_a_machine_readable_copyright_file() {
    let file = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\nFiles: *\nLicense: GPL-2+ or MIT\n text\n\n\
                Files: y\nLicense: BSD-3-clause and ISC\n\nLicense: GPL-2+\n more\n";
    assert_eq!(licences(file), ["BSD-3-clause", "GPL-2+", "ISC", "MIT"].map(String::from).into());
    assert!(licences("This package was debianized by\nLicense: yes\n").is_empty());
}
