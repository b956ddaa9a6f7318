//! "Copy as API call": what a form on a page does, as a line for a shell. Pure; it sends nothing. The line is what somebody pastes into a
//! terminal, so every word that is not ours is quoted for a POSIX shell, and it never holds a credential: `TOKEN` stands for an API token.
//!
//! A page makes an [`ApiCall`] and places it with `{% import "api_call.html" as api %}` and `{% call api::details(look, call) %}{% endcall %}`.

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
        let mut command = "curl --cacert ca.pem -H 'Authorization: Bearer TOKEN'".to_owned();
        if method != "GET" {
            command.push_str(" -X ");
            command.push_str(method);
        }
        if let Some(body) = body {
            command.push_str(" --json ");
            command.push_str(&quoted(&body.to_string()));
        }
        command.push(' ');
        command.push_str(&quoted(&format!("https://BOX{path}")));
        Self { command }
    }
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
}
