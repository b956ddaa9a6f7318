//! One OpenAPI document of everything behind the door: the documents of the daemons with their paths moved under `/api/v1/NAME/`, their
//! components renamed so that two daemons may each have a `Problem`, and on each operation the answers that the door gives itself. Pure.

use serde_json::{Map, Value, json};

/// What the door may answer to any operation.
const DOOR_ANSWERS: [(&str, &str); 12] = [
    ("400", "The request is malformed"),
    ("401", "Nobody is logged in, or the proof is not valid"),
    ("403", "Not permitted, or a fresh proof is needed"),
    ("404", "There is nothing at this path"),
    ("405", "This path does not take this method"),
    ("408", "The request did not arrive in time"),
    ("413", "The body is too large"),
    ("429", "Too many requests; Retry-After says when to come again"),
    ("431", "The header fields are too large"),
    ("502", "The daemon broke off"),
    ("503", "The daemon is down or busy; Retry-After says when to come again"),
    ("504", "The daemon did not answer in time"),
];
/// And to an operation that reads a body.
const OF_BODIES: [(&str, &str); 2] =
    [("415", "The body is not of a kind that this operation reads"), ("422", "The body is not of the expected form")];
/// Header fields of answers, and the statuses (or the first digits of them) whose answers always have them.
const HEADERS: [(&str, &str, &[&str]); 7] = [
    (
        "X-Correlation-Id",
        "Names the request in logs and in the audit chain; the client's own when it sent a safe one",
        &[""],
    ),
    ("X-RateLimit-Limit", "Requests in the window that is tighter for the caller", &["2", "429"]),
    ("X-RateLimit-Remaining", "How many of them are left", &["2", "429"]),
    ("X-RateLimit-Reset", "Seconds until some are given back", &["2", "429"]),
    ("Retry-After", "Seconds after which to come again", &["429"]),
    ("Allow", "Methods that the path takes", &["405"]),
    ("WWW-Authenticate", "How to prove who one is", &["401"]),
];
const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "head"];
/// Ways to prove who one is; each may stand alone.
const SCHEMES: [&str; 4] = ["session", "basic", "token", "certificate"];

/// A document that goes into the whole.
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    /// Whether its paths are `/v1/…` of a socket, or already those of the door.
    pub(crate) behind: bool,
    pub(crate) document: &'a Value,
}

/// The whole document.
pub(crate) fn merged(version: &str, parts: &[Part<'_>]) -> Value {
    let mut paths = Map::new();
    let mut components = Map::new();
    for part in parts {
        for (path, item) in part.document["paths"].as_object().into_iter().flatten() {
            let Some(path) = place(part, path) else { continue };
            let mut item = item.clone();
            rename(&mut item, part.name);
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                if METHODS.contains(&method.as_str()) {
                    complete(operation, part.name);
                    answers(operation);
                }
            }
            paths.insert(path, item);
        }
        for (kind, named) in part.document["components"].as_object().into_iter().flatten() {
            if kind == "securitySchemes" {
                continue;
            }
            let kind = components.entry(kind).or_insert_with(|| json!({}));
            for (name, component) in named.as_object().into_iter().flatten() {
                let mut component = component.clone();
                rename(&mut component, part.name);
                kind[format!("{}.{name}", part.name)] = component;
            }
        }
    }
    components.entry("schemas").or_insert_with(|| json!({}))["Problem"] = json!({
        "type": "object",
        "description": "RFC 9457 problem document",
        "required": ["title", "status", "code", "detail"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string", "description": "Stable, for programs"},
            "detail": {"type": "string", "description": "What is wrong and what to do, for people"},
        },
    });
    components.insert("securitySchemes".to_owned(), schemes());
    components.insert("headers".to_owned(), headers());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "TLSStress.Art TBI",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    })
}

/// Where a path of a part is found at the door; what is not under `/v1/` of a daemon is not routed.
fn place(part: &Part<'_>, path: &str) -> Option<String> {
    if !part.behind {
        return Some(path.to_owned());
    }
    path.strip_prefix("/v1/").map(|rest| format!("/api/v1/{}/{rest}", part.name))
}

/// References follow the components that they name.
fn rename(value: &mut Value, name: &str) {
    match value {
        Value::String(text) => {
            if let Some((kind, component)) = text.strip_prefix("#/components/").and_then(|rest| rest.split_once('/')) {
                *text = format!("#/components/{kind}/{name}.{component}");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, name)),
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn complete(operation: &mut Value, name: &str) {
    let Some(fields) = operation.as_object_mut() else { return };
    if let Some(Value::String(id)) = fields.get_mut("operationId") {
        *id = format!("{name}.{id}");
    }
    fields.insert("tags".to_owned(), json!([name]));
    let roles = match fields.get("security").and_then(Value::as_array) {
        Some(security) if security.is_empty() => None,
        Some(security) => Some(security.iter().find_map(|it| it.get("session").cloned())),
        None => Some(None),
    };
    let security = match roles {
        None => Vec::new(),
        // As the registry reads it: what is not said is for administrators.
        Some(roles) => {
            let roles = roles.unwrap_or_else(|| json!(["administrator"]));
            SCHEMES.iter().map(|scheme| json!({ *scheme: roles })).collect()
        }
    };
    fields.insert("security".to_owned(), Value::Array(security));
}

/// Completes the answers of an operation: those that the door gives itself, the body of every refusal, and the header fields.
fn answers(operation: &mut Value) {
    let reads_body = operation.get("requestBody").is_some();
    let Some(fields) = operation.as_object_mut() else { return };
    let Value::Object(answers) = fields.entry("responses").or_insert_with(|| json!({})) else { return };
    let of_bodies = OF_BODIES.into_iter().filter(|_| reads_body);
    for (status, description) in DOOR_ANSWERS.into_iter().chain(of_bodies) {
        answers.entry(status).or_insert_with(|| json!({ "description": description }));
    }
    for (status, answer) in answers {
        let Some(answer) = answer.as_object_mut() else { continue };
        if status.starts_with(['4', '5']) {
            answer.entry("content").or_insert_with(
                || json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}),
            );
        }
        let fields = answer.entry("headers").or_insert_with(|| json!({}));
        let always = HEADERS.iter().filter(|(_, _, on)| on.iter().any(|on| status.starts_with(on)));
        for (name, _, _) in always {
            fields[*name] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
}

fn headers() -> Value {
    let field = |(name, description, _): &(&str, &str, &[&str])| {
        let schema = match name.starts_with("X-RateLimit") || *name == "Retry-After" {
            true => json!({"type": "integer", "minimum": 0}),
            false => json!({"type": "string", "minLength": 1}),
        };
        ((*name).to_owned(), json!({"description": description, "required": true, "schema": schema}))
    };
    Value::Object(HEADERS.iter().map(field).collect())
}

fn schemes() -> Value {
    json!({
        "session": {"type": "apiKey", "in": "cookie", "name": "__Host-tbi-session", "description": "A login; the scopes are the roles that may"},
        "basic": {"type": "http", "scheme": "basic"},
        "token": {"type": "http", "scheme": "bearer"},
        "certificate": {"type": "mutualTLS"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_daemons_become_one() {
        let agent = json!({
            "paths": {
                "/v1/runs/{id}": {"get": {
                    "operationId": "run", "security": [{"session": ["viewer"]}],
                    "responses": {"404": {"description": "No such run"}, "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}}}},
                }},
                "/v1/power": {"post": {}},
                "/internal": {"get": {}},
            },
            "components": {"schemas": {"Run": {"properties": {"of": {"$ref": "#/components/schemas/Order"}}}, "Order": {}}},
        });
        let own = json!({"paths": {"/health/live": {"get": {"security": []}}}});
        let whole = merged(
            "1",
            &[
                Part { name: "door", behind: false, document: &own },
                Part { name: "agent", behind: true, document: &agent },
            ],
        );
        let run = &whole["paths"]["/api/v1/agent/runs/{id}"]["get"];
        assert_eq!(run["operationId"], "agent.run");
        assert_eq!(run["responses"]["404"]["description"], "No such run", "what the daemon says stays");
        assert_eq!(
            run["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/agent.Run"
        );
        assert_eq!(
            whole["components"]["schemas"]["agent.Run"]["properties"]["of"]["$ref"],
            "#/components/schemas/agent.Order"
        );
        assert_eq!(run["security"][1], json!({"basic": ["viewer"]}));
        assert_eq!(whole["paths"]["/api/v1/agent/power"]["post"]["security"][0], json!({"session": ["administrator"]}));
        assert_eq!(whole["paths"]["/health/live"]["get"]["security"], json!([]));
        assert_eq!(whole["paths"].as_object().map(Map::len), Some(3));
        for (status, _) in DOOR_ANSWERS {
            assert!(run["responses"].get(status).is_some(), "{status}");
        }
    }
}
