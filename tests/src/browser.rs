//! Stories in a real browser: a lab with its dashboard, and a script under `tests/browser` that walks its pages with Chromium.
//!
//! The script tells each step as a JSON line; a step that failed, a page that complained, or a script that did not come to its end is a
//! failed test with the step's sentence. Pictures are kept below `tbi/browser` of the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Finished, Running, run, until};
use crate::stand::write;
use crate::{program, repository};

/// Longest wait for a lab to say where its dashboard is.
const SOON: Duration = Duration::from_secs(30);
/// Everything of a lab is down this long after Ctrl-C.
pub const DOWN: Duration = Duration::from_secs(5);
/// From the start of a lab to its end, whatever is done with it.
const LONGEST: Duration = Duration::from_secs(900);
/// A run of seconds, for stories that are not about what it measures.
pub const TINY: &str = r#"
name = "a story's first run"
pairs = 1
# With two it would also judge whether the machine drifted, and a browser is at work on it.
reference_blocks = 1
protocols = ["h2"]
objects = ["1KB"]

[phases]
ramp_up = "50ms"
sustain = "300ms"
"#;

/// A lab with a dashboard, and its first run under way.
#[derive(Debug)]
pub struct Dashboard {
    home: TempDir,
    running: Running,
}

impl Dashboard {
    /// Starts it on a port that is free; `plan` is the text of a TOML plan for the first run.
    #[must_use]
    pub fn start(plan: &str) -> Self {
        let home = match tempfile::Builder::new().prefix("tbi-test-").tempdir() {
            Ok(home) => home,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        // Its words are read while it runs; the shell is gone with `exec`, so signals reach the agent.
        let mut agent = Command::new("sh");
        agent.args(["-c", "said=$1; shift; exec \"$@\" 2>\"$said\"", "sh"]).arg(home.path().join("said"));
        agent.arg(program("tbi-agent")).args(["lab", "run", "--dashboard", "--listen", "127.0.0.1:0", "--out"]);
        let file = home.path().join("plan.toml");
        write(&file, plan);
        let running = Running::start(agent.arg(home.path().join("lab")).arg("--plan").arg(file));
        Self { home, running }
    }

    /// A file below the lab's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("lab").join(name)
    }

    /// What it said so far on standard error.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.home.path().join("said")).unwrap_or_default()
    }

    fn word(&self, name: &str) -> String {
        until(name, SOON, || {
            let said = self.said();
            assert!(!said.contains("error:"), "the lab does not come up: {said}");
            let line = said.lines().find(|line| line.starts_with(name) && said.contains('\n'))?;
            line.split_whitespace().nth(1).map(str::to_owned)
        })
    }

    /// `https://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.word("dashboard")
    }

    /// What makes the first account.
    #[must_use]
    pub fn code(&self) -> String {
        self.word("code")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Has a browser walk a story there.
    #[track_caller]
    pub fn walk(&self, story: &str, language: &str, within: Duration) {
        let (url, code) = (self.url(), self.code());
        walk(
            story,
            language,
            &Target { url: &url, code: &code, resolve: None, measures: true, lab: Some(self.pid()) },
            within,
        );
    }

    /// Ctrl-C; how it ended, how long that took, and its folder.
    #[must_use]
    pub fn interrupt(self) -> (Finished, Duration, TempDir) {
        let began = Instant::now();
        self.running.signal(Signal::SIGINT);
        let finished = self.running.finish(LONGEST);
        (finished, began.elapsed(), self.home)
    }
}

/// A box as a browser finds it.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// `https://…/`.
    pub url: &'a str,
    /// What makes the first account.
    pub code: &'a str,
    /// Where its name leads to, when this machine's resolver does not know: `NAME ADDRESS:PORT`.
    pub resolve: Option<&'a str>,
    /// Whether runs can be measured there within the story.
    pub measures: bool,
    /// Process of the lab, whose programs a story may end.
    pub lab: Option<u32>,
}

/// Runs a story against a box in a language.
#[track_caller]
pub fn walk(story: &str, language: &str, at: &Target<'_>, within: Duration) {
    let pictures = pictures().join(story).join(language);
    let _none_before = fs::remove_dir_all(&pictures);
    let mut node = Command::new("node");
    node.arg(repository::root().join("tests/browser").join(format!("{story}.mjs")));
    node.env("TBI_BROWSER_MODULES", modules()).env("TBI_CHROMIUM", chromium()).env("TBI_BROWSER_OUT", &pictures);
    node.env("TBI_URL", at.url).env("TBI_CODE", at.code).env("TBI_LANGUAGE", language);
    node.env("TBI_MEASURES", if at.measures { "yes" } else { "no" }).env("TBI_PAGES", pages().to_string());
    if let Some(lab) = at.lab {
        node.env("TBI_LAB", lab.to_string());
    }
    if let Some(resolve) = at.resolve {
        node.env("TBI_RESOLVE", resolve);
    }
    for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        node.env_remove(proxy);
    }
    let finished = run(&mut node, within);
    judge(story, &finished);
}

#[track_caller]
fn judge(story: &str, finished: &Finished) {
    let lines: Vec<Value> = finished.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let failed: Vec<String> = lines
        .iter()
        .filter(|line| line["ok"] == false)
        .map(|line| {
            let why: Vec<&str> = line["why"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("not true: {}\n    {}", line["step"].as_str().unwrap_or_default(), why.join("\n    "))
        })
        .collect();
    let notes: Vec<&str> = lines.iter().filter_map(|line| line["note"].as_str()).collect();
    let end = lines.iter().find(|line| line["end"] == true);
    let whole = end.is_some_and(|end| end["whole"] == true && end["steps"].as_u64() > Some(3));
    assert!(
        failed.is_empty() && whole && finished.code() == 0,
        "{story}: {} of {} steps failed, the script {}\n{}\nnotes: {}\nit ended with {} and said:\n{}",
        failed.len(),
        lines.iter().filter(|line| line["step"].is_string()).count(),
        if whole { "came to its end" } else { "did not come to its end" },
        failed.join("\n"),
        notes.join("; "),
        finished.code(),
        finished.stderr,
    );
}

/// The tables of pages in the source, as `[{path, methods}]`: a page that no link leads to is seen as well.
fn pages() -> Value {
    let mut found = Vec::new();
    let source = repository::root().join("agent/dashboard/src/pages");
    for file in repository::rust_files(&source) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        for entry in text.split("Page(").skip(1) {
            let entry = entry.trim_start().strip_prefix('"').and_then(|entry| entry.split_once('"'));
            let Some((path, rest)) = entry else { continue };
            let methods = rest.split(']').next().unwrap_or_default();
            let methods: Vec<&str> =
                ["get", "post"].into_iter().filter(|it| methods.contains(&format!("\"{it}\""))).collect();
            if path.starts_with('/') && !methods.is_empty() {
                found.push(json!({ "path": path, "methods": methods }));
            }
        }
    }
    Value::Array(found)
}

/// Where `cargo tbi test` installed what scripts need.
fn modules() -> PathBuf {
    match std::env::var_os("TBI_BROWSER_MODULES").map(PathBuf::from) {
        Some(modules) if modules.join("playwright-core").is_dir() => modules,
        _ => panic!(
            "playwright-core is not there; type: cargo tbi test browser (or name its folder in TBI_BROWSER_MODULES)"
        ),
    }
}

fn chromium() -> PathBuf {
    // Debian's second package is the browser without its windows.
    let names = ["chromium", "chromium-headless-shell"];
    let there = names.iter().map(|name| Path::new("/usr/bin").join(name)).find(|path| path.is_file());
    there.unwrap_or_else(|| panic!("there is no chromium; type: apt-get install chromium"))
}

/// Artefacts of the tests, beside the other ones of the image tool.
fn pictures() -> PathBuf {
    let programs = program("tbi-agent");
    let target = programs.parent().and_then(Path::parent).unwrap_or(Path::new("target"));
    target.join("tbi/browser")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_pages_are_found_in_the_source() {
        let pages = pages();
        let has = |path: &str, method: &str| {
            pages.as_array().is_some_and(|all| {
                all.iter().any(|it| {
                    it["path"] == path && it["methods"].as_array().is_some_and(|all| all.contains(&method.into()))
                })
            })
        };
        assert!(has("/", "get") && has("/login", "post") && has("/users/account/{name}", "get"), "{pages}");
    }

    fn said(stdout: &str, code: i32) -> Finished {
        run(Command::new("sh").args(["-c", "printf %s \"$1\"; exit \"$2\"", "sh", stdout, &code.to_string()]), SOON)
    }

    #[test]
    #[should_panic(expected = "not true: the page is quiet\n    a dialog opened")]
    fn a_failed_step_is_a_failed_test_with_its_sentence() {
        let line = json!({"step": "the page is quiet", "ok": false, "why": ["a dialog opened"]});
        let end = json!({"end": true, "whole": true, "steps": 9});
        judge("story", &said(&format!("{line}\n{end}"), 0));
    }

    #[test]
    #[should_panic(expected = "did not come to its end")]
    fn a_script_that_dies_is_a_failed_test() {
        judge("story", &said(&json!({"step": "one", "ok": true}).to_string(), 0));
    }
}
