//! Bill of materials in SPDX 2.3: Debian packages of every tree in the image and the crates our programs are made of. Pure: lists in,
//! document out; the same lists give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

/// A Debian package in one of the image's trees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DebianPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// Licence names as Debian's copyright file has them, where it is machine-readable.
    pub(crate) licences: BTreeSet<String>,
}

/// A crate compiled into one of our programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    /// SHA-256 of the source archive; ours have none.
    pub(crate) sha256: Option<String>,
}

/// An output the document describes: file name and SHA-256.
#[derive(Debug, Clone)]
pub(crate) struct Described<'a> {
    pub(crate) file: &'a str,
    pub(crate) sha256: &'a str,
}

/// Everything a document says.
#[derive(Debug, Default)]
pub(crate) struct Bill<'a> {
    pub(crate) version: &'a str,
    /// Makes the document's name unique and the same for the same inputs.
    pub(crate) inputs: &'a str,
    /// RFC 3339.
    pub(crate) created: &'a str,
    /// Trees by name: `root`, `initrd`, `isp`.
    pub(crate) trees: BTreeMap<&'a str, Vec<DebianPackage>>,
    pub(crate) crates: Vec<Crate>,
    pub(crate) outputs: Vec<Described<'a>>,
}

const ROOT: &str = "SPDXRef-appliance";

/// The document, pretty-printed.
pub(crate) fn render(bill: &Bill<'_>) -> String {
    let mut packages = vec![json!({
        "SPDXID": ROOT, "name": "tlsstress-tbi", "versionInfo": bill.version, "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0", "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)];
    let mut unlisted = BTreeSet::new();
    for output in &bill.outputs {
        let id = identifier("output", &[output.file]);
        packages.push(json!({
            "SPDXID": id, "name": output.file, "versionInfo": bill.version, "packageFileName": output.file, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false, "checksums": [{ "algorithm": "SHA256", "checksumValue": output.sha256 }],
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
        }));
        relations.push(relation(&id, "CONTAINS", ROOT));
    }
    let mut seen = BTreeSet::new();
    for (tree, list) in &bill.trees {
        let tree_id = identifier("tree", &[tree]);
        packages.push(json!({
            "SPDXID": tree_id, "name": format!("{tree} file system"), "versionInfo": bill.version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
        }));
        relations.push(relation(ROOT, "CONTAINS", &tree_id));
        for package in list {
            let id = identifier("deb", &[&package.name, &package.version, &package.architecture]);
            if seen.insert(id.clone()) {
                packages.push(debian(&id, package, &mut unlisted));
            }
            relations.push(relation(&tree_id, "CONTAINS", &id));
        }
    }
    for crate_ in &bill.crates {
        let id = identifier("crate", &[&crate_.name, &crate_.version]);
        if seen.insert(id.clone()) {
            packages.push(crate_package(&id, crate_));
            relations.push(relation(ROOT, "CONTAINS", &id));
        }
    }
    let licences: Vec<Value> = unlisted
        .iter()
        .map(|name| json!({ "licenseId": licence_ref(name), "name": name, "extractedText": format!("see Debian's copyright file; there it is called '{name}'") }))
        .collect();
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("tlsstress-tbi-{}", bill.version),
        "documentNamespace": format!("https://spdx.org/spdxdocs/tlsstress-tbi-{}-{}", bill.version, bill.inputs),
        "creationInfo": { "created": bill.created, "creators": ["Tool: cargo-tbi"] },
        "packages": packages,
        "relationships": relations,
        "hasExtractedLicensingInfos": licences,
    });
    format!("{document:#}\n")
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn debian(id: &str, package: &DebianPackage, unlisted: &mut BTreeSet<String>) -> Value {
    let licence = if package.licences.is_empty() {
        "NOASSERTION".to_owned()
    } else {
        unlisted.extend(package.licences.iter().cloned());
        // All of them apply to some file; which to which is in the copyright file.
        package.licences.iter().map(|name| licence_ref(name)).collect::<Vec<_>>().join(" AND ")
    };
    let version = package.version.replace('+', "%2B").replace(':', "%3A");
    json!({
        "SPDXID": id, "name": package.name, "versionInfo": package.version, "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": licence, "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": format!("pkg:deb/debian/{}@{version}?arch={}&distro=debian-13", package.name.replace('+', "%2B"), package.architecture),
        }],
    })
}

fn crate_package(id: &str, crate_: &Crate) -> Value {
    let mut package = json!({
        "SPDXID": id, "name": crate_.name, "versionInfo": crate_.version, "filesAnalyzed": false,
        "downloadLocation": "NOASSERTION", "licenseConcluded": "NOASSERTION",
        // "MIT/Apache-2.0" is how old crates wrote "OR".
        "licenseDeclared": crate_.licence.as_ref().map_or_else(|| "NOASSERTION".to_owned(), |licence| licence.replace('/', " OR ")),
        "copyrightText": "NOASSERTION",
    });
    if let (Some(sha256), Some(fields)) = (&crate_.sha256, package.as_object_mut()) {
        fields.insert("checksums".to_owned(), json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]));
        fields.insert(
            "downloadLocation".to_owned(),
            json!(format!("https://crates.io/crates/{}/{}", crate_.name, crate_.version)),
        );
        let purl = format!("pkg:cargo/{}@{}", crate_.name, crate_.version.replace('+', "%2B"));
        let reference =
            json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl });
        fields.insert("externalRefs".to_owned(), json!([reference]));
    }
    package
}

/// Identifiers hold letters, digits, `.` and `-` only; anything else becomes its code, so that two names stay two.
fn identifier(kind: &str, parts: &[&str]) -> String {
    parts.iter().fold(format!("SPDXRef-{kind}"), |text, part| text + "-" + &escaped(part))
}

fn licence_ref(name: &str) -> String {
    format!("LicenseRef-debian-{}", escaped(name))
}

fn escaped(name: &str) -> String {
    name.chars().fold(String::new(), |text, letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => text + letter.encode_utf8(&mut [0; 4]),
        ' ' => text + "-",
        other => format!("{text}.{:x}.", u32::from(other)),
    })
}

/// mkosi's manifest of one tree.
#[derive(Deserialize)]
struct MkosiManifest {
    packages: Vec<MkosiPackage>,
}

#[derive(Deserialize)]
struct MkosiPackage {
    name: String,
    version: String,
    architecture: String,
}

/// Packages of a tree from the manifest mkosi wrote when it built it.
pub(crate) fn from_mkosi(manifest: &[u8]) -> Result<Vec<DebianPackage>, serde_json::Error> {
    let manifest: MkosiManifest = serde_json::from_slice(manifest)?;
    let mut packages: Vec<DebianPackage> = manifest
        .packages
        .into_iter()
        .map(|it| DebianPackage {
            name: it.name,
            version: it.version,
            architecture: it.architecture,
            licences: BTreeSet::new(),
        })
        .collect();
    packages.sort();
    Ok(packages)
}

/// Licence names in a machine-readable copyright file (DEP-5); none in one written for people only.
pub(crate) fn licences(copyright: &str) -> BTreeSet<String> {
    if !copyright.lines().take(5).any(|line| line.starts_with("Format:")) {
        return BTreeSet::new();
    }
    copyright
        .lines()
        .filter_map(|line| line.strip_prefix("License:"))
        .flat_map(|line| line.split(" and ").flat_map(|part| part.split(" or ")).flat_map(|part| part.split(',')))
        .map(|name| name.split(" with ").next().unwrap_or_default().trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
#[path = "spdx_tests.rs"]
mod tests;
