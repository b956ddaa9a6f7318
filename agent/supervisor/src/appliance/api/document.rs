//! What the OpenAPI document says of every operation alike: of changes, the idempotency key they may carry and what
//! [`crate::appliance::trail`] answers around them; of refusals, that they are problem documents. So no handler has to repeat it, and none can
//! forget it.

use tbi_api::reason;
use utoipa::Modify;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, ResponseBuilder};

use crate::appliance::trail::{KEY_HEADER, LONGEST_KEY, STREAMED};

/// Kind of a refusal's body (RFC 9457).
const PROBLEM: &str = "application/problem+json";
/// What any change may be answered.
const ANSWERS: [(&str, &str); 4] = [
    ("400", "`idempotency-key-refused`, or the request is malformed"),
    ("409", "`idempotency-key-in-progress`: the first request with this key is under way"),
    ("422", "`idempotency-key-reused`: the key was used for another request; `reason-refused`"),
    ("507", "`audit-unavailable`, `state-not-writable`: nothing is changed that cannot be in the audit chain"),
];

/// Adds it.
#[derive(Debug)]
pub(super) struct Changes;

impl Modify for Changes {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let keyed = !STREAMED.contains(&path.as_str());
            let changes = [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for change in changes.into_iter().flatten() {
                change.parameters.get_or_insert_default().push(RefOr::T(why()));
                if keyed {
                    change.parameters.get_or_insert_default().push(RefOr::T(key()));
                }
                answer(change, keyed);
            }
        }
    }
}

/// Says of every refusal what kind of body it has; the macro takes them all for plain JSON.
#[derive(Debug)]
pub(super) struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            let answers = operations.into_iter().flatten().flat_map(|operation| &mut operation.responses.responses);
            for (status, answer) in answers {
                if let RefOr::T(response) = answer
                    && status.starts_with(['4', '5'])
                    && let Some(body) = response.content.swap_remove("application/json")
                {
                    response.content.insert(PROBLEM.to_owned(), body);
                }
            }
        }
    }
}

fn answer(change: &mut Operation, keyed: bool) {
    for (status, description) in ANSWERS {
        // A reason and the audit chain are any change's, keys are not.
        if keyed || matches!(status, "422" | "507") {
            change.responses.responses.entry(status.to_owned()).or_insert_with(|| {
                let problem = Content::new(Some(Ref::from_schema_name("Problem")));
                let response = ResponseBuilder::new().description(description);
                RefOr::T(response.content(PROBLEM, problem).build())
            });
        }
    }
}

fn key() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(LONGEST_KEY))
        .pattern(Some("^[!-~]+$"))
        .build();
    ParameterBuilder::new()
        .name(KEY_HEADER.as_str())
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Names the request, so that it is done once: for a day, the same request is given the same answer",
        ))
        .schema(Some(schema))
        .build()
}

fn why() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(reason::LONGEST))
        .pattern(Some("^[ -~]*[!-~][ -~]*$"))
        .build();
    ParameterBuilder::new()
        .name(reason::NAME)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("Why, on one line in any script; it is kept in the audit entry"))
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::Value;
    use utoipa::OpenApi as _;

    use super::super::ApiDoc;

    fn document() -> Value {
        serde_json::to_value(ApiDoc::openapi()).unwrap()
    }

    /// Types of one name in two modules are one schema, the last one, unless they are given names of their own.
    #[test]
    fn schemas_of_one_name_are_not_taken_for_each_other() {
        let document = document();
        let body = |path: &str, method: &str| {
            let kind = &document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"];
            let name = kind["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            document["components"]["schemas"][&name]["properties"].clone()
        };
        assert!(body("/v1/runs", "post")["plan"].is_object());
        assert!(body("/v1/power", "post")["action"].is_object());
        assert!(body("/v1/settings", "put")["based_on"].is_object());
        let schemas = &document["components"]["schemas"];
        assert!(schemas["UsageSettings"]["properties"]["url"].is_object());
        assert!(schemas["Usage"]["properties"]["last"].is_object());
        assert!(schemas["DeviceUnderTest"]["properties"]["kind"].is_object());
        assert!(schemas["Device"]["properties"]["vendor"].is_object());
    }

    #[test]
    fn refusals_are_problem_documents_and_changes_take_a_key() {
        let document = document();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let refusal = status.starts_with(['4', '5']);
                    assert!(!refusal || answer["content"]["application/problem+json"].is_object(), "{path} {status}");
                }
                let parameters = operation["parameters"].as_array();
                let keyed = parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "idempotency-key"));
                assert_eq!(keyed, method != "get" && path != "/v1/isp/root", "{method} {path}");
                assert!(
                    method == "get" || operation["responses"]["422"].is_object(),
                    "{method} {path}: a reason refused"
                );
            }
        }
    }
}
