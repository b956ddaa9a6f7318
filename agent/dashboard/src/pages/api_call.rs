//! "Copy as API call": what a form on a page does, as a line for a shell. Pure; it sends nothing. The line is what somebody pastes into a
//! terminal, so every word that is not ours is quoted for a POSIX shell, and it never holds a credential: `TOKEN` stands for an API token.
//!
//! A page that knows what is sent makes an [`ApiCall`] of it and places it with `{% import "api_call.html" as api %}` and
//! `{% call api::details(look, call) %}{% endcall %}`. A form that is still to be filled has a line with words in capitals for what is typed
//! (`api::line`, `api::session_line`, `api::settings_line`): what somebody typed, a password among it, is never in such a line. A test holds
//! every form that changes something to one of them.

use std::fmt::Display;

use serde_json::Value;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiCall {
    /// The line.
    pub(crate) command: String,
}

impl ApiCall {
    /// Of a method and a path of the API, which begins with `/api/`; `body` is sent as JSON.
    pub(crate) fn new(method: &str, path: &str, body: Option<&Value>) -> Self {
        let body = body.map(ToString::to_string).unwrap_or_default();
        Self { command: curl(TOKEN, method, path, &body) }
    }
}

/// Who asks, for a program.
const TOKEN: &str = "-H 'Authorization: Bearer TOKEN'";
/// Who asks, where only the person may: the session's cookie, and its token, which `whoami` gives.
const SESSION: &str =
    "-b '__Host-tbi-session=SESSION' -H 'Origin: https://BOX' -H 'Sec-Fetch-Site: same-origin' -H 'X-TBI-CSRF: CSRF'";

fn curl(who: &str, method: &str, path: &str, body: &str) -> String {
    let mut command = "curl --cacert ca.pem".to_owned();
    for word in [who, if method == "GET" { "" } else { "-X" }, if method == "GET" { "" } else { method }] {
        if !word.is_empty() {
            command.push(' ');
            command.push_str(word);
        }
    }
    if !body.is_empty() {
        command.push_str(" --json ");
        command.push_str(&quoted(body));
    }
    command.push(' ');
    command.push_str(&quoted(&format!("https://BOX{path}")));
    command
}

/// Of a form that is still to be filled. `body` is JSON, or nothing.
pub(crate) fn line(method: impl Display, path: impl Display, body: impl Display) -> ApiCall {
    ApiCall { command: curl(TOKEN, &method.to_string(), &path.to_string(), &body.to_string()) }
}

/// The same where a token does not do: one's own password, second factor and tokens take a session with a fresh proof of the person.
pub(crate) fn session_line(method: impl Display, path: impl Display, body: impl Display) -> ApiCall {
    ApiCall { command: curl(SESSION, &method.to_string(), &path.to_string(), &body.to_string()) }
}

/// The same before there is anybody who could ask.
pub(crate) fn open_line(method: impl Display, path: impl Display, body: impl Display) -> ApiCall {
    ApiCall { command: curl("", &method.to_string(), &path.to_string(), &body.to_string()) }
}

/// Of a form that changes some of the settings, which are stored as a whole on top of what is there; `change` is what `jq` assigns.
pub(crate) fn settings_line(change: impl Display) -> ApiCall {
    let path = "/api/v1/agent/settings";
    let jq = quoted(&format!("{{based_on: .version, settings: (.settings | {change})}}"));
    let (read, write) = (curl(TOKEN, "GET", path, ""), curl(&format!("{TOKEN} --json @-"), "PUT", path, ""));
    ApiCall { command: format!("{read} | jq {jq} | {write}") }
}

/// Of a form that takes a text as it lies in a file.
pub(crate) fn file_line(method: impl Display, path: impl Display, kind: impl Display, file: impl Display) -> ApiCall {
    let sent = format!("{TOKEN} -H {} --data-binary @{file}", quoted(&format!("Content-Type: {kind}")));
    ApiCall { command: curl(&sent, &method.to_string(), &path.to_string(), "") }
}

/// Of a form whose text is a member of what is sent.
pub(crate) fn member_line(
    method: impl Display,
    path: impl Display,
    member: impl Display,
    file: impl Display,
) -> ApiCall {
    let jq = format!("jq -n --rawfile {member} {file} {}", quoted(&format!("{{${member}}}")));
    let sent = curl(&format!("{TOKEN} --json @-"), &method.to_string(), &path.to_string(), "");
    ApiCall { command: format!("{jq} | {sent}") }
}

/// One word for a POSIX shell (2.2.2 Single-Quotes): nothing but the quote itself has a meaning in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// The words that a shell makes of a line.
    fn words(call: &ApiCall) -> Vec<String> {
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; {}", call.command);
        let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        let call = ApiCall::new("GET", "/api/v1/agent/runs?a=1&b=2", None);
        assert_eq!(words(&call).last().unwrap(), "https://BOX/api/v1/agent/runs?a=1&b=2");
        assert!(!call.command.contains("-X"));
    }

    #[test]
    fn hostile_words_stay_within_their_quotes() {
        let body = json!({ "name": "'; rm -rf $HOME `id` \"\\ $(id) '" });
        let call = ApiCall::new("POST", "/api/v1/agent/runs/';id'", Some(&body));
        let words = words(&call);
        assert!(words.contains(&body.to_string()), "{words:?}");
        assert_eq!(words.last().unwrap(), "https://BOX/api/v1/agent/runs/';id'");
        assert_eq!(words.iter().filter(|word| *word == "POST").count(), 1);
    }

    #[test]
    fn lines_of_forms_are_words_of_a_shell_with_the_session_where_a_token_does_not_do() {
        let body = r#"{"old":"OLD","new":"it's"}"#;
        let call = session_line("POST", "/api/v1/access/password", body);
        let words = words(&call);
        assert!(words.contains(&body.to_owned()) && words.contains(&"X-TBI-CSRF: CSRF".to_owned()), "{words:?}");
        assert!(!call.command.contains("Bearer"));
        let call = settings_line(".ntp_servers = [\"SERVER\"]");
        assert!(call.command.contains("| jq '{based_on: .version, settings: (.settings | .ntp_servers"), "{call:?}");
        let call = file_line("POST", "/api/v1/agent/isp/config.boot/check", "text/plain", "config.boot");
        let words = self::words(&call);
        for word in ["Content-Type: text/plain", "@config.boot", "POST"] {
            assert!(words.contains(&word.to_owned()), "{words:?}");
        }
        let call = member_line("PUT", "/api/v1/agent/topology", "yaml", "topology.yaml");
        assert!(call.command.starts_with("jq -n --rawfile yaml topology.yaml '{$yaml}' | curl "), "{call:?}");
        assert!(!open_line("POST", "/api/v1/access/first-administrator", "{}").command.contains("TOKEN"));
    }
}
