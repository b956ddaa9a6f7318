//! The table of a daemon's operations, read from its OpenAPI document: path templates, methods, and what each asks of its caller. Pure.
//!
//! What a document does not say is read strictly: an operation without `security`, or with one that is not understood, is for
//! administrators; a body is limited to 1 MiB.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use serde::Deserialize as _;
use serde_json::Value;
use tbi_api::access::Role;

use crate::gate::Claims;
use crate::measure::Meter;

/// Largest request body unless the document says `x-body-limit`.
const BODY_LIMIT: u64 = 1 << 20;
/// Largest limit a document may ask for: a squashfs of a router.
const MOST_BODY: u64 = 2 << 30;
/// The requirement whose scopes are roles.
const REQUIREMENT: &str = "session";

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// As in the document.
    pub(crate) template: String,
    pub(crate) claims: Claims,
    pub(crate) body_limit: u64,
    pub(crate) meter: Arc<Meter>,
}

/// The table. The default one is empty.
#[derive(Debug)]
pub(crate) struct Routes {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    fixed: HashMap<String, usize>,
    parameter: Option<usize>,
    operations: Vec<(Method, Arc<Operation>)>,
}

/// What is at a path.
#[derive(Debug)]
pub(crate) enum Found {
    Operation(Arc<Operation>),
    /// Something, but not for this method; these it takes.
    OtherMethod(String),
    Nothing,
}

/// Meters of a daemon's operations; they outlive its document.
#[derive(Debug)]
pub(crate) struct MeterShelf {
    daemon: String,
    meters: Mutex<HashMap<(Method, String), Arc<Meter>>>,
}

impl MeterShelf {
    pub(crate) fn new(daemon: &str) -> Self {
        Self { daemon: daemon.to_owned(), meters: Mutex::default() }
    }

    fn of(&self, method: &Method, template: &str) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Meter::new(&self.daemon, method.as_str(), template);
        Arc::clone(meters.entry((method.clone(), template.to_owned())).or_insert_with(new))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Meter>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Routes {
    /// Reads a document. What is no operation in it is passed over.
    pub(crate) fn of_document(document: &Value, meters: &MeterShelf) -> Self {
        let mut routes = Self::default();
        for (template, path) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in path.as_object().into_iter().flatten() {
                let Some(method) = method_of(method) else { continue };
                routes.add(template, method, operation, meters);
            }
        }
        routes
    }

    fn add(&mut self, template: &str, method: Method, operation: &Value, meters: &MeterShelf) {
        let mut at = 0;
        for segment in template.split('/').skip(1) {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = if segment.starts_with('{') {
                *node.parameter.get_or_insert(next)
            } else {
                *node.fixed.entry(segment.to_owned()).or_insert(next)
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let operation = Operation {
            template: template.to_owned(),
            claims: claims(operation),
            body_limit: operation["x-body-limit"].as_u64().unwrap_or(BODY_LIMIT).min(MOST_BODY),
            meter: meters.of(&method, template),
        };
        self.nodes[at].operations.push((method, Arc::new(operation)));
    }

    /// Looks a path up (without query, checked by [`crate::paths::check`]). `HEAD` is what `GET` is, without its body.
    pub(crate) fn find(&self, path: &str, method: &Method) -> Found {
        self.at(path.strip_prefix('/').and_then(|rest| self.walk(0, Some(rest))), method)
    }

    /// Looks `/v1` and `rest`, which begins with a slash, up.
    pub(crate) fn find_v1(&self, rest: &str, method: &Method) -> Found {
        let v1 = self.nodes[0].fixed.get("v1");
        let node = v1.zip(rest.strip_prefix('/')).and_then(|(v1, rest)| self.walk(*v1, Some(rest)));
        self.at(node, method)
    }

    fn at(&self, node: Option<usize>, method: &Method) -> Found {
        let Some(node) = node else { return Found::Nothing };
        let operations = &self.nodes[node].operations;
        let of = |wanted: &Method| operations.iter().find(|(method, _)| method == wanted);
        let found = of(method).or_else(|| if *method == Method::HEAD { of(&Method::GET) } else { None });
        match found {
            Some((_, operation)) => Found::Operation(Arc::clone(operation)),
            None => Found::OtherMethod(allowed(operations)),
        }
    }

    /// The node of what is left of a path. A fixed segment goes before a parameter, but gives way when it leads nowhere.
    fn walk(&self, at: usize, rest: Option<&str>) -> Option<usize> {
        let Some(rest) = rest else { return (!self.nodes[at].operations.is_empty()).then_some(at) };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let node = &self.nodes[at];
        node.fixed.get(segment).and_then(|next| self.walk(*next, rest)).or_else(|| {
            // A parameter is never empty.
            node.parameter.filter(|_| !segment.is_empty()).and_then(|next| self.walk(next, rest))
        })
    }
}

fn allowed(operations: &[(Method, Arc<Operation>)]) -> String {
    let mut methods: Vec<&str> = operations.iter().map(|(method, _)| method.as_str()).collect();
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods.join(", ")
}

fn method_of(word: &str) -> Option<Method> {
    Some(match word {
        "get" => Method::GET,
        "put" => Method::PUT,
        "post" => Method::POST,
        "delete" => Method::DELETE,
        "patch" => Method::PATCH,
        "head" => Method::HEAD,
        _ => return None,
    })
}

fn claims(operation: &Value) -> Claims {
    let step_up = operation["x-step-up"].as_bool().unwrap_or(false);
    let strict = Claims { public: false, roles: vec![Role::Administrator], step_up };
    let Some(security) = operation["security"].as_array() else { return strict };
    if security.is_empty() {
        return Claims { public: true, roles: Vec::new(), step_up };
    }
    let words = security.iter().filter_map(|requirement| requirement[REQUIREMENT].as_array()).flatten();
    let roles: Vec<Role> = words.filter_map(|word| Role::deserialize(word).ok()).collect();
    if roles.is_empty() { strict } else { Claims { roles, ..strict } }
}

/// `/api/v1/NAME/REST` as (NAME, `/v1/REST`'s REST with its slash).
pub(crate) fn path_of(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/api/v1/")?;
    let slash = rest.find('/')?;
    Some(rest.split_at(slash))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn routes() -> Routes {
        let document = json!({"paths": {
            "/v1/runs": {
                "get": {"security": [{"session": ["viewer", "operator"]}]},
                "post": {"security": [{"session": ["operator"]}], "x-step-up": true},
                "summary": "not a method",
            },
            "/v1/runs/{id}": {"get": {"security": []}},
            "/v1/runs/{id}/record": {"get": {"security": [{"other": []}]}},
            "/v1/runs/latest/{what}": {"get": {}},
            "/v1/root": {"put": {"x-body-limit": 1u64 << 30}, "post": {"x-body-limit": u64::MAX}},
        }});
        Routes::of_document(&document, &MeterShelf::new("agent"))
    }

    fn found(method: &Method, path: &str) -> Arc<Operation> {
        match routes().find(path, method) {
            Found::Operation(operation) => operation,
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    #[test]
    fn claims_come_from_the_document_and_are_strict_without() {
        let admin = Claims { public: false, roles: vec![Role::Administrator], step_up: false };
        assert_eq!(found(&Method::GET, "/v1/runs").claims.roles, [Role::Viewer, Role::Operator]);
        let order = &found(&Method::POST, "/v1/runs").claims;
        assert!(order.step_up && order.roles == [Role::Operator] && !order.public);
        assert!(found(&Method::GET, "/v1/runs/7").claims.public);
        assert_eq!(found(&Method::GET, "/v1/runs/7/record").claims, admin, "a requirement that is not understood");
        assert_eq!(found(&Method::GET, "/v1/runs/latest/x").claims, admin, "no requirement");
    }

    #[test]
    fn templates_match_whole_segments_and_give_way() {
        assert_eq!(found(&Method::GET, "/v1/runs/latest").template, "/v1/runs/{id}");
        assert_eq!(found(&Method::GET, "/v1/runs/latest/record").template, "/v1/runs/latest/{what}");
        assert_eq!(found(&Method::GET, "/v1/runs/a%20b/record").template, "/v1/runs/{id}/record");
        assert_eq!(found(&Method::HEAD, "/v1/runs").template, "/v1/runs");
        for path in ["/v1", "/v1/", "/v1/runs/", "/v1/runs//record", "/v1/runs/7/other", "/", "/v2/runs", "v1/runs"] {
            assert!(matches!(routes().find(path, &Method::GET), Found::Nothing), "{path}");
        }
        assert!(matches!(routes().find_v1("/runs/7", &Method::GET), Found::Operation(_)));
        for rest in ["", "/", "runs", "/v1/runs"] {
            assert!(matches!(routes().find_v1(rest, &Method::GET), Found::Nothing), "{rest}");
        }
    }

    #[test]
    fn another_method_is_told_which_there_are() {
        match routes().find("/v1/runs", &Method::DELETE) {
            Found::OtherMethod(allow) => assert_eq!(allow, "GET, HEAD, POST"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn body_limits_are_bounded() {
        assert_eq!(found(&Method::PUT, "/v1/root").body_limit, 1 << 30);
        assert_eq!(found(&Method::POST, "/v1/root").body_limit, MOST_BODY);
        assert_eq!(found(&Method::POST, "/v1/runs").body_limit, BODY_LIMIT);
    }

    #[test]
    fn paths_under_the_api_name_a_daemon() {
        assert_eq!(path_of("/api/v1/agent/runs/7"), Some(("agent", "/runs/7")));
        assert_eq!(path_of("/api/v1/agent/"), Some(("agent", "/")));
        for path in ["/api/v1/agent", "/api/v2/agent/x", "/health/live"] {
            assert_eq!(path_of(path), None);
        }
    }
}
