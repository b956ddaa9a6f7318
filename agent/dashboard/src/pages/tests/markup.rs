//! What holds for all templates and pages: nothing is marked as safe, nothing is inline, every id is there once, every label has its field.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tbi_api::runs::RunState;

use super::agent::{entry, outline, run};
use super::{Browser, Page, Stand};

pub(super) fn files(folder: &str, end: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut open, mut read) = (vec![root.clone()], Vec::new());
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            // What tests make up is no page.
            if path.is_dir() && !path.ends_with("tests") {
                open.push(path);
            } else if path.to_str().unwrap().ends_with(end) {
                read.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!read.is_empty(), "{}", root.display());
    read
}

#[test]
fn no_template_marks_anything_as_safe_or_has_anything_inline() {
    for (path, text) in files("templates", ".html") {
        for word in [
            "|safe",
            "| safe",
            "|escape(",
            "<script>",
            "<style",
            " style=",
            " onclick",
            " onload",
            " onsubmit",
            "javascript:",
            "http://",
            "{% filter",
        ] {
            assert!(!text.contains(word), "{} has '{word}'", path.display());
        }
        assert!(!text.contains("{% autoescape"), "{}", path.display());
    }
}

/// Forms that are not an order to the box: they are around a login, or choose how pages look.
/// `{{ to }}` is a form that another page placed with its call (`onward.html`).
const NO_ORDERS: [&str; 5] = ["/logout", "/login", "/preferences", "/step-up", "{{ to }}"];

#[test]
fn every_form_that_changes_something_is_followed_by_its_api_call() {
    let mut orders = 0;
    for (path, text) in files("templates", ".html") {
        // Its rows are placed by `setup/step.html`, which has the call of each table.
        if path.ends_with("setup/parts.html") {
            continue;
        }
        for form in text.split("<form").skip(1).filter(|form| form.contains("method=\"post\"")) {
            let action = form.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
            if !NO_ORDERS.contains(&action) {
                orders += 1;
                assert!(
                    form.contains("{% call api::"),
                    "{}: the form to {action} has no API call beside it",
                    path.display()
                );
            }
        }
    }
    assert!(orders > 25, "only {orders} forms were found");
}

#[test]
fn api_calls_of_forms_are_operations_that_there_are_and_hold_nothing_typed() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = files("src/access", ".rs");
    sources.extend(files("../supervisor/src/appliance/api", ".rs"));
    let documented: String = sources.into_iter().map(|(_, text)| text).collect();
    let has = |method: &str, path: &str| {
        let path = path.split('?').next().unwrap().replace("/api/v1/agent/", "/v1/");
        let fits = |template: &str| {
            template.split('/').count() == path.split('/').count()
                && template.split('/').zip(path.split('/')).all(|(part, given)| part == given || part.starts_with('{'))
        };
        let lead = format!("utoipa::path({}, path = \"", method.to_lowercase());
        documented.split(&lead).skip(1).any(|rest| fits(rest.split('"').next().unwrap()))
    };
    let mut seen = 0;
    let look = |method: &str, path: &str, body: &str, place: &str| {
        assert!(has(method, path), "{place}: there is no operation {method} {path}");
        assert!(body.is_empty() || serde_json::from_str::<serde_json::Value>(body).is_ok(), "{place}: {body}");
    };
    for (path, text) in files("templates", ".html") {
        let calls = text
            .split("{% call api::")
            .skip(1)
            .filter_map(|rest| rest.split(") %}").next()?.split_once("line(look, \""));
        for (kind, call) in calls {
            let place = path.strip_prefix(manifest).unwrap().display().to_string();
            let Some((method, rest)) = call.split_once("\", \"") else { continue };
            // What stands between two pieces of a path is a name or a number; it becomes a word of its own.
            let (address, body) = match kind {
                "file_" | "member_" => (rest.split_once("\", \"").unwrap().0, ""),
                _ => rest.rsplit_once(", \"").unwrap(),
            };
            let address =
                address.split(" ~ ").map(|part| if part.contains('"') || part.starts_with('/') { part } else { "X" });
            let address: String = address.collect::<String>().replace('"', "");
            seen += 1;
            look(method, &address, &body.trim_end_matches('"').replace("\\\"", "\""), &place);
        }
    }
    for (path, text) in files("src/pages", ".rs").into_iter().filter(|(path, _)| !path.ends_with("tests/markup.rs")) {
        for call in text.split("api_call::line(\"").skip(1) {
            let (method, rest) = call.split_once("\", format!(\"").unwrap();
            seen += 1;
            look(method, rest.split('"').next().unwrap(), "", &path.display().to_string());
        }
    }
    assert!(seen > 23, "only {seen} calls were found");
    for (step, action) in super::super::setup::ACTIONS {
        let command = super::super::setup::call_of(step, action).command;
        let method = command.split(" -X ").nth(1).unwrap().split(' ').next().unwrap();
        let path = command.rsplit("https://BOX").next().unwrap().trim_end_matches('\'');
        look(method, path, "", &format!("{step} {action}"));
    }
}

#[test]
fn what_is_typed_unseen_is_never_carried_through_the_page_that_asks_for_the_proof() {
    let secret = |name: &str| super::super::late::SECRETS.iter().any(|(secret, _words)| *secret == name);
    let mut seen = 0;
    for (path, text) in files("templates", ".html") {
        for (at, _) in text.match_indices("\", \"password\", \"").chain(text.match_indices("\"one-time-code\"")) {
            let call = &text[text[..at].rfind("fields::field(look, ").unwrap_or(0)..];
            let Some(name) = call.strip_prefix("fields::field(look, \"").and_then(|rest| rest.split('"').next()) else {
                continue;
            };
            seen += 1;
            assert!(secret(name), "{}: {name}", path.display());
        }
    }
    assert!(seen > 8, "only {seen} fields were found");
    for name in ["key", "secret"] {
        assert!(secret(name), "{name}");
    }
}

/// Attributes of one name.
fn attributes(page: &str, name: &str) -> Vec<String> {
    let lead = format!(" {name}=\"");
    page.split(&lead).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[track_caller]
pub(super) fn well_made(path: &str, page: &Page) {
    let body = &page.body;
    let ids = attributes(body, "id");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "{path}: an id comes twice: {ids:?}");
    for (name, several) in [("for", false), ("aria-describedby", true), ("aria-labelledby", true)] {
        for value in attributes(body, name) {
            let wanted: Vec<&str> = if several { value.split(' ').collect() } else { vec![&value] };
            for id in wanted {
                assert!(unique.contains(&id.to_owned()), "{path}: {name} names '{id}', which is not there");
            }
        }
    }
    for part in ["<main id=\"main\"", "<header", "<footer", "href=\"#main\"", "<html lang=\"", "<h1>"] {
        assert_eq!(body.matches(part).count(), 1, "{path}: {part}");
    }
    for open in [
        "main", "section", "table", "form", "div", "p", "ul", "dl", "details", "label", "select", "a", "span", "bdi",
        "td", "tr", "pre",
    ] {
        let begins = body.matches(&format!("<{open}>")).count() + body.matches(&format!("<{open} ")).count();
        assert_eq!(begins, body.matches(&format!("</{open}>")).count(), "{path}: <{open}>");
    }
    for input in body.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
        assert!(
            input.contains("type=\"hidden\"") || input.contains("id=\""),
            "{path}: a field without a label: {input}"
        );
    }
    for form in body.split("<form ").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
        let session = form.contains("method=\"post\"")
            && !["/login", "/welcome", "/preferences"].iter().any(|open| form.contains(&format!("action=\"{open}\"")));
        assert_eq!(session, form.contains("name=\"csrf\""), "{path}: {form}");
    }
}

#[tokio::test]
async fn every_page_is_well_made_in_both_languages() {
    let stand = Stand::start().await;
    stand.agent.change(|told| {
        told.runs = vec![
            run("20260131T230000Z", "short", RunState::Passed),
            run("20260131T220000Z", "short", RunState::Running),
        ];
        told.outline = Some(outline());
        told.entries = vec![entry(2, "settings", "{}"), entry(1, "a", "null")];
    });
    for language in ["en", "pt-BR"] {
        let mut anna = Browser::log_in(&stand, "anna").await;
        anna.language = language;
        for path in [
            "/",
            "/runs",
            "/runs?from=x&to=x&state=x",
            "/runs/20260131T230000Z",
            "/runs/20260131T220000Z",
            "/audit",
            "/audit?verify=yes",
            "/audit?before=x",
            "/users",
            "/sessions",
            "/preferences",
            "/nowhere",
        ] {
            let page = anna.get(&stand, path).await;
            well_made(path, &page);
            page.has(&format!("<html lang=\"{language}\""));
        }
        let token = anna.get(&stand, "/step-up").await.is(200).token();
        let fields = [("csrf", token.as_str()), ("password", "wrong")];
        well_made("/step-up", &anna.post(&stand, "/step-up", &fields).await.is(422));
        let fields = [("csrf", token.as_str()), ("password", crate::access::tests::PASSWORD)];
        anna.post(&stand, "/step-up", &fields).await.leads_to("/");
        let page = anna.get(&stand, "/users/new").await.is(200);
        well_made("/users/new", &page);
        let fields = [("csrf", page.token()), ("again", "a".to_owned())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        well_made("/users/new", &anna.post(&stand, "/users/new", &fields).await.is(422));
        well_made("/users/account/vera", &anna.get(&stand, "/users/account/vera").await.is(200));
        let mut nobody = Browser { language, ..Browser::default() };
        well_made("/login", &nobody.get(&stand, "/login").await.is(200));
        well_made("/login", &nobody.post(&stand, "/login", &[("account", "")]).await.is(422));
        well_made("/login", &nobody.post(&stand, "/login", &[("account", "x"), ("password", "y")]).await.is(422));
    }
    stand.stop().await;
    let stand = Stand::unclaimed().await;
    well_made("/welcome", &Browser::default().get(&stand, "/welcome").await.is(200));
    well_made("/welcome", &Browser::default().post(&stand, "/welcome", &[("password", "a")]).await.is(422));
    stand.stop().await;
}
