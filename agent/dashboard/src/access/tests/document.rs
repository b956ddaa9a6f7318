//! The document and the routes are one.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_operation_says_who_may_and_has_a_name_of_its_own() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["security"].is_array(), "{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        }
    }
    assert_eq!(names.len(), 28);
    let public: Vec<String> =
        claims().into_iter().filter(|(.., claims)| claims.public).map(|(_method, path, _claims)| path).collect();
    assert_eq!(public, ["/api/v1/access/first-administrator", "/api/v1/access/login"]);
}

#[tokio::test]
async fn every_operation_of_the_document_is_routed() {
    let this = TestBox::new().await;
    for (method, path, _claims) in claims() {
        let request = Request::builder().method(&method).uri(path.replace(['{', '}'], "")).body(Body::empty()).unwrap();
        let status = TowerToHyperService::new(this.router.clone()).call(request).await.unwrap().status();
        // Reached, and closed because nobody asked the gate.
        assert_eq!(status, 500, "{method} {path}");
    }
}

#[test]
fn changes_of_users_roles_and_certificates_take_a_step_up() {
    for (method, path, claims) in claims() {
        let dangerous = (path.contains("/users") && !path.ends_with("/sessions") || path.ends_with("/certificates"))
            && method != Method::GET
            || path.contains("/second-factor")
            || path.contains("/certificate") && !path.contains("/certificates") && method != Method::GET;
        assert_eq!(claims.step_up, dangerous, "{method} {path}");
        if path.contains("/users") || path.contains("/certificates") {
            let reads = [Role::Administrator, Role::Auditor];
            assert_eq!(claims.roles, if method == Method::GET { &reads[..] } else { &reads[..1] }, "{method} {path}");
        }
    }
}
