//! Metrics read back: the families of a Prometheus text, and those that `docs/metrics.md` documents, so that tests can hold one to the other.
//! Reads what [`crate::MetricsText`] writes and histograms; it is no parser of everything that Prometheus may be given.

use std::collections::{BTreeMap, BTreeSet};

/// A family of metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Family {
    /// Whose it is, as documented (`door`, `agent`, …); empty in an exposition.
    pub source: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it says.
    pub help: String,
    /// Names of its labels, without `le`, which every histogram has.
    pub labels: BTreeSet<String>,
    /// Whether an exposition has a sample of it.
    pub sampled: bool,
}

/// The families of an exposition, by name.
#[must_use]
pub fn exposed(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some(end) = line.find(['{', ' ']).filter(|_| !line.starts_with('#')) {
            let (name, rest) = line.split_at(end);
            let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| name.strip_suffix(part));
            let histogram = parts.into_iter().find(|name| families.get(*name).is_some_and(|it| it.kind == "histogram"));
            let family = families.entry(histogram.unwrap_or(name).to_owned()).or_default();
            family.sampled = true;
            family.labels.extend(labels(rest));
        }
    }
    families
}

/// Names before `="`; values may hold anything but an unescaped quotation mark.
fn labels(rest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = rest.strip_prefix('{').unwrap_or_default();
    while let Some((name, value)) = rest.split_once("=\"") {
        if name != "le" {
            names.push(name.to_owned());
        }
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        rest = value[end + 1..].trim_start_matches(',');
    }
    names
}

/// The families of a document: rows ``| `name` | kind | labels | meaning |`` below a heading that ends with the source in code:
/// ``## … `door` ``. Labels are in code, one after the other; `–` is none.
#[must_use]
pub fn documented(markdown: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    let mut source = String::new();
    for line in markdown.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            source = code(heading).last().cloned().unwrap_or_default();
        }
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if let ([name, kind, labels, help], false) = (cells.as_slice(), source.is_empty())
            && let Some(name) = code(name).pop()
        {
            let family = Family {
                source: source.clone(),
                kind: (*kind).to_owned(),
                help: (*help).to_owned(),
                labels: code(labels).into_iter().collect(),
                sampled: false,
            };
            families.insert(name, family);
        }
    }
    families
}

/// What stands between single backticks.
fn code(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Differences between an exposition and what is documented of `sources`; none is what a test wants. `beyond`: labels that somebody on the
/// way added to every sample.
#[must_use]
pub fn differences(markdown: &str, sources: &[&str], text: &str, beyond: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let (documented, exposed) = (documented(markdown), exposed(text));
    for (name, family) in &exposed {
        let Some(words) = documented.get(name).filter(|words| sources.contains(&words.source.as_str())) else {
            found.push(format!("{name} is exposed and not documented for {sources:?}"));
            continue;
        };
        if (words.kind.as_str(), words.help.as_str()) != (family.kind.as_str(), family.help.as_str()) {
            found.push(format!(
                "{name} is '{} {}', documented as '{} {}'",
                family.kind, family.help, words.kind, words.help
            ));
        }
        let mut labels = family.labels.clone();
        labels.retain(|label| !beyond.contains(&label.as_str()));
        if family.sampled && labels != words.labels {
            found.push(format!("{name} has the labels {labels:?}, documented are {:?}", words.labels));
        }
    }
    let missing = documented
        .iter()
        .filter(|(name, words)| sources.contains(&words.source.as_str()) && !exposed.contains_key(*name));
    found.extend(missing.map(|(name, _)| format!("{name} is documented and not exposed")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Metrics\n\n| `not_mine_total` | counter | – | x |\n\n## The one, `one`\n\n| name | type | labels | meaning |\n|---|---|---|---|\n\
                            | `a_total` | counter | `by`, `x` | How many. |\n| `h` | histogram | – | Long. |\n\n## `two`\n\n| `b` | gauge | – | B. |\n";
    const TEXT: &str = "# HELP a_total How many.\n# TYPE a_total counter\na_total{by=\"a,x=\\\"y\\\"\",x=\"}\"} 3\n\
                        # HELP h Long.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n";

    #[test]
    fn a_document_that_fits_has_no_differences() {
        assert_eq!(differences(DOCUMENT, &["one"], TEXT, &[]), Vec::<String>::new());
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let with = |from: &str, to: &str| differences(DOCUMENT, &["one"], &TEXT.replace(from, to), &[]).join("\n");
        assert!(with("How many", "How much").contains("documented as 'counter How many.'"));
        assert!(with("a_total counter", "a_total gauge").contains("is 'gauge"));
        assert!(with(",x=\"}\"", "").contains("documented are"));
        assert!(with("a_total{", "a_total{daemon=\"d\",").contains("\"daemon\""));
        assert!(
            with("# HELP h Long.", "# HELP c New.\n# TYPE c gauge\nc 1\n# HELP h Long.")
                .contains("c is exposed and not")
        );
        let text = TEXT.split("# HELP h").next().unwrap_or_default();
        assert_eq!(differences(DOCUMENT, &["one"], text, &[]), ["h is documented and not exposed"]);
        assert_eq!(differences(DOCUMENT, &["two"], "", &[]), ["b is documented and not exposed"]);
    }
}
