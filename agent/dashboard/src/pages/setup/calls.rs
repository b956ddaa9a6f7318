//! What the forms of a step do, as lines for a shell. Pure; words in capitals stand for what is typed.

use super::super::api_call::{ApiCall, line, settings_line};

/// Of one of a step's forms.
pub(in super::super) fn call_of(step: &str, action: &str) -> ApiCall {
    let mark = |body: &str| line("PUT", format!("/api/v1/agent/setup/steps/{step}"), body);
    match (step, action) {
        (_, "skip") => mark(r#"{"state":"skipped"}"#),
        ("certificate", "done") => mark(r#"{"state":"done","certificate_sha256":"SHA256"}"#),
        (_, "done") => mark(r#"{"state":"done"}"#),
        (_, "finish") => line("POST", "/api/v1/agent/setup/finish", "{}"),
        ("language", _) => line("PUT", "/api/v1/agent/locale", r#"{"language":"en","zone":"UTC"}"#),
        ("name", _) => settings_line(r#".host_name = "NAME""#),
        ("management", "confirm") => line("POST", "/api/v1/agent/settings/trial/confirm", "{}"),
        ("management", "withdraw") => line("DELETE", "/api/v1/agent/settings/trial", ""),
        ("management", _) => {
            let order = r#"{"based_on":0,"management":{"addressing":{"method":"static","address":"ADDRESS","gateway":"GATEWAY","dns":["DNS"]}}}"#;
            line("POST", "/api/v1/agent/settings/trial", order)
        }
        ("time", _) => settings_line(r#".ntp_servers = ["SERVER"]"#),
        ("topology", _) => settings_line(".trunk = null"),
        ("trunk", "probe") => line("POST", "/api/v1/agent/trunk/probe", ""),
        ("trunk", _) => settings_line(r#".trunk = {"mac":"MAC"}"#),
        ("device", _) => {
            let change = r#"{"kind":"KIND","address":"ADDRESS","account":"ACCOUNT","secret":"SECRET"}"#;
            line("PUT", "/api/v1/agent/device", change)
        }
        ("authorities", "remove") => line("DELETE", "/api/v1/agent/device/authorities/SHA256", ""),
        ("authorities", _) => line("POST", "/api/v1/agent/device/authorities", r#"{"pem":"PEM"}"#),
        ("preflight", "check") => line("POST", "/api/v1/agent/preflight", r#"{"profile":"short"}"#),
        ("preflight", "cancel") => line("DELETE", "/api/v1/agent/preflight", ""),
        _ => line("GET", "/api/v1/agent/setup", ""),
    }
}

/// Every form of every step.
#[cfg(test)]
pub(in super::super) const ACTIONS: [(&str, &str); 19] = [
    ("account", "done"),
    ("account", "skip"),
    ("certificate", "done"),
    ("language", "keep"),
    ("name", "keep"),
    ("management", "keep"),
    ("management", "confirm"),
    ("management", "withdraw"),
    ("time", "keep"),
    ("topology", "keep"),
    ("trunk", "keep"),
    ("trunk", "probe"),
    ("device", "keep"),
    ("authorities", "keep"),
    ("authorities", "remove"),
    ("summary", "finish"),
    ("preflight", "check"),
    ("preflight", "cancel"),
    ("preflight", "done"),
];
