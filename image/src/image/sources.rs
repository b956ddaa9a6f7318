//! Package sources for the image, made from the build machine's own apt configuration, so that a mirror's name is never committed and a
//! machine behind its own mirror builds from it. Pure: text in, text out.

use std::fmt::Write as _;

/// The image's Debian release.
const RELEASE: &str = "trixie";
/// Where Debian keeps its keys; the same path on the build machine and in the tools tree.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Suites of Debian's main archive, besides `…-updates` and the like of them.
const RELEASES: [&str; 9] =
    ["buster", "bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing"];

/// What a mirror cannot be derived from.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// Nothing Debian in it.
    #[error("the apt configuration of this machine names no Debian mirror; name one with --mirror URL")]
    NoMirror,
    /// Not something apt fetches from.
    #[error(
        "'{0}' is not the address of a mirror; it begins with http:// or https:// and ends with the archive's folder, usually /debian"
    )]
    NotAMirror(String),
}

/// Addresses of the two archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirrors {
    /// Main archive, without a trailing slash.
    pub(crate) main: String,
    /// Security archive, when there is one.
    pub(crate) security: Option<String>,
}

/// One file of apt's configuration.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// `….sources` is deb822, anything else the one-line format.
    pub(crate) deb822: bool,
    /// Its content.
    pub(crate) text: String,
}

/// Something apt fetches from.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by_debian: bool,
}

/// Finds the mirrors; `asked` replaces the main one.
pub(crate) fn mirrors(files: &[SourceFile], asked: Option<&str>) -> Result<Mirrors, Error> {
    let entries: Vec<Entry> =
        files.iter().flat_map(|file| if file.deb822 { deb822(&file.text) } else { one_line(&file.text) }).collect();
    let has_main = |entry: &&Entry| entry.components.iter().any(|component| component == "main");
    let security = entries
        .iter()
        .filter(has_main)
        .find(|entry| is_debian(entry, "debian-security") && entry.suites.iter().any(|suite| is_security(suite)))
        .map(|entry| entry.uri.clone());
    if let Some(url) = asked {
        let main = url.trim_end_matches('/');
        if !(main.starts_with("http://") || main.starts_with("https://")) || main.contains(char::is_whitespace) {
            return Err(Error::NotAMirror(url.to_owned()));
        }
        // Mirrors that carry both keep them side by side.
        let beside = main.strip_suffix("/debian").map(|parent| format!("{parent}/debian-security"));
        return Ok(Mirrors { main: main.to_owned(), security: beside.or(security) });
    }
    let main = entries
        .iter()
        .filter(has_main)
        .find(|entry| is_debian(entry, "debian") && entry.suites.iter().any(|suite| is_release(suite)))
        .ok_or(Error::NoMirror)?;
    Ok(Mirrors { main: main.uri.clone(), security })
}

/// `mkosi.sources`: this exact file name replaces mkosi's own list, which names a debug suite that a mirror may lack.
pub(crate) fn render(mirrors: &Mirrors) -> String {
    let mut text = String::new();
    let mut stanza = |uri: &str, suites: &str| {
        // Writing to a String cannot fail.
        let _infallible =
            write!(text, "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n\n");
    };
    stanza(&mirrors.main, &format!("{RELEASE} {RELEASE}-updates"));
    if let Some(security) = &mirrors.security {
        stanza(security, &format!("{RELEASE}-security"));
    }
    text
}

/// What of `apt-config dump` the image's apt needs to reach the same mirror: proxies, and how far a clock is trusted.
pub(crate) fn settings(dump: &str) -> String {
    const TAKE: [&str; 3] = ["Acquire::http", "Acquire::https", "Acquire::Check-"];
    // Addresses of proxies; never user names or certificates of this machine's.
    const ONLY: [&str; 3] = ["::Proxy", "::Check-Date", "::Check-Valid-Until"];
    let wanted = |line: &&str| {
        let name = line.split_whitespace().next().unwrap_or_default();
        TAKE.iter().any(|start| name.starts_with(start))
            && ONLY.iter().any(|part| name.contains(part))
            && !line.contains("\"\"")
    };
    dump.lines().filter(wanted).fold(String::new(), |text, line| text + line + "\n")
}

/// Third parties name suites like Debian's (`stable main`); the archive's folder or Debian's key tells them apart.
fn is_debian(entry: &Entry, folder: &str) -> bool {
    entry.signed_by_debian || entry.uri.rsplit('/').next() == Some(folder)
}

fn is_release(suite: &str) -> bool {
    RELEASES.contains(&suite)
}

fn is_security(suite: &str) -> bool {
    suite.strip_suffix("-security").or_else(|| suite.strip_suffix("/updates")).is_some_and(is_release)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Stanzas of `Field: value` with continuation lines, separated by empty lines.
fn deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        if line.trim().is_empty() {
            entries.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn stanza(fields: &[(String, String)]) -> Vec<Entry> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let off = ["no", "false", "without", "off", "disable"].contains(&field("enabled").to_ascii_lowercase().as_str());
    if off || !words(field("types")).iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let signed_by_debian = field("signed-by").contains("debian-archive");
    words(field("uris"))
        .into_iter()
        .map(|uri| Entry {
            uri: uri.trim_end_matches('/').to_owned(),
            suites: words(field("suites")),
            components: words(field("components")),
            signed_by_debian,
        })
        .collect()
}

/// `deb [options] URI suite component…`.
fn one_line(text: &str) -> Vec<Entry> {
    text.lines()
        .filter_map(|line| {
            let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
            let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
            let (options, rest) = match rest.strip_prefix('[') {
                Some(rest) => rest.split_once(']')?,
                None => ("", rest),
            };
            let mut parts = rest.split_whitespace();
            let uri = parts.next()?.trim_end_matches('/').to_owned();
            let suites = vec![parts.next()?.trim_end_matches('/').to_owned()];
            let signed_by_debian = options.contains("debian-archive");
            Some(Entry { uri, suites, components: parts.map(str::to_owned).collect(), signed_by_debian })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const BOTH: &str = "Types: deb deb-src
# a comment in between
URIs: http://mirror.example/debian/
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
";

    fn deb822_file(text: &str) -> SourceFile {
        SourceFile { deb822: true, text: text.to_owned() }
    }

    fn list(text: &str) -> SourceFile {
        SourceFile { deb822: false, text: text.to_owned() }
    }

    #[test]
    fn both_formats_say_the_same() {
        let lines = "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm main contrib
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security/ bookworm-security main # late
";
        let from_stanzas = mirrors(&[deb822_file(BOTH)], None).unwrap();
        assert_eq!(from_stanzas, mirrors(&[list(lines)], None).unwrap());
        assert_eq!(
            render(&from_stanzas),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
             Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        );
    }

    #[test]
    fn third_parties_and_switched_off_sources_are_no_mirrors() {
        let third = list(
            "deb https://apt.example.org stable main\ndeb https://download.example.com/linux/debian bookworm stable\n",
        );
        assert_eq!(mirrors(&[third], None), Err(Error::NoMirror));
        let off = BOTH.replace("Types: deb deb-src", "Enabled: no\nTypes: deb");
        assert_eq!(mirrors(&[deb822_file(&off)], None), Err(Error::NoMirror));
        assert_eq!(mirrors(&[], None), Err(Error::NoMirror));
    }

    #[test]
    fn a_named_mirror_replaces_the_machines() {
        let asked = mirrors(&[deb822_file(BOTH)], Some("https://other.example/debian/")).unwrap();
        assert_eq!(asked.main, "https://other.example/debian");
        assert_eq!(asked.security.as_deref(), Some("https://other.example/debian-security"));
        // A mirror with a folder of its own naming: security as the machine has it.
        let odd = mirrors(&[deb822_file(BOTH)], Some("http://cache.example/deb")).unwrap();
        assert_eq!(odd.security.as_deref(), Some("http://mirror.example/debian-security"));
        assert_eq!(mirrors(&[], Some("http://cache.example/deb")).unwrap().security, None);
        assert!(matches!(mirrors(&[], Some("cache.example")), Err(Error::NotAMirror(_))));
    }

    #[test]
    fn proxies_and_clock_checks_are_taken_along_and_nothing_else() {
        let dump = "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::Verify-Peer \"true\";\n\
                    Acquire::Check-Date \"false\";\nAPT::Architecture \"amd64\";\nAcquire::http::Proxy-Auto-Detect \"\";\n";
        assert_eq!(
            settings(dump),
            "Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::Check-Date \"false\";\n"
        );
    }
}
