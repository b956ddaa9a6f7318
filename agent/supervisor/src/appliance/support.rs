//! Takes secrets out of what is sent away for support. Pure.
//!
//! It is the second of two fences: only named parts go into a bundle, none of which is made to hold a secret; this takes out of them what
//! looks like one by its name or by its form, so that a setting of tomorrow does not leak by being forgotten.

use serde_json::{Value, json};
use tbi_api::support::REMOVED;

/// Words in the name of a field whose value nobody is shown.
const SECRET_NAMES: [&str; 9] =
    ["password", "passphrase", "secret", "token", "credential", "private", "community", "claim_code", "api_key"];
/// What a text that is a secret has in it: keys in PEM, password hashes, second factors, credentials of a request.
const SECRET_FORMS: [&str; 5] = ["PRIVATE KEY-----", "$argon2", "otpauth://", "Bearer ", "Basic "];

/// The same without what looks like a secret.
pub(crate) fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let freed = fields.into_iter().map(|(name, value)| {
                let value =
                    if is_secret_name(&name) && !is_plain(&value) { json!(REMOVED) } else { without_secrets(value) };
                (name, value)
            });
            Value::Object(freed.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_secrets).collect()),
        Value::String(text) if is_secret_form(&text) => json!(REMOVED),
        other => other,
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.iter().any(|word| name.contains(word))
}

/// Nothing, yes or no, and a number say nothing that is secret.
fn is_plain(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(_) | Value::Number(_))
}

fn is_secret_form(text: &str) -> bool {
    // Credentials in an address: `https://name:word@host`.
    let with_credentials = text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority.contains('@')
    });
    with_credentials || SECRET_FORMS.iter().any(|form| text.contains(form)) || has_token(text)
}

/// An API token: `tbi_`, eight characters that name it, and more than that. A slot has a name that begins alike.
fn has_token(text: &str) -> bool {
    let base32 = |text: &str| text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    text.split("tbi_").skip(1).any(|rest| base32(rest) == 8 && rest.get(8..9) == Some("_") && base32(&rest[9..]) > 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_canary_survives_whatever_its_name_or_form() {
        let canary = "CANARY-9f2c";
        let hostile = json!({
            "password": canary, "Admin-Password": canary, "snmp_community": canary, "apiToken": canary, "client_secret": { "a": [canary] },
            "credentials": [canary], "private_key": canary, "claim_code": canary, "api-key": canary,
            "text": format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----"),
            "nested": [{ "url": format!("https://user:{canary}@example.net/x"), "header": format!("Bearer {canary}") }],
            "hash": format!("$argon2id$v=19$m=1${canary}"), "uri": format!("otpauth://totp/x?secret={canary}"), "sentence": format!("it sent tbi_abcdefgh_{} {canary}", "a2".repeat(26)),
        });
        let freed = without_secrets(hostile).to_string();
        assert!(!freed.contains(canary), "{freed}");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let plain = json!({
            "second_factor": true, "host_name": "tbi-c0ffee", "slot": "tbi_0.1.0", "other": "tbi_abcdefgh_a", "tokens": 3, "url": "https://usage.example.net", "key_storage": "state_partition",
            "certificate_pem": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "claim_code": null, "mail": "a@b",
        });
        assert_eq!(without_secrets(plain.clone()), plain);
    }
}
